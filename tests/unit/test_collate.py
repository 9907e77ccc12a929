"""Batches: `[CLS] A [SEP] B [SEP]`, half of the pairs swapped, and every token and label where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shards.collate import NO_PAIR, BatchPlan, collate
from shards.errors import FormatError
from shards.masks import MaskPolicy
from shards.reader import DataSet, Rows
from tests.helpers.columns import SPECIAL, VOCAB_SIZE, made_columns, made_data_set


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder = tmp_path_factory.mktemp("sets") / "made"
    made_data_set(folder, [made_columns(600, seed=1), made_columns(400, seed=2)])
    return DataSet.open(folder).split("train").take(np.arange(1000))


def plan(template: str = "bert", sop: bool = True, seed: int = 7, vocab_size: int = VOCAB_SIZE) -> BatchPlan:
    return BatchPlan(special_ids=SPECIAL, vocab_size=vocab_size, pair_template=template, mask=MaskPolicy(), sop=sop, seed=seed)


def restored(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Return input_ids with the masked tokens put back."""
    ids = batch["input_ids"].copy()
    ids.reshape(-1)[batch["masked_positions"]] = batch["masked_labels"]
    return ids


@pytest.mark.parametrize(("template", "inside"), [("bert", 1), ("roberta", 2)])
def test_rows_are_laid_out_as_the_template_says(rows: Rows, template: str, inside: int) -> None:
    batch = collate(rows, np.zeros(1000, np.int64), plan(template))
    ids, labels = restored(batch), batch["sop_labels"]
    seen_swapped = seen_single = 0
    for i in range(1000):
        begin, end, split = int(rows.offsets[i]), int(rows.offsets[i + 1]), int(rows.split[i])
        tokens = rows.ids[begin:end].tolist()
        a, b = tokens[:split], tokens[split:]
        if not split:
            expected, types = [SPECIAL.cls, *b, SPECIAL.sep], [0] * (len(b) + 2)
            assert labels[i] == NO_PAIR
            seen_single += 1
        else:
            first, second = (b, a) if labels[i] == 1 else (a, b)
            expected = [SPECIAL.cls, *first, *[SPECIAL.sep] * inside, *second, SPECIAL.sep]
            types = [0] * (1 + len(first) + inside) + [1] * (len(second) + 1)
            seen_swapped += int(labels[i])
        length = int(batch["lengths"][i])
        assert ids[i, :length].tolist() == expected
        assert (ids[i, length:] == SPECIAL.pad).all()
        if template == "bert":
            assert batch["token_type_ids"][i, :length].tolist() == types
        assert not batch["token_type_ids"][i, length:].any()
    assert seen_swapped and seen_single
    assert batch["input_ids"].shape[1] % 8 == 0


def test_half_of_the_pairs_are_swapped_anew_each_epoch(rows: Rows) -> None:
    labels = [collate(rows, np.full(1000, epoch, np.int64), plan())["sop_labels"] for epoch in range(4)]
    pairs = labels[0] != NO_PAIR
    count = int(pairs.sum())
    for epoch in labels:
        assert np.array_equal(epoch != NO_PAIR, pairs)
        assert abs(epoch[pairs].mean() - 0.5) < 4 * np.sqrt(0.25 / count)
    assert 0.4 < (labels[0][pairs] == labels[1][pairs]).mean() < 0.6


def test_without_sop_pairs_keep_their_order_and_have_no_label(rows: Rows) -> None:
    batch = collate(rows, np.zeros(1000, np.int64), plan(sop=False))
    assert (batch["sop_labels"] == NO_PAIR).all()
    ids = restored(batch)
    for i in np.flatnonzero(rows.split)[:50].tolist():
        split = int(rows.split[i])
        assert ids[i, 1 : 1 + split].tolist() == rows.ids[int(rows.offsets[i]) : int(rows.offsets[i]) + split].tolist()


def test_a_sample_looks_the_same_in_any_batch(rows: Rows, tmp_path: Path) -> None:
    made_data_set(tmp_path / "made", [made_columns(600, seed=1), made_columns(400, seed=2)])
    split = DataSet.open(tmp_path / "made").split("train")
    whole = collate(rows, np.full(1000, 2, np.int64), plan())
    for chosen in ([5], [999, 5, 601], list(range(990, 1000))):
        part = collate(split.take(np.array(chosen)), np.full(len(chosen), 2, np.int64), plan())
        for place, i in enumerate(chosen):
            length = int(whole["lengths"][i])
            assert part["lengths"][place] == length
            assert np.array_equal(part["input_ids"][place, :length], whole["input_ids"][i, :length])
            assert part["sop_labels"][place] == whole["sop_labels"][i]
            assert part["sample_ids"][place] == whole["sample_ids"][i]


def test_masks_change_with_seed_and_epoch(rows: Rows) -> None:
    first = collate(rows, np.zeros(1000, np.int64), plan(seed=1))["masked_positions"]
    for epoch, seed in ((1, 1), (0, 2)):
        assert not np.array_equal(first, collate(rows, np.full(1000, epoch, np.int64), plan(seed=seed))["masked_positions"])


def test_static_masks_are_used_as_they_are(tmp_path: Path) -> None:
    columns = made_columns(100, seed=3, static=True)
    made_data_set(tmp_path / "static", [columns])
    rows = DataSet.open(tmp_path / "static").split("train").take(np.arange(100))
    batch = collate(rows, np.zeros(100, np.int64), plan())
    assert len(batch["masked_labels"]) == 100
    assert np.array_equal(batch["masked_labels"], columns.ids[columns.offsets[:-1]])
    paired = columns.split > 0
    assert np.array_equal(batch["sop_labels"][paired], np.arange(100)[paired] % 2)


def test_ids_outside_of_the_vocabulary_are_refused(rows: Rows) -> None:
    with pytest.raises(FormatError, match="vocabulary"):
        collate(rows, np.zeros(1000, np.int64), plan(vocab_size=500))
