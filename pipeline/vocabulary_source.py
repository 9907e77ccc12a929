"""Which text a vocabulary is trained on: the cleaned documents at the start of every input file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.documents import Ledger
from pipeline.guard import Guard
from pipeline.inputs import InputFile
from pipeline.scan import MIB, FileScan
from pipeline.stage import Stage
from pipeline.stages import run_stages
from pipeline.units import first_bytes, make_plan, unit_format

MAX_SAMPLE_BYTES_PER_FILE = 64 * MIB
MAX_SAMPLE_BYTES = 512 * MIB


def sample_bytes_per_file(files: int) -> int:
    """Return how much of each file is looked at: up to 64 MiB, and up to 512 MiB in all."""
    return min(MAX_SAMPLE_BYTES_PER_FILE, max(MAX_SAMPLE_BYTES // max(files, 1), 64 << 10))


def sample_texts(
    files: Sequence[InputFile],
    scans: Sequence[FileScan],
    max_bytes: int,
    stages: Sequence[Stage],
    guard_for: Callable[[str], Guard],
) -> Iterator[str]:
    """Yield the lines, after `stages`, of the documents in the first `max_bytes` of each file; one cut there is left out.

    guard_for: the path of a file → who watches over a unit of it; documents that it sets aside are left out. Raises StageError.
    """
    for unit, data in first_bytes(make_plan(files, scans), max_bytes):
        guard = guard_for(unit.path)
        documents = guard.reader(unit_format(unit).documents(data, unit.first_row, Ledger()), unit.first_row)
        for document in run_stages(documents, guard.stages(stages), Ledger()):
            yield from document.lines
