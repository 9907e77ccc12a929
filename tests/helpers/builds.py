"""Small builds in this process, in a folder of their own: an existing vocabulary and the engine that loads fastest."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pipeline.build import main
from pipeline.train_wordpiece import train_vocabulary
from tests.helpers.commands import ROOT, tree

UNIT_BYTES = 4096
OPTIONS = (
    "--max-seq-len",
    "64",
    "--unit-size",
    str(UNIT_BYTES),
    "--heldout",
    "0.3",
    "--segmenter",
    "rjieba",
    "--engine",
    "local",
)


def write_corpus(folder: Path, *, files: int = 3, bytes_each: int = 9000) -> Path:
    """Write parts of the sample as ``text/0.txt`` …, and a vocabulary as ``vocab.txt``; return `folder`."""
    (folder / "text").mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(train_vocabulary(["天地玄黄，宇宙洪荒。"], 200)) + "\n", encoding="utf-8")
    data = (ROOT / "pipeline" / "sample" / "zh_1.txt").read_bytes()
    for number in range(files):
        part = data[number * bytes_each : (number + 1) * bytes_each].decode("utf-8", "ignore")
        (folder / "text" / f"{number}.txt").write_text(part, encoding="utf-8")
    return folder


def build(cwd: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run ``pipeline.build`` in `cwd`; return its exit code and what it reports."""
    before, out = os.getcwd(), io.StringIO()
    os.chdir(cwd)
    try:
        with redirect_stdout(out):
            code = main([*arguments, "--json"])
    finally:
        os.chdir(before)
    report = json.loads(out.getvalue().splitlines()[-1])
    assert isinstance(report, dict)
    return code, report


def build_text(cwd: Path, corpus: Path, *more: str) -> dict[str, Any]:
    """Build data set ``set`` from ``corpus/text`` and return its report; the build must succeed."""
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    code, report = build(cwd, *given, *OPTIONS, *more)
    assert code == 0, report
    return report


def data_files(cwd: Path) -> dict[str, bytes]:
    """Return the files of ``shards/set`` but those that tell when and how long: the manifest, and the note of its units."""
    found = tree(cwd / "shards" / "set")
    return {name: data for name, data in found.items() if name != "manifest.json" and not name.startswith("units-")}
