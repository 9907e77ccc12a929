"""`pipeline.inspect`: rows from either end, and what a draw of masks makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.inspect import main as inspect
from shards.errors import UsageError
from tests.helpers.tiny_data import write_tiny_data


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_data(tmp_path_factory.mktemp("inspect") / "set", rows=48)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert inspect([*arguments, "--json"]) == 0
    samples = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["samples"]
    assert isinstance(samples, list)
    return samples


def test_rows_are_counted_from_either_end(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, str(data_set), "--row", "-1") == shown(capsys, str(data_set), "--row", "47")
    assert [s["row"] for s in shown(capsys, str(data_set), "--row", "-3", "--rows", "9")] == [45, 46, 47]
    assert shown(capsys, str(data_set), "--row", "-48") == shown(capsys, str(data_set))


@pytest.mark.parametrize("row", ["48", "-49"])
def test_rows_that_are_not_there(data_set: Path, row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect([str(data_set), "--row", row]) == UsageError.exit_code
    assert "--row from 0 to 47, or from -48 to -1" in capsys.readouterr().err
    assert inspect([str(data_set), "--rows", "0"]) == UsageError.exit_code


def test_masks_are_drawn_by_the_seed(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one,), (again,), (other,) = (
        shown(capsys, str(data_set), "--masks", "--seed", seed) for seed in ("1", "1", "2")
    )  # fmt: skip
    assert one == again and one["masked"] != other["masked"]
    assert one["masked"]["masked_tokens"] == max(1, round(0.15 * one["tokens"]))
    words = [word["text"] for segment in one["masked"]["segments"] for word in segment]
    assert "".join(words).replace(" ", "") == one["text"].replace("|", "").replace("‖", "")
    assert "masked" not in shown(capsys, str(data_set))[0]
    assert inspect([str(data_set), "--masks"]) == 0
    assert "tokens to predict: " in capsys.readouterr().out
