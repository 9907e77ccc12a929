"""``python -m finetune.cail2019_scm``: fine-tune a checkpoint to tell which of two cases is closer to a third."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from finetune.options import add_model_options, add_training_options, choose_model, fine_tune, settings_of
from finetune.task_options import add_data_options
from shards.cli import Outcome, new_parser, run

COMMAND = "finetune.cail2019_scm"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Fine-tune a checkpoint on CAIL2019-SCM, over one or more seeds, and write its score row.")
    add_model_options(parser)
    places = "$WORDLOOM_DATA/cail2019_scm, ./data/cail2019_scm, then paddlenlp.datasets"
    data = add_data_options(parser, places, sources=("hub",))
    data.add_argument(
        "--swap-seed", type=int, default=0, metavar="N", help="decides in which rows without label B and C change places"
    )
    add_training_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.cail import find_cail, load_cail
    from finetune.tasks import CAIL
    from shards.errors import NotFoundError, UsageError

    (task,) = CAIL
    settings_of(options, task)
    start = choose_model(options)
    data_dir = vars(options).get("data_dir")
    if data_dir is not None and options.data == "hub":
        raise UsageError(f"--data-dir {data_dir} and --data hub name two sources", hint="Give one of them")
    place = None if options.data == "hub" else find_cail(task, data_dir)
    if place is None and options.data == "local":
        raise NotFoundError(f"no files of {task.name}", hint="Give --data-dir DIR, or set WORDLOOM_DATA")
    if place is None:
        from finetune.paddlenlp_data import download

        place = download(task), "paddlenlp.datasets"
    data = load_cail(task, *place, swap_seed=options.swap_seed)
    return fine_tune(options, start, [(data.task, data)])


if __name__ == "__main__":
    raise SystemExit(main())
