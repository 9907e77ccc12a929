"""The options that every fine-tuning command shares, and what they lead to; a command adds its task and its data.

A command is then: ``new_parser``, its own options, `add_model_options`, `add_training_options`; and a body that finds its task,
calls `settings_of` and `choose_model`, reads every row, and returns `fine_tune`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shards.cli import Outcome

if TYPE_CHECKING:
    from finetune.initial import Start
    from finetune.settings import Settings
    from finetune.task import Task, TaskInput

Number = TypeVar("Number", int, float)
_DERIVED = argparse.SUPPRESS
# What a grid runs over, and the options that a task has defaults of its own for.
_AXES = ("learning_rate", "batch_size", "epochs")
_TASKS_OWN = (*_AXES, "warmup", "lr_schedule", "weight_decay", "max_seq_len")
_OTHERS = (
    "layer_decay", "grad_clip", "label_smoothing", "dropout", "encoder_dropout", "pooling", "patience", "eval_steps",
    "max_train_rows", "max_dev_rows", "length_window", "amp",
)  # fmt: skip


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what training starts from, where the rows go, where to compute."""
    parser.add_argument(
        "--model", metavar="PATH", default=_DERIVED, help="run or checkpoint (default: newest finished run of runs/)"
    )
    parser.add_argument(
        "--init-from", metavar="PATH", default=_DERIVED,
        help="start from a fine-tuned model instead: a score row's folder; its head is used where the labels are the same",
    )  # fmt: skip
    parser.add_argument(
        "--random-weights", action="store_true", help="the same network and tokenizer, but no pretrained weights: the comparison"
    )
    parser.add_argument("--pooling", default="cls", choices=("cls", "mean"), help="what stands for a row of tokens")
    parser.add_argument("--out", metavar="PATH", default="results/", help="folder of score rows")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="where to compute")
    parser.add_argument("--amp", default="off", choices=("off", "O1"), help="O1: matrix products in bfloat16, on a GPU only")


def add_row_options(group: argparse._ArgumentGroup) -> None:
    """Add how much of the task's rows is used, to the command's own group of data options."""
    group.add_argument("--max-train-rows", type=int, metavar="N", default=_DERIVED, help="train on N rows, always the same ones")
    group.add_argument(
        "--max-dev-rows", type=int, metavar="N", default=_DERIVED, help="score N rows of each set, always the same ones"
    )
    group.add_argument(
        "--max-seq-len", type=int, default=_DERIVED,
        help="tokens of a row, special ones included; the rest is cut (default: the task's)",
    )  # fmt: skip
    group.add_argument("--allow-unk", action="store_true", help="go on although the vocabulary does not know the task's text")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the groups of training options and of how jobs are run."""
    group = parser.add_argument_group("training (LIST: one value, or several with commas between them: a grid)")
    group.add_argument(
        "--epochs",
        type=_list_of(int),
        metavar="LIST",
        default=_DERIVED,
        help="passes over the training rows (default: the task's)",
    )
    group.add_argument(
        "--batch-size", type=_list_of(int), metavar="LIST", default=_DERIVED, help="rows of one update (default: the task's)"
    )
    group.add_argument(
        "--learning-rate", type=_list_of(float), metavar="LIST", default=_DERIVED,
        help="highest learning rate (default: the task's)",
    )  # fmt: skip
    group.add_argument(
        "--lr-schedule", choices=("linear", "cosine", "constant"), default=_DERIVED,
        help="after the warm-up: down to 0, or as it is (default: the task's)",
    )  # fmt: skip
    group.add_argument(
        "--warmup", type=float, default=_DERIVED, help="share of the steps in which the learning rate rises (default: the task's)"
    )
    group.add_argument("--layer-decay", type=float, default=1.0, help="learning rate of a layer over that of the layer above it")
    group.add_argument(
        "--weight-decay", type=float, default=_DERIVED, help="of matrices; none on biases and norms (default: the task's)"
    )
    group.add_argument("--grad-clip", type=float, default=1.0, help="largest norm of all gradients; 0: no clipping")
    group.add_argument("--label-smoothing", type=float, default=0.0, help="share of a label that is spread over all classes")
    group.add_argument("--dropout", type=float, default=0.1, help="before the head")
    group.add_argument("--encoder-dropout", type=float, default=_DERIVED, help="inside the encoder (default: as pretrained)")
    group.add_argument(
        "--patience", type=int, metavar="N", default=_DERIVED,
        help="stop after N evaluations without a better one; the score is then chosen on dev, and labelled so (default: never)",
    )  # fmt: skip
    group.add_argument(
        "--length-window",
        type=int,
        metavar="N",
        default=16,
        help="sort rows by length within N batches, against padding; 1: do not",
    )
    group.add_argument("--logging-steps", type=int, default=100, help="steps from one log line to the next")
    group.add_argument("--eval-steps", type=int, default=_DERIVED, help="steps between evaluations (default: each epoch's end)")

    jobs = parser.add_argument_group("jobs (a setting and a seed each; finished ones are kept, and not run again)")
    jobs.add_argument("--seed", type=int, default=0, help="seed of head, order and dropout")
    jobs.add_argument(
        "--seeds", metavar="K|LIST", default="1", help="K seeds: --seed and the next ones; or these, with commas between them"
    )
    jobs.add_argument("--rerun", action="store_true", help="run finished jobs again")
    jobs.add_argument("--engine", default="ray", choices=("ray", "local"), help="of more than one job; local: in this process")
    jobs.add_argument(
        "--workers", type=int, default=_DERIVED, help="jobs at a time; their threads share the cores (default: one a core)"
    )
    jobs.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        default=_DERIVED,
        help="a ray cluster to work on, as in HOST:6379 (default: this machine)",
    )


def _list_of(number: type[Number]) -> Callable[[str], tuple[Number, ...]]:
    def parse(text: str) -> tuple[Number, ...]:
        values = tuple(number(part) for part in text.split(",") if part.strip())
        if not values or len(set(values)) < len(values):
            raise ValueError(text)
        return values

    parse.__name__ = f"list of {number.__name__}"  # argparse shows it: invalid list of int value
    return parse


def seeds_of(options: argparse.Namespace) -> tuple[int, ...]:
    """Return the seeds that --seed and --seeds mean. Raises UsageError."""
    from shards.errors import UsageError

    text = str(options.seeds)
    try:
        numbers = _list_of(int)(text)
    except ValueError:
        raise UsageError(f"--seeds is a count, or different numbers with commas between them, got {text!r}") from None
    if "," in text:
        return numbers
    if numbers[0] < 1:
        raise UsageError(f"--seeds must be at least 1, got {text}")
    return tuple(range(options.seed, options.seed + numbers[0]))


def settings_of(options: argparse.Namespace, task: Task) -> tuple[Settings, ...]:
    """Return every setting that the options ask for, the task's own defaults filled in. Raises UsageError."""
    from finetune.grid import combinations
    from finetune.settings import Settings
    from shards.errors import UsageError

    given = vars(options)
    for name in ("logging_steps", "workers"):
        if given.get(name, 1) < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {given[name]}")
    seeds_of(options)
    values: dict[str, Any] = {name: getattr(task, name) for name in _TASKS_OWN}
    values |= {name: given[name] for name in (*_TASKS_OWN, *_OTHERS) if name in given}
    for name, unfit in (("label_smoothing", ("score", "choice")), ("pooling", ("tags",))):
        if task.kind in unfit and values[name] != getattr(Settings, name):
            raise UsageError(f"--{name.replace('_', '-')} {values[name]} has no meaning for {task.name}, a task of {task.kind}")
    axes = {name: value if isinstance(value := values.pop(name), tuple) else (value,) for name in _AXES}
    return combinations(values, axes)


def choose_model(options: argparse.Namespace) -> Start:
    """Return what training starts from, and print it: --model, --init-from, or the newest finished run; or random weights.

    Raises UsageError and pretrain's errors.
    """
    from finetune.initial import choose_start

    given = vars(options)
    return choose_start(model=given.get("model"), init_from=given.get("init_from"), random_weights=options.random_weights)


def fine_tune(options: argparse.Namespace, start: Start, work: Sequence[tuple[Task, TaskInput]]) -> Outcome:
    """Train and score every (task, rows) of `work` with every setting and seed, and commit their score rows.

    Every row is encoded before anything is trained.
    """
    from finetune.engines import open_engine, threads_for, workers_for
    from finetune.grid import Group, choose, run_groups
    from finetune.job import Job, prepare
    from finetune.submission import write_submissions

    given, out, seeds = vars(options), Path(options.out), seeds_of(options)
    plan = [(task, data, settings_of(options, task)) for task, data in work]
    count = len(seeds) * sum(len(settings) for _, _, settings in plan)
    workers = workers_for(count, given.get("workers"))
    threads, all_rows, groups, data_of = threads_for(workers), [], [], []
    for number, (task, data, all_settings) in enumerate(plan):
        for note in data.notes:
            print(note)
        rows = prepare(task, data, start, all_settings[0], allow_unk=options.allow_unk)
        all_rows.append(rows)
        for settings in all_settings:
            jobs = tuple(
                Job(
                    rows=number, settings=settings, seed=seed, device=options.device, threads=threads,
                    logging_steps=options.logging_steps,
                )
                for seed in seeds
            )  # fmt: skip
            groups.append(Group(rows=rows, jobs=jobs))
            data_of.append(data)
    out.mkdir(parents=True, exist_ok=True)  # a place that cannot be written to is noticed now, not after the training
    results = run_groups(
        groups,
        out=out,
        rerun=options.rerun,
        open_engine=lambda jobs: open_engine(options.engine, all_rows, jobs, workers=workers, address=given.get("ray_address")),
    )
    grids = choose(results, out)
    submissions: list[Path] = []
    for result, data in zip(results, data_of, strict=True):
        submissions += write_submissions(result.path.parent, data, device=options.device) if data.tests else []
    if len(results) == 1:
        outputs = (str(results[0].path), *map(str, submissions))
        return Outcome(fingerprint=results[0].fingerprint, outputs=outputs, figures=results[0].row)
    outputs = (*(str(result.path) for result in results), *map(str, grids), *map(str, submissions))
    return Outcome(outputs=outputs, figures={"rows": [result.row for result in results]})
