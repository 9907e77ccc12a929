"""Samples as people look at them: words as text, what a draw of masks makes of them, and whether the segments are swapped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards.collate import BatchPlan, collate, row_keys
from shards.masks import Masked, MaskPolicy, choose

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer
    from shards.manifest import Manifest
    from shards.reader import Rows


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word, masked as a whole. `seen`: None, or the tokens that the model sees in its place, joined as text."""

    text: str
    seen: str | None

    def to_json_object(self) -> dict[str, Any]:
        return {"text": self.text, "seen": self.seen}


@dataclass(frozen=True, kw_only=True)
class SampleView:
    """One sample. `segments`: its words, in one list or in two; `swapped`: the model sees the second one first."""

    source: str
    tokens: int
    masked_tokens: int
    swapped: bool
    segments: tuple[tuple[Word, ...], ...]

    def to_json_object(self) -> dict[str, Any]:
        return {
            "source": self.source, "tokens": self.tokens, "masked_tokens": self.masked_tokens, "swapped": self.swapped,
            "segments": [[word.to_json_object() for word in segment] for segment in self.segments],
        }  # fmt: skip

    def as_text(self) -> str:
        """Return the sample in one line: words parted by ``|``, a masked one as ``⟦word→what is seen⟧``, segments by ``‖``."""
        segments = ("|".join(_marked(word) for word in segment) for segment in self.segments)
        return "‖".join(segments) + ("  (the model sees the second segment first)" if self.swapped else "")


def _marked(word: Word) -> str:
    return word.text if word.seen is None else f"⟦{word.text}→{word.seen}⟧"


def view_samples(rows: Rows, manifest: Manifest, tokenizer: Tokenizer, *, seed: int = 0) -> list[SampleView]:
    """Return how the given rows look in the first epoch of a training run with `seed` and the default masks.

    Masks stored in the data set are shown instead where there are any.
    """
    entry = manifest.tokenizer
    plan = BatchPlan(
        special_ids=entry.special_ids, vocab_size=entry.vocab_size, pair_template=entry.pair_template, mask=MaskPolicy(),
        sop=True, seed=seed,
    )  # fmt: skip
    epochs = np.zeros(len(rows), np.int64)
    masked = _draw(rows, plan)
    swapped = collate(rows, epochs, plan)["sop_labels"] == 1
    replaced = dict(zip(masked.index.tolist(), masked.replacement.tolist(), strict=True))
    starts = rows.word_start.copy()
    paired = np.flatnonzero(rows.split)
    starts[rows.offsets[:-1]] = True
    starts[rows.offsets[paired] + rows.split[paired]] = True
    views: list[SampleView] = []
    for i in range(len(rows)):
        begin, end, split = int(rows.offsets[i]), int(rows.offsets[i + 1]), int(rows.split[i])
        borders = [begin, begin + split, end] if split else [begin, end]
        segments = tuple(tuple(_words(rows, first, last, starts, replaced, tokenizer)) for first, last in pairwise(borders))
        path = manifest.corpus[int(rows.source_file[i])].path
        views.append(
            SampleView(
                source=f"{path}:{int(rows.source_row[i])}", tokens=end - begin, segments=segments, swapped=bool(swapped[i]),
                masked_tokens=int(((masked.index >= begin) & (masked.index < end)).sum()),
            )
        )  # fmt: skip
    return views


def _draw(rows: Rows, plan: BatchPlan) -> Masked:
    if rows.static is None:
        keys = row_keys(rows, np.zeros(len(rows), np.int64), plan.seed)
        return choose(rows, keys, plan.mask, plan.special_ids, plan.vocab_size)
    begins = np.repeat(rows.offsets[:-1], np.diff(rows.static.offsets))
    index: npt.NDArray[np.int64] = np.add(begins, rows.static.positions, dtype=np.int64)
    return Masked(index=index, replacement=rows.static.ids.astype(np.int64))


def _words(
    rows: Rows, begin: int, end: int, starts: npt.NDArray[np.bool_], replaced: dict[int, int], tokenizer: Tokenizer
) -> list[Word]:
    firsts = [begin + i for i in np.flatnonzero(starts[begin:end]).tolist()]
    words: list[Word] = []
    for first, last in zip(firsts, [*firsts[1:], end], strict=True):
        ids = rows.ids[first:last].tolist()
        seen = None
        if any(position in replaced for position in range(first, last)):
            seen = tokenizer.decode([replaced.get(first + i, id) for i, id in enumerate(ids)]).strip()
        words.append(Word(text=tokenizer.decode(ids).strip(), seen=seen))
    return words
