"""Format 1: what is written is read back, equal content has equal bytes, and no changed byte goes unnoticed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.columns import Columns, schema_for
from shards.errors import FormatError, IntegrityError, LockedError, MismatchError, NotFoundError, UsageError, WordloomError
from shards.locate import find_data_sets
from shards.lock import exclusive, lock_path
from shards.manifest import Manifest, ShardEntry
from shards.odometer import combine, odometer_sum
from shards.reader import DataSet, Split
from shards.remove import main as remove
from shards.shard_file import ShardFile
from shards.verify import main as verify
from shards.writer import write_shard
from tests.helpers.columns import made_columns, made_data_set


def same(left: Columns, right: Columns) -> bool:
    names = [f.name for f in dataclasses.fields(Columns) if f.name != "static"]
    return all(np.array_equal(getattr(left, n), getattr(right, n)) for n in names)


def written(path: Path, columns: Columns) -> ShardFile:
    digest = write_shard(path, columns)
    entry = ShardEntry(
        file=path.name,
        split="train",
        rows=len(columns),
        tokens=len(columns.ids),
        bytes=digest.size,
        sha256=digest.sha256,
        odometer="0" * 32,
    )
    return ShardFile(path, entry, verify=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2500), st.integers(0, 99), st.booleans(), st.sampled_from([np.uint16, np.uint32]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: int, seed: int, static: bool, dtype: type) -> None:
    columns = made_columns(rows, seed=seed, longest=9, static=static, dtype=dtype)
    shard = written(tmp_path_factory.mktemp("s") / "train-0-0.arrow", columns)
    back = shard.take(np.arange(rows))
    assert same(back, columns) and back.ids.dtype == dtype
    if columns.static is not None:
        assert back.static is not None
        for field in dataclasses.fields(columns.static):
            assert np.array_equal(getattr(back.static, field.name), getattr(columns.static, field.name))


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    columns = made_columns(3000, seed=1)
    view = Columns(**{f.name: getattr(columns, f.name) for f in dataclasses.fields(Columns)})
    first, second = write_shard(tmp_path / "a", columns), write_shard(tmp_path / "b", view)
    assert first == second and (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_come_in_the_order_asked_for_across_shards_and_sets(tmp_path: Path) -> None:
    parts = [made_columns(n, seed=n) for n in (5, 1500, 1)]
    made_data_set(tmp_path / "one", parts[:2], tag="00000000000000aa")
    made_data_set(tmp_path / "two", parts[2:], tag="00000000000000bb")
    split = Split([DataSet.open(tmp_path / "one"), DataSet.open(tmp_path / "two")], "train")
    assert len(split) == 1506
    asked = np.array([1505, 0, 1504, 7, 1505, 3])
    rows = split.take(asked)
    assert rows.tag.tolist() == [0xBB, 0xAA, 0xAA, 0xAA, 0xBB, 0xAA]
    assert rows.sample_id.tolist() == [0, 0, (1 << 32) | 1499, (1 << 32) | 2, 0, 3]
    for place, number in enumerate(asked.tolist()):
        part = parts[0] if number < 5 else parts[1] if number < 1505 else parts[2]
        row = number if number < 5 else number - 5 if number < 1505 else 0
        expected = part.ids[part.offsets[row] : part.offsets[row + 1]]
        assert np.array_equal(rows.ids[rows.offsets[place] : rows.offsets[place + 1]], expected)
        assert rows.source_row[place] == row + 1
    with pytest.raises(UsageError, match="out of range"):
        split.take(np.array([1506]))


def test_odometers_in_the_manifest_are_those_of_the_rows(tmp_path: Path) -> None:
    made_data_set(tmp_path / "set", [made_columns(30, seed=1), made_columns(1200, seed=2)])
    data_set = DataSet.open(tmp_path / "set")
    split = data_set.split("train")
    rows = split.take(np.arange(len(split)))
    assert combine([odometer_sum(rows.sample_id)]) == split.odometer(data_set)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    shard = written(tmp_path / "x.arrow", made_columns(3, seed=1))
    whole = shard.path.read_bytes()
    for size in range(len(whole)):
        shard.path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError, match=rf"x\.arrow: .*{len(whole)} bytes.*{size} bytes"):
            ShardFile(shard.path, shard.entry, verify=False)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    made_data_set(tmp_path / "set", [made_columns(20, seed=1)])
    shard = next((tmp_path / "set").glob("*.arrow"))
    original = Manifest.read(tmp_path / "set")
    for path in (shard, tmp_path / "set" / "manifest.json"):
        whole = path.read_bytes()
        for bit in range(0, len(whole) * 8, max(1, len(whole) * 8 // 700)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(changed)
            try:
                found = DataSet.open(tmp_path / "set")
                found.verify()
            except WordloomError:
                continue
            # `length_histogram`, `tally` and `made` stand outside of the fingerprint; all that decides a sample is inside.
            assert path.name == "manifest.json" and found.manifest.fingerprint == Manifest.read(tmp_path / "set").fingerprint
            assert found.manifest.shards == original.shards and found.manifest.tokenizer == original.tokenizer
        path.write_bytes(whole)
    DataSet.open(tmp_path / "set").verify()


def test_foreign_columns_and_types_are_refused_before_a_value_is_read(tmp_path: Path) -> None:
    columns = made_columns(2, seed=1)
    shard = written(tmp_path / "x.arrow", columns)
    good = pa.ipc.open_file(shard.path).read_all()
    foreign = {
        "another column": good.append_column("evil", pa.array([b"1", b"2"])),
        "a missing column": good.drop_columns(["split"]),
        "another order": good.select(["split", "input_ids", "word_start", "source"]),
        "a wider type": good.set_column(2, pa.field("split", pa.uint32(), nullable=False), pa.array([0, 0], pa.uint32())),
        "an extension type": good.set_column(
            2, pa.field("split", pa.opaque(pa.uint16(), "ray.data.arrow_pickled_object", "any")),
            pa.ExtensionArray.from_storage(pa.opaque(pa.uint16(), "ray.data.arrow_pickled_object", "any"), pa.array([0, 0], pa.uint16())),
        ),
        "other metadata": good.replace_schema_metadata({"wordloom_format": "2"}),
    }  # fmt: skip
    for name, table in foreign.items():
        path = tmp_path / "foreign.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        entry = dataclasses.replace(shard.entry, bytes=path.stat().st_size)
        with pytest.raises(FormatError, match="columns are not those of a shard"):
            ShardFile(path, entry, verify=False)
        assert name


def test_offsets_that_lead_outside_are_refused(tmp_path: Path) -> None:
    columns = made_columns(4, seed=1)
    schema = schema_for(columns.ids.dtype, static=False)
    written(tmp_path / "x.arrow", columns)
    batch = pa.ipc.open_file(tmp_path / "x.arrow").get_batch(0)
    offsets = np.frombuffer(batch.column("input_ids").buffers()[1], np.int32, 5).copy()
    offsets[3] = 1 << 20
    bad = pa.Array.from_buffers(
        schema.field("input_ids").type, 4, [None, pa.py_buffer(offsets.tobytes())], children=[batch.column("input_ids").values]
    )
    path = tmp_path / "bad.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([bad, *batch.columns[1:]], schema=schema))
    entry = ShardEntry(
        file="bad.arrow", split="train", rows=4, tokens=1, bytes=path.stat().st_size, sha256="0" * 64, odometer="0" * 32
    )
    with pytest.raises(FormatError, match=r"bad\.arrow, record batch 0"):
        ShardFile(path, entry, verify=False).take(np.arange(4))


def test_links_are_not_followed(tmp_path: Path) -> None:
    made_data_set(tmp_path / "set", [made_columns(5, seed=1)])
    shard = next((tmp_path / "set").glob("*.arrow"))
    shard.rename(tmp_path / "elsewhere.arrow")
    shard.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(NotFoundError, match="not a plain file"):
        DataSet.open(tmp_path / "set").verify()


def test_a_root_means_every_committed_set_below_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no data set here"):
        find_data_sets(tmp_path)
    for name in ("b", "a"):
        made_data_set(tmp_path / name, [made_columns(3, seed=1)])
    (tmp_path / "unfinished").mkdir()
    assert [s.name for s in find_data_sets(tmp_path)] == ["a", "b"]
    assert [s.name for s in find_data_sets(tmp_path / "b")] == ["b"]
    made_data_set(tmp_path / "c", [made_columns(3, seed=1)], tokenizer_hash="1" * 64)
    with pytest.raises(MismatchError, match=r"'a' and 'c' have different tokenizers.*--shards"):
        find_data_sets(tmp_path)


def test_verify_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_data_set(tmp_path / "set", [made_columns(50, seed=1)])
    assert verify([str(tmp_path)]) == 0
    assert "every byte as recorded" in capsys.readouterr().out
    shard = next((tmp_path / "set").glob("*.arrow"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert verify([str(tmp_path)]) == IntegrityError.exit_code
    assert f"{shard}: shard is altered" in capsys.readouterr().err


def test_remove_deletes_one_set_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("keep", "gone"):
        made_data_set(tmp_path / name, [made_columns(5, seed=1)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not a data set")
    assert remove(["gon", "--root", str(tmp_path)]) == UsageError.exit_code
    assert "Did you mean 'gone'?" in capsys.readouterr().err
    assert remove(["mine", "--root", str(tmp_path)]) == UsageError.exit_code
    assert remove(["gone", "--root", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keep", "mine"]
    DataSet.open(tmp_path / "keep").verify()
    with exclusive(lock_path(tmp_path / "keep")):
        assert remove([str(tmp_path / "keep")]) == LockedError.exit_code
    assert (tmp_path / "keep" / "manifest.json").is_file()


def test_remove_takes_what_a_killed_build_left(tmp_path: Path) -> None:
    (tmp_path / "half" / ".build-0a1b2c3d").mkdir(parents=True)
    assert remove(["half", "--root", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []
