"""Open data sets: rows of one split, or of several sets as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shards.columns import Columns, StaticMasks, id_dtype
from shards.durable import hash_file
from shards.errors import FormatError, IntegrityError, NotFoundError, UsageError
from shards.manifest import SPLITS, Manifest, ShardEntry, separators_inside
from shards.odometer import combine, sample_ids
from shards.shard_file import ShardFile, gather
from shards.storage import is_url

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Rows(Columns):
    """Columns of N rows and who they are: sample_id uint64[N] (shard index << 32 | row), tag uint64[N] of the data set."""

    sample_id: U64
    tag: U64


class DataSet:
    """A committed data set. Shards are opened, and with `verify` hashed, when they are first touched."""

    def __init__(self, path: Path, manifest: Manifest, *, verify: bool) -> None:
        self.path, self.manifest = path, manifest
        self.name = path.resolve().name
        self._verify = verify
        self._open: dict[int, ShardFile] = {}

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> DataSet:
        """Read the manifest and check the stored tokenizer; a URL is opened through a copy on this machine.

        Raises NotFoundError, FormatError or IntegrityError, naming the file.
        """
        folder = _on_this_machine(path)
        data_set = cls(folder, Manifest.read(folder), verify=verify)
        if verify:
            data_set._verify_tokenizer()
        return data_set

    @property
    def tokenizer_folder(self) -> Path:
        return self.path / self.manifest.tokenizer.folder

    def split(self, name: str) -> Split:
        """Return the rows of ``train`` or ``heldout``."""
        if name not in SPLITS:
            raise UsageError("unknown split", expected=SPLITS, got=name)
        return Split([self], name)

    def shard(self, index: int) -> ShardFile:
        """Open shard `index` of the manifest (once)."""
        if index not in self._open:
            entry = self.manifest.shards[index]
            shard = ShardFile(self.path / entry.file, entry, verify=self._verify)
            if shard.id_dtype != id_dtype(self.manifest.tokenizer.vocab_size):
                raise FormatError("token ids have the wrong width for the vocabulary", where=shard.path, got=shard.id_dtype)
            self._open[index] = shard
        return self._open[index]

    def verify(self) -> None:
        """Hash every file of the set now. Raises on the first that is missing or altered."""
        self._verify_tokenizer()
        for index in range(len(self.manifest.shards)):
            entry = self.manifest.shards[index]
            ShardFile(self.path / entry.file, entry, verify=True)
        self._verify = False

    def _verify_tokenizer(self) -> None:
        for file in self.manifest.tokenizer.files:
            path = self.tokenizer_folder / file.name
            try:
                digest = hash_file(path)
            except OSError:
                raise NotFoundError("tokenizer file is missing", where=path) from None
            if (digest.sha256, digest.size) != (file.sha256, file.size):
                raise IntegrityError("tokenizer file is altered", where=path, expected=file.sha256, got=digest.sha256)


def _on_this_machine(path: str | Path) -> Path:
    if not is_url(path):
        return Path(path)
    from shards.remote import local_copy

    return local_copy(str(path))


class Split:
    """The rows of one split over one or several data sets, numbered 0 … len − 1 set after set, shard after shard."""

    def __init__(self, data_sets: Sequence[DataSet], name: str) -> None:
        self.data_sets, self.name = tuple(data_sets), name
        self._parts: list[tuple[DataSet, int]] = []
        counts: list[int] = []
        for data_set in self.data_sets:
            for index, entry in enumerate(data_set.manifest.shards):
                if entry.split == name:
                    self._parts.append((data_set, index))
                    counts.append(entry.rows)
        self._begins = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._set_of_part = np.array([self.data_sets.index(s) for s, _ in self._parts], np.int64)
        self._shard_of_part = np.array([index for _, index in self._parts], np.uint64)
        self._tag_of_part = np.array([int(s.manifest.tag, 16) for s, _ in self._parts], np.uint64)

    def __len__(self) -> int:
        return int(self._begins[-1])

    @property
    def tokens(self) -> int:
        return sum(self._entry(part).tokens for part in range(len(self._parts)))

    def odometer(self, data_set: DataSet) -> int:
        """Return the recorded sum of all sample ids of one of the sets."""
        entries = [s.manifest.shards[i] for s, i in self._parts if s is data_set]
        return combine(int(entry.odometer, 16) for entry in entries)

    def identify(self, rows: I64) -> tuple[I64, U64]:
        """Return (number of the data set, sample id) of each row, without reading any."""
        part = np.searchsorted(self._begins, rows, side="right") - 1
        return self._set_of_part[part], sample_ids(self._shard_of_part[part], (rows - self._begins[part]).astype(np.uint64))

    def first_row(self, set_index: int) -> int:
        """Return the number of the first row of a data set."""
        return int(self._begins[np.searchsorted(self._set_of_part, set_index)])

    def row_of(self, set_index: int, sample_id: int) -> int | None:
        """Return the number of the row with this id, None when the split of that set has no such sample."""
        shard, within = sample_id >> 32, sample_id & 0xFFFFFFFF
        parts = np.flatnonzero((self._set_of_part == set_index) & (self._shard_of_part == shard))
        if not len(parts) or within >= self._entry(int(parts[0])).rows:
            return None
        return int(self._begins[parts[0]]) + within

    def rows_from(self, set_index: int, file: int, row: int) -> I64:
        """Return the numbers of the rows of a data set whose first sentence is line `row` of corpus file `file`. Reads all."""
        found = [
            self._begins[part] + self.data_sets[set_index].shard(int(self._shard_of_part[part])).rows_from(file, row)
            for part in np.flatnonzero(self._set_of_part == set_index).tolist()
        ]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def lengths(self, rows: I64) -> I64:
        """Return the tokens of rows with special ones, reading no token; rows in ascending order are found fastest."""
        part_of = np.searchsorted(self._begins, rows, side="right") - 1
        lengths = np.empty(len(rows), np.int64)
        for part in np.unique(part_of).tolist():
            here = part_of == part
            data_set, index = self._parts[part]
            inside = separators_inside(data_set.manifest.tokenizer.pair_template)
            tokens, paired = data_set.shard(index).lengths(rows[here] - self._begins[part])
            lengths[here] = tokens + 2 + paired * inside
        return lengths

    def take(self, rows: I64) -> Rows:
        """Return rows by number, in the given order. Raises UsageError for numbers outside of [0, len)."""
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise UsageError("row out of range", expected=f"0 to {len(self) - 1}", got=f"{rows.min()} to {rows.max()}")
        if not len(rows):
            raise UsageError("no rows asked for")
        part_of = np.searchsorted(self._begins, rows, side="right") - 1
        within = rows - self._begins[part_of]
        found = [self._shard(part).find(row) for part, row in zip(part_of.tolist(), within.tolist(), strict=True)]
        columns = gather(found, self._shard(int(part_of[0])).id_dtype)
        return Rows(
            ids=columns.ids, word_start=columns.word_start, offsets=columns.offsets, split=columns.split,
            source_file=columns.source_file, source_row=columns.source_row, static=columns.static,
            sample_id=sample_ids(self._shard_of_part[part_of], within.astype(np.uint64)), tag=self._tag_of_part[part_of],
        )  # fmt: skip

    def _shard(self, part: int) -> ShardFile:
        data_set, index = self._parts[part]
        return data_set.shard(index)

    def _entry(self, part: int) -> ShardEntry:
        data_set, index = self._parts[part]
        return data_set.manifest.shards[index]


def starts(lengths: I64) -> I64:
    """Return the offsets of consecutive pieces of the given lengths: int64[len(lengths) + 1], from 0 to their sum."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def gather_index(offsets: I64, rows: I64) -> tuple[I64, I64]:
    """Return (positions int64[T] of the tokens of `rows` in a flat column, their new offsets int64[len(rows) + 1])."""
    lengths = np.diff(offsets)[rows]
    new = starts(lengths)
    before: I64 = np.repeat(offsets[rows] - new[:-1], lengths)
    index: I64 = np.add(before, np.arange(new[-1], dtype=np.int64))
    return index, new


def take_rows(columns: Columns, rows: I64) -> Columns:
    """Return the given rows, in the given order; one may be given several times."""
    index, offsets = gather_index(columns.offsets, rows)
    static = columns.static
    if static is not None:
        mask_index, mask_offsets = gather_index(static.offsets, rows)
        static = StaticMasks(
            offsets=mask_offsets,
            positions=static.positions[mask_index],
            ids=static.ids[mask_index],
            sop_swapped=static.sop_swapped[rows],
        )
    return Columns(
        ids=columns.ids[index], word_start=columns.word_start[index], offsets=offsets, split=columns.split[rows],
        source_file=columns.source_file[rows], source_row=columns.source_row[rows], static=static,
    )  # fmt: skip
