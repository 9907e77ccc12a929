"""Models of transformers and PaddleNLP in and out: every tensor has its place, and comes back byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pretrain.checkpoint import resolve_model
from pretrain.convert import main as convert
from pretrain.export import main as export
from pretrain.published_files import HEADS, read_tensors, rounded_to_bfloat16, safetensors_bytes
from pretrain.shapes import encoder_shapes, head_shapes, rtd_shapes
from tests.helpers.commands import tree
from tests.helpers.published import SEEN, small_network, write_model, write_transformers_folder
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece

NETWORKS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "roformer": ("roformer", wordpiece, {}),
    "roformer-word": ("roformer", roformer_word, {"embedding_size": 8, "pool_act": "linear"}),
    "roformer-v2": ("roformer_v2", wordpiece, {}),
    "bert": ("bert", wordpiece, {}),
    "roberta": ("roberta", byte_bpe, {}),
    "convbert": ("convbert", wordpiece, {"embedding_size": 8}),
    "convbert-rtd": ("convbert", wordpiece, {"embedding_size": 8, "hidden_size": 32}),
    "roformer-rtd": ("roformer", wordpiece, {"embedding_size": 8, "hidden_size": 32}),
}


def ran(command: Any, *arguments: object) -> None:
    assert command([str(a) for a in arguments]) == 0


def refused(capsys: pytest.CaptureFixture[str], code: int, command: Any, *arguments: object) -> str:
    """Run a command that must fail in one line, and return the line; it must not have made its --out."""
    capsys.readouterr()
    assert command([str(a) for a in arguments]) == code
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ") and "\n" not in line
    assert not Path(str(arguments[-1])).exists()
    return line


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    assert set(found) == set(expected)
    return all(
        found[n].dtype == a.dtype and found[n].shape == a.shape and found[n].tobytes() == a.tobytes() for n, a in expected.items()
    )


@pytest.mark.parametrize("case", SEEN)
def test_transformers_and_back_keeps_every_tensor_byte_for_byte(case: str, tmp_path: Path) -> None:
    tensors = write_transformers_folder(tmp_path / "theirs", case)
    ran(convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")
    ran(export, tmp_path / "ours", "--to", "hf", "--out", tmp_path / "back")
    assert same(load_file(tmp_path / "back/model.safetensors"), tensors)
    assert resolve_model(tmp_path / "ours").config.conv_sees_padding == case.startswith("convbert")
    config, seen = (json.loads((tmp_path / d / "config.json").read_text()) for d in ("back", "theirs"))
    assert {k: v for k, v in config.items() if k not in ("bos_token_id", "eos_token_id")}.items() <= seen.items()
    read = read_tensors([tmp_path / "back/model.safetensors"])
    assert not read.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_comes_back_as_it_was(dtype: str, tmp_path: Path) -> None:
    tensors = write_transformers_folder(tmp_path / "theirs", "roformer", dtype="float16" if dtype == "float16" else "float32")
    if dtype == "bfloat16":
        rounded = {name: rounded_to_bfloat16(array) for name, array in tensors.items()}
        data = safetensors_bytes(rounded, format="pt", bfloat16=frozenset(rounded))
        (tmp_path / "theirs/model.safetensors").write_bytes(data)
    ran(convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")
    ran(export, tmp_path / "ours", "--to", "hf", "--out", tmp_path / "back")
    before, after = (read_tensors([tmp_path / d / "model.safetensors"]) for d in ("theirs", "back"))
    assert same(after.tensors, before.tensors) and after.bfloat16 == before.bfloat16
    assert bool(before.bfloat16) == (dtype == "bfloat16")
    assert json.loads((tmp_path / "back/config.json").read_text())["dtype"] == dtype


@pytest.mark.parametrize("family", ["hf", "paddlenlp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_out_and_back_loses_nothing_of_ours(name: str, family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture, tokenizer, changes = NETWORKS[name]
    config = small_network(architecture, tokenizer(), **changes)
    weights = write_model(tmp_path / "ours", config, tokenizer(), objective="rtd" if "rtd" in name else "mlm-sop")
    if (name, family) == ("roformer-v2", "hf"):
        assert "transformers never took RoFormerV2 in" in refused(
            capsys, 20, export, tmp_path / "ours", "--to", family, "--out", tmp_path / "out"
        )
        return
    ran(export, tmp_path / "ours", "--to", family, "--out", tmp_path / "out")
    ran(convert, tmp_path / "out", "--from", family, "--out", tmp_path / "back")
    ours, back, direct = (resolve_model(tmp_path / d) for d in ("ours", "back", "out"))
    assert same(back.weights(), weights) and same(direct.weights(), weights)
    for found in (back, direct):
        assert (found.config, found.objective, found.absent) == (ours.config, ours.objective, ())
        assert found.tokenizer_hash == tokenizer().hash
    ran(export, tmp_path / "back", "--to", family, "--out", tmp_path / "again")
    assert set(tree(tmp_path / "again")) == set(tree(tmp_path / "out"))
    for file in (file for file in tree(tmp_path / "out") if not file.endswith("wordloom.json")):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes(), file


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_the_networks(name: str) -> None:
    from pretrain.environment import start

    start("cpu")
    from pretrain.heads import PretrainingModel
    from pretrain.rtd import RTDModel

    architecture, tokenizer, changes = NETWORKS[name]
    config = small_network(architecture, tokenizer(), **changes)
    model = RTDModel(config) if "rtd" in name else PretrainingModel(config)
    expected = rtd_shapes(config) if "rtd" in name else encoder_shapes(config) | head_shapes(config)
    assert {n: tuple(t.shape) for n, t in model.state_dict().items()} == expected


def test_what_has_no_place_stands_beside(tmp_path: Path) -> None:
    config = small_network("roformer", wordpiece())
    weights = write_model(tmp_path / "ours", config, wordpiece())
    ran(export, tmp_path / "ours", "--to", "hf", "--out", tmp_path / "out")
    heads = load_file(tmp_path / "out" / HEADS)
    assert set(heads) == {
        f"{layer}.{kind}" for layer in ("cls.seq_relationship", "roformer.pooler.dense") for kind in ("weight", "bias")
    }
    np.testing.assert_array_equal(heads["cls.seq_relationship.weight"], weights["cls.seq_relationship.weight"].T)
    body = load_file(tmp_path / "out/model.safetensors")
    assert set(body) == set(SEEN["roformer"]["tensors"]) and "cls.predictions.decoder.bias" not in body


def test_a_detector_becomes_an_encoder_and_a_generator(tmp_path: Path) -> None:
    config = small_network("convbert", wordpiece(), embedding_size=4, hidden_size=32)
    write_model(tmp_path / "ours", config, wordpiece(), objective="rtd")
    ran(export, tmp_path / "ours", "--to", "hf", "--out", tmp_path / "out")
    body, generator = (load_file(tmp_path / "out" / file) for file in ("model.safetensors", "generator/model.safetensors"))
    assert set(generator) == set(SEEN["convbert"]["tensors"])
    words = "embeddings.word_embeddings.weight"
    assert body[words].tobytes() == generator[f"convbert.{words}"].tobytes()
    assert set(load_file(tmp_path / "out" / HEADS)) == {
        f"discriminator_predictions.{layer}.{kind}" for layer in ("dense", "dense_prediction") for kind in ("weight", "bias")
    }
    shutil.copytree(tmp_path / "out/generator", tmp_path / "alone")
    assert resolve_model(tmp_path / "alone").objective == "mlm"


def edit(folder: Path, change: Any, file: str = "model.safetensors") -> None:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, metadata={"format": "pt"})


TENSORS: dict[str, tuple[Any, str]] = {
    "missing": (lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"), "1 missing: bert.encoder.layer.1.output.dense.bias"),
    "half a head": (lambda t: t.pop("cls.predictions.transform.dense.bias"), "1 missing: cls.predictions.transform.dense.bias"),
    "unexpected": (lambda t: t.update({"bert.extra": np.zeros(3, np.float32)}), "1 unexpected: bert.extra"),
    "mis-shaped": (
        lambda t: t.update({"bert.pooler.dense.weight": np.zeros((16, 15), np.float32)}),
        "1 mis-shaped: bert.pooler.dense.weight 16×15 for 16×16",
    ),
    "vocabulary": (
        lambda t: t.update({"cls.predictions.bias": np.zeros(25, np.float32)}), "1 mis-shaped: cls.predictions.bias 25 for 24",
    ),
    "integers": (
        lambda t: t.update({"bert.pooler.dense.bias": np.zeros(16, np.int64)}), "bert.pooler.dense.bias is not floating",
    ),
    "two biases": (
        lambda t: t.update({"cls.predictions.decoder.bias": t["cls.predictions.bias"] + 1}),
        "cls.predictions.decoder.bias differs from the tensor it must equal (expected the values of cls.predictions.bias)",
    ),
    "untied": (
        lambda t: t.update({"cls.predictions.decoder.weight": t["bert.embeddings.word_embeddings.weight"] + 1}),
        "cls.predictions.decoder.weight differs from the tensor it must equal",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", TENSORS)
def test_tensors_that_do_not_fit_are_named(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transformers_folder(tmp_path / "theirs", "bert")
    change, message = TENSORS[fault]
    edit(tmp_path / "theirs", change)
    assert message in refused(capsys, 21, convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")


@pytest.mark.parametrize("alone", [True, False])
def test_the_bias_of_the_decoder_may_have_either_name(alone: bool, tmp_path: Path) -> None:
    tensors = write_transformers_folder(tmp_path / "theirs", "roformer")

    def rename(t: dict[str, np.ndarray]) -> None:
        t["cls.predictions.decoder.bias"] = t.pop("cls.predictions.bias") if alone else t["cls.predictions.bias"]

    edit(tmp_path / "theirs", rename)
    found = resolve_model(tmp_path / "theirs").weights()["cls.predictions.decoder_bias"]
    assert found.tobytes() == tensors["cls.predictions.bias"].tobytes()


def test_the_oldest_files_are_read(tmp_path: Path) -> None:
    """Norms by TensorFlow's names, numbers of positions, the decoder beside the embeddings: as bert-base-uncased has them."""
    tensors = write_transformers_folder(tmp_path / "theirs", "bert")

    def age(t: dict[str, np.ndarray]) -> None:
        for name in [n for n in t if "LayerNorm" in n]:
            t[name.replace("weight", "gamma").replace("bias", "beta")] = t.pop(name)
        t["cls.predictions.decoder.weight"] = t["bert.embeddings.word_embeddings.weight"]
        t["bert.embeddings.position_ids"] = np.arange(32)[None]

    edit(tmp_path / "theirs", age)
    config = json.loads((tmp_path / "theirs/config.json").read_text())
    more = {"pooler_type": "first_token_transform", "directionality": "bidi", "gradient_checkpointing": False}
    (tmp_path / "theirs/config.json").write_text(json.dumps(config | more))
    ran(export, tmp_path / "theirs", "--to", "hf", "--out", tmp_path / "out")
    assert same(load_file(tmp_path / "out/model.safetensors"), tensors)
    edit(tmp_path / "theirs", lambda t: t.update({"bert.embeddings.LayerNorm.weight": t["bert.embeddings.LayerNorm.gamma"]}))
    with pytest.raises(Exception, match=r"1 unexpected: bert\.embeddings\.LayerNorm\."):
        resolve_model(tmp_path / "theirs")


def test_another_table_of_positions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transformers_folder(tmp_path / "theirs", "roformer")
    name = "roformer.encoder.embed_positions.weight"
    edit(tmp_path / "theirs", lambda t: t.update({name: t[name][::-1].copy()}))
    line = refused(capsys, 21, convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")
    assert f"{name} does not hold what follows from config.json" in line


CONFIGS: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown key": ({"use_magic": True}, 20, "config.json: unknown key 'use_magic'"),
    "heads": ({"num_attention_heads": 3}, 20, "hidden_size 16 is not divisible by num_heads 3"),
    "activation": ({"hidden_act": "relu"}, 20, "hidden_act is not what this network has (expected gelu, got 'relu')"),
    "decoder": ({"is_decoder": True}, 20, "is_decoder is not what this network has (expected False, got True)"),
    "another network": ({"model_type": "gpt2"}, 20, "model_type is of no network that is known here"),
    "fine-tuned": (
        {"architectures": ["BertForSequenceClassification"]}, 20, "BertForSequenceClassification is no class of pretraining",
    ),
    "vocabulary too small": ({"vocab_size": 20}, 8, "the tokenizer has more tokens than the network (expected at most 20, got 24)"),
    "another size": ({"num_hidden_layers": 3}, 21, "16 missing: bert.encoder.layer.2."),
    "no size": ({"hidden_size": None}, 20, "key 'hidden_size' is missing"),
    "text for a number": ({"hidden_size": "16"}, 20, "hidden_size is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CONFIGS)
def test_configs_that_describe_something_else_are_refused(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    write_transformers_folder(tmp_path / "theirs", "bert")
    change, code, message = CONFIGS[fault]
    path = tmp_path / "theirs/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert message in refused(capsys, code, convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")


def test_the_wrong_family_and_a_taken_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transformers_folder(tmp_path / "theirs", "bert")
    line = refused(capsys, 21, convert, tmp_path / "theirs", "--from", "paddlenlp", "--out", tmp_path / "ours")
    assert "the tensors are named as those of hf. Give --from hf" in line
    (tmp_path / "taken").mkdir()
    assert convert([str(tmp_path / "theirs"), "--from", "hf", "--out", str(tmp_path / "taken")]) == 6
    assert "no model here" in refused(capsys, 5, convert, tmp_path / "absent", "--from", "hf", "--out", tmp_path / "ours")


def test_padding_of_roberta_must_be_the_tokenizers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transformers_folder(tmp_path / "theirs", "roberta")
    assert resolve_model(tmp_path / "theirs").config.max_positions == 32 - 0 - 1
    path = tmp_path / "theirs/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token_id": 1}))
    line = refused(capsys, 8, convert, tmp_path / "theirs", "--from", "hf", "--out", tmp_path / "ours")
    assert "pad_token_id is not the tokenizer's" in line


def test_a_model_in_parts_is_read(tmp_path: Path) -> None:
    tensors = write_transformers_folder(tmp_path / "theirs", "bert")
    (tmp_path / "theirs/model.safetensors").unlink()
    names, places = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / "theirs" / file)
        places |= dict.fromkeys(part, file)
    index = tmp_path / "theirs/model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert len(resolve_model(tmp_path / "theirs").weights()) == len(tensors)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(places, "../elsewhere.safetensors")}))
    with pytest.raises(Exception, match="names no parts of a model"):
        resolve_model(tmp_path / "theirs")
