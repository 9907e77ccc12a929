"""Numbers do not drift from commit to commit: 100 losses, exact on the machine of the file, to 1e-4 on others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.golden.losses import FILE, STEPS, TOLERANCE, key, losses


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return losses(tmp_path_factory.mktemp("once"))


@pytest.mark.slow
def test_the_same_machine_repeats_them_exactly(found: list[str], tmp_path: Path) -> None:
    assert len(found) == STEPS
    assert losses(tmp_path) == found


def test_they_are_those_of_the_golden_file(found: list[str]) -> None:
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    hint = "if this is meant: python -m tests.golden.losses --write, and say why in the commit"
    if golden["key"] == key():
        wrong = [step for step, (a, b) in enumerate(zip(golden["losses"], found, strict=True), 1) if a != b]
        assert not wrong, f"{len(wrong)} of {STEPS} losses differ, the first at step {wrong[0]}; {hint}"
    np.testing.assert_allclose(
        [float(x) for x in found], [float(x) for x in golden["losses"]], rtol=0, atol=TOLERANCE, err_msg=hint
    )


def test_they_fall(found: list[str]) -> None:
    values = [float(x) for x in found]
    assert np.mean(values[-10:]) < np.mean(values[:10]) - 0.2
