"""One line as long as may be: a build holds it in bounded memory, accounts for it, and leaves other texts their bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import limits
from pipeline.scan import MAX_DEFAULT_UNIT_BYTES
from tests.helpers.builds import build_text, data_files, write_corpus
from tests.helpers.commands import ROOT


def giant_line(kind: str, size: int) -> bytes:
    sample = (ROOT / "pipeline" / "sample" / ("zh_1.txt" if kind == "han" else "en.txt")).read_text(encoding="utf-8")
    if kind == "han":
        text = "".join(c for c in sample if "\u4e00" <= c <= "\u9fd5")
    else:
        text = " ".join(["😀", *sample.split(), ""])  # the emoji: Python then holds the whole line at four bytes a character
    data = text.encode()
    return (data * (size // len(data) + 1))[:size].decode("utf-8", "ignore").encode()


def built(folder: Path, data: bytes, lang: str, *options: str) -> tuple[dict[str, int], int]:
    """Build `data` between two short documents, in a process of its own; return the rows dropped and the peak of memory."""
    write_corpus(folder, files=1)
    (folder / "text" / "0.txt").write_bytes("第一行。\n\n".encode() + data + "\n\n末行。\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.build", "--corpus", "text", "--name", "set", "--input", "text", "--tokenizer", "vocab.txt",
         "--lang", lang, "--heldout", "0", "--engine", "local", "--json", *options],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    rows = json.loads((folder / "shards" / "set" / "manifest.json").read_text(encoding="utf-8"))["tally"]["rows"]
    assert rows["read"] == rows["kept"] + sum(rows["dropped"].values()), rows
    return rows["dropped"], report["figures"]["worker_peak_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["han", "prose"])
def test_a_line_at_the_cap_is_built_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    line = giant_line(kind, limits.MAX_LINE_BYTES)
    dropped, peak_bytes = built(tmp_path, line + b"\n\nx" + line + b"yz", "zh" if kind == "han" else "en")
    assert dropped == {"line_too_long": 1} and peak_bytes < 500 << 20


@pytest.mark.slow
@pytest.mark.parametrize("unit_bytes", [1 << 20, MAX_DEFAULT_UNIT_BYTES])
def test_a_document_of_60_mebibytes_is_built_in_bounded_memory(tmp_path: Path, unit_bytes: int) -> None:
    text = giant_line("prose", 60 << 20).replace(b". ", b".\n")
    dropped, peak_bytes = built(tmp_path, text, "en", "--unit-size", str(unit_bytes))
    assert not dropped and peak_bytes < 10**9


@pytest.mark.parametrize("layout", ["pairs", "full", "line"])
def test_the_limit_of_a_sentence_leaves_shorter_ones_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    corpus = write_corpus(tmp_path / "corpus", files=1)
    longest = max(map(len, (corpus / "text" / "0.txt").read_text(encoding="utf-8").split("\n")))
    found = []
    for limit, portion in ((limits.MAX_SENTENCE_CHARACTERS, 1 << 21), (longest + 1, 400), (longest // 4, 1 << 21)):
        monkeypatch.setattr(limits, "MAX_SENTENCE_CHARACTERS", limit)
        monkeypatch.setattr("pipeline.text_block.PORTION_CHARACTERS", portion)
        out = tmp_path / f"{limit}-{portion}"
        out.mkdir()
        build_text(out, corpus, "--layout", layout)
        found.append(data_files(out))
    assert found[0] == found[1]
    if layout != "pairs":  # the sentences of this text are all short
        assert found[0] != found[2]
