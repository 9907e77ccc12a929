"""What a build will give, before it is run: the real chain on a sample, and totals extrapolated by bytes.

Documents are held out by a hash of their text, so how many fall to a sample of them says nothing of the rest: the sample is
built without holding any out, and totals are parted by the share that is asked for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.padding import PaddingWaste, padding_waste
from pipeline.plan_estimate import Estimate, held_out, shards_of, total_of, units_in
from pipeline.plan_sample import Source, Stretch
from pipeline.plan_time import Times, measure, predict
from pipeline.recipe import Recipe
from pipeline.tokenizer import Tokenizer
from pipeline.unit import UnitBuilder, UnitShard
from shards.columns import Columns, id_dtype
from shards.durable import commit_bytes
from shards.manifest import ShardEntry
from shards.shard_file import ShardFile
from shards.writer import write_shard

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who will do the build: `count` worker processes of ray, or this process alone; `cores` there are."""

    count: int
    ray: bool
    cores: int


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What `predict_build` returns; see `Estimate` for what stands behind ±."""

    documents: Estimate
    documents_kept: Estimate
    dropped: dict[str, Estimate]
    rows: Estimate
    rows_heldout: Estimate
    tokens: Estimate
    shard_bytes: Estimate
    shards: int
    units: int
    padding: PaddingWaste
    times: Times
    sample_bytes: int
    sample_stretches: int

    def to_json_object(self) -> dict[str, Any]:
        estimates = ("documents", "documents_kept", "rows", "rows_heldout", "tokens", "shard_bytes")
        return {
            **{name: getattr(self, name).to_json_object() for name in estimates},
            "dropped": {reason: count.to_json_object() for reason, count in self.dropped.items()},
            "shards": self.shards,
            "units": self.units,
            "padding_waste": {"fixed": self.padding.fixed, "batches": self.padding.batches, "bins": self.padding.bins},
            "times": self.times.to_json_object(),
            "sample_bytes": self.sample_bytes,
            "sample_stretches": self.sample_stretches,
        }


def predict_build(
    sources: Sequence[Source], stretches: Sequence[Stretch], recipe: Recipe, tokenizer: Tokenizer, folder: Path,
    workers: Workers, *, load_s: float, vocabulary_s: float,
) -> Prediction:  # fmt: skip
    """Build the sample below the temporary `folder` and return what the whole corpus will give.

    Raises what a build raises for the documents of the sample.
    """
    total_bytes = sum(source.size for source in sources)
    home = folder / "tokenizer"
    home.mkdir()
    for name, data in tokenizer.files().items():
        commit_bytes(home / name, data)
    undivided = replace(recipe, heldout=0.0)
    rates = measure(stretches, recipe, home, folder, recipe.unit_bytes, load_s)
    counted = _Counted(stretches, UnitBuilder(undivided, home, folder, "sampling", folder), tokenizer.vocab_size)

    def whole(name: str) -> Estimate:
        return total_of(counted.column(name), counted.column("bytes"), total_bytes)

    documents, kept, rows = whole("documents"), whole("kept"), whole("rows")
    mean_document = total_bytes / max(documents.value, 1.0)
    units = sum(source.cuts or units_in(source.size, recipe.unit_bytes, mean_document) for source in sources)
    if recipe.layout == "full":
        # The last row of a unit is cut short, by half a row on average; the sample has more ends than the build will have.
        ends = float(counted.column("units").sum()) * total_bytes / float(counted.column("bytes").sum())
        rows = rows.plus(0.5 * (units - ends))
    files = len({source.file_index for source in sources})
    shards = shards_of(units, kept.value, recipe.heldout)
    return Prediction(
        documents=documents, documents_kept=kept, rows=rows.times(1.0 - recipe.heldout),
        dropped={reason: whole(f"dropped {reason}") for reason in counted.reasons},
        rows_heldout=held_out(rows, recipe.heldout, kept.value), tokens=whole("tokens"),
        shard_bytes=whole("content_bytes").plus(shards * _overhead(folder, tokenizer.vocab_size)), shards=round(shards),
        units=units, padding=padding_waste(np.concatenate(counted.lengths), recipe.max_seq_len), sample_stretches=len(stretches),
        sample_bytes=int(counted.column("bytes").sum()),
        times=predict(
            rates.with_small_units(*counted.timing), total_bytes=total_bytes, files=files, units=units, shards=round(shards),
            workers=workers.count, ray=workers.ray, cores=workers.cores, vocabulary_s=vocabulary_s,
        ),
    )  # fmt: skip


class _Counted:
    """The stretches of a sample, built; a row of counts for each."""

    def __init__(self, stretches: Sequence[Stretch], builder: UnitBuilder, vocab_size: int) -> None:
        self.lengths: list[I64] = []
        overhead = _overhead(builder.out, vocab_size)
        self._rows: list[Counter[str]] = []
        self._seconds, built = 0.0, 0
        for stretch in stretches:
            counts: Counter[str] = Counter(bytes=stretch.size, units=len(stretch.units))
            for unit in stretch.units:
                begun = time.perf_counter()
                report = builder.build(replace(unit, index=built))  # the index names the file
                self._seconds += time.perf_counter() - begun
                built += 1
                counts["documents"] += report.documents["read"]
                counts["kept"] += report.documents["kept"]
                counts.update({f"dropped {reason}": count for reason, count in report.documents["dropped"].items()})
                for shard in report.shards:
                    counts["rows"] += shard.rows
                    counts["tokens"] += shard.tokens
                    counts["content_bytes"] += shard.bytes - overhead
                    self.lengths.append(_lengths(builder, shard))
            self._rows.append(counts)
        self.reasons = sorted({name[8:] for counts in self._rows for name in counts if name.startswith("dropped ")})
        if not self.lengths:
            from pipeline.errors import EmptyCorpusError

            raise EmptyCorpusError("no document of the sample is left to train on")

    @property
    def timing(self) -> tuple[int, int, float]:
        """Bytes, units and seconds of all that was built."""
        return int(self.column("bytes").sum()), int(self.column("units").sum()), self._seconds

    def column(self, name: str) -> F64:
        return np.array([counts[name] for counts in self._rows], np.float64)


def _lengths(builder: UnitBuilder, shard: UnitShard) -> I64:
    """Return the lengths of the samples of a shard, special tokens included as `UnitBuilder` counts them."""
    entry = ShardEntry(
        file=shard.file, split=shard.split, rows=shard.rows, tokens=shard.tokens, bytes=shard.bytes, sha256=shard.sha256,
        odometer="0" * 32,
    )  # fmt: skip
    columns = ShardFile(builder.out / shard.file, entry, verify=False).take(np.arange(shard.rows, dtype=np.int64))
    special: I64 = np.where(columns.split > 0, builder.special_tokens, 2)
    return np.diff(columns.offsets) + special


def _overhead(folder: Path, vocab_size: int) -> int:
    """Return what a shard weighs beside its rows: schema, footer, and the frame of a record batch."""
    columns = Columns(
        ids=np.zeros(8, id_dtype(vocab_size)), word_start=np.ones(8, np.bool_), offsets=np.array([0, 8]),
        split=np.zeros(1, np.uint16), source_file=np.zeros(1, np.uint32), source_row=np.ones(1, np.uint64),
    )  # fmt: skip
    # One row of 8 tokens: ids, 8 bits, two lists' offsets of 4 bytes, split, source.
    return write_shard(folder / "overhead.arrow", columns).size - (8 * columns.ids.itemsize + 1 + 8 + 2 + 12)
