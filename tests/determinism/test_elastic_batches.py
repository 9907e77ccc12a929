"""Ranks, micro-batches and resumes never change what a step sees: any way of drawing, every step of three epochs.

Each sample of a step is compared whole: its tokens, masks, labels, and its place in the order. All in numpy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pretrain.data_plan import make_drawing
from pretrain.distributed import World
from pretrain.epoch_check import EpochCheck
from pretrain.loader import MicroBatches
from pretrain.options import TrainConfig
from shards.batch_sizes import BatchSizes
from shards.collate import BatchPlan
from shards.errors import IntegrityError, UsageError
from shards.mask_rate import MaskRates
from shards.masks import MaskPolicy
from shards.reader import DataSet, Split
from shards.sampler import Drawing
from tests.helpers.columns import SPECIAL, VOCAB_SIZE, made_columns, made_data_set

MIX = "a=2,b=1"
SKIPPED = np.array([3, 4, 5, 6, 90, 149], np.int64)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mix": {"mix": MIX},
    "bins": {"bins": 3},
    "packing": {"packing": True},
    "blocks": {"shuffle_block": 4},
    "skip": {"skipped": SKIPPED},
    "bins, mix, skip": {"bins": 3, "mix": MIX, "skipped": SKIPPED},
    "bins, packing, mix, skip": {"bins": 3, "packing": True, "mix": MIX, "skipped": SKIPPED},
}
STAGES = BatchSizes(stages=((1, 16), (5, 8), (12, 24)))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    root = tmp_path_factory.mktemp("sets")
    made_data_set(root / "a", [made_columns(60, seed=1), made_columns(40, seed=2)], tag="00000000000000aa")
    made_data_set(root / "b", [made_columns(50, seed=3)], tag="00000000000000bb")
    return Split([DataSet.open(root / name) for name in "ab"], "train")


def drawing_of(split: Split, way: dict[str, Any]) -> Drawing:
    # The tiny sets' histogram has one length only; these edges are as good as planned ones.
    options = {name: value for name, value in way.items() if name not in ("skipped", "bins")}
    drawing = make_drawing(TrainConfig(**options, seed=11), split, way.get("skipped"))
    return replace(drawing, edges=(24, 40, 64)) if "bins" in way else drawing


def batch_plan(*, per_word: bool = False) -> BatchPlan:
    return BatchPlan(
        special_ids=SPECIAL, vocab_size=VOCAB_SIZE, pair_template="bert", mask=MaskPolicy(max_ngram=3, per_word=per_word), sop=True, seed=11,
        mask_rates=MaskRates(first=0.3, last=0.15, steps=20),
    )  # fmt: skip


def steps_of_three_epochs(split: Split, drawing: Drawing) -> int:
    units = sum(p.rows for p in drawing.packings) or len(split)
    step = 1
    while STAGES.start(step + 1) < 3 * units:
        step += 1
    return step


def batches_of(split: Split, drawing: Drawing, *, ranks: int, micro_batch: int) -> list[MicroBatches]:
    return [
        MicroBatches(
            split, batch_plan(), global_batch=STAGES, micro_batch=micro_batch, rank=r, ranks=ranks, draws=True, drawing=drawing
        )
        for r in range(ranks)
    ]


def samples(batch: Any) -> list[tuple[Any, ...]]:
    """Return the samples of a micro-batch, each with all that is its own, padding taken off."""
    width = batch["input_ids"].shape[1]
    rows = np.arange(len(batch["lengths"])) * width
    begins = batch.get("first_positions", rows)
    flat, types = batch["input_ids"].reshape(-1), batch["token_type_ids"].reshape(-1)
    places = np.append(begins[1:], len(flat))
    found = []
    for i in range(len(batch["sample_ids"])):
        end = min(int(places[i]), int(begins[i] // width * width + batch["lengths"][begins[i] // width]))
        inside = (batch["masked_positions"] >= begins[i]) & (batch["masked_positions"] < end)
        found.append((
            int(batch["set_index"][i]), int(batch["sample_ids"][i]), int(batch["epochs"][i]), int(batch["sop_labels"][i]),
            flat[begins[i] : end].tolist(), types[begins[i] : end].tolist(),
            (batch["masked_positions"][inside] - begins[i]).tolist(), batch["masked_labels"][inside].tolist(), batch["draws"][inside].tolist(),
        ))  # fmt: skip
    return found


def step_of(batches: list[MicroBatches], step: int) -> list[tuple[Any, ...]]:
    return [
        sample
        for part in batches
        for number in range(part.first_number(step), part.first_number(step + 1))
        for sample in samples(part.make(number))
    ]


@pytest.mark.parametrize("name", WAYS)
def test_a_step_is_the_same_for_any_ranks_micro_batches_and_seeks(split: Split, name: str) -> None:
    drawing = drawing_of(split, WAYS[name])
    last = steps_of_three_epochs(split, drawing)
    whole = batches_of(split, drawing, ranks=1, micro_batch=24)
    expected = {step: step_of(whole, step) for step in range(1, last + 1)}
    for ranks, micro_batch in ((1, 5), (2, 4), (4, 3), (8, 1)):
        batches = batches_of(split, drawing, ranks=ranks, micro_batch=micro_batch)
        # Backwards: each step is come upon without the ones before it.
        for step in range(last, 0, -1):
            assert step_of(batches, step) == expected[step], f"{name}: step {step} over {ranks} ranks"


@pytest.mark.parametrize("name", WAYS)
def test_every_sample_comes_once_an_epoch_and_those_left_out_never(split: Split, name: str) -> None:
    drawing = drawing_of(split, WAYS[name])
    batches = batches_of(split, drawing, ranks=1, micro_batch=64)[0]
    last = steps_of_three_epochs(split, drawing) + 16
    seen: dict[tuple[int, int], list[int]] = {}
    for step in range(1, last + 1):
        for sample in step_of([batches], step):
            seen.setdefault((sample[2], sample[0]), []).append(sample[1])
    own = batches.sampler.own_positions(batches.sampler.settled(last))
    checked = 0
    left_out = WAYS[name].get("skipped", np.empty(0, np.int64))
    for source, position in zip(batches.sampler.sources, own, strict=True):
        for epoch in range(position // source.units):
            for number in source.sets:
                rows = np.arange(split.first_row(number), split.first_row(number) + len(split.data_sets[number].split("train")))
                _, ids = split.identify(np.setdiff1d(rows, left_out))
                assert sorted(seen[epoch, number]) == sorted(ids.tolist())
                checked += 1
    assert checked >= 4


@pytest.mark.parametrize("name", WAYS)
def test_the_odometer_agrees_at_every_epoch_end_and_at_a_resume_at_every_step(split: Split, name: str) -> None:
    drawing = drawing_of(split, WAYS[name])
    parts = batches_of(split, drawing, ranks=2, micro_batch=4)
    last = steps_of_three_epochs(split, drawing)
    check = EpochCheck(parts[0].sampler, World())
    for step in range(1, last + 1):
        feed(check, parts, step)
        check.check(step)
        EpochCheck(parts[0].sampler, World(), step=step, start=check.so_far())


def feed(check: EpochCheck, parts: list[MicroBatches], step: int, change: Any = None) -> None:
    for part in parts:
        for number in range(part.first_number(step), part.first_number(step + 1)):
            batch = part.make(number)
            columns = [batch["epochs"], batch["set_index"], batch["sample_ids"]]
            if change is not None and len(columns[0]):
                columns, change = [change(column) for column in columns], None
            check.add(*columns)


CHANGES = {"lost": lambda column: column[1:], "doubled": lambda column: np.append(column, column[0])}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_lost_or_doubled_sample_stops_the_run(split: Split, name: str, change: str) -> None:
    parts = batches_of(split, drawing_of(split, WAYS[name]), ranks=2, micro_batch=4)
    check = EpochCheck(parts[0].sampler, World())
    with pytest.raises(IntegrityError, match="epoch 0 did not read every sample exactly once"):
        for step in range(1, 60):
            feed(check, parts, step, CHANGES[change] if step == 3 else None)
            check.check(step)
    checkpoint = EpochCheck(parts[0].sampler, World())
    feed(checkpoint, parts, 1, CHANGES[change])
    with pytest.raises(IntegrityError, match="consumed so far are not those of its order"):
        EpochCheck(parts[0].sampler, World(), step=1, start=checkpoint.so_far())


def test_samples_left_out_move_no_other(split: Split) -> None:
    with_all, without = (
        batches_of(split, drawing_of(split, way), ranks=1, micro_batch=8)
        for way in ({"packing": True}, {"packing": True, "skipped": SKIPPED})
    )
    out = {tuple(int(v[0]) for v in split.identify(np.array([row]))) for row in SKIPPED}
    for step in range(1, steps_of_three_epochs(split, with_all[0].sampler.drawing)):
        assert step_of(without, step) == [s for s in step_of(with_all, step) if (s[0], s[1]) not in out]


def test_a_step_without_any_sample_is_refused(split: Split) -> None:
    everything = np.arange(len(split))
    batches = batches_of(split, replace(drawing_of(split, {}), skipped=everything), ranks=2, micro_batch=8)[1]
    with pytest.raises(UsageError, match=r"step 1: no sample of a step is left.*--skip-samples"):
        batches.make(0)


def test_corruption_by_word_keeps_the_choice_of_tokens(split: Split) -> None:
    by_word, by_token = (
        MicroBatches(split, batch_plan(per_word=p), global_batch=64, micro_batch=64).make(0) for p in (True, False)
    )
    assert np.array_equal(by_word["masked_positions"], by_token["masked_positions"])
    assert not np.array_equal(by_word["input_ids"], by_token["input_ids"])


def test_the_mask_rate_follows_its_schedule(split: Split) -> None:
    batches = MicroBatches(split, replace(batch_plan(), mask=MaskPolicy()), global_batch=150, micro_batch=150)
    rates = [batches.make(step)["counts"] for step in (0, 10, 19, 30)]
    shares = [counts[0] / counts[2] for counts in rates]
    assert shares[0] > shares[1] > shares[2] == pytest.approx(shares[3], abs=0.02)
    assert MaskRates(first=0.3, last=0.15, steps=20).at(1) == 0.3 and MaskRates(first=0.3, last=0.1, steps=21).at(
        11
    ) == pytest.approx(0.2)
