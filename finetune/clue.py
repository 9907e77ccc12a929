"""``python -m finetune.clue --task tnews``: fine-tune a checkpoint on CLUE tasks and write their score rows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.options import add_model_options, add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_data_options, add_predict_option, add_task_option, read_tasks
from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.task import TaskInput

COMMAND = "finetune.clue"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on CLUE tasks, over one or more seeds, and write their score rows.")
    add_task_option(parser, "tnews, iflytek, afqmc, cmnli, ocnli, csl or cluewsc")
    add_model_options(parser)
    places = "$WORDLOOM_DATA/clue/TASK, $WORDLOOM_DATA/clue_few/TASK (FewCLUE), then the same below ./data"
    add_predict_option(add_data_options(parser, places, sources=()))
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.tasks import CLUE, find_tasks

    tasks = find_tasks(options.task, CLUE, CLUE)
    for task in tasks:
        settings_of(options, task)
    start = choose_model(options)
    work = read_tasks(options, tasks, elsewhere=_nowhere)
    return fine_tune(options, start, [(data.task, data) for data in work])


def _nowhere(looked: list[str]) -> TaskInput:
    from shards.errors import NotFoundError

    raise NotFoundError(
        "no files of the task", where=", ".join(looked), expected="train.json and dev.json, or FewCLUE's …_few_all.json",
        hint="Unpack the task's archive of CLUE or FewCLUE, and give its folder: --data-dir DIR",
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
