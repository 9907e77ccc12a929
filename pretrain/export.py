"""``python -m pretrain.export MODEL --to hf|paddlenlp|inference --out DIR``: a model as other libraries load it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from pretrain.checkpoint import SavedModel

COMMAND = "pretrain.export"


def _to_library(family: str) -> Callable[[SavedModel, Path], Outcome]:
    def write(saved: SavedModel, out: Path) -> Outcome:
        from pipeline.load_tokenizer import load_tokenizer
        from pretrain.export_folder import exported
        from pretrain.new_folder import commit_new_folder
        from pretrain.published_files import Read

        tokenizer = load_tokenizer(saved.tokenizer_folder)
        read = saved.published.read() if saved.published is not None else Read(tensors=saved.weights(), bfloat16=saved.bfloat16)
        made = exported(saved, tokenizer, family, read.tensors, read.bfloat16)
        commit_new_folder(out, made.files)
        for note in made.notes:
            print(f"note: {note}")
        for below, name in made.classes.items():
            print(f"wrote {out / below}: {name}.from_pretrained({str(out / below)!r})")
        return Outcome(fingerprint=saved.fingerprint, outputs=(str(out),), figures={"classes": dict(made.classes)})

    return write


def _to_inference(saved: SavedModel, out: Path) -> Outcome:
    from pretrain.inference import write_inference

    return write_inference(saved, out)


# --to NAME → what writes a model so
TARGETS: Mapping[str, Callable[[SavedModel, Path], Outcome]] = {
    "hf": _to_library("hf"),
    "paddlenlp": _to_library("paddlenlp"),
    "inference": _to_inference,
}


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pretrain.checkpoint import resolve_model
    from pretrain.new_folder import check_new_folder

    out = Path(options.out)
    check_new_folder(out)
    saved = resolve_model(options.model)
    print(f"model: {saved.path} ({saved.config.architecture}, {saved.fingerprint[:8]})")
    return TARGETS[options.to](saved, out)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser(COMMAND, "Write a model so that another library loads it.")
    parser.add_argument(
        "model", metavar="MODEL", help="run, checkpoint, converted folder, or a folder of transformers or PaddleNLP"
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=tuple(TARGETS),
        help="hf: transformers; paddlenlp: PaddleNLP; inference: a static graph, and ONNX",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; must not be there yet")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, build_parser(), body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
