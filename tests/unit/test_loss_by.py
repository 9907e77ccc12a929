"""The parts of a loss add up to the loss that training evaluates; and kinds of masked tokens are told as they were drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.loss_by import KINDS, kinds_of, main
from shards.collate import BatchPlan
from shards.masks import MaskPolicy
from shards.reader import DataSet
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import start_paddle, tiny_network, write_initial_checkpoint


def test_kinds() -> None:
    seen, labels = np.array([4, 9, 7, 8]), np.array([5, 9, 6, 8])
    assert [KINDS[k] for k in kinds_of(seen, labels, 4)] == ["mask", "kept", "random", "kept"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_tiny_data(folder / "one")
    tokenizer = DataSet.open(folder / "one").manifest.tokenizer
    write_initial_checkpoint(folder / "start", tiny_network(dropout=0.0), tokenizer.hash)
    return folder


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_parts_add_up_to_the_loss_of_evaluation(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(capsys, "--model", place / "start", "--shards", place / "one", "--split", "train", "--rows", 40)
    assert code == 0, found
    start_paddle()
    from pretrain.checkpoint import resolve_model
    from pretrain.distributed import World
    from pretrain.evaluate import Evaluator
    from pretrain.heads import PretrainingModel
    from pretrain.objectives import objective_of
    from pretrain.weights import load_into

    saved, data_set = resolve_model(place / "start"), DataSet.open(place / "one")
    network, tokenizer = PretrainingModel(saved.config), data_set.manifest.tokenizer
    load_into(network, saved.weights(), where=saved.path)
    plan = BatchPlan(
        special_ids=tokenizer.special_ids, vocab_size=tokenizer.vocab_size, pair_template=tokenizer.pair_template,
        mask=MaskPolicy(), sop=False, seed=0,
    )  # fmt: skip
    whole = Evaluator(data_set.split("train"), plan, objective_of("mlm"), batch_rows=16, world=World(), max_rows=40)(network)
    for name in ("kind", "file"):
        groups = found["figures"][name]
        assert sum(g["tokens"] for g in groups) == whole.masked_tokens
        for key, expected in (("loss", whole.lm_loss), ("accuracy", whole.lm_accuracy)):
            mean = sum(g["tokens"] * g[key] for g in groups) / whole.masked_tokens
            assert mean == pytest.approx(expected, rel=1e-5)
    kinds = {g["name"]: g["tokens"] for g in found["figures"]["kind"]}
    assert kinds["mask"] > 5 * kinds["random"] > 0 and kinds["kept"] > 0
    assert {g["name"] for g in found["figures"]["file"]} <= {file.path for file in data_set.manifest.corpus}


def test_wrong_input_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_initial_checkpoint(place / "other", tiny_network(), "0" * 64)
    for arguments, told in (
        (("--model", place / "other", "--shards", place / "one"), "another tokenizer"),
        (("--model", place / "start", "--shards", place / "one", "--rows", 0), "--rows is wrong"),
        (("--model", place / "start", "--shards", place / "none"), "no data set here"),
        (("--model", place / "none", "--shards", place / "one"), "none"),
    ):
        code, found = report(capsys, *arguments)
        assert code != 0 and told in found["error"]
