"""``python -m pretrain.extend_vocab MODEL --tokens FILE --out DIR``: a model whose vocabulary has new whole tokens.

The row of a new token is the mean of the rows of the pieces that spelled it, in the embeddings and in the bias of the masked
language model. The folder serves ``pretrain.run --init`` and, since the data must be built with the new tokenizer,
``pipeline.build --tokenizer``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run

if TYPE_CHECKING:
    import numpy.typing as npt

COMMAND = "pretrain.extend_vocab"
_ROWS_OF_TOKENS = (".embeddings.word_embeddings.weight", "predictions.decoder_bias")


def with_rows(array: npt.NDArray[Any], pieces: Sequence[Sequence[int]], vocab_size: int) -> npt.NDArray[Any]:
    """Return `array`, whose first axis is the vocabulary, with the means over `pieces` behind row `vocab_size` - 1.

    Rows beyond `vocab_size` were of no token, and are left out.
    """
    import numpy as np

    means = [array[list(ids)].astype(np.float64).mean(axis=0) for ids in pieces]
    return np.concatenate([array[:vocab_size], np.stack(means).astype(array.dtype)])


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from dataclasses import replace

    from pipeline.extend_tokenizer import extend, read_tokens
    from pipeline.load_tokenizer import load_tokenizer
    from pretrain.checkpoint import Contents, resolve_model, write_checkpoint
    from pretrain.new_folder import check_new_folder

    out, listed = Path(options.out), Path(options.tokens)
    check_new_folder(out)
    tokens = read_tokens(listed)
    saved = resolve_model(options.model)
    tokenizer = load_tokenizer(saved.tokenizer_folder)
    extended = extend(tokenizer, tokens, listed)
    if extended.known:
        print(f"in the vocabulary already, passed over: {len(extended.known)} ({', '.join(extended.known[:3])})")
    special = tokenizer.special_ids
    unknown = [ids for ids in extended.pieces if set(ids) <= {special.unk}]
    if unknown:
        print(f"note: {len(unknown)} tokens were unknown before: their rows start as that of {tokenizer.token(special.unk)}")
    weights = {
        name: with_rows(array, extended.pieces, tokenizer.vocab_size) if name.endswith(_ROWS_OF_TOKENS) else array
        for name, array in saved.weights().items()
    }
    config = replace(saved.config, vocab_size=extended.tokenizer.vocab_size)
    state = {
        "kind": "extended", "tokenizer_hash": extended.tokenizer.hash, "objective": saved.objective, "absent": list(saved.absent),
        "origin": {"name": saved.name, "step": saved.step, "fingerprint": saved.fingerprint},
    }  # fmt: skip
    contents = Contents(
        step=0, model=weights, optimizer=None, state=state, config=config, tokenizer_files=extended.tokenizer.files()
    )
    written = write_checkpoint(out, contents)
    print(f"wrote {out}: {len(extended.pieces)} new tokens, {config.vocab_size:,} in all, fingerprint {written.fingerprint[:8]}")
    print(f"build data with --tokenizer {out}, train on with --init {out}")
    figures = {"new_tokens": len(extended.pieces), "known_tokens": len(extended.known), "vocab_size": config.vocab_size}
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
