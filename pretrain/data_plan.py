"""From options to what is drawn: the sets that take part, their shares, bins, packed rows, and samples to leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain.errors import RunStateError
from pretrain.options import TrainConfig
from shards.bins import added_histograms, plan_edges
from shards.errors import NotFoundError, UsageError
from shards.mix_weights import parse_mix
from shards.mixture import Mixture
from shards.reader import DataSet, Split
from shards.sampler import Drawing, Sampler, plan_packings
from shards.skip import read_skipped

I64 = npt.NDArray[np.int64]


def chosen_sets(found: Sequence[DataSet], config: TrainConfig) -> tuple[DataSet, ...]:
    """Return the sets that --mix names, in the order of `found`; all of them without it. Raises NotFoundError for a name."""
    if config.mix is None:
        return tuple(found)
    weights = parse_mix(config.mix)
    names = [data_set.name for data_set in found]
    if absent := sorted(set(weights) - set(names)):
        raise NotFoundError(f"--mix names {absent[0]!r}, which is not there", where=config.shards, expected=", ".join(names))
    return tuple(data_set for data_set in found if data_set.name in weights)


def require_drawn_masks(config: TrainConfig, data_sets: Sequence[DataSet]) -> None:
    """Raise UsageError for options of masks when the masks are all stored with the data, and are used as they are."""
    stored = [data_set.manifest.recipe.get("masking", {}).get("kind") == "static" for data_set in data_sets]
    default = TrainConfig()
    given = [n for n in ("mask_rate", "last_mask_rate", "ngrams", "corruption") if getattr(config, n) != getattr(default, n)]
    if all(stored) and given:
        flag = {"last_mask_rate": "mask_rate"}.get(given[0], given[0]).replace("_", "-")
        raise UsageError(
            f"--{flag} has no effect: the data brings masks of its own", got=", ".join(s.name for s in data_sets),
            hint="Leave it out, or build the data with --masking dynamic",
        )  # fmt: skip


def make_drawing(config: TrainConfig, train: Split, skipped: I64 | None = None) -> Drawing:
    """Return how samples of `train` are drawn; `skipped` rows in place of those that --skip-samples names.

    Reads the length of every sample when rows are packed. Raises UsageError.
    """
    mix: Mapping[str, float] | None = None
    if config.mix is not None:
        given = parse_mix(config.mix)
        mix = {data_set.name: given[data_set.name] for data_set in train.data_sets}
        if len(mix) != len(train.data_sets):
            raise UsageError("two of the data sets have the same name, so --mix cannot tell them apart", got=list(mix))
        Mixture(mix, config.seed)  # refuses weights that are too small
    manifests = [data_set.manifest for data_set in train.data_sets]
    if skipped is None and config.skip_samples is not None:
        skipped = read_skipped(Path(config.skip_samples), train)
    return Drawing(
        seed=config.seed,
        mix=mix,
        edges=plan_edges(added_histograms(manifests), config.bins) if config.bins > 1 else (),
        block=config.shuffle_block,
        packings=plan_packings(train, mix, max(m.max_seq_len for m in manifests)) if config.packing else (),
        skipped=skipped if skipped is not None and len(skipped) else None,
    )


def packing_identity(drawing: Drawing) -> dict[str, Any]:
    """Return what a checkpoint keeps of the packed rows, so that a run does not go on with others."""
    return {"packing": [packing.hash for packing in drawing.packings]} if drawing.packings else {}


def describe(sampler: Sampler) -> list[str]:
    """Return lines that say how samples are drawn, where it is not the plain way."""
    drawing, names = sampler.drawing, [data_set.name for data_set in sampler.split.data_sets]
    lines = []
    if drawing.mix is not None:
        total = sum(drawing.mix.values())
        lines.append("mixture: " + ", ".join(f"{name} {weight / total:.1%}" for name, weight in drawing.mix.items()))
    if drawing.edges:
        lines.append(f"bins: up to {', '.join(map(str, drawing.edges))} tokens, planned from the histogram of lengths")
    for source in sampler.sources if drawing.packings else ():
        packing = source.packing
        assert packing is not None
        where = "" if drawing.mix is None else f"{names[source.sets[0]]}: "
        lines.append(
            f"packing: {where}{source.count:,} samples in {packing.rows:,} rows of {packing.capacity} tokens, "
            f"{packing.filled:.1%} full; batches count rows"
        )
    if drawing.block is not None:
        lines.append(f"order: blocks of {drawing.block} neighbouring samples")
    if drawing.skipped is not None:
        lines.append(f"left out: {len(drawing.skipped)} samples")
    return lines


def save_packings(drawing: Drawing, folder: Path) -> list[str]:
    """Commit the packed rows' plans to a run's folder; return the files' names."""
    names = []
    for number, packing in enumerate(drawing.packings):
        names.append(f"packing-{number}-{packing.hash[:8]}.npy")
        if not (folder / names[-1]).is_file():
            packing.save(folder / names[-1])
    return names


def skips_record(drawing: Drawing, train: Split, step: int, before: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the record of samples left out: which, from behind which step on; `before` is that of the run so far."""
    entries = [dict(entry) for entry in before if entry["after_step"] < step]
    now: dict[str, list[int]] = {}
    if drawing.skipped is not None:
        sets, ids = train.identify(drawing.skipped)
        now = {str(i): ids[sets == i].tolist() for i in np.unique(sets).tolist()}
    if now != (entries[-1]["samples"] if entries else {}):
        entries.append({"after_step": step, "samples": now})
    return entries


def recorded_skips(entries: Any, train: Split, step: int, *, where: object) -> I64:
    """Return the rows that were left out at `step` by the record of `skips_record`. Raises RunStateError."""
    samples: Mapping[str, Sequence[int]] = {}
    try:
        for entry in entries:
            if int(entry["after_step"]) < step:
                samples = entry["samples"]
        rows = [train.row_of(int(number), int(sample)) for number, ids in samples.items() for sample in ids]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunStateError("the record of samples left out makes no sense", where=where, got=f"{type(error).__name__}") from None
    if None in rows:
        raise RunStateError("the record of samples left out names samples that are not there", where=where)
    return np.unique(np.array(rows, np.int64))
