"""``python -m pretrain.fill_mask`` with a checkpoint of every architecture: in this process, since paddle is loaded once then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pretrain.config import ARCHITECTURES, ModelConfig

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"今天气很好不坏"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_fills_masks(architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pretrain.environment import start

    start("cpu")
    import paddle

    from pretrain.checkpoint import Contents, write_checkpoint
    from pretrain.fill_mask import main
    from pretrain.heads import PretrainingModel
    from pretrain.weights import named_weights

    config = ModelConfig(
        architecture=architecture, vocab_size=len(VOCABULARY), hidden_size=16, embedding_size=16, num_layers=2, num_heads=4,
        intermediate_size=24, max_positions=16, type_vocab_size=1 if architecture == "roberta" else 2,
    )  # fmt: skip
    paddle.seed(3)
    vocabulary = ("\n".join(VOCABULARY) + "\n").encode()
    folder = tmp_path / "model"
    contents = Contents(
        step=0, model=named_weights(PretrainingModel(config)), optimizer=None, config=config,
        state={"tokenizer_hash": hashlib.sha256(vocabulary).hexdigest()}, tokenizer_files={"vocab.txt": vocabulary},
    )  # fmt: skip
    write_checkpoint(folder, contents)
    assert main(["--model", str(folder), "--text", "今天[MASK]很[MASK]", "--top-k", "3", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    masks = report["figures"]["masks"]
    assert [len(mask["candidates"]) for mask in masks] == [3, 3]
    assert all(0 < candidate["probability"] < 1 for mask in masks for candidate in mask["candidates"])
