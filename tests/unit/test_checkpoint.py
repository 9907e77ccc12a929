"""A checkpoint is whole or passed over, saying so; nothing damaged is used, and nothing is deleted for being damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pretrain.checkpoint import (
    Contents,
    list_checkpoints,
    newest_finished_run,
    newest_valid,
    prune,
    resolve_model,
    set_aside,
    step_folder,
    verify_checkpoint,
    write_checkpoint,
)  # fmt: skip
from pretrain.errors import CheckpointError
from shards import durable
from shards.errors import NotFoundError, StorageError
from tests.helpers.tiny_training import tiny_network

HASH = "ab" * 32


def write(run: Path, step: int, *, loss: float | None = None, value: float = 1.0) -> Path:
    evaluation = None if loss is None else {"step": step, "loss": loss}
    contents = Contents(
        step=step,
        model={"encoder.weight": np.full((3, 2), value, np.float32)},
        optimizer={"encoder.weight::moment1": np.zeros((3, 2), np.float32)},
        state={"step": step, "tokenizer_hash": HASH, "evaluation": evaluation},
        config=tiny_network(),
        tokenizer_files={"vocab.txt": b"one\ntwo\n"},
    )
    return write_checkpoint(step_folder(run, step), contents).path


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


NAMES = ["config.json", "integrity.json", "model.safetensors", "optimizer.safetensors", "state.json", "tokenizer/vocab.txt"]


def test_names_are_those_of_a_checkpoint(tmp_path: Path) -> None:
    assert files_of(write(tmp_path, 1)) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [remove, truncate, flip])
def test_damage_to_any_file_falls_back_saying_so(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    older, newer = write(tmp_path, 10), write(tmp_path, 20)
    damage(newer / name)
    before, said = files_of(tmp_path), []
    assert resolve_model(tmp_path, say=said.append).path == older
    assert len(said) == 1 and "step-00000020" in said[0] and name.split("/")[0] in said[0]
    assert files_of(tmp_path) == before
    with pytest.raises(CheckpointError):
        resolve_model(newer)


def test_every_single_bit_of_the_integrity_record_counts(tmp_path: Path) -> None:
    folder = write(tmp_path, 10)
    path, unnoticed = folder / "integrity.json", []
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 7)]) + whole[position + 1 :])
        try:
            verify_checkpoint(folder)
            unnoticed.append(position)
        except CheckpointError:
            continue
    assert unnoticed == []


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 10)
    record = json.loads((folder / "integrity.json").read_text())
    record["files"]["../../secret"] = {"sha256": HASH, "size": 1}
    (folder / "integrity.json").write_bytes(json.dumps(record, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(CheckpointError, match="unusable record"):
        verify_checkpoint(folder)


def test_all_damaged_is_an_error_that_names_the_run(tmp_path: Path) -> None:
    flip(write(tmp_path, 10) / "model.safetensors")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        resolve_model(tmp_path, say=lambda text: None)


def test_equal_contents_have_equal_fingerprints_and_others_not(tmp_path: Path) -> None:
    one, same, other = (write(tmp_path / name, 5, value=v) for name, v in (("a", 1.0), ("b", 1.0), ("c", 2.0)))
    prints = [verify_checkpoint(p).fingerprint for p in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_resolved_model_knows_its_run_and_weights(tmp_path: Path) -> None:
    write(tmp_path / "my-run", 5)
    model = resolve_model(tmp_path / "my-run")
    assert (model.name, model.step, model.tokenizer_hash, model.config) == ("my-run", 5, HASH, tiny_network())
    np.testing.assert_array_equal(model.weights()["encoder.weight"], np.ones((3, 2), np.float32))
    assert (model.tokenizer_folder / "vocab.txt").read_bytes() == b"one\ntwo\n"


def test_nothing_there_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="a run, a checkpoint, or a folder of transformers"):
        resolve_model(tmp_path / "absent")


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, None), (50, 1.5)):
        write(tmp_path, step, loss=loss)
    prune(tmp_path, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000050", "step-00000040", "step-00000020"]


def test_a_checkpoint_that_is_set_aside_keeps_its_bytes_and_frees_its_step(tmp_path: Path) -> None:
    folder = write(tmp_path, 10)
    flip(folder / "model.safetensors")
    damaged = (folder / "model.safetensors").read_bytes()
    aside = set_aside(folder)
    assert (aside / "model.safetensors").read_bytes() == damaged
    assert newest_valid(tmp_path) == (None, [])
    assert verify_checkpoint(write(tmp_path, 10)).step == 10


def test_a_save_cut_at_any_durable_operation_leaves_the_older_checkpoint_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    count = 0
    for cut in range(1, 1000):
        run, done = tmp_path / str(cut), 0
        write(run, 10)

        def fail(kind: str, path: Path, cut: int = cut) -> None:
            nonlocal done
            done += 1
            if done >= cut:  # nothing works any more from here on, cleaning up neither
                raise PowerCut

        monkeypatch.setattr(durable, "fault_hook", fail)
        try:
            write(run, 20)
        except PowerCut:
            monkeypatch.setattr(durable, "fault_hook", None)
        else:
            break
        count += 1
        found, damaged = newest_valid(run)
        # The rename is the commit: what fails behind it can no longer take the checkpoint back.
        assert found is not None and found.step in (10, 20) and damaged == []
    monkeypatch.setattr(durable, "fault_hook", None)
    assert count > 30


def test_a_full_disk_is_reported_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(kind: str, path: Path) -> None:
        if kind == "write" and path.name == "optimizer.safetensors":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "fault_hook", full)
    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path, 10)
    assert files_of(tmp_path) == []


def test_newest_finished_run_passes_over_unfinished_and_damaged_ones(tmp_path: Path) -> None:
    for name, text in (
        ("old", '{"state": "finished", "finished": "2026-01-01T00:00:00"}'),
        ("new", '{"state": "finished", "finished": "2026-01-02T00:00:00"}'),
        ("running", '{"state": "running"}'),
        ("broken", "{"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    assert newest_finished_run(tmp_path) == tmp_path / "new"


def test_no_finished_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"python -m pretrain\.run"):
        newest_finished_run(tmp_path)
