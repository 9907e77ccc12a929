"""A tiny data set, written straight through `shards.writer`: synthetic ids that a network can learn a little from."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from shards.columns import Columns
from shards.durable import commit_bytes
from shards.manifest import CorpusEntry, FileEntry, Manifest, ShardEntry, SpecialIds, Tally, TokenizerEntry
from shards.odometer import shard_odometer, to_hex
from shards.writer import write_shard

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
VOCAB_SIZE = 64


def write_tiny_data(
    folder: Path,
    *,
    rows: int = 48,
    heldout_rows: int = 8,
    shards: int = 2,
    max_seq_len: int = 32,
    vocab_size: int = VOCAB_SIZE,
    seed: int = 0,
    layout: str = "pairs",
    vocabulary: str = "word",
    shortest: int | None = None,
) -> Path:
    """Write a data set of `rows` training samples in `shards` shards, and return its folder.

    Ids within a sample count up, so that the next one can be guessed; lengths differ, from `shortest` tokens (half of the
    longest) on. Equal arguments give equal bytes.
    """
    random = np.random.default_rng(seed)
    tokenizer = _write_tokenizer(folder, vocab_size, vocabulary)
    entries: list[ShardEntry] = []
    histogram: Counter[str] = Counter()
    sizes = [("train", len(part)) for part in np.array_split(np.arange(rows), shards)]
    sizes += [("heldout", heldout_rows)] if heldout_rows else []
    for index, (split, count) in enumerate(sizes):
        columns = _columns(random, count, max_seq_len, vocab_size, shortest, paired=layout == "pairs")
        histogram.update(f"{-(-int(n) // 16) * 16:05d}" for n in np.diff(columns.offsets) + (3 if layout == "pairs" else 2))
        name = f"{split}-{'0' * 8}-{index:05d}.arrow"
        digest = write_shard(folder / name, columns)
        entries.append(
            ShardEntry(
                file=name,
                split=split,
                rows=count,
                tokens=len(columns.ids),
                bytes=digest.size,
                sha256=digest.sha256,
                odometer=to_hex(shard_odometer(index, count)),
            )
        )
    total = rows + heldout_rows
    Manifest(
        recipe={"max_seq_len": max_seq_len, "layout": layout, "seed": seed},
        corpus=(CorpusEntry(path="synthetic.txt", size=1, sha256=hashlib.sha256(b"synthetic").hexdigest()),),
        tokenizer=tokenizer,
        shards=tuple(entries),
        length_histogram=histogram,
        tally=Tally(read=total, kept=total, dropped={}, rows_read=total, rows_kept=total, rows_dropped={}),
        tag=f"{seed:016x}",
        made={},
    ).commit(folder)
    return folder


def _write_tokenizer(folder: Path, vocab_size: int, vocabulary: str) -> TokenizerEntry:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = special + [f"{vocabulary}{i}" for i in range(vocab_size - len(special))]
    data = ("\n".join(tokens) + "\n").encode()
    hashed = hashlib.sha256(data).hexdigest()
    name = f"tokenizer-{hashed[:8]}"
    digest = commit_bytes(folder / name / "vocab.txt", data)
    return TokenizerEntry(
        kind="wordpiece",
        folder=name,
        hash=hashed,
        files=(FileEntry(name="vocab.txt", size=digest.size, sha256=digest.sha256),),
        vocab_size=vocab_size,
        special_ids=SPECIAL,
        pair_template="bert",
    )


def _columns(
    random: np.random.Generator, count: int, max_seq_len: int, vocab_size: int, shortest: int | None, *, paired: bool
) -> Columns:
    longest = max_seq_len - 3
    lengths = random.integers(shortest or longest // 2, longest + 1, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    first = random.integers(5, vocab_size, count)
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    ids = 5 + (np.repeat(first, lengths) + position) % (vocab_size - 5)
    word_start = random.random(len(ids)) < 0.6
    word_start[offsets[:-1]] = True
    return Columns(
        ids=ids.astype(np.uint16),
        word_start=word_start,
        offsets=offsets,
        split=(lengths // 2 if paired else np.zeros(count)).astype(np.uint16),
        source_file=np.zeros(count, np.uint32),
        source_row=np.arange(1, count + 1, dtype=np.uint64),
    )
