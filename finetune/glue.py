"""``python -m finetune.glue --task SST-2``: fine-tune a checkpoint on a GLUE task and write its score row."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetune.options import add_model_options, add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_data_options, add_predict_option, add_task_option, read_tasks
from shards.cli import Outcome, new_parser, run

COMMAND = "finetune.glue"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on GLUE tasks, over one or more seeds, and write their score rows.")
    add_task_option(parser, "CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI or AX")
    add_model_options(parser)
    places = "$WORDLOOM_DATA/glue/TASK, ./data/glue/TASK, then the hub; sample: the few rows of the package"
    data = add_data_options(parser, places, sources=("hub", "sample"))
    data.add_argument("--hub-id", metavar="ID", default="nyu-mll/glue", help="data set of the hub")
    add_predict_option(data)
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    # Whatever can be wrong with task, options, checkpoint and rows is found before paddle is imported.
    from finetune.tasks import GLUE, GLUE_ALL, find_tasks

    tasks = find_tasks(options.task, GLUE, GLUE_ALL)
    for task in tasks:
        settings_of(options, task)
    start = choose_model(options)
    work = read_tasks(options, tasks, hub_id=options.hub_id)
    return fine_tune(options, start, [(data.task, data) for data in work])


if __name__ == "__main__":
    raise SystemExit(main())
