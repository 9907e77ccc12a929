"""The README's commands, run as typed and in the README's order, by somebody who has a little of each corpus in ./data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.sample import sample_folder
from tests.helpers.commands import ROOT

# Commands that set up a machine: continuous integration runs the first two through make, in a fresh clone.
SET_UP = {"make quickstart", 'python -m pip install -e ".[cpu,paddlenlp,test]"'}


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def little_data(folder: Path) -> None:
    """Lay out what the three commands look for: CLUECorpusSmall's form, and SST-2's official files."""
    (folder / "clue_small").mkdir(parents=True)
    text = (ROOT / "pipeline" / "sample" / "zh_1.txt").read_text(encoding="utf-8")
    paragraphs = [document.split("\n")[0] for document in text.split("\n\n")[:40]]  # short ones: a batch of 128 stays cheap
    (folder / "clue_small" / "part_0.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    (folder / "glue" / "SST-2").mkdir(parents=True)
    for name, rows in (("train.tsv", 65), ("dev.tsv", 33)):
        lines = (sample_folder() / name).read_text(encoding="utf-8").splitlines()[:rows]
        (folder / "glue" / "SST-2" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_work_as_typed(tmp_path: Path) -> None:
    typed = commands()
    assert len(typed) >= 10
    for promised in (
        "python -m pipeline.build --corpus clue_small", "python -m pretrain.run --shards shards/", "python -m finetune.glue --task SST-2",
    ):  # fmt: skip
        assert promised in typed
    little_data(tmp_path / "data")
    environment = {k: v for k, v in os.environ.items() if k != "WORDLOOM_DATA"} | {"PYTHONPATH": str(ROOT)}
    for command in typed:
        if command in SET_UP:
            continue
        assert command.startswith("python -m "), command
        line = f'"{sys.executable}" {command.removeprefix("python ")}'
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "shards/clue_small/manifest.json").is_file()
    assert len(list((tmp_path / "results/SST-2").glob("*/score.json"))) == 2


def test_the_readme_names_no_file_that_is_not_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
