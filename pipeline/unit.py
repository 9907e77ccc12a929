"""One unit → its shards: the whole chain from bytes to Arrow, a pure function of the unit and the recipe.

Documents are gathered in batches of about a mebibyte of text, so that each step works on long arrays while memory holds one
unit's tokens and one batch of its text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.documents import Document, Ledger
from pipeline.encode import Encoder
from pipeline.layouts import LayoutKey, full, line, pairs
from pipeline.plan import Unit, read_unit, unit_format
from pipeline.recipe import Recipe
from pipeline.segment import make_segmenter
from pipeline.sentence_stream import SentenceStream, join
from pipeline.sentences import split_sentences
from pipeline.stages import STAGES, run_stages
from pipeline.tokenizer import Tokenizer
from shards.collate import separators_inside
from shards.columns import Columns
from shards.manifest import HISTOGRAM_BIN_TOKENS
from shards.writer import write_shard

_BATCH_CHARACTERS = 1 << 19


@dataclass(frozen=True, kw_only=True)
class UnitShard:
    """One file that a unit wrote."""

    file: str
    split: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class UnitReport:
    """What became of one unit. `histogram`: upper bound of a length bin (tokens with special ones) → samples of train."""

    index: int
    shards: tuple[UnitShard, ...]
    histogram: dict[str, int]
    documents: dict[str, Any]
    rows: dict[str, Any]
    rejects: dict[str, list[int]]
    elapsed_s: float

    def to_json_object(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"shards": [dataclasses.asdict(s) for s in self.shards]}

    @classmethod
    def from_json_object(cls, value: dict[str, Any]) -> UnitReport:
        return cls(**(value | {"shards": tuple(UnitShard(**s) for s in value["shards"])}))


class UnitBuilder:
    """Builds units of one recipe; holds what is costly to load (tokenizer, segmenter, caches)."""

    def __init__(self, recipe: Recipe, tokenizer_folder: Path, out: Path, hash8: str) -> None:
        self.recipe, self.out, self.hash8 = recipe, out, hash8
        self.tokenizer = Tokenizer.from_folder(tokenizer_folder)
        segmenter = make_segmenter(recipe.segmenter["name"], hmm=recipe.segmenter["hmm"])
        self.encoder = Encoder(self.tokenizer, segmenter)
        inside = separators_inside(self.tokenizer.pair_template) if recipe.layout == "pairs" else 0
        self.special_tokens = 2 + inside
        self.max_tokens = recipe.max_seq_len - self.special_tokens

    def build(self, unit: Unit) -> UnitReport:
        """Build one unit and commit its shards. Raises InputError and StorageError."""
        begun = time.perf_counter()
        ledger = Ledger()
        documents = run_stages(unit_format(unit).documents(read_unit(unit), unit.first_row, ledger), STAGES, ledger)
        parts: dict[str, list[SentenceStream]] = {"train": [], "heldout": []}
        for batch in _batches(documents):
            for split, stream in self._encode(batch, unit.lang, ledger):
                parts[split].append(stream)
        shards: list[UnitShard] = []
        histogram: Counter[str] = Counter()
        for split, streams in parts.items():
            if streams and len(stream := join(streams).cut_to(self.max_tokens)):
                columns = self._lay_out(stream, unit)
                shards.append(self._write(columns, split, unit))
                if split == "train":
                    histogram.update(self._histogram(columns))
        return UnitReport(
            index=unit.index,
            shards=tuple(shards),
            histogram=dict(sorted(histogram.items())),
            documents={"read": ledger.documents_read, "kept": ledger.documents_kept, "dropped": dict(ledger.documents_dropped)},
            rows={"read": ledger.rows_read, "kept": ledger.rows_kept, "dropped": dict(ledger.rows_dropped)},
            rejects=ledger.rejects,
            elapsed_s=time.perf_counter() - begun,
        )

    def _encode(self, documents: list[Document], lang: str, ledger: Ledger) -> Iterator[tuple[str, SentenceStream]]:
        sentences: list[str] = []
        owners: list[int] = []
        rows: list[int] = []
        for number, document in enumerate(documents):
            for text, row in zip(document.lines, document.rows, strict=True):
                pieces = [text] if self.recipe.layout == "line" else split_sentences(text, lang)
                sentences += pieces
                owners += [number] * len(pieces)
                rows += [row] * len(pieces)
        encoded = self.encoder.encode(sentences)
        stream = SentenceStream(
            ids=encoded.ids, word_start=encoded.word_start, offsets=encoded.offsets,
            document=np.asarray(owners, np.int64), row=np.asarray(rows, np.int64),
        ).without_empty()  # fmt: skip
        for number in np.setdiff1d(np.arange(len(documents)), stream.document).tolist():
            ledger.retract(documents[number], "no_tokens")
        held = np.array([is_held_out(document, self.recipe.heldout) for document in documents], np.bool_)
        if not held.any():
            yield "train", stream
            return
        of_sentence = held[stream.document]
        yield "train", stream.select(np.flatnonzero(~of_sentence))
        yield "heldout", stream.select(np.flatnonzero(of_sentence))

    def _lay_out(self, stream: SentenceStream, unit: Unit) -> Columns:
        recipe = self.recipe
        if recipe.layout == "pairs":
            key = LayoutKey(seed=recipe.seed, file_index=unit.file_index, first_row=unit.first_row)
            return pairs(stream, self.max_tokens, recipe.short_seq_prob, key, unit.file_index)
        if recipe.layout == "full":
            return full(stream, self.max_tokens, self.tokenizer.special_ids.sep, unit.file_index)
        return line(stream, unit.file_index)

    def _write(self, columns: Columns, split: str, unit: Unit) -> UnitShard:
        name = f"{split}-{self.hash8}-{unit.index:05d}.arrow"
        digest = write_shard(self.out / name, columns)
        tokens = int(columns.offsets[-1])
        return UnitShard(file=name, split=split, rows=len(columns), tokens=tokens, bytes=digest.size, sha256=digest.sha256)

    def _histogram(self, columns: Columns) -> Counter[str]:
        inside = separators_inside(self.tokenizer.pair_template)
        lengths = np.diff(columns.offsets) + 2 + (columns.split > 0) * inside
        bins = -(-lengths // HISTOGRAM_BIN_TOKENS) * HISTOGRAM_BIN_TOKENS
        return Counter({f"{bound:05d}": int(count) for bound, count in zip(*np.unique(bins, return_counts=True), strict=True)})


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += sum(map(len, document.lines))
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def is_held_out(document: Document, share: float) -> bool:
    """Return whether a document is kept from training: by a hash of its cleaned text, so that copies go the same way."""
    if share <= 0.0:
        return False
    digest = hashlib.sha256("\n".join(document.lines).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
