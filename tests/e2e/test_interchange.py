"""From a published model to data, training, fine-tuning and filled masks: every command takes its folder as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.build import main as build
from pipeline.load_tokenizer import load_tokenizer
from pretrain.checkpoint import resolve_model
from pretrain.config import ARCHITECTURES
from pretrain.convert import main as convert
from pretrain.export import main as export
from pretrain.extend_vocab import main as extend
from pretrain.fill_mask import main as fill_mask
from pretrain.plan import make_plan
from shards.errors import MismatchError, UsageError
from shards.reader import DataSet
from tests.helpers.published import small_network, write_model
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece
from tests.helpers.tiny_training import new_trainer, start_paddle, tiny_config

TEXT = "\n\n".join(f"研究生研究生命起源。\n这位在天安门{n}。\nhello world {n}" for n in range(40))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ours with the heads that transformers has, the same as a folder of transformers, and data for both."""
    folder = tmp_path_factory.mktemp("interchange")
    write_model(folder / "ours", small_network("roformer", wordpiece()), wordpiece())
    assert export([str(folder / "ours"), "--to", "hf", "--out", str(folder / "hf")]) == 0
    for name in ("wordloom.json", "wordloom_heads.safetensors"):
        (folder / "hf" / name).unlink()
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    build_data(folder, folder / "hf", "data")
    return folder


def build_data(folder: Path, tokenizer: Path, name: str, *more: object) -> None:
    options = ["--corpus", "text", "--lang", "zh", "--input", folder / "text.txt", "--tokenizer", tokenizer, "--name", name]
    options += ["--out", folder / "shards", "--max-seq-len", "32", "--heldout", "0.1", "--engine", "local", *more]
    assert build([str(option) for option in options]) == 0


def test_training_goes_on_from_transformers_folder_as_from_the_converted_one(place: Path) -> None:
    said: list[str] = []
    assert convert([str(place / "hf"), "--from", "hf", "--out", str(place / "converted")]) == 0
    assert DataSet.open(place / "shards/data").manifest.tokenizer.hash == resolve_model(place / "converted").tokenizer_hash
    assert load_tokenizer(place / "converted").hash == load_tokenizer(place / "hf").hash
    ends = []
    for name in ("hf", "converted"):
        config = tiny_config(
            place / "shards/data", place / "runs", name=f"from-{name}", init=str(place / name), max_steps=2, save_steps=2
        )
        plan = make_plan(config, verify=True, say=said.append)
        trainer = new_trainer(plan)
        before = {n: t.numpy() for n, t in trainer.network.state_dict().items()}
        for weight, array in resolve_model(place / name).weights().items():
            np.testing.assert_array_equal(before[weight], array)
        ends.append(trainer.run().checkpoint.model())
    assert all(ends[0][n].tobytes() == a.tobytes() for n, a in ends[1].items())
    assert any(
        "has no cls.seq_relationship.*, roformer.pooler.*: these weights start from random values" in line for line in said
    )


def test_a_vocabulary_that_is_not_the_datas_is_refused_before_any_work(place: Path) -> None:
    write_model(place / "words", small_network("roformer", roformer_word()), roformer_word())
    assert export([str(place / "words"), "--to", "hf", "--out", str(place / "words-hf")]) == 0
    for init in ("words", "words-hf"):
        config = tiny_config(place / "shards/data", place / "runs", init=str(place / init))
        with pytest.raises(MismatchError, match=r"another tokenizer than the data was built with.*--tokenizer"):
            make_plan(config, verify=False)
    with pytest.raises(MismatchError, match="whose heads are not those of 'rtd'"):
        make_plan(tiny_config(place / "shards/data", place / "runs", init=str(place / "hf"), objective="rtd"), verify=False)


def test_new_tokens_start_from_their_pieces_and_are_trained_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = place / "tokens.txt"
    tokens.write_text("worlds\nhello\n龙\n", encoding="utf-8")
    assert extend([str(place / "hf"), "--tokens", str(tokens), "--out", str(place / "grown"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    old, new = resolve_model(place / "hf").weights(), resolve_model(place / "grown").weights()
    size = wordpiece().vocab_size
    assert figures == {"new_tokens": 2, "known_tokens": 1, "vocab_size": size + 2}
    for name in ("roformer.embeddings.word_embeddings.weight", "cls.predictions.decoder_bias"):
        np.testing.assert_array_equal(new[name][:size], old[name])
        np.testing.assert_allclose(new[name][size], old[name][wordpiece().encode("worlds")].mean(axis=0), rtol=1e-6)
    tokenizer = load_tokenizer(place / "grown")
    assert tokenizer.encode("worlds") == [size] and tokenizer.encode("龙") == [size + 1]
    with pytest.raises(MismatchError, match="another tokenizer"):
        make_plan(tiny_config(place / "shards/data", place / "runs", init=str(place / "grown")), verify=False)
    build_data(place, place / "grown", "grown")
    config = tiny_config(
        place / "shards/grown", place / "runs", name="grown", init=str(place / "grown"), max_steps=1, save_steps=1
    )
    assert new_trainer(make_plan(config, verify=True)).run().step == 1


def test_new_tokens_need_no_folder_of_their_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = place / "more.txt"
    tokens.write_text("worlds\n龙\n", encoding="utf-8")
    assert extend([str(place / "hf"), "--tokens", str(tokens), "--out", str(place / "more")]) == 0
    build_data(place, place / "hf", "more", "--extend-vocab", tokens)
    assert DataSet.open(place / "shards/more").manifest.tokenizer.hash == resolve_model(place / "more").tokenizer_hash
    given = {"max_steps": 1, "save_steps": 1}
    ends = []
    for name, changes in (
        ("flag", {"init": str(place / "hf"), "extend_vocab": str(tokens)}),
        ("folder", {"init": str(place / "more")}),
    ):
        plan = make_plan(tiny_config(place / "shards/more", place / "runs", name=name, **given, **changes), verify=True)
        ends.append(new_trainer(plan).run().checkpoint.model())
    assert all(ends[0][n].tobytes() == a.tobytes() for n, a in ends[1].items())
    with pytest.raises(MismatchError, match=r"another tokenizer.*--tokenizer \S+hf --extend-vocab \S+more.txt"):
        config = tiny_config(place / "shards/data", place / "runs", init=str(place / "hf"), extend_vocab=str(tokens))
        make_plan(config, verify=False)
    with pytest.raises(UsageError, match="--extend-vocab needs --init"):
        make_plan(tiny_config(place / "shards/more", place / "runs", extend_vocab=str(tokens)), verify=False)
    assert build(["--corpus", "text", "--input", str(tokens), "--extend-vocab", str(tokens), "--out", str(place / "no")]) == 2
    assert "--extend-vocab needs --tokenizer" in capsys.readouterr().err and not (place / "no").exists()


@pytest.mark.parametrize(
    "kind,tokens,message",
    [
        ("wordpiece", "研究生\n", "1 tokens would never be produced: '研究生'. WordPiece parts every Han character"),
        ("wordpiece", "Worlds\n", "would never be produced: 'Worlds'"),
        ("wordpiece", "hello\n", "no token is new (expected tokens that the vocabulary lacks, got 1 that it has)"),
        ("roformer-word", "生命起\n", "Chinese words must be what jieba cuts"),
        ("byte-bpe", "hello world\n", "GPT-2's pattern parts words"),
    ],
)
def test_tokens_that_would_never_be_produced_are_refused(
    kind: str, tokens: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    tokenizer = {"wordpiece": wordpiece, "roformer-word": roformer_word, "byte-bpe": byte_bpe}[kind]()
    write_model(tmp_path / "ours", small_network("roberta" if kind == "byte-bpe" else "roformer", tokenizer), tokenizer)
    (tmp_path / "tokens.txt").write_text(tokens, encoding="utf-8")
    assert extend([str(tmp_path / "ours"), "--tokens", str(tmp_path / "tokens.txt"), "--out", str(tmp_path / "out")]) != 0
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_words_and_byte_pairs_can_be_added(tmp_path: Path) -> None:
    for name, tokenizer, token in (("word", roformer_word(), "科学家"), ("bpe", byte_bpe(), " worlds")):
        write_model(tmp_path / name, small_network("roberta" if name == "bpe" else "roformer", tokenizer), tokenizer)
        (tmp_path / "tokens.txt").write_text(f"{token}\n", encoding="utf-8")
        assert (
            extend([str(tmp_path / name), "--tokens", str(tmp_path / "tokens.txt"), "--out", str(tmp_path / f"{name}-out")]) == 0
        )
        grown, old = load_tokenizer(tmp_path / f"{name}-out"), resolve_model(tmp_path / name).weights()
        [id] = grown.encode(token)
        assert id >= tokenizer.vocab_size and grown.decode([id]) == token
        rows = resolve_model(tmp_path / f"{name}-out").weights()
        [words] = [n for n in rows if n.endswith("word_embeddings.weight")]
        np.testing.assert_allclose(rows[words][id], old[words][tokenizer.encode(token)].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_masks_are_filled_alike_from_every_form(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export([str(place / "ours"), "--to", "paddlenlp", "--out", str(tmp_path / "paddlenlp")]) == 0
    found = []
    for folder in (place / "ours", place / "hf", tmp_path / "paddlenlp"):
        options = ["--model", str(folder), "--text", "研究[MASK]起源[MASK]", "--top-k", "3", "--device", "cpu", "--json"]
        capsys.readouterr()
        assert fill_mask(options) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["masks"])
    assert [len(mask["candidates"]) for mask in found[0]] == [3, 3]
    assert found[1] == found[0] and found[2] == found[0]


def test_what_fills_no_masks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_network("roformer", wordpiece(), embedding_size=8, hidden_size=32)
    write_model(tmp_path / "ours", config, wordpiece(), objective="rtd")
    assert fill_mask(["--model", str(tmp_path / "ours"), "--text", "[MASK]"]) == 8
    assert "a model of replaced token detection fills no masks; its generator does" in capsys.readouterr().err
    assert export([str(tmp_path / "ours"), "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    assert fill_mask(["--model", str(tmp_path / "hf/generator"), "--text", "[MASK]", "--device", "cpu"]) == 0


def test_a_classifier_takes_a_published_encoder(place: Path) -> None:
    start_paddle()
    from finetune.initial import choose_start
    from finetune.networks import build_network
    from finetune.settings import Settings
    from finetune.tasks import find_task
    from pretrain.weights import named_weights

    said: list[str] = []
    settings = Settings(epochs=1, batch_size=4, learning_rate=1e-4, max_seq_len=16)
    network = build_network(find_task("SST-2"), choose_start(model=str(place / "hf")), settings, say=said.append)
    loaded = named_weights(network)
    for name, array in resolve_model(place / "hf").weights().items():
        if name.startswith("roformer."):
            np.testing.assert_array_equal(loaded[name], array)
    assert said == ["the checkpoint has no pooler: it starts from random weights, as the head does"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_classifier_is_the_same_from_a_checkpoint_and_from_the_folders_of_other_libraries(
    architecture: str, pooling: str, tmp_path: Path
) -> None:
    start_paddle()
    import paddle

    from finetune.initial import choose_start
    from finetune.networks import build_network
    from finetune.settings import Settings
    from finetune.tasks import find_task

    tokenizer = byte_bpe() if architecture == "roberta" else wordpiece()
    write_model(tmp_path / "ours", small_network(architecture, tokenizer), tokenizer)
    forms = ["ours", "paddlenlp", *(["hf"] if architecture != "roformer_v2" else [])]  # transformers has no RoFormerV2
    for form in forms[1:]:
        assert export([str(tmp_path / "ours"), "--to", form, "--out", str(tmp_path / form)]) == 0
    assert convert([str(tmp_path / "paddlenlp"), "--from", "paddlenlp", "--out", str(tmp_path / "converted")]) == 0
    settings = Settings(epochs=1, batch_size=4, learning_rate=1e-4, max_seq_len=16, pooling=pooling)
    ids = paddle.to_tensor([[5, 6, 7, 8], [6, 5, 0, 0]])
    logits = []
    for form in (*forms, "converted"):
        paddle.seed(3)
        network = build_network(find_task("SST-2"), choose_start(model=str(tmp_path / form)), settings)
        network.eval()
        logits.append(network(ids, paddle.zeros_like(ids), paddle.to_tensor([4, 2])).numpy())
        np.testing.assert_array_equal(logits[-1], logits[0], err_msg=form)
