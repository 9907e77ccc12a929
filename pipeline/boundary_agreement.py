"""``python -m pipeline.boundary_agreement FILE``: how well word boundaries agree with jieba's, run of Han by run of Han.

Beside our engines stands the usual trick of ``##`` vocabularies, as PaddleNLP's ``get_whole_word_mask_tokens`` works: the words
of a sentence are kept as a set, and from the left the longest join of up to six tokens that is in the set is taken for a word,
wherever in the sentence that word had been found.
"""

from __future__ import annotations

import argparse
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path

from pipeline.errors import EmptyCorpusError, EncodingError
from shards.cli import Outcome, new_parser, run
from shards.errors import NotFoundError, UsageError

ENGINES = ("jieba-numpy", "rjieba")
TRICK = "## trick"
_LONGEST = 6
_BLOCK_CHARACTERS = 1 << 19


def set_match_words(sentence: str, words: set[str]) -> list[str]:
    """Return the words that greedy matching against the set of a sentence's words gives for one run of characters."""
    found = []
    place = 0
    while place < len(sentence):
        length = next((n for n in range(min(_LONGEST, len(sentence) - place), 1, -1) if sentence[place : place + n] in words), 1)
        found.append(sentence[place : place + length])
        place += length
    return found


def agreement(lines: Iterable[str], *, hmm: bool = True) -> dict[str, float]:
    """Return the share of the runs of Han whose boundaries are jieba's: for our engines, and for the trick."""
    from pipeline.han_runs import runs_of
    from pipeline.segment import make_segmenter

    reference = make_segmenter("jieba", hmm)
    engines = {name: make_segmenter(name, hmm) for name in ENGINES}
    alike = dict.fromkeys((*ENGINES, TRICK), 0)
    total = 0
    for block in _blocks(lines):
        runs = [run for line_runs in block for run in line_runs]
        total += len(runs)
        joined = " ".join(runs)
        ends = list(accumulate(len(run) + 1 for run in runs))
        flags = reference.word_starts(runs_of(joined))
        for name, engine in engines.items():
            wrong = (engine.word_starts(runs_of(joined)) != flags).nonzero()[0].tolist()
            alike[name] += len(runs) - len({bisect_right(ends, place) for place in wrong})
        begins = flags.nonzero()[0].tolist()
        words = iter([joined[a:b].rstrip(" ") for a, b in pairwise([*begins, len(joined)])])
        for line_runs in block:
            of_run = [_take_words(run, words) for run in line_runs]
            known = {word for found in of_run for word in found}
            alike[TRICK] += sum(set_match_words(run, known) == found for run, found in zip(line_runs, of_run, strict=True))
    return {**{name: count / total for name, count in alike.items()}, "runs": float(total)} if total else {}


def _take_words(run: str, words: Iterator[str]) -> list[str]:
    found: list[str] = []
    left = len(run)
    while left > 0:
        word = next(words)
        if word:  # the space between two runs counts as a word of its own
            found.append(word)
            left -= len(word)
    return found


def _blocks(lines: Iterable[str]) -> Iterator[list[list[str]]]:
    """Yield the runs of Han of each line, lines with about half a million characters of them at a time."""
    from pipeline.segment import HAN_RUN

    block: list[list[str]] = []
    size = 0
    for line in lines:
        runs = HAN_RUN.findall(line)
        if runs:
            block.append(runs)
            size += sum(map(len, runs))
        if size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = new_parser("pipeline.boundary_agreement", "Measure on a text how word boundaries agree with jieba's.")
    parser.add_argument("file", help="text, one sentence or paragraph a line, UTF-8")
    parser.add_argument("--lines", type=int, default=2000, help="lines to look at; 0: all")
    parser.add_argument("--no-hmm", action="store_true", help="segment by dictionary alone")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.boundary_agreement", build_parser(), _measure, argv)


def _measure(options: argparse.Namespace) -> Outcome:
    path = Path(options.file)
    if options.lines < 0:
        raise UsageError(f"--lines must be at least 0, got {options.lines}")
    if not path.is_file():
        raise NotFoundError("no such file", where=path)
    with path.open("rb") as file:
        lines = (_decoded(line, f"{path}:{row}") for row, line in enumerate(islice(file, options.lines or None), 1))
        shares = agreement(lines, hmm=not options.no_hmm)
    if not shares:
        raise EmptyCorpusError("no run of Han characters to measure on", where=path)
    for name, share in shares.items():
        print(f"{name}: {share:,.0f}" if name == "runs" else f"{name}: {share:.4%} of the runs have jieba's boundaries")
    return Outcome(figures=shares)


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8: byte {line[error.start]:#04x}", where=where, hint="Save the file as UTF-8") from None


if __name__ == "__main__":
    raise SystemExit(main())
