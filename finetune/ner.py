"""``python -m finetune.ner --train F --dev F``: fine-tune a checkpoint to find entities in texts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetune.options import add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_own_files
from shards.cli import Outcome, new_parser, run

COMMAND = "finetune.ner"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint to tag words (BIO), scored by whole entities.")
    add_own_files(parser, "ner", rows="CoNLL's columns, or JSON lines", layouts=("conll", "json"), labels="types of entities")
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from pathlib import Path

    from finetune.own_data import named_labels, require_name
    from finetune.tagged_data import load_tagged

    train, dev = Path(options.train), Path(options.dev)
    layout = ("json" if train.suffix.lower() in (".json", ".jsonl") else "conll") if options.layout == "auto" else options.layout
    kinds = named_labels(vars(options).get("labels"), least=1)
    start = choose_model(options)
    data = load_tagged(require_name(options.name), train=train, dev=dev, layout=layout, kinds=kinds)
    settings_of(options, data.task)
    return fine_tune(options, start, [(data.task, data)])


if __name__ == "__main__":
    raise SystemExit(main())
