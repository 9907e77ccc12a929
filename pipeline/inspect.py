"""``python -m pipeline.inspect shards/NAME [--row N]``: a sample as text, with word boundaries, the split and the source line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer
    from shards.reader import Rows


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = new_parser("pipeline.inspect", "Show samples of a data set as text: words parted by |, segments by ‖.")
    parser.add_argument("path", metavar="PATH", help="a data set")
    parser.add_argument("--row", type=int, default=0, help="number of the first sample to show")
    parser.add_argument("--rows", type=int, default=1, metavar="COUNT", help="how many samples to show")
    parser.add_argument("--split", choices=("train", "heldout"), default="train", help="which samples")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.inspect", build_parser(), _inspect, argv)


def _inspect(options: argparse.Namespace) -> Outcome:
    import numpy as np

    from pipeline.tokenizer import Tokenizer
    from shards.errors import UsageError
    from shards.reader import DataSet

    data_set = DataSet.open(options.path)
    split = data_set.split(options.split)
    if options.rows < 1 or not 0 <= options.row < len(split):
        raise UsageError(
            "no such sample",
            where=f"{options.path}, split {options.split}",
            expected=f"--row from 0 to {len(split) - 1}",
            got=options.row,
        )
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    numbers = np.arange(options.row, min(options.row + options.rows, len(split)))
    rows = split.take(numbers)
    samples: list[dict[str, Any]] = []
    for i, number in enumerate(numbers.tolist()):
        source = f"{data_set.manifest.corpus[int(rows.source_file[i])].path}:{int(rows.source_row[i])}"
        text = render(rows, i, tokenizer)
        tokens = int(rows.offsets[i + 1] - rows.offsets[i])
        samples.append({"row": number, "source": source, "tokens": tokens, "split": int(rows.split[i]), "text": text})
        border = f"segment A has {rows.split[i]} tokens" if rows.split[i] else "no pair"
        identity = f"{options.split} {number} of {len(split):,}, id {rows.sample_id[i]:#x}"
        print(f"{identity}, from {source}: {tokens} tokens, {border}")
        print(text)
    return Outcome(fingerprint=data_set.manifest.fingerprint, figures={"samples": samples})


def render(rows: Rows, index: int, tokenizer: Tokenizer) -> str:
    """Return sample `index` as text: ``|`` before each word, ``‖`` between the segments, pieces of one word joined."""
    begin, end = int(rows.offsets[index]), int(rows.offsets[index + 1])
    split = int(rows.split[index])
    parts: list[str] = []
    for position, (token_id, starts_word) in enumerate(
        zip(rows.ids[begin:end].tolist(), rows.word_start[begin:end].tolist(), strict=True)
    ):
        token = tokenizer.token(token_id)
        if position and position == split:
            parts.append("‖")
        elif position and starts_word:
            parts.append("|")
        parts.append(token[2:] if not starts_word and token.startswith("##") else token)
    return "".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
