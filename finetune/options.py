"""The options that every fine-tuning command shares, and what they lead to; a command adds its task and its data.

A command is then: ``new_parser``, its own options, `add_model_options`, `add_training_options`; and a body that finds its task,
calls `choose_model`, reads every row, and returns `fine_tune`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.cli import Outcome

if TYPE_CHECKING:
    from finetune.settings import Settings
    from finetune.task import Task, TaskInput
    from pretrain.checkpoint import SavedModel

RUNS = "runs/"
_DERIVED = argparse.SUPPRESS


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add which checkpoint, where the rows go, where to compute."""
    parser.add_argument(
        "--model", metavar="PATH", default=_DERIVED, help=f"run or checkpoint (default: newest finished run of {RUNS})"
    )
    parser.add_argument("--out", metavar="PATH", default="results/", help="folder of score rows")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="where to compute")


def add_row_options(group: argparse._ArgumentGroup, *, max_seq_len: int = 128) -> None:
    """Add how much of the task's rows is used, to the command's own group of data options."""
    group.add_argument("--max-train-rows", type=int, metavar="N", default=_DERIVED, help="train on N rows, always the same ones")
    group.add_argument(
        "--max-seq-len", type=int, default=max_seq_len, help="tokens of a row, special ones included; the rest is cut"
    )
    group.add_argument("--allow-unk", action="store_true", help="go on although the vocabulary does not know the task's text")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the group of training options."""
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=_DERIVED, help="passes over the training rows (default: the task's)")
    group.add_argument("--batch-size", type=int, default=_DERIVED, help="rows of one update (default: the task's)")
    group.add_argument("--learning-rate", type=float, default=_DERIVED, help="highest learning rate (default: the task's)")
    group.add_argument("--warmup", type=float, default=0.1, help="share of the steps in which the learning rate rises")
    group.add_argument("--weight-decay", type=float, default=0.01, help="of weights; none on biases and norms")
    group.add_argument("--seed", type=int, default=0, help="seed of head, order and dropout")
    group.add_argument("--seeds", type=int, metavar="K", default=1, help="repeat with K seeds: --seed and the next ones")
    group.add_argument("--logging-steps", type=int, default=100, help="steps from one log line to the next")
    group.add_argument("--eval-steps", type=int, default=_DERIVED, help="steps between evaluations (default: each epoch's end)")


def choose_model(options: argparse.Namespace) -> SavedModel:
    """Return the model that --model names, or the newest finished run's, and print which. Raises pretrain's errors."""
    from pretrain.checkpoint import newest_finished_run, resolve_model

    given = vars(options)
    if "model" in given:
        path, reason = Path(given["model"]), "--model"
    else:
        path, reason = newest_finished_run(RUNS), f"the newest finished run of {RUNS}"
    saved = resolve_model(path)
    print(f"model: {saved.path} (step {saved.step}; {reason})")
    return saved


def settings_of(options: argparse.Namespace, task: Task) -> Settings:
    """Return the settings that the options and the task's own defaults give. Raises UsageError."""
    from finetune.settings import Settings
    from shards.errors import UsageError

    for name in ("seeds", "logging_steps"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    given = vars(options)
    return Settings(
        epochs=given.get("epochs", task.epochs),
        batch_size=given.get("batch_size", task.batch_size),
        learning_rate=given.get("learning_rate", task.learning_rate),
        max_seq_len=options.max_seq_len,
        warmup=options.warmup,
        weight_decay=options.weight_decay,
        eval_steps=given.get("eval_steps"),
        max_train_rows=given.get("max_train_rows"),
    )


def fine_tune(options: argparse.Namespace, saved: SavedModel, work: Sequence[tuple[Task, TaskInput]]) -> Outcome:
    """Train and score every (task, rows) of `work`, in order, and commit their score rows."""
    from finetune.job import Job

    results = []
    for task, data in work:
        for note in data.notes:
            print(note)
        job = Job(task, data, saved, settings_of(options, task), allow_unk=options.allow_unk)
        seeds = range(options.seed, options.seed + options.seeds)
        results.append(job.run(seeds, device=options.device, logging_steps=options.logging_steps, out=Path(options.out)))
    if len(results) == 1:
        return Outcome(fingerprint=results[0].fingerprint, outputs=(str(results[0].path),), figures=results[0].row)
    return Outcome(outputs=tuple(str(result.path) for result in results), figures={"rows": [result.row for result in results]})
