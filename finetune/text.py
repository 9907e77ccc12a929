"""``python -m finetune.text --train F --dev F --columns text,label``: fine-tune a checkpoint on rows of your own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetune.options import add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_own_files
from shards.cli import Outcome, new_parser, run

COMMAND = "finetune.text"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on rows of your own: classes or scores of texts or pairs of texts.")
    data = add_own_files(parser, "text", rows="TSV, CSV or JSON lines", layouts=("tsv", "csv", "json"), labels="classes")
    data.add_argument(
        "--columns", required=True, metavar="A[,B],LABEL", help="the column of texts, or the two of pairs, then the label's"
    )
    data.add_argument("--kind", default="classes", choices=("classes", "score"), help="what the label's column holds")
    data.add_argument("--no-header", action="store_true", help="the first row is a row, and columns go by number from 1")
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from pathlib import Path

    from finetune.own_data import load_own, own_task, require_name

    task = own_task(require_name(options.name), columns=options.columns, kind=options.kind, labels=vars(options).get("labels"))
    settings_of(options, task)
    start = choose_model(options)
    data = load_own(
        task, train=Path(options.train), dev=Path(options.dev), layout=options.layout, has_header=not options.no_header
    )
    return fine_tune(options, start, [(data.task, data)])


if __name__ == "__main__":
    raise SystemExit(main())
