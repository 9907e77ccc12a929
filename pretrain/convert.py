"""``python -m pretrain.convert --from hf|paddlenlp PATH --out DIR``: a published model → a checkpoint folder of ours.

The folder is what every ``--init`` and ``--model`` takes. They take the published folder as well; converted, it is hashed, its
tokenizer is ours, and no pickle is left.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.published_config import FAMILIES
from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    from pretrain.published import PublishedModel

COMMAND = "pretrain.convert"


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pretrain.checkpoint import Contents, write_checkpoint
    from pretrain.new_folder import check_new_folder

    out = Path(options.out)
    check_new_folder(out)
    with _opened(Path(options.path), options.source, trust_pickle=options.trust_pickle) as found:
        config = found.config
        print(f"found: {found.class_name or config.architecture} of {found.family}, {found.tokenizer.kind} tokenizer")
        for beginning in found.absent:
            print(f"note: no {beginning}* there: training from it starts them from random values")
        if found.tokenizer.vocab_size < config.vocab_size:
            print(f"note: {config.vocab_size - found.tokenizer.vocab_size} rows of the embeddings are of no token")
        read = found.read()
        state = {
            "kind": "converted", "tokenizer_hash": found.tokenizer.hash, "objective": found.objective,
            "absent": list(found.absent), "bfloat16": sorted(read.bfloat16),
            "origin": {"family": found.family, "fingerprint": found.fingerprint},
        }  # fmt: skip
        contents = Contents(
            step=0, model=read.tensors, optimizer=None, state=state, config=config, tokenizer_files=found.tokenizer.files()
        )
        written = write_checkpoint(out, contents)
    weights = sum(array.size for array in read.tensors.values())
    print(f"wrote {out}: {len(read.tensors)} tensors, {weights:,} weights, fingerprint {written.fingerprint[:8]}")
    figures = {
        "architecture": config.architecture,
        "tensors": len(read.tensors),
        "weights": weights,
        "absent": list(found.absent),
    }
    return Outcome(fingerprint=written.fingerprint, outputs=(str(out),), figures=figures)


@contextmanager
def _opened(path: Path, family: str, *, trust_pickle: bool) -> Iterator[PublishedModel]:
    """Open a folder, or the folder of a file of weights; pickles are rewritten first, in another process."""
    from pretrain.published import open_published
    from pretrain.published_files import PICKLES, WHOLE, refused_pickle
    from pretrain.unpickle import rewritten
    from shards.errors import NotFoundError

    if not path.exists():
        raise NotFoundError("no model here", where=path)
    folder = path if path.is_dir() else path.parent
    pickled = path if path.is_file() else next((p for name in PICKLES if (p := path / name).is_file()), None)
    if path.is_dir() and (path / WHOLE).is_file():
        pickled = None
    if pickled is None or pickled.suffix == ".safetensors":
        yield open_published(folder, family, files=(pickled,) if pickled is not None else None)
    elif not trust_pickle:
        raise refused_pickle(pickled)
    else:
        with tempfile.TemporaryDirectory(prefix="wordloom-") as place:
            print(f"reading {pickled} in a process of its own, by an exact list of names")
            yield open_published(folder, family, files=(rewritten(pickled, Path(place) / WHOLE),))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser(COMMAND, "Turn a model of transformers or PaddleNLP into a checkpoint folder.")
    parser.add_argument("path", metavar="PATH", help="folder with config.json, weights and tokenizer; or its file of weights")
    parser.add_argument("--from", dest="source", required=True, choices=FAMILIES, help="hf: transformers; paddlenlp: PaddleNLP")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; must not be there yet")
    parser.add_argument("--trust-pickle", action="store_true", help="read .bin and .pdparams too: plain tensors only")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, build_parser(), body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
