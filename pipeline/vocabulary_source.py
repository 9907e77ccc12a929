"""Which text a vocabulary is trained on: the cleaned documents at the start of every input file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import fsspec

from pipeline.documents import Ledger
from pipeline.inputs import InputFile
from pipeline.plan import MIB, FileScan
from pipeline.readers import FORMATS
from pipeline.stages import STAGES, run_stages

MAX_SAMPLE_BYTES_PER_FILE = 64 * MIB
MAX_SAMPLE_BYTES = 512 * MIB


def sample_bytes_per_file(files: int) -> int:
    """Return how much of each file is looked at: up to 64 MiB, and up to 512 MiB in all."""
    return min(MAX_SAMPLE_BYTES_PER_FILE, max(MAX_SAMPLE_BYTES // max(files, 1), 64 << 10))


def sample_texts(files: Sequence[InputFile], scans: Sequence[FileScan], max_bytes: int) -> Iterator[str]:
    """Yield the cleaned lines of the documents in the first `max_bytes` of each file; a document cut there is left out."""
    for file, scan in zip(files, scans, strict=True):
        with fsspec.open(file.url, "rb") as stream:
            data: bytes = stream.read(max_bytes)
        format = FORMATS[scan.format]
        if len(data) < scan.size:
            cut = data.rfind(b"\n") + 1
            borders = [found.end() for found in format.border.finditer(data)]
            data = data[: borders[-1] if borders else cut]
        for document in run_stages(format.documents(data, 1, Ledger()), STAGES, Ledger()):
            yield from document.lines
