"""The recipe: every option that can change a byte of a data set, and nothing that cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shards.errors import UsageError
from shards.manifest import LAYOUTS

RECIPE_VERSION = 2  # raised when the same options come to other bytes, so that no shard made before is taken over
MAX_SEQ_LEN_LIMIT = 65_535  # `split` is stored as uint16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a corpus becomes samples.

    max_seq_len: tokens of the longest sample, special tokens included; heldout: share of the documents kept from training;
    unit_bytes: input bytes of one shard; segmenter: what `Segmenter.identity` says of itself; reader: format, field and encoding
    of the input; stages: what `Stage.description` says of each, in order; deduplication: None, or the settings of the pass;
    masking: ``{"kind": "dynamic"}``, or the settings of static masks; tokenizer: hash of a given one, or how it is trained;
    on_error: stop at a poison row, or quarantine its document.
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
    reader: dict[str, Any]
    stages: tuple[dict[str, Any], ...]
    deduplication: dict[str, Any] | None
    masking: dict[str, Any]
    tokenizer: dict[str, Any]
    on_error: str = "stop"

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
            "reader": dict(self.reader),
            "stages": [dict(stage) for stage in self.stages],
            "deduplication": None if self.deduplication is None else dict(self.deduplication),
            "masking": dict(self.masking),
            "tokenizer": dict(self.tokenizer),
            "on_error": self.on_error,
        }
