"""Samples to leave out: named by id, by source line, or by a heading of pretrain.replay; recorded, and taken up by a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.data_plan import chosen_sets, make_drawing, recorded_skips, skips_record
from pretrain.distributed import World
from pretrain.epoch_check import EpochCheck
from pretrain.errors import RunStateError
from pretrain.options import TrainConfig
from shards.batch_sizes import BatchSizes
from shards.errors import IntegrityError, NotFoundError, UsageError
from shards.locate import find_data_sets
from shards.reader import Split
from shards.sampler import Drawing, Sampler
from shards.skip import read_skipped
from tests.helpers.tiny_data import write_tiny_data


@pytest.fixture
def split(tmp_path: Path) -> Split:
    for number, name in enumerate("ab"):
        write_tiny_data(tmp_path / "shards" / name, rows=20, seed=number)
    return Split(find_data_sets(tmp_path / "shards"), "train")


def named(split: Split, tmp_path: Path, text: str) -> list[int]:
    (tmp_path / "skip.txt").write_text(text, encoding="utf-8")
    return read_skipped(tmp_path / "skip.txt", split).tolist()


def test_samples_are_named_in_every_way_that_replay_prints(split: Split, tmp_path: Path) -> None:
    # Two shards of ten rows a set; row 13 of set b is row 3 of its shard 1.
    text = (
        "\n# a remark\n  b 0x100000003\nb 4294967299\nsynthetic.txt:5  [a id 0x4, epoch 0, rank 1, micro-batch 0, 30 tokens]\r\n"
    )
    assert named(split, tmp_path, text) == [4, 33]
    # The tiny sets count the source rows of each shard from 1.
    assert named(split, tmp_path, "synthetic.txt:2\n") == [1, 11, 21, 31]
    assert named(split, tmp_path, "# nothing\n") == []
    alone = Split(split.data_sets[:1], "train")
    assert named(alone, tmp_path, "0x100000009\n2\n") == [2, 19]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0x4", r"skip\.txt:2: which data set's sample is this\? .*a, b"),
        ("c 0x4", r"skip\.txt:2: there is no data set 'c'"),
        ("a 0x20000000a", r"skip\.txt:2: no train sample has this id \(got 0x20000000a\)"),
        ("a 0x0a", r"no train sample has this id"),
        ("other.txt:3", r"skip\.txt:2: no such file in the corpus"),
        ("synthetic.txt:999", r"skip\.txt:2: no train sample begins at this line"),
        ("what is this", r"skip\.txt:2: not a sample to skip"),
    ],
)  # fmt: skip
def test_what_names_no_sample_is_refused_by_its_line(split: Split, tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named(split, tmp_path, f"# first\n{line}\n")


def test_no_file_and_no_text_are_refused(split: Split, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.txt: cannot read the samples to skip"):
        read_skipped(tmp_path / "nowhere.txt", split)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_skipped(tmp_path / "bytes", split)


def test_a_list_may_grow_at_a_resume_when_it_names_what_comes_later(split: Split) -> None:
    sizes = BatchSizes.constant(8)
    before = Sampler(split, sizes, Drawing(seed=0))
    check = EpochCheck(before, World())
    for step in (1, 2):
        drawn = before.draw(step)
        sets, ids = split.identify(drawn.rows)
        check.add(drawn.epochs, sets, ids.view(np.int64))
    later, earlier = (np.sort(before.draw(step).rows[:2]) for step in (4, 2))
    EpochCheck(Sampler(split, sizes, Drawing(seed=0, skipped=later)), World(), step=2, start=check.so_far())
    with pytest.raises(IntegrityError, match=r"checkpoint of step 2.*--skip-samples"):
        EpochCheck(Sampler(split, sizes, Drawing(seed=0, skipped=earlier)), World(), step=2, start=check.so_far())


def test_what_was_left_out_from_which_step_on_is_recorded(split: Split) -> None:
    skipped = np.array([4, 33])
    plain, less = Drawing(seed=0), Drawing(seed=0, skipped=skipped)
    assert skips_record(plain, split, 0, []) == []
    entries = skips_record(less, split, 6, [])
    assert entries == [{"after_step": 6, "samples": {"0": [4], "1": [4294967299]}}] == skips_record(less, split, 9, entries)
    assert skips_record(plain, split, 6, entries) == []
    assert recorded_skips(entries, split, 6, where="run.json").tolist() == []
    assert recorded_skips(entries, split, 7, where="run.json").tolist() == [4, 33]
    for wrong in ([{}], [{"after_step": 0, "samples": {"0": [999]}}], [{"after_step": 0, "samples": 3}], 7):
        with pytest.raises(RunStateError):
            recorded_skips(wrong, split, 7, where="run.json")


def test_a_mixture_takes_the_sets_it_names(split: Split) -> None:
    config = TrainConfig(mix="b=2")
    chosen = chosen_sets(split.data_sets, config)
    assert [s.name for s in chosen] == ["b"] and make_drawing(config, Split(chosen, "train")).mix == {"b": 2.0}
    with pytest.raises(NotFoundError, match=r"--mix names 'c', which is not there \(expected a, b\)"):
        chosen_sets(split.data_sets, TrainConfig(mix="c=1,a=1"))


def test_bins_come_from_the_manifests(tmp_path: Path) -> None:
    split = Split(find_data_sets(write_tiny_data(tmp_path / "short", shortest=4)), "train")
    assert make_drawing(TrainConfig(bins=2), split).edges == (16, 32)
    assert make_drawing(TrainConfig(bins=1), split).edges == ()
