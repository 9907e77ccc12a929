"""One unit → its shards: the whole chain from bytes to Arrow, a pure function of the unit and the recipe.

Documents are gathered in blocks of about a mebibyte of text, so that each step works on long arrays while memory holds one
unit's tokens and one block of its text.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.documents import Document, Ledger
from pipeline.drop_list import DROP_LIST, DropList, Listed
from pipeline.guard import Guard
from pipeline.layouts import LayoutKey, full, line, pairs
from pipeline.load_tokenizer import load_tokenizer
from pipeline.make_encoder import make_encoder
from pipeline.recipe import Recipe
from pipeline.recipe_segmenter import segmenter_of
from pipeline.sentence_stream import SentenceStream, join
from pipeline.stages import make_stages, run_stages
from pipeline.stopwatch import Stopwatch
from pipeline.text_block import TextBlock, batches
from pipeline.units import Unit, read_unit, unit_format
from shards.allocator import keep_freed_memory
from shards.columns import Columns
from shards.counter import Purpose
from shards.manifest import HISTOGRAM_BIN_TOKENS, separators_inside, shard_name
from shards.masks import MaskPolicy
from shards.peak_memory import peak_resident_bytes
from shards.static_masks import with_static_masks
from shards.writer import write_shard

MAX_UNKNOWN = 100


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
    """What became of one unit.

    histogram: upper bound of a length bin (tokens with special ones) → samples of train; unknown: the most frequent characters
    that the vocabulary lacks; changed: rule → number of ``rows`` that it changed and the ``first`` of them; seconds: time by part
    of the work; peak_bytes: resident memory of the process at most, so far.
    """

    index: int
    shards: tuple[UnitShard, ...]
    histogram: dict[str, int]
    documents: dict[str, Any]
    rows: dict[str, Any]
    rejects: dict[str, list[int]]
    quarantined: list[dict[str, Any]]
    unknown: dict[str, int]
    seconds: dict[str, float]
    peak_bytes: int
    elapsed_s: float
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)  # reports of older builds lack it

    def to_json_object(self) -> dict[str, Any]:
        # Not by `asdict`, whose deep copies of every count are what a driver would spend most of its time on.
        return vars(self) | {"shards": [dict(vars(shard)) for shard in self.shards]}

    @classmethod
    def from_json_object(cls, value: dict[str, Any]) -> UnitReport:
        return cls(**(value | {"shards": tuple(UnitShard(**s) for s in value["shards"])}))


class UnitBuilder:
    """Builds units of one recipe; holds what is costly to load (tokenizer, segmenter, caches)."""

    def __init__(self, recipe: Recipe, tokenizer_folder: Path, out: Path, hash8: str, work_folder: Path | None = None) -> None:
        keep_freed_memory()
        self.recipe, self.out, self.hash8 = recipe, out, hash8
        self.tokenizer = load_tokenizer(tokenizer_folder)
        segmenter = segmenter_of(recipe.segmenter, work_folder)
        self.encoder = make_encoder(self.tokenizer, segmenter)
        self.stages = make_stages(recipe.stages, work_folder)
        self.duplicates = DropList.open(work_folder / DROP_LIST) if recipe.deduplication and work_folder is not None else None
        inside = separators_inside(self.tokenizer.pair_template) if recipe.layout == "pairs" else 0
        self.special_tokens = 2 + inside
        self.max_tokens = recipe.max_seq_len - self.special_tokens

    def build(self, unit: Unit) -> UnitReport:
        """Build one unit and write its shards, unsettled (see `shards.durable`). Raises InputError and StorageError."""
        begun = time.perf_counter()
        ledger, watch = Ledger(), Stopwatch()
        guard = Guard(unit.path, self.recipe.on_error)
        unknown: Counter[str] = Counter()
        with watch.measure("read"):
            read = guard.reader(unit_format(unit).documents(read_unit(unit), unit.first_row, ledger), unit.first_row)
        stages = self.stages if self.duplicates is None else (Listed(self.duplicates, unit.file_index), *self.stages)
        documents = watch.each("clean", run_stages(watch.each("read", read), guard.stages(stages), ledger))
        parts: dict[str, list[SentenceStream]] = {"train": [], "heldout": []}
        for batch in batches(documents):
            done = guard.batch("encode", batch, partial(self._encode, unit.lang, watch), ledger)
            if done is None:
                continue
            kept, (stream, lacking) = done
            unknown.update(lacking)
            with watch.measure("lay_out"):
                for number in np.flatnonzero(np.bincount(stream.document, minlength=len(kept)) == 0).tolist():
                    ledger.retract(kept[number], "no_tokens")
                for split, part in self._split(kept, stream):
                    if len(part):
                        parts[split].append(part)
        shards: list[UnitShard] = []
        histogram: Counter[str] = Counter()
        for split, streams in parts.items():
            with watch.measure("lay_out"), guard.whole("lay_out", unit.first_row):
                columns = self._lay_out(join(streams).cut_to(self.max_tokens), unit, split) if streams else None
            if columns is None:
                continue
            with watch.measure("write"):
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
            changed={rule: {"rows": count, "first": ledger.changes[rule]} for rule, count in sorted(ledger.rows_changed.items())},
            quarantined=guard.report(),
            unknown=dict(unknown.most_common(MAX_UNKNOWN)),
            seconds=dict(watch.seconds),
            peak_bytes=peak_resident_bytes(),
            elapsed_s=time.perf_counter() - begun,
        )

    def _encode(self, lang: str, watch: Stopwatch, documents: list[Document]) -> tuple[SentenceStream, Mapping[str, int]]:
        """Return the sentences of some documents, and how often each character was unknown."""
        streams: list[SentenceStream] = []
        unknown: Counter[str] = Counter()
        for block in TextBlock.portions(documents):
            with watch.measure("sentences"):
                sentences = block.sentences(None if self.recipe.layout == "line" else lang)
            with watch.measure("encode"):
                encoded = self.encoder.encode(sentences.text, sentences.bounds)
            with watch.measure("lay_out"):
                stream = SentenceStream(
                    ids=encoded.ids, word_start=encoded.word_start, offsets=encoded.offsets,
                    document=sentences.document, row=sentences.row,
                )  # fmt: skip
                streams.append(stream.without_empty())
            unknown.update(encoded.unknown)
        return streams[0] if len(streams) == 1 else join(streams), unknown

    def _split(self, documents: list[Document], stream: SentenceStream) -> Iterator[tuple[str, SentenceStream]]:
        held = np.array([is_held_out(document, self.recipe.heldout) for document in documents], np.bool_)
        if not held.any():
            yield "train", stream
            return
        of_sentence = held[stream.document]
        yield "train", stream.select(np.flatnonzero(~of_sentence))
        yield "heldout", stream.select(np.flatnonzero(of_sentence))

    def _lay_out(self, stream: SentenceStream, unit: Unit, split: str) -> Columns:
        recipe = self.recipe
        key = LayoutKey(seed=recipe.seed, file_index=unit.file_index, first_row=unit.first_row)
        special_ids = self.tokenizer.special_ids
        if recipe.layout == "pairs":
            columns = pairs(stream, self.max_tokens, recipe.short_seq_prob, key, unit.file_index)
        elif recipe.layout == "full":
            columns = full(stream, self.max_tokens, special_ids.sep, unit.file_index)
        else:
            columns = line(stream, unit.file_index)
        if recipe.masking["kind"] == "dynamic":
            return columns
        copies = int(recipe.masking["copies"]) if split == "train" else 1
        policy = MaskPolicy(rate=float(recipe.masking["rate"]))
        return with_static_masks(columns, copies, key.of(Purpose.STATIC_MASKS), policy, special_ids, self.tokenizer.vocab_size)

    def _write(self, columns: Columns, split: str, unit: Unit) -> UnitShard:
        name = shard_name(split, self.hash8, unit.index)
        digest = write_shard(self.out / name, columns, settled=False)
        tokens = int(columns.offsets[-1])
        return UnitShard(file=name, split=split, rows=len(columns), tokens=tokens, bytes=digest.size, sha256=digest.sha256)

    def _histogram(self, columns: Columns) -> Counter[str]:
        inside = separators_inside(self.tokenizer.pair_template)
        lengths = np.diff(columns.offsets) + 2 + (columns.split > 0) * inside
        bins = -(-lengths // HISTOGRAM_BIN_TOKENS) * HISTOGRAM_BIN_TOKENS
        return Counter({f"{bound:05d}": int(count) for bound, count in zip(*np.unique(bins, return_counts=True), strict=True)})


def is_held_out(document: Document, share: float) -> bool:
    """Return whether a document is kept from training: by a hash of its cleaned text, so that copies go the same way."""
    if share <= 0.0:
        return False
    digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2.0**64
