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
    parser.add_argument("--row", type=int, default=0, help="number of the first sample to show; -1 is the last one")
    parser.add_argument("--rows", type=int, default=1, metavar="COUNT", help="how many samples to show")
    parser.add_argument("--split", choices=("train", "heldout"), default="train", help="which samples")
    parser.add_argument("--masks", action="store_true", help="show the masks as well: stored ones, or a draw of the default ones")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw that --masks shows")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.inspect", build_parser(), _inspect, argv)


def _inspect(options: argparse.Namespace) -> Outcome:
    import numpy as np

    from pipeline.load_tokenizer import load_tokenizer
    from pipeline.sample_view import view_samples
    from shards.errors import UsageError
    from shards.reader import DataSet

    data_set = DataSet.open(options.path)
    split = data_set.split(options.split)
    if options.rows < 1:
        raise UsageError(f"--rows must be at least 1, got {options.rows}")
    if not -len(split) <= options.row < len(split):
        raise UsageError(
            "no such sample",
            where=f"{options.path}, split {options.split}",
            expected=f"--row from 0 to {len(split) - 1}, or from {-len(split)} to -1" if len(split) else "a split with samples",
            got=options.row,
        )
    tokenizer = load_tokenizer(data_set.tokenizer_folder)
    first = options.row % len(split)
    numbers = np.arange(first, min(first + options.rows, len(split)))
    rows = split.take(numbers)
    views = view_samples(rows, data_set.manifest, tokenizer, seed=options.seed) if options.masks else None
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
        if views is not None:
            samples[-1]["masked"] = views[i].to_json_object()
            masks = f"seed {options.seed}" if rows.static is None else "masks of the data set"
            print(f"{masks}, {views[i].masked_tokens} tokens to predict: {views[i].as_text()}")
    return Outcome(fingerprint=data_set.manifest.fingerprint, figures={"samples": samples})


def render(rows: Rows, index: int, tokenizer: Tokenizer) -> str:
    """Return sample `index` as text: ``|`` before each word, ``‖`` between the segments, pieces of one word joined."""
    begin, end = int(rows.offsets[index]), int(rows.offsets[index + 1])
    split = int(rows.split[index])
    ids, starts = rows.ids[begin:end].tolist(), rows.word_start[begin:end].tolist()
    firsts = [position for position in range(len(ids)) if position == 0 or starts[position] or position == split > 0]
    parts: list[str] = []
    for first, last in zip(firsts, [*firsts[1:], len(ids)], strict=True):
        if first:
            parts.append("‖" if first == split else "|")
        parts.append(_word(ids[first:last], tokenizer))
    return "".join(parts)


def _word(ids: list[int], tokenizer: Tokenizer) -> str:
    if "byte" in tokenizer.kind:  # its tokens spell bytes by stand-ins, and only together are they characters
        return tokenizer.decode(ids).strip()
    first, *others = (tokenizer.token(id) for id in ids)
    return first + "".join(token.removeprefix("##") for token in others)


if __name__ == "__main__":
    raise SystemExit(main())
