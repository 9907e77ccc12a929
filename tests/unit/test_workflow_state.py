"""When a step runs, when it is skipped, what happens to what it left half done, and how it fails and stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shards.canonical import canonical_json
from shards.durable import hash_file
from shards.errors import LockedError
from shards.lock import exclusive, lock_path
from shards.manifest import Manifest
from tests.helpers.commands import ROOT
from tests.helpers.tiny_data import write_tiny_data
from workflows import state as state_module
from workflows.errors import StateError, StepError
from workflows.run import execute
from workflows.state import State, content_fingerprint
from workflows.steps import Step, StepResult

# A command of the tests: copies its input, in upper case, to its output, and notes each start with its options.
COPY = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("source", type=pathlib.Path)
parser.add_argument("target", type=pathlib.Path)
parser.add_argument("--again", action="store_true")
parser.add_argument("--suffix", default="")
parser.add_argument("--json", action="store_true")
options = parser.parse_args()
with open("starts.txt", "a") as starts:
    starts.write(f"{options.target.name}{' again' if options.again else ''}\\n")
text = options.source.read_text()
if "broken" in text:
    print(json.dumps({"ok": False, "error": "error: the source is broken"}))
    raise SystemExit(17)
options.target.parent.mkdir(parents=True, exist_ok=True)
options.target.write_text(text.upper() + options.suffix)
print(json.dumps({"ok": True, "fingerprint": "f" * 64, "outputs": [str(options.target)], "figures": {"length": len(text)}}))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the command above and something to copy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy_step.py").write_text(COPY)
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path


def chain(out: Path, *, suffix: str = "") -> tuple[Step, Step]:
    """Two steps: in.txt → first.txt → second.txt."""
    first, second = out / "first.txt", out / "second.txt"
    return (
        Step(
            name="one",
            module="copy_step",
            argv=(Path("in.txt"), first, f"--suffix={suffix}"),
            inputs={"text": Path("in.txt")},
            outputs=(first,),
            again=("--again",),
        ),
        Step(name="two", module="copy_step", argv=(first, second), inputs={"first": first}, outputs=(second,)),
    )


def starts(place: Path) -> list[str]:
    path = place / "starts.txt"
    return path.read_text().splitlines() if path.exists() else []


def skipped(outcome: Any) -> dict[str, bool]:
    return {name: entry["skipped"] for name, entry in outcome.figures["steps"].items()}


def test_a_second_call_skips_every_step_and_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("out")
    assert skipped(execute("r", chain(out), out)) == {"one": False, "two": False}
    before = (out / "report.html").stat().st_mtime_ns
    capsys.readouterr()
    assert skipped(execute("r", chain(out), out)) == {"one": True, "two": True}
    assert starts(place) == ["first.txt", "second.txt"]
    said = capsys.readouterr().out
    assert said.count("up to date, skipped") == 2
    assert "report unchanged" in said
    assert (out / "report.html").stat().st_mtime_ns == before


def test_a_changed_input_runs_its_step_and_what_depends_on_it(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    (place / "in.txt").write_text("abcd")
    assert skipped(execute("r", chain(out), out)) == {"one": False, "two": False}
    assert (out / "second.txt").read_text() == "ABCD"


def test_a_change_that_changes_no_output_stops_there(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    (place / "in.txt").write_text("aBc")
    assert skipped(execute("r", chain(out), out)) == {"one": False, "two": True}


def test_time_stamps_are_no_change(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    os.utime(place / "in.txt", (1, 1))
    os.utime(out / "first.txt", (1, 1))
    assert skipped(execute("r", chain(out), out)) == {"one": True, "two": True}


def test_force_runs_everything(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    assert skipped(execute("r", chain(out), out, force=True)) == {"one": False, "two": False}


def test_a_moved_folder_is_still_up_to_date(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    out.rename("elsewhere")
    moved = Path("elsewhere")
    assert skipped(execute("r", chain(moved), moved)) == {"one": True, "two": True}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda out: (out / "first.txt").unlink(), "output missing or changed: out/first.txt"),
        (lambda out: (out / "first.txt").write_text("ABD"), "output missing or changed: out/first.txt"),
        (lambda out: Path("in.txt").write_text("xyz"), "input changed: text"),
        (lambda out: None, None),
    ],
)
def test_the_reason_names_what_changed(place: Path, change: Any, words: str | None) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    change(out)
    state, step = State(out, "r"), chain(out)[0]
    assert state.reason_to_run(step, state.identity(step)) == words


def test_other_options_and_another_version_are_reasons(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    state, changed = State(out, "r"), chain(out, suffix="!")[0]
    assert state.reason_to_run(changed, state.identity(changed)) == "its options changed"
    monkeypatch.setattr(state_module, "__version__", "99.0")
    step = chain(out)[0]
    reason = state.reason_to_run(step, state.identity(step))
    assert reason is not None
    assert reason.endswith("became 99.0")


def test_a_failure_stops_the_workflow_with_the_steps_own_code(place: Path) -> None:
    out = Path("out")
    (place / "in.txt").write_text("broken")
    with pytest.raises(StepError, match="step one: the source is broken") as failure:
        execute("r", chain(out), out)
    assert failure.value.exit_code == 17
    assert starts(place) == ["first.txt"]
    assert not (out / "report.html").exists()


def test_after_a_failure_finished_steps_are_kept(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out)[:1], out)
    (place / "copy_step.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(StepError, match="exit code 3") as failure:
        execute("r", chain(out), out)
    assert failure.value.exit_code == 3
    (place / "copy_step.py").write_text(COPY)
    assert skipped(execute("r", chain(out), out)) == {"one": True, "two": False}


def test_options_for_a_second_start_are_given_from_the_second_start_on(place: Path) -> None:
    out = Path("out")
    (place / "in.txt").write_text("broken")
    with pytest.raises(StepError):
        execute("r", chain(out), out)
    (place / "in.txt").write_text("fine")
    execute("r", chain(out), out)
    assert starts(place) == ["first.txt", "first.txt again", "second.txt"]


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", 128 + signal.SIGKILL, "killed by SIGKILL"),
        ("print('no object')\n", StepError.exit_code, "without a report"),
        ("print('[1, 2]')\n", StepError.exit_code, "without a report"),
    ],
)
def test_a_step_that_does_not_end_as_a_command_does(place: Path, program: str, code: int, words: str) -> None:
    (place / "copy_step.py").write_text(program)
    with pytest.raises(StepError, match=words) as failure:
        execute("r", chain(Path("out")), Path("out"))
    assert failure.value.exit_code == code


def test_a_step_that_leaves_no_output_has_not_succeeded(place: Path) -> None:
    (place / "copy_step.py").write_text("print('{\"outputs\": []}')\n")
    with pytest.raises(StateError, match=r"out/first\.txt"):
        execute("r", chain(Path("out")), Path("out"))


def test_a_folder_of_another_recipe_is_refused(place: Path) -> None:
    execute("r", chain(Path("out")), Path("out"))
    with pytest.raises(StateError, match="another recipe"):
        execute("s", chain(Path("out")), Path("out"))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"format": 2, "recipe": "r", "steps": {}}',
        b'{"format": 1, "recipe": "r", "steps": {"one": 3}}',
        b'{"format": 1, "recipe": "r", "steps": {"one": {"done": {}}}}',
        b'{"format": 1, "recipe": "r", "steps": {"one": {"started": {"module": 1}}}}',
    ],
)
def test_a_damaged_memory_is_refused_by_name(place: Path, content: bytes) -> None:
    out = Path("out")
    out.mkdir()
    (out / "workflow.json").write_bytes(content)
    with pytest.raises(StateError, match=r"out/workflow\.json"):
        execute("r", chain(out), out)


def test_two_workflows_in_one_folder_are_kept_apart(place: Path) -> None:
    with exclusive(lock_path(Path("out"))), pytest.raises(LockedError):
        execute("r", chain(Path("out")), Path("out"))


def test_a_data_set_is_its_manifests_fingerprint_and_whole(tmp_path: Path) -> None:
    folder = write_tiny_data(tmp_path / "tiny")
    assert content_fingerprint(folder) == f"data-set:{Manifest.read(folder).fingerprint}"
    shard = next(folder.glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert content_fingerprint(folder) is None


def write_run(folder: Path, state: str, *, step: int = 10, content: bytes = b"weights") -> Path:
    checkpoint = folder / "checkpoints" / f"step-{step:08d}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(content)
    digest = hash_file(checkpoint / "model.safetensors")
    files = {"model.safetensors": {"sha256": digest.sha256, "size": digest.size}}
    (checkpoint / "integrity.json").write_bytes(canonical_json({"format": 1, "step": step, "files": files}))
    (folder / "run.json").write_text(json.dumps({"state": state}))
    return checkpoint


def test_a_run_is_its_newest_checkpoint_once_it_is_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_run(folder, "running")
    assert content_fingerprint(folder) is None
    newest = write_run(folder, "finished", step=20, content=b"other weights")
    found = content_fingerprint(folder)
    assert found == content_fingerprint(newest) == f"checkpoint:{hash_file(newest / 'integrity.json').sha256}"
    (newest / "model.safetensors").write_bytes(b"short")
    assert content_fingerprint(folder) is None


def test_a_folder_is_its_files_without_compiled_code(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = content_fingerprint(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert content_fingerprint(tmp_path) == before is not None
    (tmp_path / "b.txt").write_text("b")
    assert content_fingerprint(tmp_path) != before
    assert content_fingerprint(tmp_path / "absent") is None


# A training of the tests: fails on its first start, then finishes; it says whether it found something to go on from.
TRAIN = """
import json, pathlib, sys
run = pathlib.Path(sys.argv[1])
resumed = (run / "part.txt").exists()
run.mkdir(parents=True, exist_ok=True)
(run / "part.txt").write_text("half")
if not resumed and sys.argv[2] == "stop-half-way":
    (run / "run.json").write_text('{"state": "running"}')
    raise SystemExit(130)
checkpoint = run / "checkpoints" / "step-00000001"
checkpoint.mkdir(parents=True, exist_ok=True)
(checkpoint / "integrity.json").write_text('{"files": {}}')
(run / "run.json").write_text('{"state": "finished", "checkpoint_fingerprint": "c", "resumed": %s}' % str(resumed).lower())
print(json.dumps({"outputs": [], "fingerprint": "c"}))
"""


def training(out: Path, mode: str) -> Step:
    run = out / "runs" / "one"
    return Step(
        name="train", module="train_step", argv=(run, mode), inputs={"text": Path("in.txt")}, outputs=(run,), run_folder=run
    )


def bring_up(state: State, step: Step) -> bool:
    """Bring one step up to date, without a report; tell whether it resumed."""
    from workflows.run import _bring_up_to_date

    _bring_up_to_date(step, state, "", force=False)
    assert step.run_folder is not None
    return bool(json.loads((step.run_folder / "run.json").read_text())["resumed"])


def test_an_interrupted_training_goes_on(place: Path) -> None:
    (place / "train_step.py").write_text(TRAIN)
    step = training(Path("out"), "stop-half-way")
    with pytest.raises(StepError) as failure:
        bring_up(State(Path("out"), "r"), step)
    assert failure.value.exit_code == 130
    assert bring_up(State(Path("out"), "r"), step) is True


@pytest.mark.parametrize("finished", [True, False])
def test_a_training_on_something_else_starts_afresh(place: Path, finished: bool) -> None:
    (place / "train_step.py").write_text(TRAIN)
    step = training(Path("out"), "straight" if finished else "stop-half-way")
    if finished:
        bring_up(State(Path("out"), "r"), step)
    else:
        with pytest.raises(StepError):
            bring_up(State(Path("out"), "r"), step)
    (place / "in.txt").write_text("other text")
    assert bring_up(State(Path("out"), "r"), training(Path("out"), "straight")) is False


def test_a_run_that_the_workflow_did_not_make_is_left_alone(place: Path) -> None:
    (place / "train_step.py").write_text(TRAIN)
    step = training(Path("out"), "straight")
    assert step.run_folder is not None
    step.run_folder.mkdir(parents=True)
    (step.run_folder / "part.txt").write_text("somebody's")
    assert bring_up(State(Path("out"), "r"), step) is True  # the command found it, and decides what that means


def test_a_run_whose_process_is_alive_is_not_removed(place: Path) -> None:
    (place / "train_step.py").write_text(TRAIN)
    step = training(Path("out"), "straight")
    bring_up(State(Path("out"), "r"), step)
    (place / "in.txt").write_text("other text")
    assert step.run_folder is not None
    with exclusive(step.run_folder / ".lock"), pytest.raises(LockedError):
        bring_up(State(Path("out"), "r"), step)
    assert (step.run_folder / "run.json").exists()


# A step that saves when it is told to stop, as training does, and not when it is told twice with SIGINT.
SLOW = """
import pathlib, signal, sys, time
stop = []
def note(number, frame):
    if signal.SIGINT in stop and number == signal.SIGINT:
        raise SystemExit(1)
    stop.append(number)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
pathlib.Path("started.txt").write_text("x")
for _ in range(2000):
    if stop:
        time.sleep(0.2)
        pathlib.Path("saved.txt").write_text("x")
        print('{"error": "stopped: saved"}')
        raise SystemExit(128 + stop[-1])
    time.sleep(0.02)
"""
WORKFLOW = """
from pathlib import Path
from shards import cli
from workflows.run import execute
from workflows.steps import Step
steps = (Step(name="slow", module="slow_step", argv=()),)
parser = cli.new_parser("test", "test")
raise SystemExit(cli.run("test", parser, lambda options: execute("r", steps, Path("out")), []))
"""


@pytest.mark.parametrize("whole_group", [False, True], ids=["to the workflow alone", "to the whole group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_lets_the_step_save_and_ends_with_its_code(tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    (tmp_path / "slow_step.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKFLOW],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "started.txt").exists():
        assert process.poll() is None
        time.sleep(0.02)
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 128 + number
    assert (tmp_path / "saved.txt").exists()
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("stopped: step slow was interrupted")


def test_the_result_of_a_step_is_kept_for_the_report(place: Path) -> None:
    out = Path("out")
    execute("r", chain(out), out)
    done = State(out, "r").done("one")
    assert done is not None
    assert done["report"]["figures"] == {"length": 3}
    assert done["command"] == "python -m copy_step in.txt out/first.txt --suffix="
    assert State(out, "r").done("three") is None


def test_begin_forgets_the_success_before(place: Path) -> None:
    out = Path("out")
    step = chain(out)[0]
    state = State(out, "r")
    (out).mkdir()
    (out / "first.txt").write_text("ABC")
    identity = state.identity(step)
    state.begin(step, identity)
    state.finish(step, identity, StepResult(report={"outputs": []}, elapsed_s=1.0))
    assert State(out, "r").reason_to_run(step, identity) is None
    state.begin(step, identity)
    assert State(out, "r").reason_to_run(step, identity) == "it has not come to its end yet"
