"""Samples to leave out of training: a file of sample ids or source lines, as ``pretrain.replay`` prints them.

One to a line; blank lines and lines that begin with # are passed over:

    0x100000002a                the sample of this id (also in decimal), where there is only one data set
    clue_small 0x100000002a     the sample of this id in a data set
    part-1.txt:7031             all samples whose first sentence is this line of this file of the corpus
    part-1.txt:7031  [clue_small id 0x2a, epoch 0, …]        a heading of pretrain.replay: that sample alone

Positions of the order keep their samples: those to be left out leave their step that much smaller, and nothing else moves. So
a list may be given, or grow, when a run goes on from a checkpoint that lies before the samples it names.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.errors import NotFoundError, UsageError
from shards.reader import Split

I64 = npt.NDArray[np.int64]
_HEADING = re.compile(r".*\[(?P<set>\S+) id (?P<id>0x[0-9a-fA-F]+)[,\]]")
_ID = re.compile(r"(?:(?P<set>\S+)\s+)?(?P<id>0x[0-9a-fA-F]+|[0-9]+)")
_SOURCE = re.compile(r"(?P<file>.+):(?P<row>[0-9]+)")
_MAX_BYTES = 64 << 20


def read_skipped(path: Path, split: Split) -> I64:
    """Return the numbers of the rows of `split` that a file names, ascending, each once.

    Raises NotFoundError for no such file, UsageError, naming the line, for one that says nothing or names no training sample.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        lines = data.decode().split("\n")
    except OSError as error:
        raise NotFoundError(f"cannot read the samples to skip: {error.strerror}", where=path) from None
    except UnicodeDecodeError as error:
        raise UsageError("the samples to skip are not UTF-8 text", where=path, got=f"byte {error.start}") from None
    if len(data) > _MAX_BYTES:
        raise UsageError("the list of samples to skip is too long", where=path, expected=f"at most {_MAX_BYTES:,} bytes")
    rows = [np.empty(0, np.int64)]
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            rows.append(_rows_named(text, split, f"{path}:{number}"))
    return np.unique(np.concatenate(rows))


def _rows_named(text: str, split: Split, where: str) -> I64:
    names = [s.name for s in split.data_sets]
    if found := _HEADING.match(text) or _ID.fullmatch(text):
        if found["set"] is None and len(names) > 1:
            raise UsageError(
                "which data set's sample is this?", where=where, expected="NAME ID", got=text, hint=f"Sets: {', '.join(names)}"
            )
        if found["set"] is not None and found["set"] not in names:
            raise UsageError(f"there is no data set {found['set']!r} here", where=where, expected=f"one of {', '.join(names)}")
        row = split.row_of(names.index(found["set"] or names[0]), int(found["id"], 0))
        if row is None:
            raise UsageError(f"no {split.name} sample has this id", where=where, got=found["id"])
        return np.array([row], np.int64)
    if not (found := _SOURCE.fullmatch(text)):
        raise UsageError("not a sample to skip", where=where, expected="ID, NAME ID or FILE:ROW", got=repr(text[:80]))
    rows = [
        split.rows_from(i, j, int(found["row"]))
        for i, data_set in enumerate(split.data_sets)
        for j, entry in enumerate(data_set.manifest.corpus)
        if entry.path == found["file"]
    ]
    if not rows or not sum(len(r) for r in rows):
        what = f"no {split.name} sample begins at this line" if rows else "no such file in the corpus of the data"
        raise UsageError(what, where=where, got=text)
    return np.concatenate(rows)
