"""Every combination of settings and seeds, as jobs: run what is not finished yet, then commit one score row a setting.

The choice of the best setting is a choice on dev, and is labelled so wherever it is shown: the figures of a setting that was
chosen because its figures are the best are better than what it will give on new rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.engines import Engine
from finetune.initial import MODEL
from finetune.job import Job, JobStore, StoredJob, TaskRows
from finetune.score import best_of, commit_row, row_folder, score_row, summary
from finetune.settings import Settings
from pretrain.checkpoint import STATE, Contents, resolve_model, write_checkpoint
from pretrain.signals import StopSignals
from shards.canonical import fingerprint, pretty_json, read_json_object
from shards.durable import commit_bytes, remove_tree, sweep
from shards.errors import WordloomError
from shards.lock import exclusive, lock_path

GRID = "grid"
CHOSEN_ON_DEV = "the best mean on dev: its figures are better than what new rows will show"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A committed score row, and where."""

    row: dict[str, Any]
    path: Path

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.row)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The jobs of one score row: one task, one setting, every seed."""

    rows: TaskRows
    jobs: tuple[Job, ...]


def combinations(base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> tuple[Settings, ...]:
    """Return the settings of a grid: `base` with every combination of the axes' values. Raises UsageError."""
    return tuple(Settings(**{**base, **dict(zip(axes, values, strict=True))}) for values in itertools.product(*axes.values()))


def run_groups(
    groups: Sequence[Group], *, out: Path, rerun: bool, open_engine: Callable[[Sequence[Job]], Engine]
) -> list[Result]:
    """Run the jobs that are not finished, commit every row, print what there is to know; return rows in the order of `groups`.

    rerun: jobs that are finished are run again. Finished jobs are kept under `out` the moment they are. When a job fails for a
    reason of its own, the others go on, rows that lack nothing are committed, and then its error is raised.
    """
    store = JobStore(out)
    jobs = [(job, group.rows) for group in groups for job in group.jobs]
    done: dict[Path, StoredJob] = {}
    if not rerun:
        done = {stored.folder: stored for job, rows in jobs if (stored := store.find(job, rows)) is not None}
        if done:
            print(f"{len(done)} of {len(jobs)} jobs were finished before and are not run again (--rerun runs them)")
    left = [pair for pair in jobs if store.folder(*pair) not in done]
    failures = _run(left, store, done, open_engine)
    results = []
    for group in groups:
        found = [done.get(store.folder(job, group.rows)) for job in group.jobs]
        whole = [stored for stored in found if stored is not None]
        if len(whole) < len(found):
            continue
        top = best_of([s.score for s in whole], group.rows.task.metrics[0])
        place = [s.score for s in whole].index(top)
        if whole[place].model is None:
            job = group.jobs[place]
            print(f"{group.rows.task.name}: the weights of seed {job.seed} were not kept, and are made again")
            failures += _run([(job, group.rows)], store, done, open_engine)
            whole[place] = done[whole[place].folder]
        results.append(_commit(group, whole, whole[place], out))
    if failures:
        if len(jobs) > 1:
            print(f"{len(failures)} of {len(jobs)} jobs failed; the others are kept")
        raise failures[0]
    return results


def _run(
    left: Sequence[tuple[Job, TaskRows]],
    store: JobStore,
    done: dict[Path, StoredJob],
    open_engine: Callable[[Sequence[Job]], Engine],
) -> list[WordloomError]:
    if not left:
        return []
    failures: list[WordloomError] = []
    with closing(open_engine([job for job, _ in left])) as engine, StopSignals() as signals:
        if len(left) > 1:
            print(f"engine: {engine.description}; {len(left)} jobs, {left[0][0].threads} threads each", flush=True)
        for number, (position, found) in enumerate(engine.run([job for job, _ in left], signals.poll), 1):
            job, rows = left[position]
            what = f"{number} of {len(left)}: {rows.task.name}, {_told(job.settings)}, seed {job.seed}"
            if isinstance(found, WordloomError):
                failures.append(found)
                print(f"{what}: failed: {found}", flush=True)
                continue
            stored = store.commit(job, rows, found)
            done[stored.folder] = stored
            if len(left) > 1:
                figures = ", ".join(f"{name} {value:.4f}" for name, value in found.score.last.items())
                print(f"{what}: {figures} ({found.elapsed_s:.1f} s; log: {stored.folder}/log.txt)", flush=True)
    return failures


def _told(settings: Settings) -> str:
    return f"learning rate {settings.learning_rate:g}, batch {settings.batch_size}, epochs {settings.epochs}"


def _commit(group: Group, stored: Sequence[StoredJob], best: StoredJob, out: Path) -> Result:
    rows, settings = group.rows, group.jobs[0].settings
    devices, threads = ({getattr(s, name) for s in stored} for name in ("device", "threads"))
    row = score_row(
        [s.score for s in stored],
        task=rows.task.name,
        primary=rows.task.metrics[0],
        model=rows.start.name,
        weights=rows.start.weights,
        checkpoint_fingerprint=rows.start.fingerprint,
        data_fingerprint=rows.data_fingerprint,
        settings={**settings.to_json(), "device": "+".join(sorted(devices))},
    )
    row["rows"] = {
        "train": len(rows.train), "train_available": rows.available, "dev": len(rows.dev_sets[""]),
        "dev_available": rows.dev_available,
    }  # fmt: skip
    row["tally"] = dict(rows.tally)
    row["unknown_share"] = rows.train.unknown_share
    row["parameters"] = best.parameters
    row["threads"] = sorted(threads)
    folder = row_folder(out, row)
    with exclusive(lock_path(folder)):
        row["fine_tuned_fingerprint"] = _copy_model(best, folder)
        path = commit_row(folder, row)
    for job in stored:
        if job is not best:
            remove_tree(job.folder / MODEL)
    print("\n".join(summary(row)))
    print(rows.start.trained_on())
    print(f"  -> {rows.start.weights} weights {rows.start.name} step {rows.start.saved.step} {rows.start.fingerprint[:16]}")
    print(f"  -> task data {row['data_fingerprint'][:16]} -> {path}")
    return Result(row=row, path=path)


def _copy_model(best: StoredJob, folder: Path) -> str:
    """Commit the best job's checkpoint beside the row; return its fingerprint."""
    assert best.model is not None
    saved = resolve_model(best.model)
    if folder.is_dir():
        sweep(folder)
        remove_tree(folder / MODEL)
    contents = Contents(
        step=saved.step,
        model=saved.weights(),
        optimizer=None,
        state=read_json_object(saved.path / STATE),
        config=saved.config,
        tokenizer_files={path.name: path.read_bytes() for path in sorted(saved.tokenizer_folder.iterdir())},
    )
    return write_checkpoint(folder / MODEL, contents).fingerprint


def choose(results: Sequence[Result], out: Path) -> list[Path]:
    """For each task with more than one setting, commit which did best by its mean on dev, and say so; return the files."""
    paths = []
    for task, found in _by_task(results):
        if len(found) < 2:
            continue
        primary = str(found[0].row["primary"])
        best = max(found, key=lambda result: float(result.row["mean"][primary]))
        entries = [
            {
                "path": str(result.path.relative_to(out)), "settings": result.row["settings"], "seeds": result.row["seeds"],
                "mean": result.row["mean"], "sd": result.row["sd"], "median": result.row["median"],
            }
            for result in found
        ]  # fmt: skip
        record = {
            "task": task,
            "metric": primary,
            "rows": entries,
            "best": str(best.path.relative_to(out)),
            "selection": CHOSEN_ON_DEV,
        }
        path = out / task / f"{GRID}-{fingerprint({'rows': [e['path'] for e in entries]})[:8]}.json"
        commit_bytes(path, pretty_json(record))
        mean, settings = best.row["mean"][primary], best.row["settings"]
        print(
            f"{task}: the best of {len(found)} settings by mean {primary}, {mean:.4f}, has learning rate "
            f"{settings['learning_rate']:g}, batch {settings['batch_size']}, epochs {settings['epochs']} (chosen on dev)"
            f" -> {path}"
        )
        paths.append(path)
    return paths


def _by_task(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    for task in dict.fromkeys(str(result.row["task"]) for result in results):
        yield task, [result for result in results if result.row["task"] == task]
