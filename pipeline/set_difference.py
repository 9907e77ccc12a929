"""What two data sets have in common and where they part: options, input files, counts, shards and, sample by sample, content.

Counts, files and options come from the two manifests. Shards with equal sha256 are equal; the samples of the others are read
once each and compared by hashes, within 64 MiB (`pipeline.sample_hashes`). Ids of two vocabularies mean nothing to each other:
samples are compared only when the tokenizers are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.made_notes import read_changes
from pipeline.progress import Progress
from pipeline.sample_hashes import HashSample, overlap, read_columns, sample_hashes
from shards.manifest import HISTOGRAM_BIN_TOKENS, SPLITS, Manifest, ShardEntry, Tally
from shards.reader import DataSet

_QUANTILES = (0.1, 0.5, 0.9)


def compare(a: DataSet, b: DataSet, *, verify: bool = True) -> dict[str, Any]:
    """Return the differences of two data sets, as JSON. Raises NotFoundError, FormatError and IntegrityError."""
    one, two = a.manifest, b.manifest
    content = _content(a, b, verify=verify)
    return {
        "same": one.fingerprint == two.fingerprint,
        "fingerprints": [one.fingerprint, two.fingerprint],
        "recipe": _recipe(one.recipe, two.recipe),
        "corpus": _corpus(one, two),
        "tokenizer": _tokenizer(one, two),
        "tally": _tally(one.tally, two.tally),
        "rows_changed": _rows_changed(one, two),
        "splits": {split: _split(one, two, split) for split in SPLITS},
        "shards": _shards(one, two),
        "lengths": _lengths(one, two),
        **content,
    }


def _recipe(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the options that differ, by their paths; one that a recipe has not is None there."""
    flat_a, flat_b = dict(_flat(a)), dict(_flat(b))
    names = sorted(flat_a.keys() | flat_b.keys())
    return [
        {"option": name, "a": flat_a.get(name), "b": flat_b.get(name)} for name in names if flat_a.get(name) != flat_b.get(name)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{prefix}{key}.")
        elif isinstance(entry, (list, tuple)) and any(isinstance(e, Mapping) for e in entry):
            yield from _flat({str(i): e for i, e in enumerate(entry)}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(entry) if isinstance(entry, tuple) else entry


def _corpus(a: Manifest, b: Manifest) -> dict[str, Any]:
    files_a, files_b = ({entry.path: entry.sha256 for entry in m.corpus} for m in (a, b))
    both = files_a.keys() & files_b.keys()
    changed = sorted(path for path in both if files_a[path] != files_b[path])
    return {
        "same": len(both) - len(changed),
        "only_a": sorted(files_a.keys() - both),
        "only_b": sorted(files_b.keys() - both),
        "changed": changed,
        "bytes": [sum(entry.size for entry in m.corpus) for m in (a, b)],
    }


def _tokenizer(a: Manifest, b: Manifest) -> dict[str, Any]:
    one, two = a.tokenizer, b.tokenizer
    facts = {name: [getattr(one, name), getattr(two, name)] for name in ("kind", "hash", "vocab_size", "pair_template")}
    return {"same": one.hash == two.hash, **facts}


def _tally(a: Tally, b: Tally) -> dict[str, Any]:
    def dropped(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, list[int]]:
        return {reason: [one.get(reason, 0), two.get(reason, 0)] for reason in sorted({*one, *two})}

    names = ("read", "kept", "rows_read", "rows_kept")
    return {
        **{name: [getattr(a, name), getattr(b, name)] for name in names},
        "dropped": dropped(a.dropped, b.dropped),
        "rows_dropped": dropped(a.rows_dropped, b.rows_dropped),
    }


def _rows_changed(a: Manifest, b: Manifest) -> dict[str, list[int]] | None:
    """Return rule → rows that it changed, or None when a manifest does not tell."""
    one, two = read_changes(a.made), read_changes(b.made)
    if one is None or two is None:
        return None
    return {rule: [found[rule]["rows"] if rule in found else 0 for found in (one, two)] for rule in sorted({*one, *two})}


def _split(a: Manifest, b: Manifest, split: str) -> dict[str, list[int]]:
    entries = [[entry for entry in m.shards if entry.split == split] for m in (a, b)]
    return {name: [sum(getattr(entry, name) for entry in of) for of in entries] for name in ("rows", "tokens", "bytes")}


def _shards(a: Manifest, b: Manifest) -> dict[str, int]:
    equal = sum((_hashes(a) & _hashes(b)).values())
    return {"identical": equal, "only_a": len(a.shards) - equal, "only_b": len(b.shards) - equal}


def _hashes(manifest: Manifest) -> Counter[tuple[str, str]]:
    return Counter((entry.split, entry.sha256) for entry in manifest.shards)


def _lengths(a: Manifest, b: Manifest) -> dict[str, Any] | None:
    """Return how the lengths of the training samples differ, or None when a manifest does not tell them.

    `distance` is the total variation: the share of the samples that would have to change their bin of 16 tokens.
    """
    histograms = [{int(bound): count for bound, count in m.length_histogram.items()} for m in (a, b)]
    if not all(sum(h.values()) for h in histograms):
        return None
    bounds = np.array(sorted({*histograms[0], *histograms[1]}))
    shares = [np.array([h.get(bound, 0) for bound in bounds.tolist()]) / sum(h.values()) for h in histograms]
    middles = bounds - HISTOGRAM_BIN_TOKENS / 2
    return {
        "distance": float(np.abs(shares[0] - shares[1]).sum() / 2),
        "mean": [float(middles @ share) for share in shares],
        "quantiles": {
            f"{q:.0%}": [int(bounds[np.searchsorted(np.cumsum(share), q - 1e-12)]) for share in shares] for q in _QUANTILES
        },
    }


def _content(a: DataSet, b: DataSet, *, verify: bool) -> dict[str, Any]:
    """Return what reading the shards tells: samples in common, per split, and the rates of unknown tokens."""
    comparable = a.manifest.tokenizer.hash == b.manifest.tokenizer.hash
    equal = _hashes(a.manifest) & _hashes(b.manifest)
    progress = Progress("comparing samples", sum(entry.bytes for s in (a, b) for entry in s.manifest.shards))
    read = [_Read(data_set, equal if comparable else Counter(), verify) for data_set in (a, b)]
    for one in read:
        one.all(progress)
    progress.close()
    samples: dict[str, Any] | None = None
    if comparable:
        samples = {}
        for split in SPLITS:
            found = overlap(read[0].hashes[split], read[1].hashes[split], equal_rows=read[0].equal_rows[split])
            samples[split] = {
                "common": found.common, "only_a": found.only_a, "only_b": found.only_b,
                "exact": found.share_kept == 1.0, "share_of_hashes": found.share_kept,
            }  # fmt: skip
    return {"samples": samples, "unknown_rate": [one.unknown / max(one.tokens, 1) for one in read]}


class _Read:
    """One data set read once: hashes of the samples by split, save those of shards known to be equal; unknown tokens."""

    def __init__(self, data_set: DataSet, equal: Counter[tuple[str, str]], verify: bool) -> None:
        self._data_set, self._verify = data_set, verify
        self._equal: set[str] = set()
        left = Counter(equal)
        self.equal_rows = dict.fromkeys(SPLITS, 0)
        for entry in data_set.manifest.shards:
            if left[(entry.split, entry.sha256)] > 0:
                left[(entry.split, entry.sha256)] -= 1
                self._equal.add(entry.file)
                self.equal_rows[entry.split] += entry.rows
        self.hashes = {split: HashSample() for split in SPLITS}
        self.unknown = self.tokens = 0

    def all(self, progress: Progress) -> None:
        """Read every shard."""

        def every(_: ShardEntry) -> bool:
            return True

        unk = self._data_set.manifest.tokenizer.special_ids.unk
        for entry, columns in read_columns(self._data_set, verify=self._verify, wanted=every, done=progress.add):
            self.unknown += int((columns.ids == unk).sum())
            self.tokens += len(columns.ids)
            if entry.file not in self._equal:
                self.hashes[entry.split].add(sample_hashes(columns))
