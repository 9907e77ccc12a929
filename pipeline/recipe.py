"""The recipe: every option that can change a byte of a data set, and nothing that cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shards.errors import UsageError
from shards.manifest import LAYOUTS

RECIPE_VERSION = 1
MAX_SEQ_LEN_LIMIT = 65_535  # `split` is stored as uint16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a corpus becomes samples.

    max_seq_len: tokens of the longest sample, special tokens included; heldout: share of the documents kept from training;
    unit_bytes: input bytes of one shard; segmenter: what `Segmenter.identity` says of itself; clean_rules: names, in order;
    tokenizer: hash of a given tokenizer, or how one is trained.
    """

    corpus: str
    lang: str | None
    layout: str
    max_seq_len: int
    short_seq_prob: float
    heldout: float
    seed: int
    unit_bytes: int
    segmenter: dict[str, Any]
    clean_rules: tuple[str, ...]
    tokenizer: dict[str, Any]

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError("unknown layout", expected=" or ".join(LAYOUTS), got=self.layout)
        if not 8 <= self.max_seq_len <= MAX_SEQ_LEN_LIMIT:
            raise UsageError(f"--max-seq-len must lie between 8 and {MAX_SEQ_LEN_LIMIT}, got {self.max_seq_len}")
        if not 0.0 <= self.short_seq_prob <= 1.0:
            raise UsageError(f"the share of short samples must lie between 0 and 1, got {self.short_seq_prob}")
        if not 0.0 <= self.heldout < 1.0:
            raise UsageError(f"--heldout must be a share from 0 to below 1, got {self.heldout}")
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise UsageError(f"--seed must fit in 64 bits, got {self.seed}")

    def to_json_object(self) -> dict[str, Any]:
        return {
            "version": RECIPE_VERSION,
            "corpus": self.corpus,
            "lang": self.lang,
            "layout": self.layout,
            "max_seq_len": self.max_seq_len,
            "short_seq_prob": self.short_seq_prob,
            "heldout": self.heldout,
            "seed": self.seed,
            "unit_bytes": self.unit_bytes,
            "segmenter": dict(self.segmenter),
            "clean_rules": list(self.clean_rules),
            "tokenizer": dict(self.tokenizer),
        }
