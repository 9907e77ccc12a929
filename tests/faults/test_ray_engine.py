"""Ray's workers may die, be many or few, or be handed a row that nothing can cope with: the bytes are the same, or the row is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.errors import EngineError, InputError, StageError
from pipeline.guard import Guard
from pipeline.local_engine import Engine, LocalEngine
from pipeline.ray_engine import MAX_ATTEMPTS, RayEngine, check_version
from tests.helpers.builds import OPTIONS, build_text, data_files, write_corpus
from tests.helpers.commands import ROOT, run
from tests.helpers.processes import killed_workers


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # nobody is there: that only the command line names a cluster is tried as well
    try:
        engine = RayEngine(workers=5, worker_memory=64 << 30)  # more than any machine of the tests has: it still finds its place
    finally:
        os.environ.pop("RAY_ADDRESS")
        if before is not None:
            os.environ["RAY_ADDRESS"] = before
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def fresh(engine: RayEngine) -> None:
    engine.workers, engine.retries = 2, 0


def squares() -> Callable[[int], int]:
    def square(number: int) -> int:
        time.sleep(0.05)
        return number * number

    return square


def failing(error: Exception | None) -> Callable[[int], int]:
    def fail(number: int) -> int:
        if number == 3:
            if error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise error
        return number

    return fail


def test_tasks_are_taken_when_they_start(engine: RayEngine) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    for done, (position, result) in enumerate(engine.run(squares, tasks())):
        assert result == position * position
        assert len(taken) <= done + 1 + engine.workers, "what waits is not even made yet"
    assert taken == list(range(30)) and engine.retries == 0
    assert list(engine.run(squares, [])) == []


def test_an_error_of_a_task_comes_back_as_it_was_raised(engine: RayEngine) -> None:
    for error in (
        InputError("bad", where="a.txt:7", hint="mend it"),
        StageError("stage clean failed on a.txt:9", got="ValueError: x"),
    ):
        with pytest.raises(type(error)) as caught:
            list(engine.run(partial(failing, error), range(6)))
        assert str(caught.value) == str(error)
    assert engine.retries == 0


def test_a_task_that_kills_every_worker_ends_the_build(engine: RayEngine) -> None:
    with pytest.raises(EngineError, match=f"workers died {MAX_ATTEMPTS} times on task 3"):
        list(engine.run(partial(failing, None), range(6)))
    assert engine.retries == MAX_ATTEMPTS - 1


def test_nothing_is_lost_or_doubled_when_workers_are_killed(engine: RayEngine) -> None:
    with killed_workers(os.getpid(), kills=3, every_s=0.7) as killed:
        found = list(engine.run(squares, range(120)))
    assert sorted(found) == [(n, n * n) for n in range(120)]
    assert killed and engine.retries >= 1


def test_a_node_of_another_version_is_refused() -> None:
    with pytest.raises(EngineError, match=r"another version of wordloom \(expected 9\.9\.9, got"):
        check_version("9.9.9")


def poisonous(mode: str) -> Callable[[int], tuple[list[int], list[dict[str, Any]]]]:
    from pipeline.documents import Document, Ledger
    from pipeline.stages import run_stages

    class Fragile:
        description: dict[str, Any] = {"name": "fragile"}  # noqa: RUF012

        def __call__(self, document: Document) -> Document:
            if document.rows[0] == 4711:
                raise ValueError("boom")
            return document

    def unit(first: int) -> tuple[list[int], list[dict[str, Any]]]:
        guard = Guard("a.txt", mode)
        read = (Document.of(["x"], (row,)) for row in range(first, first + 1000))
        kept = run_stages(guard.reader(read), guard.stages([Fragile()]), Ledger())
        return [d.rows[0] for d in kept], guard.report()

    return unit


def test_a_poison_row_is_named_or_set_aside(engine: RayEngine) -> None:
    with pytest.raises(StageError, match=r"stage fragile failed on a\.txt:4711 \(got ValueError: boom\)"):
        list(engine.run(partial(poisonous, "stop"), range(1, 8000, 1000)))
    assert engine.retries == 0, "it is not tried again"
    found = dict(engine.run(partial(poisonous, "quarantine"), range(1, 8000, 1000)))
    assert sum(len(rows) for rows, _ in found.values()) == 7999
    assert [entry for _, listed in found.values() for entry in listed] == [
        {"row": 4711, "stage": "fragile", "error": "ValueError: boom"}
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), files=5, bytes_each=12_000)


def build_with(engine: Engine, cwd: Path, corpus: Path) -> tuple[str, dict[str, bytes]]:
    """Run the command with an engine that was started before, and is not closed; return the fingerprint and the files."""
    cwd.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.build._engine", lambda *_: engine)
        patch.setattr(type(engine), "close", lambda _: None)
        report = build_text(cwd, corpus)
    assert report["figures"]["retries"] == engine.retries
    return report["fingerprint"], data_files(cwd)


def test_any_number_of_workers_makes_the_same_bytes_even_when_some_are_killed(
    tmp_path: Path, engine: RayEngine, corpus: Path
) -> None:
    expected = build_with(LocalEngine(), tmp_path / "local", corpus)
    assert len(expected[1]) > 15
    for workers in (1, 2, 5):
        engine.workers = workers
        assert build_with(engine, tmp_path / f"{workers}", corpus) == expected
    with killed_workers(os.getpid(), kills=2, every_s=0.4) as killed:
        assert build_with(engine, tmp_path / "killed", corpus) == expected
    assert killed


def command(corpus: Path, *more: str) -> list[str]:
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    return [*given, *OPTIONS, "--engine", "ray", *more]


def start(corpus: Path, cwd: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.build", *command(corpus, *more)], cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty files, and as many units."""
    return write_corpus(tmp_path_factory.mktemp("large"), files=20, bytes_each=3_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_lose_and_double_nothing(tmp_path: Path, engine: RayEngine, large: Path) -> None:
    def units() -> Callable[[int], int]:
        def unit(number: int) -> int:
            time.sleep(0.4)
            return number

        return unit

    # One run bears fewer kills than a task has attempts: where a worker starts slowly, all of them may hit the same task.
    kills, bearable = 0, MAX_ATTEMPTS - 1
    for attempt in range(7):
        with killed_workers(os.getpid(), kills=bearable, every_s=1.0, seed=attempt) as killed:
            assert sorted(engine.run(units, range(40))) == [(n, n) for n in range(40)]
        kills += len(killed)
    assert kills >= 20 and 1 <= engine.retries <= kills
    expected = build_with(LocalEngine(), tmp_path / "local", large)
    for attempt in range(6):
        with killed_workers(os.getpid(), kills=bearable, every_s=0.3, seed=attempt):
            assert build_with(engine, tmp_path / f"{attempt}", large) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_killed_at_random_times_goes_on_where_it_was(tmp_path: Path, corpus: Path) -> None:
    times = Random(6)
    (tmp_path / "whole").mkdir()
    assert run("pipeline.build", *command(corpus), cwd=tmp_path / "whole").code == 0
    for attempt in range(10):
        (cwd := tmp_path / str(attempt)).mkdir()
        work = cwd / "shards" / "set"
        with start(corpus, cwd, "--workers", "1") as process:
            wanted = times.randrange(0, 10)
            while len(list(work.glob(".build-*/unit-*.json"))) < wanted and process.poll() is None:
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
        finished = len(list(work.glob(".build-*/unit-*.json")))
        again = run("pipeline.build", *command(corpus, "--engine", "local", "--overwrite", "--json"), cwd=cwd)
        assert again.code == 0, again.err
        assert again.json["figures"]["reused_units"] >= finished, "every finished shard is used"
        assert data_files(cwd) == data_files(tmp_path / "whole")
