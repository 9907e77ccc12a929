"""What the builds are compared with, each as a process of its own: prints the seconds its work took, start-up left out.

``python -m tests.benchmarks.peers jieba|tokenizers VOCAB FILE…``: the lines of the files through ``jieba.lcut``, or through
`tokenizers`' ``encode_batch_fast`` on one thread. Both only segment or tokenize: they read, clean, lay out and write nothing.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence


def _lines(paths: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines += [line for line in file.read().split("\n") if line and not line.startswith(("<doc ", "</doc>"))]
    return lines


def jieba_seconds(lines: list[str]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    begun = time.perf_counter()
    for line in lines:
        jieba.lcut(line)
    return time.perf_counter() - begun


def tokenizers_seconds(lines: list[str], vocab: str) -> float:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(vocab, lowercase=True)
    begun = time.perf_counter()
    for at in range(0, len(lines), 1000):
        tokenizer._tokenizer.encode_batch_fast(lines[at : at + 1000], add_special_tokens=False)
    return time.perf_counter() - begun


if __name__ == "__main__":
    _name, _vocab, *_paths = sys.argv[1:]
    _read = _lines(_paths)
    _seconds = jieba_seconds(_read) if _name == "jieba" else tokenizers_seconds(_read, _vocab)
    print(_seconds, sum(len(line.encode()) + 1 for line in _read))
