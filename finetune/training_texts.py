"""``python -m finetune.training_texts --task NAME --out FILE``: a task's training texts without their labels, to pretrain on.

Task-adaptive pretraining: an encoder that has read the unlabelled texts of a task learns it from fewer labels (Gururangan et
al., 2020, "Don't Stop Pretraining"). Dev and test rows are left out, and so are texts that are one of theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.task import Examples

COMMAND = "finetune.training_texts"


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(COMMAND, "Write a task's training texts, each a document, without labels: a corpus for pipeline.build.")
    parser.add_argument("--task", required=True, metavar="NAME", help="a task of GLUE or CLUE, thucnews, thucnews_titles")
    parser.add_argument("--out", required=True, metavar="FILE", help="the text file, which must not be there yet")
    parser.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="the task's folder, or one that holds it")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.inputs import load_task
    from finetune.tasks import CLUE, GLUE, THUCNEWS, find_task
    from shards.durable import commit_bytes
    from shards.errors import UsageError

    out = Path(options.out)
    if out.exists():
        raise UsageError("is there already", where=out, hint="Give --out another name, or remove it")
    data = load_task(find_task(options.task, (*GLUE, *CLUE, *THUCNEWS)), source="local", data_dir=vars(options).get("data_dir"))
    for note in data.notes:
        print(note)
    known = {text for split in (data.dev, *data.other_dev.values()) for text in _texts(split)}
    texts = dict.fromkeys(_texts(data.train))
    kept = [text for text in texts if text and text not in known]
    print(
        f"{len(data.train):,} training rows, {len(kept):,} different texts; {len(texts) - len(kept):,} left out: also in dev rows"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    written = commit_bytes(out, "".join(f"{text}\n\n" for text in kept).encode())
    print(f"wrote {out}")
    return Outcome(fingerprint=written.sha256, figures={"texts": len(kept)}, outputs=(str(out),))


def _texts(rows: Examples) -> Iterator[str]:
    """Yield every text of every row on a line of its own."""
    for column in (rows.texts_a, rows.texts_b, rows.texts_c):
        yield from (" ".join(text.split()) for text in column or ())


if __name__ == "__main__":
    raise SystemExit(main())
