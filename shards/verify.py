"""``python -m shards.verify PATH``: hash every byte of the data sets at PATH and compare with what their manifests record."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from shards.reader import DataSet


def main(argv: Sequence[str] | None = None) -> int:
    parser = new_parser("shards.verify", "Check that no byte of a data set has changed since it was built.")
    parser.add_argument("path", metavar="PATH", help="a data set, or a folder of data sets; also behind a URL")
    return run("shards.verify", parser, _verify, argv)


def _verify(options: argparse.Namespace) -> Outcome:
    from shards.errors import IntegrityError
    from shards.locate import find_data_sets
    from shards.odometer import shard_odometer, to_hex
    from shards.remote import check_stored, data_set_urls
    from shards.storage import is_url

    if is_url(options.path):
        for url in data_set_urls(options.path):
            check_stored(url)  # the rows are then read from the copy, which has the same bytes
    found = find_data_sets(options.path, together=False)
    total_bytes = 0
    for data_set in found:
        manifest = data_set.manifest
        data_set.verify()
        for index, entry in enumerate(manifest.shards):
            _check_rows(data_set, index)
            if (expected := to_hex(shard_odometer(index, entry.rows))) != entry.odometer:
                raise IntegrityError("odometer is wrong", where=data_set.path / entry.file, expected=expected, got=entry.odometer)
            total_bytes += entry.bytes
        rows = sum(entry.rows for entry in manifest.shards)
        print(f"{data_set.path}: {len(manifest.shards)} shards, {rows:,} rows, every byte as recorded")
        print(f"  fingerprint {manifest.fingerprint}")
    fingerprint = found[0].manifest.fingerprint if len(found) == 1 else None
    figures = {"data_sets": len(found), "shards": sum(len(s.manifest.shards) for s in found), "bytes": total_bytes}
    return Outcome(fingerprint=fingerprint, outputs=tuple(str(s.path) for s in found), figures=figures)


def _check_rows(data_set: DataSet, index: int) -> None:
    """Read every row of a shard, so that its structure is checked as well as its hash."""
    import numpy as np

    from shards.columns import BATCH_ROWS
    from shards.errors import FormatError

    shard, tokens = data_set.shard(index), 0
    for first in range(0, shard.entry.rows, BATCH_ROWS):
        columns = shard.take(np.arange(first, min(first + BATCH_ROWS, shard.entry.rows)))
        tokens += len(columns.ids)
        if int(columns.ids.max()) >= data_set.manifest.tokenizer.vocab_size:
            raise FormatError(
                "a token id lies outside of the vocabulary", where=f"{shard.path}, rows from {first}", got=int(columns.ids.max())
            )
    if tokens != shard.entry.tokens:
        raise FormatError("wrong number of tokens", where=shard.path, expected=shard.entry.tokens, got=tokens)


if __name__ == "__main__":
    raise SystemExit(main())
