"""Made-up samples and data sets of any size, written through the real writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shards.columns import Columns, StaticMasks
from shards.counter import below, fold, fold_each
from shards.manifest import Manifest, ShardEntry, SpecialIds, Tally, TokenizerEntry
from shards.odometer import shard_odometer, to_hex
from shards.reader import starts
from shards.writer import write_shard

SPECIAL = SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103)
VOCAB_SIZE = 21_128


def made_columns(rows: int, *, seed: int = 0, longest: int = 60, static: bool = False, dtype: type = np.uint16) -> Columns:
    """Return random samples: 1 to `longest` tokens, words of 1 to 4, a pair where there are two words or more."""
    number = np.arange(rows, dtype=np.uint64)
    lengths = 1 + below(fold_each(fold(seed, 1), number), longest)
    offsets = starts(lengths)
    token = np.arange(int(offsets[-1]), dtype=np.uint64)
    ids = (104 + below(fold_each(fold(seed, 2), token), VOCAB_SIZE - 104)).astype(dtype)
    word_start = below(fold_each(fold(seed, 3), token), 10) < 6
    word_start[offsets[:-1]] = True
    split = np.where(lengths > 3, below(fold_each(fold(seed, 4), number), np.maximum(lengths - 1, 1)), 0)
    masks = None
    if static:
        masks = StaticMasks(
            offsets=np.arange(rows + 1, dtype=np.int64),
            positions=np.zeros(rows, np.uint16),
            ids=np.full(rows, SPECIAL.mask, dtype),
            sop_swapped=(number % 2).astype(np.bool_),
        )
    return Columns(
        ids=ids, word_start=word_start, offsets=offsets, split=split.astype(np.uint16), source_file=np.zeros(rows, np.uint32),
        source_row=number + 1, static=masks,
    )  # fmt: skip


def made_data_set(
    folder: Path, shards: list[Columns], *, tokenizer_hash: str = "0" * 64, tag: str = "00000000000000aa"
) -> Manifest:
    """Write a data set of the given shards, all of them for training, with an empty tokenizer folder."""
    entries = []
    for index, columns in enumerate(shards):
        name = f"train-00000000-{index:05d}.arrow"
        digest = write_shard(folder / name, columns)
        entries.append(
            ShardEntry(
                file=name, split="train", rows=len(columns), tokens=len(columns.ids), bytes=digest.size, sha256=digest.sha256,
                odometer=to_hex(shard_odometer(index, len(columns))),
            )
        )  # fmt: skip
    rows = sum(len(c) for c in shards)
    manifest = Manifest(
        recipe={"max_seq_len": 64, "layout": "pairs"},
        corpus=(),
        tokenizer=TokenizerEntry(
            kind="wordpiece", folder="tokenizer-00000000", hash=tokenizer_hash, files=(), vocab_size=VOCAB_SIZE, special_ids=SPECIAL,
            pair_template="bert",
        ),
        shards=tuple(entries),
        length_histogram={"00064": rows},
        tally=Tally(read=rows, kept=rows, dropped={}, rows_read=rows, rows_kept=rows, rows_dropped={}),
        tag=tag,
        made={},
    )  # fmt: skip
    manifest.commit(folder)
    return manifest
