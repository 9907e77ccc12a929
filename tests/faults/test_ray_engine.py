"""Ray's workers may die, be many or few, or be handed a row that nothing can cope with: the bytes are the same, or the row is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.errors import EngineError, InputError, StageError
from pipeline.guard import Guard
from pipeline.inputs import InputFile
from pipeline.local_engine import Engine, LocalEngine
from pipeline.machine import default_workers
from pipeline.ray_engine import MAX_ATTEMPTS, RayEngine, check_version
from pipeline.units import Unit
from shards.manifest import Manifest
from tests.helpers.builds import OPTIONS, build, build_text, data_files, write_corpus
from tests.helpers.commands import ROOT, run
from tests.helpers.poison import add_poison, rows_of_poison, with_broken_cleaning
from tests.helpers.processes import killed_workers
from tests.helpers.units_of import write_units


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


def failing(error: Exception) -> Callable[[int], int]:
    def fail(number: int) -> int:
        if number == 3:
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


def deadly() -> Callable[[Unit], str]:
    """Work on units, of which the one that begins with row 21 kills who touches it."""

    def work(unit: Unit) -> str:
        if unit.first_row == 21:
            os.kill(os.getpid(), signal.SIGKILL)
        return str(unit)

    return work


def test_a_task_that_kills_every_worker_ends_the_build_and_is_named(tmp_path: Path, engine: RayEngine) -> None:
    units = write_units(tmp_path, [["一二三四"] * 40], 10)
    assert str(InputFile(url="/a/b.txt", path="b.txt", size=1, lang="zh", format="auto")) == "b.txt", "what is scanned"
    with pytest.raises(
        EngineError, match=rf"workers died {MAX_ATTEMPTS} times on input-0\.jsonl, the 250 bytes .* row 21 \(got "
    ):
        list(engine.run(deadly, units))
    assert engine.retries == MAX_ATTEMPTS - 1


def test_nothing_is_lost_or_doubled_when_workers_are_killed(engine: RayEngine) -> None:
    with killed_workers(os.getpid(), kills=3, every_s=0.7) as killed:
        found = list(engine.run(squares, range(120)))
    assert sorted(found) == [(n, n * n) for n in range(120)]
    assert killed and engine.retries >= 1


def test_workers_by_default_are_those_that_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.machine.cores", lambda: 8)
    monkeypatch.setattr("pipeline.machine.memory_bytes", lambda: 5 << 30)
    assert [default_workers(memory) for memory in (64 << 20, 1 << 30, 2 << 30, 5 << 30, 64 << 30)] == [8, 5, 2, 1, 1]

    def refuse(*, num_cpus: int, **_: object) -> None:
        raise RuntimeError(f"no room for {num_cpus}")

    monkeypatch.setattr("ray.init", refuse)
    for asked, used in ((None, 2), (7, 7)):
        with pytest.raises(EngineError, match=f"no room for {used}\\."):
            RayEngine(workers=asked, worker_memory=2 << 30)


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


@contextmanager
def instead(engine: Engine) -> Iterator[None]:
    """Have commands use an engine that was started before, and not close it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.build._engine", lambda *_: engine)
        patch.setattr(type(engine), "close", lambda _: None)
        yield


def build_with(engine: Engine, cwd: Path, corpus: Path) -> tuple[str, dict[str, bytes]]:
    """Run the command with an engine; return the fingerprint and the files."""
    cwd.mkdir()
    with instead(engine):
        report = build_text(cwd, corpus)
    assert report["figures"]["retries"] == engine.retries
    return report["fingerprint"], data_files(cwd)


class Meddled:
    """An engine of which `wrap` makes the functions: (how a function is made) → the function that workers call instead."""

    def __init__(self, engine: Engine, wrap: Callable[[Callable[[], Callable[[Any], Any]]], Callable[[Any], Any]]) -> None:
        self._engine, self._wrap, self.description = engine, wrap, engine.description

    @property
    def retries(self) -> int:
        return self._engine.retries

    def run(self, make: Callable[[], Callable[[Any], Any]], tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        return self._engine.run(partial(self._wrap, make), tasks)

    def close(self) -> None:
        """It is another's."""


def dying_twice(folder: Path, make: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Make a function whose process dies in the middle of one unit, and behind another before it reports; each once."""
    function = make()

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work(task: Any) -> Any:
        died = folder / f"{task.index if isinstance(task, Unit) else task}"
        if not isinstance(task, Unit) or task.index not in (1, 7) or died.exists():
            return function(task)
        died.touch()
        with pytest.MonkeyPatch.context() as patch:
            if task.index == 1:
                patch.setattr("pipeline.unit.write_shard", die)
            result = function(task)
        die()
        return result

    return work


def test_any_number_of_workers_makes_the_same_bytes_even_when_some_are_killed(
    tmp_path: Path, engine: RayEngine, corpus: Path
) -> None:
    expected = build_with(LocalEngine(), tmp_path / "local", corpus)
    assert len(expected[1]) > 15
    for workers in (1, 2, 5):
        engine.workers, engine.retries = workers, 0
        assert build_with(engine, tmp_path / f"{workers}", corpus) == expected
        (marks := tmp_path / f"{workers}-died").mkdir()
        meddled = Meddled(engine, partial(dying_twice, marks))
        assert build_with(meddled, tmp_path / f"{workers}-killed", corpus) == expected
        assert engine.retries == 2 == len(list(marks.iterdir()))
    with killed_workers(os.getpid(), kills=2, every_s=0.4) as killed:
        assert build_with(engine, tmp_path / "killed", corpus) == expected
    assert killed


@pytest.mark.parametrize("deduplicate", ["none", "near"])
def test_a_build_with_a_poison_row_ends_alike_with_either_engine(tmp_path: Path, engine: RayEngine, deduplicate: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", files=2)
    add_poison(corpus / "text/1.txt")
    rows = rows_of_poison(corpus / "text/1.txt")
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    ended: dict[str, list[Any]] = {"local": [], "ray": []}
    for name, worker in {"local": LocalEngine(), "ray": engine}.items():
        (cwd := tmp_path / name).mkdir()
        with instead(Meddled(worker, with_broken_cleaning)):
            code, stopped = build(cwd, *given, *OPTIONS, "--deduplicate", deduplicate)
            assert code == StageError.exit_code and not list(cwd.rglob("manifest.json"))
            aside = build_text(cwd, corpus, "--deduplicate", deduplicate, "--on-error", "quarantine")
        manifest = Manifest.read(cwd / "shards/set")
        figures = {key: aside["figures"][key] for key in ("dropped", "rows_dropped", "documents_read", "documents_kept")}
        ended[name] = [stopped["error"], aside["fingerprint"], figures, manifest.made["quarantine"], data_files(cwd)]
    assert ended["ray"] == ended["local"]
    assert f"stage clean failed on 1.txt:{rows[0]} (got ZeroDivisionError" in ended["ray"][0]
    assert ended["ray"][2]["dropped"] == {"quarantined": 2} and [q["where"] for q in ended["ray"][3]] == [
        f"1.txt:{r}" for r in rows
    ]


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
