"""Static masks: drawn once, different in every copy, whole words within the budget, and used by training as they are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pretrain.data_plan import require_drawn_masks
from pretrain.options import TrainConfig
from shards.collate import BatchPlan, collate
from shards.errors import UsageError
from shards.masks import MaskPolicy
from shards.reader import Rows
from shards.static_masks import with_static_masks
from tests.helpers.columns import SPECIAL, VOCAB_SIZE, made_columns

COPIES = 3


def test_each_copy_has_masks_of_its_own_in_whole_words() -> None:
    plain = made_columns(200)
    made = with_static_masks(plain, COPIES, 7, MaskPolicy(), SPECIAL, VOCAB_SIZE)
    static = made.static
    assert static is not None and len(made) == COPIES * len(plain)
    assert np.array_equal(made.source_row, np.repeat(plain.source_row, COPIES))
    differing = 0
    for i in range(len(made)):
        ids = made.ids[made.offsets[i] : made.offsets[i + 1]]
        word = np.cumsum(made.word_start[made.offsets[i] : made.offsets[i + 1]])
        chosen = static.positions[static.offsets[i] : static.offsets[i + 1]]
        assert len(chosen) and len(set(chosen.tolist())) == len(chosen) and chosen.max() < len(ids)
        split = int(made.split[i])
        for position in chosen.tolist():  # a word is masked as a whole (within its segment)
            same = np.flatnonzero(word == word[position])
            same = same[(same < split) == (position < split)] if split else same
            assert set(same.tolist()) <= set(chosen.tolist())
        if i % COPIES:
            before = static.positions[static.offsets[i - 1] : static.offsets[i]]
            differing += not np.array_equal(before, chosen)
    assert differing > 0.5 * (COPIES - 1) * len(plain)
    assert 0.3 < static.sop_swapped[made.split > 0].mean() < 0.7 and not static.sop_swapped[made.split == 0].any()


def test_drawn_again_they_are_the_same_and_another_key_draws_others() -> None:
    plain = made_columns(50)
    first, again, other = (with_static_masks(plain, 2, key, MaskPolicy(), SPECIAL, VOCAB_SIZE).static for key in (1, 1, 2))
    assert first is not None and again is not None and other is not None
    assert np.array_equal(first.positions, again.positions) and np.array_equal(first.ids, again.ids)
    assert not np.array_equal(first.positions, other.positions)


def test_a_batch_shows_exactly_the_stored_masks() -> None:
    made = with_static_masks(made_columns(20), 1, 3, MaskPolicy(), SPECIAL, VOCAB_SIZE)
    static = made.static
    assert static is not None
    rows = Rows(
        ids=made.ids, word_start=made.word_start, offsets=made.offsets, split=made.split, source_file=made.source_file,
        source_row=made.source_row, static=static, sample_id=np.arange(20, dtype=np.uint64), tag=np.zeros(20, np.uint64),
    )  # fmt: skip
    plan = BatchPlan(special_ids=SPECIAL, vocab_size=VOCAB_SIZE, pair_template="bert", mask=MaskPolicy(), sop=True, seed=0)
    batch = collate(rows, np.zeros(20, np.int64), plan)
    assert len(batch["masked_labels"]) == len(static.ids)
    seen = batch["input_ids"].reshape(-1)[batch["masked_positions"]]
    assert np.array_equal(seen, static.ids.astype(np.int64))


def test_options_of_masks_are_refused_where_the_data_brings_its_own() -> None:
    static, drawn = (
        SimpleNamespace(name=kind, manifest=SimpleNamespace(recipe={"masking": {"kind": kind}})) for kind in ("static", "dynamic")
    )
    for options, flag in (
        ({"mask_rate": 0.3}, "--mask-rate"),
        ({"last_mask_rate": 0.3}, "--mask-rate"),
        ({"ngrams": 3}, "--ngrams"),
    ):
        config = TrainConfig(**options)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=f"{flag} has no effect.*static.*--masking dynamic"):
            require_drawn_masks(config, [static])  # type: ignore[list-item]
        require_drawn_masks(config, [static, drawn])  # type: ignore[list-item]
    require_drawn_masks(TrainConfig(), [static])  # type: ignore[list-item]
