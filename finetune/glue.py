"""``python -m finetune.glue --task SST-2``: fine-tune a checkpoint on a GLUE task and write its score row."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetune.options import add_model_options, add_row_options, add_training_options, choose_model, fine_tune, settings_of
from shards.cli import Outcome, new_parser, run

COMMAND = "finetune.glue"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on GLUE tasks, over one or more seeds, and write their score rows.")
    parser.add_argument(
        "--task",
        required=True,
        metavar="NAME",
        help="CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI or AX; several with commas; all",
    )
    add_model_options(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="the task's folder, or one that holds it")
    data.add_argument(
        "--data",
        default="auto",
        choices=("auto", "local", "hub", "sample"),
        help="auto: --data-dir, $WORDLOOM_DATA/glue/TASK, ./data/glue/TASK, then the hub; sample: the few rows of the package",
    )
    data.add_argument("--hub-id", metavar="ID", default="nyu-mll/glue", help="data set of the hub")
    add_row_options(data)
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    # Whatever can be wrong with task, options, checkpoint and rows is found before paddle is imported.
    from finetune.inputs import load_task
    from finetune.tasks import GLUE, GLUE_ALL, find_tasks

    tasks = find_tasks(options.task, GLUE, GLUE_ALL)
    for task in tasks:
        settings_of(options, task)
    saved = choose_model(options)
    data_dir = vars(options).get("data_dir")
    work = [load_task(task, source=options.data, data_dir=data_dir, hub_id=options.hub_id) for task in tasks]
    return fine_tune(options, saved, [(data.task, data) for data in work])


if __name__ == "__main__":
    raise SystemExit(main())
