"""Units over files of JSON lines that a test writes: what a plan would hold, with cuts where the test wants them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.units import Unit


def write_units(folder: Path, files: Sequence[Sequence[str]], documents_per_unit: int, lang: str = "zh") -> list[Unit]:
    """Write each list of texts as a file of one document a row; row k of file f is files[f][k - 1]."""
    units: list[Unit] = []
    for file_index, texts in enumerate(files):
        path = folder / f"input-{file_index}.jsonl"
        lines = [json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n" for text in texts]
        path.write_bytes(b"".join(lines))
        offset = 0
        for begin in range(0, len(lines), documents_per_unit):
            data = b"".join(lines[begin : begin + documents_per_unit])
            units.append(
                Unit(
                    index=len(units), file_index=file_index, url=str(path), path=path.name, lang=lang, format="jsonl", begin=offset,
                    end=offset + len(data), first_row=begin + 1, sha256=hashlib.sha256(data).hexdigest(),
                )
            )  # fmt: skip
            offset += len(data)
    return units
