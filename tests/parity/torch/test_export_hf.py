"""Exported folders load unchanged in transformers: no tensor missing or left over, the same numbers, the same ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from pretrain.checkpoint import resolve_model  # noqa: E402
from pretrain.export import main as export  # noqa: E402
from pretrain.heads import PretrainingModel  # noqa: E402
from pretrain.published_files import HEADS  # noqa: E402
from pretrain.rtd import RTDModel  # noqa: E402
from pretrain.weights import load_into  # noqa: E402
from tests.helpers.commands import ROOT  # noqa: E402
from tests.helpers.published import small_network, write_model  # noqa: E402
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece  # noqa: E402

MAX = 1e-5
NETWORKS: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "roformer": ("roformer", wordpiece, {}, "BertTokenizer"),
    "roformer-word": ("roformer", roformer_word, {"embedding_size": 8, "rotary_value": True}, "RoFormerTokenizer"),
    "bert": ("bert", wordpiece, {}, "BertTokenizer"),
    "roberta": ("roberta", byte_bpe, {}, "RobertaTokenizer"),
    "convbert": ("convbert", wordpiece, {"embedding_size": 8}, "BertTokenizer"),
    "convbert-grouped": ("convbert", wordpiece, {"num_heads": 8, "num_groups": 2}, "BertTokenizer"),
    "convbert-rtd": ("convbert", wordpiece, {"embedding_size": 8, "hidden_size": 32}, "BertTokenizer"),
    "roformer-rtd": ("roformer", wordpiece, {"embedding_size": 8, "hidden_size": 32}, "BertTokenizer"),
}
IDS = np.random.default_rng(5).integers(5, 60, (2, 12))
TEXT = "研究生研究生命起源，在天安门 hello"
pytestmark = pytest.mark.filterwarnings("ignore")


def loaded(folder: Path) -> Any:
    """Return the model of a folder by the class it names; nothing may be missing, left over or of another shape."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert {key: found for key, found in info.items() if found} == {}
    return model.eval()


def apart(theirs: torch.Tensor, ours: Any) -> float:
    return float(np.abs(theirs.detach().numpy().reshape(ours.shape) - ours.numpy()).max())


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    architecture, tokenizer, changes, _ = NETWORKS[request.param]
    config = small_network(architecture, tokenizer(), **changes)
    objective = "rtd" if "rtd" in request.param else "mlm-sop"
    write_model(tmp_path / "ours", config, tokenizer(), objective=objective)
    assert export([str(tmp_path / "ours"), "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    return request.param, tmp_path


def test_the_numbers_are_the_same(case: tuple[str, Path]) -> None:
    name, place = case
    saved = resolve_model(place / "ours")
    network = (RTDModel if "rtd" in name else PretrainingModel)(saved.config)
    load_into(network, saved.weights())
    network.eval()
    ids, lengths, theirs = paddle.to_tensor(IDS), paddle.to_tensor([12, 12]), loaded(place / "hf")
    types = paddle.zeros_like(ids)
    if "rtd" not in name:
        mlm, sop = network(ids, types, lengths, paddle.arange(IDS.size))
        found = theirs(torch.tensor(IDS))
        assert apart(found.prediction_logits if name == "bert" else found.logits, mlm) <= MAX
        if name == "bert":
            assert apart(found.seq_relationship_logits, sop) <= MAX
        return
    hidden = theirs(torch.tensor(IDS)).last_hidden_state
    assert apart(hidden, network.encoder(ids, types, lengths)) <= MAX
    head = transformers.models.electra.modeling_electra.ElectraDiscriminatorPredictions(
        transformers.ElectraConfig(hidden_size=saved.config.hidden_size)
    )
    prefix = "discriminator_predictions."
    head.load_state_dict({key.removeprefix(prefix): value for key, value in load_file(place / "hf" / HEADS).items()})
    assert apart(head(hidden), network.discriminator_predictions(network.encoder(ids, types, lengths))) <= MAX
    embedded = network.encoder.embed(ids, types, lengths)
    states = network.generator.encode(embedded, lengths).reshape([IDS.size, -1])
    words = network.encoder.embeddings.word_embeddings.weight
    assert apart(loaded(place / "hf/generator")(torch.tensor(IDS)).logits, network.generator_predictions(states, words)) <= MAX


def test_the_ids_are_the_same(case: tuple[str, Path]) -> None:
    name, place = case
    _, tokenizer, _, class_name = NETWORKS[name]
    ours = tokenizer()
    special = ours.special_ids
    for kind in (getattr(transformers, class_name), transformers.AutoTokenizer):
        theirs = kind.from_pretrained(place / "hf")
        assert theirs(TEXT).input_ids == [special.cls, *ours.encode(TEXT), special.sep]
        assert (theirs.mask_token_id, theirs.pad_token_id, theirs.model_max_length) == (special.mask, special.pad, 40)


def test_the_snippet_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [snippet] = re.findall(
        r"```python\n(.*?from_pretrained.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    [folder] = set(re.findall(r'from_pretrained\("([^"]+)"\)', snippet))
    tokenizer = wordpiece()
    write_model(tmp_path / "ours", small_network("roformer", tokenizer), tokenizer)
    assert export([str(tmp_path / "ours"), "--to", "hf", "--out", str(tmp_path / folder)]) == 0
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert "[" in capsys.readouterr().out
