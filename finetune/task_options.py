"""The options of commands that know their tasks by name, and how such a command reads its rows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.options import add_model_options, add_row_options

if TYPE_CHECKING:
    from finetune.inputs import Elsewhere
    from finetune.task import Task, TaskInput


def add_task_option(parser: argparse.ArgumentParser, names: str) -> None:
    parser.add_argument("--task", required=True, metavar="NAME", help=f"{names}; several with commas; all")


def add_data_options(parser: argparse.ArgumentParser, places: str, *, sources: Sequence[str]) -> argparse._ArgumentGroup:
    """Add where the rows come from and how many are used; `places` says what ``auto`` means, `sources` what else there is."""
    group = parser.add_argument_group("data")
    group.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="the task's folder, or one that holds it")
    group.add_argument("--data", default="auto", choices=("auto", "local", *sources), help=f"auto: --data-dir, {places}")
    add_row_options(group)
    return group


def add_own_files(
    parser: argparse.ArgumentParser, name: str, *, rows: str, layouts: Sequence[str], labels: str
) -> argparse._ArgumentGroup:
    """Add the task's name, model options and two files of one's own; `rows` says what files are read, `labels` what they hold."""
    parser.add_argument("--name", default=name, help="what the task is called in results")
    add_model_options(parser)
    group = parser.add_argument_group("data")
    group.add_argument("--train", required=True, metavar="FILE", help=f"rows to train on: {rows}")
    group.add_argument("--dev", required=True, metavar="FILE", help="rows to score")
    group.add_argument(
        "--labels", metavar="X,Y,…", default=argparse.SUPPRESS, help=f"the {labels} (default: those of the training rows)"
    )
    group.add_argument("--layout", default="auto", choices=("auto", *layouts), help="of both files; auto: by their names")
    add_row_options(group)
    return group


def add_predict_option(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--predict",
        action="store_true",
        help="predict the test rows too, and write the benchmark's submission file beside the row",
    )


def read_tasks(
    options: argparse.Namespace, tasks: Sequence[Task], *, hub_id: str = "", elsewhere: Elsewhere | None = None
) -> list[TaskInput]:
    """Find and read every row of every task, before any is trained on. Raises as `inputs.load_task` does.

    Of ``--task all``, those are left out, and named, that are not there while others are.
    """
    from finetune.inputs import load_task, there_of

    given = vars(options)
    if options.task.lower() == "all" and options.data in ("auto", "local"):
        there = there_of(tasks, data_dir=given.get("data_dir"))
        if there and len(there) < len(tasks):
            print(f"left out, no files: {', '.join(task.name for task in tasks if task not in there)}")
            tasks = there
    return [
        load_task(
            task,
            source=options.data,
            data_dir=given.get("data_dir"),
            hub_id=hub_id,
            tests=given.get("predict", False),
            elsewhere=elsewhere,
        )
        for task in tasks
    ]
