"""The content of a data card, as one JSON object: what a data set holds, counted in full or, where that says so, in a sample.

From the manifest: recipe, corpus, tally, rejects, shards, hashes, times. From a sample of the training rows, drawn by a keyed
permutation: lengths, words, scripts, unknown tokens, padding, examples. From one pass over all training rows, within 32 MiB:
samples that are there more than once. Equal data sets and settings give equal cards: there is no clock in one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import shards
from pipeline.card_statistics import CardStatistics
from pipeline.errors import EmptyCorpusError
from pipeline.load_tokenizer import load_tokenizer
from pipeline.made_notes import read_changes, read_skipped
from pipeline.progress import Progress
from pipeline.sample_hashes import HashSample, read_columns, sample_hashes
from pipeline.sample_view import view_samples
from pipeline.simplify import SIMPLIFY_RULE
from pipeline.tokenizer import Tokenizer
from shards.counter import Purpose, fold
from shards.errors import UsageError
from shards.manifest import Manifest
from shards.order import Permutation
from shards.reader import DataSet, Split

CARD_VERSION = 1
TOP_UNKNOWN = 40
_CHUNK_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """rows: training rows that the statistics are taken from; examples: how many are shown; verify: hash the shards."""

    rows: int = 20_000
    examples: int = 8
    seed: int = 0
    duplicates: bool = True
    verify: bool = True

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UsageError(f"--rows must be at least 1, got {self.rows}")
        if not 0 <= self.examples <= 1000:
            raise UsageError(f"--examples must lie between 0 and 1000, got {self.examples}")


def make_card(path: Path, settings: CardSettings) -> dict[str, Any]:
    """Return the card of a data set.

    Raises NotFoundError, FormatError and IntegrityError for a data set that is not whole, EmptyCorpusError for one without rows.
    """
    data_set = DataSet.open(path, verify=settings.verify)
    manifest = data_set.manifest
    tokenizer = load_tokenizer(data_set.tokenizer_folder)
    duplicates = _duplicates(data_set, settings) if settings.duplicates else None
    # What the pass over all rows has verified is not hashed a second time.
    verify = settings.verify and not settings.duplicates
    card = {
        "card": CARD_VERSION,
        "name": data_set.name,
        "wordloom": shards.__version__,
        "hashes": _hashes(manifest),
        "recipe": dict(manifest.recipe),
        "tally": dataclasses.asdict(manifest.tally),
        "rejects": _rejects(manifest),
        "rows_changed": _rows_changed(manifest),
        "skipped": read_skipped(manifest.made),
        "splits": {split: _split(manifest, split) for split in ("train", "heldout")},
        "lengths": {str(int(bound)): count for bound, count in sorted(manifest.length_histogram.items())},
        "unknown_characters": _unknown_characters(manifest),
        "throughput": _throughput(manifest),
        "duplicates": duplicates,
        **_sampled(path, manifest, tokenizer, settings, verify=verify),
    }
    return {key: _encodable(value) for key, value in card.items()}


def _sampled(path: Path, manifest: Manifest, tokenizer: Tokenizer, settings: CardSettings, *, verify: bool) -> dict[str, Any]:
    """Return the statistics of the sampled rows, and the examples: the first rows of the draw."""

    def rows_of() -> Split:
        # Opened anew for each chunk, so that a set of many thousands of shards does not keep them all open.
        return DataSet(path, manifest, verify=verify).split("train")

    split = rows_of()
    if not len(split):
        raise EmptyCorpusError("the data set has no rows to train on", where=path)
    count = min(settings.rows, len(split))
    drawn = Permutation(len(split), fold(settings.seed, Purpose.SUBSET)).at(np.arange(count, dtype=np.int64))
    statistics = CardStatistics(tokenizer, manifest.max_seq_len)
    ordered = np.sort(drawn)
    for begin in range(0, count, _CHUNK_ROWS):
        statistics.add(rows_of().take(ordered[begin : begin + _CHUNK_ROWS]))
    shown = drawn[: settings.examples]
    examples: list[dict[str, Any]] = []
    if len(shown):
        views = view_samples(split.take(shown), manifest, tokenizer, seed=settings.seed)
        examples = [{"row": row, **view.to_json_object()} for row, view in zip(shown.tolist(), views, strict=True)]
    sample = statistics.summary() | {"share_of_rows": count / len(split), "seed": settings.seed}
    return {"sample": sample, "examples": examples}


def _duplicates(data_set: DataSet, settings: CardSettings) -> dict[str, Any]:
    entries = [entry for entry in data_set.manifest.shards if entry.split == "train"]
    progress = Progress("looking for equal samples", sum(entry.bytes for entry in entries))
    hashes = HashSample()
    for _, columns in read_columns(data_set, verify=settings.verify, wanted=lambda e: e.split == "train", done=progress.add):
        hashes.add(sample_hashes(columns))
    progress.close()
    found = hashes.copies()
    # With static masks each sample is stored several times, masked differently: those are no duplicates.
    masking = data_set.manifest.recipe.get("masking", {})
    stored = int(masking.get("copies", 1)) if masking.get("kind") == "static" else 1
    copies = dataclasses.replace(found, rows=found.rows // stored)
    return {
        "rows": copies.rows, "distinct": copies.distinct, "duplicate_share": copies.duplicate_share,
        "exact": copies.share_kept == 1.0, "share_of_hashes": copies.share_kept, "stored_copies": stored,
    }  # fmt: skip


def _hashes(manifest: Manifest) -> dict[str, Any]:
    return {
        "fingerprint": manifest.fingerprint,
        "recipe": manifest.recipe_hash,
        "tag": manifest.tag,
        "corpus": [dataclasses.asdict(entry) for entry in manifest.corpus],
        "tokenizer": dataclasses.asdict(manifest.tokenizer)
        | {"files": [dataclasses.asdict(f) for f in manifest.tokenizer.files]},
        "shards": [dataclasses.asdict(entry) for entry in manifest.shards],
    }


def _split(manifest: Manifest, split: str) -> dict[str, int]:
    entries = [entry for entry in manifest.shards if entry.split == split]
    return {
        "shards": len(entries),
        "rows": sum(entry.rows for entry in entries),
        "tokens": sum(entry.tokens for entry in entries),
        "bytes": sum(entry.bytes for entry in entries),
    }


# `made` stands outside of the fingerprint and is not checked when a manifest is read: take from it what has the right shape.


def _rejects(manifest: Manifest) -> dict[str, list[str]]:
    value = manifest.made.get("rejects")
    if not isinstance(value, Mapping):
        return {}
    return {str(reason): [str(place) for place in places] for reason, places in value.items() if isinstance(places, list)}


def _rows_changed(manifest: Manifest) -> dict[str, dict[str, Any]] | None:
    """Return what each rule of the recipe changed, those that changed nothing too; None where the build did not count it."""
    noted = read_changes(manifest.made)
    if noted is None:
        return None
    stages = [stage for stage in manifest.recipe.get("stages", ()) if isinstance(stage, Mapping)]
    named = [str(rule) for stage in stages if stage.get("name") == "clean" for rule in stage.get("rules", ())]
    named += [SIMPLIFY_RULE for stage in stages if stage.get("name") == "simplify"]
    return {rule: noted.get(rule, {"rows": 0, "places": []}) for rule in dict.fromkeys([*named, *noted])}


def _unknown_characters(manifest: Manifest) -> dict[str, int] | None:
    value = numbers(manifest.made.get("unknown_characters"))
    if value is None:
        return None
    most = sorted(value.items(), key=lambda item: (-item[1], item[0]))[:TOP_UNKNOWN]
    return {character: int(count) for character, count in most}


def _throughput(manifest: Manifest) -> dict[str, Any]:
    made = manifest.made
    plain = numbers({key: made[key] for key in ("elapsed_s", "unit_seconds", "input_bytes") if key in made}) or {}
    input_bytes = sum(entry.size for entry in manifest.corpus)
    elapsed_s, unit_s = plain.get("elapsed_s", 0), plain.get("unit_seconds", 0)
    return {
        "input_bytes": input_bytes,
        "elapsed_s": elapsed_s or None,
        "mb_per_s": input_bytes / 1e6 / elapsed_s if elapsed_s else None,
        "unit_s": unit_s or None,
        "mb_per_s_of_one_worker": input_bytes / 1e6 / unit_s if unit_s else None,
        "stage_seconds": numbers(made.get("stage_seconds")),
        "engine": str(made["engine"]) if "engine" in made else None,
        "finished": str(made["finished"]) if "finished" in made else None,
        "versions": {key: str(made[key]) for key in ("version", "python") if key in made},
    }


def numbers(value: object) -> dict[str, float] | None:
    """Return an object of finite numbers, or None when it is anything else."""
    if not isinstance(value, Mapping):
        return None
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) or not -1e300 < n < 1e300 for n in value.values()):
        return None
    return {str(key): n for key, n in value.items()}


def _encodable(value: Any) -> Any:
    """Return a JSON value without lone surrogates, which a manifest from a stranger may spell and no file can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(entry) for key, entry in value.items()}
    return [_encodable(entry) for entry in value] if isinstance(value, (list, tuple)) else value
