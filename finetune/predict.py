"""``python -m finetune.predict --model results/… --text …``: labels and probabilities from a fine-tuned model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from finetune.predictor import Prediction, Predictor
    from finetune.task import Examples

COMMAND = "finetune.predict"
_LAYOUTS = {".tsv": "tsv", ".csv": "csv", ".jsonl": "json", ".json": "json", ".txt": "lines"}


def _parser() -> argparse.ArgumentParser:
    derived = argparse.SUPPRESS
    parser = new_parser(COMMAND, "Predict labels and probabilities with a fine-tuned model; its every byte is checked first.")
    parser.add_argument("--model", required=True, metavar="PATH", help="folder of a score row, or the model beside it")
    parser.add_argument("--text", metavar="TEXT", default=derived, help="one text (of a pair or a choice: the first)")
    parser.add_argument("--text-b", metavar="TEXT", default=derived, help="the second text of a pair or a choice")
    parser.add_argument("--text-c", metavar="TEXT", default=derived, help="the third text of a choice")
    parser.add_argument(
        "--input", metavar="FILE", default=derived,
        help="rows to predict: .tsv or .csv with a header, .jsonl, or .txt with a text a line",
    )  # fmt: skip
    parser.add_argument(
        "--columns", metavar="LIST", default=derived, help="columns of the texts in FILE, with commas (default: the task's own)"
    )
    parser.add_argument(
        "--output", metavar="FILE", default=derived, help="where to write: .tsv, else JSON lines (default: print them)"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="rows at a time")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"), help="where to compute")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, _parser(), _body, argv)


def _body(options: argparse.Namespace) -> Outcome:
    from finetune.predictor import Predictor
    from shards.errors import UsageError

    if options.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {options.batch_size}")
    given = vars(options)
    if ("text" in given) == ("input" in given):
        raise UsageError("what to predict comes from --text or from --input", hint="Give one of them")
    for name in ("columns", "output"):
        if name in given and "input" not in given:
            raise UsageError(f"--{name} goes with --input")
    predictor = Predictor(options.model, batch_size=options.batch_size)
    examples = _typed(options, predictor) if "text" in given else _read(options, predictor)
    found = predictor.predict(examples, device=options.device)
    figures = {"task": predictor.task.name, "rows": len(found)}
    outputs: tuple[str, ...] = ()
    if "output" in given:
        _write(Path(options.output), found, predictor)
        outputs = (options.output,)
        print(f"{len(found):,} rows of {predictor.task.name} -> {options.output}")
    else:
        for row in found:
            print(_line(row))
        if "text" in given:
            figures |= found[0].to_json()
    return Outcome(fingerprint=predictor.saved.fingerprint, outputs=outputs, figures=figures)


def _typed(options: argparse.Namespace, predictor: Predictor) -> Examples:
    from finetune.task import Examples
    from shards.errors import UsageError

    given = vars(options)
    flags = ("text", "text_b", "text_c")
    wanted = flags[: len(predictor.task.texts)]
    for flag in flags:
        if (flag in given) != (flag in wanted):
            shown = " ".join("--" + name.replace("_", "-") for name in wanted)
            raise UsageError(f"a row of {predictor.task.name} has {len(wanted)} texts", expected=shown)
        if flag in wanted and not given[flag].strip():
            raise UsageError(f"nothing in --{flag.replace('_', '-')}")
    texts = [[given[flag]] if flag in wanted else None for flag in flags]
    assert texts[0] is not None
    return Examples(texts_a=texts[0], texts_b=texts[1], texts_c=texts[2], labels=[])


def _read(options: argparse.Namespace, predictor: Predictor) -> Examples:
    """Read every row before anything is predicted. Raises TaskDataError with file:row:column."""
    from finetune.delimited import read_delimited
    from finetune.json_lines import read_json_lines
    from finetune.task import Examples
    from shards.errors import UsageError

    path, task = Path(options.input), predictor.task
    layout = _LAYOUTS.get(path.suffix.lower())
    if layout is None:
        raise UsageError("cannot tell what this file is by its name", expected=", ".join(_LAYOUTS), got=str(path))
    columns = tuple(vars(options).get("columns", ",".join(task.texts)).split(","))
    if len(columns) != len(task.texts) or not all(columns):
        raise UsageError(f"--columns: a row of {task.name} has {len(task.texts)} texts", got=",".join(columns))
    if layout == "lines":
        if len(columns) > 1:
            raise UsageError(
                f"a row of {task.name} has {len(columns)} texts, a line of {path} only one", hint="Give a .tsv or .jsonl"
            )
        table = read_delimited(path, layout="tsv", wanted=("1",), has_header=False)
    elif layout == "json":
        table = read_json_lines(path, wanted=columns)
    else:
        table = read_delimited(path, layout=layout, wanted=columns, has_header=True)
    texts = [table.columns[i] if i < len(columns) else None for i in range(3)]
    assert texts[0] is not None
    return Examples(texts_a=texts[0], texts_b=texts[1], texts_c=texts[2], labels=[])


def _line(row: Prediction) -> str:
    return json.dumps(row.to_json(), ensure_ascii=False)


def _write(path: Path, found: Sequence[Prediction], predictor: Predictor) -> None:
    """Commit the predictions in the order of the rows, whole or not at all. Raises StorageError."""
    from shards.durable import commit_bytes

    if path.suffix.lower() != ".tsv" or predictor.task.kind == "tags":
        lines = [_line(row) for row in found]
    elif predictor.task.kind == "score":
        lines = ["score", *(f"{row.score:.6f}" for row in found)]
    else:
        names = list(found[0].probabilities or ())
        lines = ["\t".join(["label", *(f"p({name})" for name in names)])]
        lines += ["\t".join([str(row.label), *(f"{p:.6f}" for p in (row.probabilities or {}).values())]) for row in found]
    commit_bytes(path, "".join(line + "\n" for line in lines).encode())


if __name__ == "__main__":
    raise SystemExit(main())
