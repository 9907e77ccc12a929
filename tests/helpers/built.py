"""Small data sets built from text by the real command, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.build import main as build

SMALL = ("--engine", "local", "--vocab-size", "400", "--max-seq-len", "64", "--heldout", "0.1")


def build_set(root: Path, name: str, files: Mapping[str, str], *flags: str, corpus: str = "clue_small") -> Path:
    """Write `files` (name → text) below ``root/corpus-NAME`` and build them to ``root/shards/NAME``, which is returned."""
    folder = root / f"corpus-{name}"
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    options = ["--corpus", corpus, "--input", str(folder), "--name", name, "--out", str(root / "shards"), *SMALL, *flags]
    assert build(options) == 0
    return root / "shards" / name


def documents(count: int, *, first: int = 0) -> str:
    """Return `count` Chinese documents of one to four sentences, no two alike, parted by blank lines."""
    sentences = ("今天天气很好，我们去公园玩。", "研究生研究生命起源！", "他说：“明天再见。”", "孩子们在草地上放风筝。")
    return "\n\n".join(
        "\n".join([f"第{number}篇文章。", *(sentences[(number + i) % 4] for i in range(number % 4))])
        for number in range(first, first + count)
    )
