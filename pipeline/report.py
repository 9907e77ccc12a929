"""``python -m pipeline.report shards/NAME``: the data card of a data set, as a page for people and as JSON for programs.

Both are written beside the data set, ``shards/NAME.card.html`` and ``shards/NAME.card.json``, never into it: a data set holds
what its manifest lists, and a root of data sets is searched for folders only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ROWS, DEFAULT_EXAMPLES = 20_000, 8
_SUFFIX = ".html"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser("pipeline.report", "Write the data card of a data set: one HTML page, and the same content as JSON.")
    add = parser.add_argument
    add("path", metavar="PATH", help="a data set")
    add(
        "--out", metavar="FILE.html", help="where to write; the JSON goes beside it; default: beside the data set, NAME.card.html"
    )
    add("--rows", type=int, default=DEFAULT_ROWS, metavar="COUNT", help="training rows that statistics are taken from")
    add("--examples", type=int, default=DEFAULT_EXAMPLES, metavar="COUNT", help="samples to show")
    add("--seed", type=int, default=0, help="decides which rows are drawn, and the masks shown")
    add("--no-duplicates", action="store_true", help="do not look for equal samples, which takes a pass over all rows")
    add("--no-verify", action="store_true", help="do not check the hashes of the shards")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.report", build_parser(), _report, argv)


def _report(options: argparse.Namespace) -> Outcome:
    from pipeline.card import CardSettings, make_card
    from pipeline.card_page import render_card
    from shards.canonical import pretty_json
    from shards.durable import commit_bytes

    settings = CardSettings(
        rows=options.rows, examples=options.examples, seed=options.seed, duplicates=not options.no_duplicates,
        verify=not options.no_verify,
    )  # fmt: skip
    folder = Path(options.path)
    page_path, json_path = _targets(folder, options.out)
    if options.no_verify:
        print("the hashes of tokenizer and shards are not checked (--no-verify)")
    card = make_card(folder, settings)
    commit_bytes(json_path, pretty_json(card))
    commit_bytes(page_path, render_card(card).encode())
    _summarise(card)
    print(f"wrote {page_path} and {json_path}")
    return Outcome(fingerprint=card["hashes"]["fingerprint"], outputs=(str(page_path), str(json_path)), figures=card)


def _targets(folder: Path, out: str | None) -> tuple[Path, Path]:
    """Return where page and JSON go. Raises UsageError and ExistsError rather than touch a data set or a stranger's file."""
    from shards.canonical import read_json_object
    from shards.errors import ExistsError, FormatError, UsageError
    from shards.manifest import MANIFEST_NAME

    whole = folder.resolve()  # PATH may be "." or end in one
    beside = folder.parent if folder.name == whole.name else whole.parent
    page = Path(out) if out else beside / f"{whole.name}.card{_SUFFIX}"
    if page.suffix != _SUFFIX or page.is_dir():
        raise UsageError("--out must be the name of a file that ends in .html", got=str(page))
    if (page.parent / MANIFEST_NAME).exists():
        raise UsageError("--out lies in a data set, which holds nothing but its own files", got=str(page))
    content = page.with_suffix(".json")
    if content.exists():
        try:
            is_card = "card" in read_json_object(content, max_bytes=1 << 30)
        except FormatError:
            is_card = False
        if not is_card:
            raise ExistsError("a file is in the way that is no data card", where=content, hint="Pass another --out")
    return page, content


def _summarise(card: Mapping[str, Any]) -> None:
    tally, sample = card["tally"], card["sample"]
    print(f"documents: {tally['read']:,} read, {tally['kept']:,} kept")
    print(f"rows: {tally['rows_read']:,} read, {tally['rows_kept']:,} kept")
    train = card["splits"]["train"]
    print(f"samples: {train['rows']:,} to train on; statistics from {sample['rows']:,} of them")
    print(f"unknown tokens: {sample['unknown_rate']:.4%}; pairs: {sample['pair_share']:.1%} of the samples")
    waste = sample["padding_waste"]
    print(f"padding: {waste['fixed']:.1%} at full length, {waste['batches']:.1%} by batch, {waste['bins']:.1%} in bins")
    if (found := card["duplicates"]) is not None:
        how = "counted" if found["exact"] else "estimated"
        print(f"samples equal to an earlier one: {found['duplicate_share']:.2%} ({how})")


if __name__ == "__main__":
    raise SystemExit(main())
