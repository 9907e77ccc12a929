"""``python -m finetune.glue --task SST-2``: fine-tune a checkpoint on a GLUE task and write its score row."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.settings import Settings
    from finetune.tasks import Task

COMMAND = "finetune.glue"
RUNS = "runs/"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on a GLUE task, over one or more seeds, and write its score row.")
    derived = argparse.SUPPRESS
    parser.add_argument("--task", required=True, metavar="NAME", help="CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI or RTE")
    parser.add_argument(
        "--model", metavar="PATH", default=derived, help=f"run or checkpoint (default: newest finished run of {RUNS})"
    )
    parser.add_argument("--out", metavar="PATH", default="results/", help="folder of score rows")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="where to compute")

    data = parser.add_argument_group("data")
    data.add_argument("--data-dir", metavar="DIR", default=derived, help="the task's folder, or one that holds it")
    data.add_argument(
        "--data",
        default="auto",
        choices=("auto", "local", "hub", "sample"),
        help="auto: --data-dir, $WORDLOOM_DATA/glue/TASK, ./data/glue/TASK, then the hub; sample: the few rows of the package",
    )
    data.add_argument("--hub-id", metavar="ID", default="nyu-mll/glue", help="data set of the hub")
    data.add_argument("--max-train-rows", type=int, metavar="N", default=derived, help="train on N rows, always the same ones")
    data.add_argument("--max-seq-len", type=int, default=128, help="tokens of a row, special ones included; the rest is cut")
    data.add_argument("--allow-unk", action="store_true", help="go on although the vocabulary does not know the task's text")

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, default=derived, help="passes over the training rows (default: the task's)")
    training.add_argument("--batch-size", type=int, default=derived, help="rows of one update (default: the task's)")
    training.add_argument("--learning-rate", type=float, default=derived, help="highest learning rate (default: the task's)")
    training.add_argument("--warmup", type=float, default=0.1, help="share of the steps in which the learning rate rises")
    training.add_argument("--weight-decay", type=float, default=0.01, help="of weights; none on biases and norms")
    training.add_argument("--seed", type=int, default=0, help="seed of head, order and dropout")
    training.add_argument("--seeds", type=int, metavar="K", default=1, help="repeat with K seeds: --seed and the next ones")
    training.add_argument("--logging-steps", type=int, default=100, help="steps from one log line to the next")
    training.add_argument("--eval-steps", type=int, default=derived, help="steps between evaluations (default: each epoch's end)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    # Whatever can be wrong with task, options, checkpoint and rows is found before paddle is imported.
    from finetune.inputs import load_task
    from finetune.job import Job
    from finetune.tasks import find_task
    from pretrain.checkpoint import newest_finished_run, resolve_model

    task = find_task(options.task)
    settings = _settings(options, task)
    given = vars(options)
    if "model" in given:
        path, reason = Path(given["model"]), "--model"
    else:
        path, reason = newest_finished_run(RUNS), f"the newest finished run of {RUNS}"
    saved = resolve_model(path)
    print(f"model: {saved.path} (step {saved.step}; {reason})")
    data = load_task(task, source=options.data, data_dir=given.get("data_dir"), hub_id=options.hub_id)
    for note in data.notes:
        print(note)
    job = Job(task, data, saved, settings, allow_unk=options.allow_unk)
    seeds = range(options.seed, options.seed + options.seeds)
    result = job.run(seeds, device=options.device, logging_steps=options.logging_steps, out=Path(options.out))
    return Outcome(fingerprint=result.fingerprint, outputs=(str(result.path),), figures=result.row)


def _settings(options: argparse.Namespace, task: Task) -> Settings:
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


if __name__ == "__main__":
    raise SystemExit(main())
