"""``python -m pipeline.vocab``: every kind trains, in any process to the same bytes, and its folder builds a data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from pipeline.load_tokenizer import load_tokenizer
from pipeline.vocab import KINDS, build_parser
from tests.helpers.commands import ROOT, error_of, flags, run


def texts() -> list[str]:
    """Return some 200 kB of words and runs of Han that are equally likely, so that counts tie everywhere."""
    random = Random(7)
    words = ["".join(random.choices("abcdefghij", k=random.randint(1, 9))) for _ in range(1500)]
    words += ["Über", "café", "2020", "한국", "👍", "lower", "lowest", "newest"] * 5
    known = "研究生命起源北京大学的科学天气公园孩子们草地明再见"
    han = [*known, *map(chr, range(0x4E00, 0x4E00 + 600))]
    return [
        " ".join(random.choices(words, k=12))
        + "".join(random.choices(han, k=14))
        + "，"
        + "".join(random.choices(known, k=6))
        + "。"
        for _ in range(1500)
    ]


def test_flags() -> None:
    assert flags(build_parser()) == [
        "--cased", "--corpus", "--debug", "--encoding", "--field", "--format", "--help", "--hub-id", "--input", "--json", "--kind", "--lang",
        "--on-error", "--out", "--size",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_five_processes_agree(kind: str, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("\n".join(texts()), encoding="utf-8")
    assert (tmp_path / "texts").stat().st_size > 180_000
    code = (
        "from pathlib import Path\nfrom pipeline.train_kinds import train_tokenizer\n"
        f"lines = Path({str(tmp_path / 'texts')!r}).read_text(encoding='utf-8').split('\\n')\n"
        f"print(train_tokenizer({kind!r}, lines, 1500).hash)"
    )  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": str(i)}
        )
        for i in range(5)
    ]
    hashes = [process.communicate()[0].strip() for process in running]
    assert all(process.returncode == 0 for process in running)
    assert len(set(hashes)) == 1
    assert len(hashes[0]) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_writes_a_tokenizer(kind: str, tmp_path: Path) -> None:
    size = "400" if kind != "byte-bpe" else "600"
    done = run("pipeline.vocab", "--corpus", "sample", "--kind", kind, "--size", size, "--out", "made", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    tokenizer = load_tokenizer(tmp_path / "made")
    assert done.json["fingerprint"] == tokenizer.hash
    assert tokenizer.vocab_size <= int(size)
    assert tokenizer.kind == ("wordpiece" if kind == "character" else kind)
    assert tokenizer.special_ids.unk not in tokenizer.encode("the people, 2020")
    assert json.loads(done.out.splitlines()[-1])["outputs"] == ["made"]
    again = run("pipeline.vocab", "--corpus", "sample", "--kind", kind, "--size", size, "--out", "made", cwd=tmp_path)
    error_of(again, 2, "--out holds something already")


def test_too_small_a_size_is_refused(tmp_path: Path) -> None:
    done = run("pipeline.vocab", "--corpus", "sample", "--kind", "byte-bpe", "--size", "100", "--out", "made", cwd=tmp_path)
    error_of(done, 12, "at least 261")
    assert not (tmp_path / "made").exists()
