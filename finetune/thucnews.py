"""``python -m finetune.thucnews``: fine-tune a checkpoint on the classes of THUCNews, by articles or by titles alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.options import add_model_options, add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_data_options
from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.task import Task

COMMAND = "finetune.thucnews"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on THUCNews, over one or more seeds, and write its score row.")
    add_model_options(parser)
    places = "$WORDLOOM_DATA/thucnews (or thucnews_titles), the same below ./data, then paddlenlp.datasets"
    data = add_data_options(parser, places, sources=("hub",))
    data.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "titles", "articles"),
        help="titles: rows title<TAB>number and class.txt; articles: rows label<TAB>article; auto: what is found",
    )
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.inputs import load_task
    from finetune.paddlenlp_data import load_from_paddlenlp

    task = _task(options)
    settings_of(options, task)
    start = choose_model(options)
    data = load_task(
        task,
        source=options.data,
        data_dir=vars(options).get("data_dir"),
        elsewhere=lambda looked: load_from_paddlenlp(task, looked),
    )
    return fine_tune(options, start, [(data.task, data)])


def _task(options: argparse.Namespace) -> Task:
    """Return the articles or the titles: titles come with a file that names their classes, and only they."""
    from pathlib import Path

    from finetune.inputs import found, usual_folders
    from finetune.tasks import THUCNEWS

    articles, titles = THUCNEWS
    if options.layout != "auto":
        return titles if options.layout == "titles" else articles
    given = vars(options).get("data_dir")
    if given is not None:
        folders = [Path(given), Path(given) / titles.name]
    elif options.data == "hub" or any(found(folder, articles.train_files) for folder, _ in usual_folders(articles)):
        return articles
    else:
        folders = [folder for folder, _ in usual_folders(titles)]
    return titles if any((folder / str(titles.label_file)).exists() for folder in folders) else articles


if __name__ == "__main__":
    raise SystemExit(main())
