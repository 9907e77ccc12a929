"""Models whose vocabulary has new whole tokens: ``python -m pretrain.extend_vocab MODEL --tokens FILE --out DIR``.

The row of a new token is the mean of the rows of the pieces that spelled it, in the embeddings and in the bias of the masked
language model. The folder serves ``pretrain.run --init`` and, since the data must be built with the new tokenizer,
``pipeline.build --tokenizer``. Without a folder: both take ``--extend-vocab FILE`` beside the model's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.extend_tokenizer import Extended
    from pretrain.checkpoint import SavedModel

COMMAND = "pretrain.extend_vocab"
_ROWS_OF_TOKENS = (".embeddings.word_embeddings.weight", "predictions.decoder_bias")


def with_rows(array: npt.NDArray[Any], pieces: Sequence[Sequence[int]], vocab_size: int) -> npt.NDArray[Any]:
    """Return `array`, whose first axis is the vocabulary, with the means over `pieces` behind row `vocab_size` - 1.

    Rows beyond `vocab_size` were of no token, and are left out.
    """
    import numpy as np

    means = [array[list(ids)].astype(np.float64).mean(axis=0) for ids in pieces]
    return np.concatenate([array[:vocab_size], np.stack(means).astype(array.dtype)])


def with_new_tokens(
    weights: Mapping[str, npt.NDArray[Any]], pieces: Sequence[Sequence[int]], vocab_size: int
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """Return a model's weights with rows for new tokens, which make its vocabulary `vocab_size`."""
    old_size = vocab_size - len(pieces)
    return {n: with_rows(array, pieces, old_size) if n.endswith(_ROWS_OF_TOKENS) else array for n, array in weights.items()}


def extended(saved: SavedModel, listed: Path) -> tuple[SavedModel, Extended]:
    """Return a model with the tokens of a list behind its own, and its tokenizer. Raises as `pipeline.extend_tokenizer` does."""
    from dataclasses import replace

    from pipeline.extend_tokenizer import extend, read_tokens
    from pipeline.load_tokenizer import load_tokenizer

    grown = extend(load_tokenizer(saved.tokenizer_folder), read_tokens(listed), listed)
    config = replace(saved.config, vocab_size=grown.tokenizer.vocab_size)
    return replace(saved, config=config, tokenizer_hash=grown.tokenizer.hash, new_tokens=grown.pieces), grown


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pipeline.load_tokenizer import load_tokenizer
    from pretrain.checkpoint import Contents, resolve_model, write_checkpoint
    from pretrain.new_folder import check_new_folder

    out, listed = Path(options.out), Path(options.tokens)
    check_new_folder(out)
    saved, grown = extended(resolve_model(options.model), listed)
    if grown.known:
        print(f"in the vocabulary already, passed over: {len(grown.known)} ({', '.join(grown.known[:3])})")
    old = load_tokenizer(saved.tokenizer_folder)
    unknown = [ids for ids in grown.pieces if set(ids) <= {old.special_ids.unk}]
    if unknown:
        print(f"note: {len(unknown)} tokens were unknown before: their rows start as that of {old.token(old.special_ids.unk)}")
    state = {
        "kind": "extended", "tokenizer_hash": saved.tokenizer_hash, "objective": saved.objective, "absent": list(saved.absent),
        "origin": {"name": saved.name, "step": saved.step, "fingerprint": saved.fingerprint},
    }  # fmt: skip
    contents = Contents(
        step=0, model=saved.weights(), optimizer=None, state=state, config=saved.config, tokenizer_files=grown.tokenizer.files()
    )
    written = write_checkpoint(out, contents)
    size = saved.config.vocab_size
    print(f"wrote {out}: {len(grown.pieces)} new tokens, {size:,} in all, fingerprint {written.fingerprint[:8]}")
    print(f"build data with --tokenizer {out}, train on with --init {out}")
    figures = {"new_tokens": len(grown.pieces), "known_tokens": len(grown.known), "vocab_size": size}
    return Outcome(fingerprint=written.fingerprint, outputs=(str(out),), figures=figures)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser(COMMAND, "Give a model's vocabulary new whole tokens, which start from the pieces that spelled them.")
    parser.add_argument(
        "model", metavar="MODEL", help="run, checkpoint, converted folder, or a folder of transformers or PaddleNLP"
    )
    parser.add_argument("--tokens", required=True, metavar="FILE", help="the new tokens, one a row")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; must not be there yet")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(COMMAND, build_parser(), body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
