"""Fill the masks of a text: ``python -m pretrain.fill_mask --model runs/NAME --text '今天[MASK]很好'``.

Each ``[MASK]`` of the text stands for one token. The text outside masks is printed as it was given; special tokens are never
candidates, though they keep their share of the probability.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run
from shards.errors import MismatchError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.tokenizer import Tokenizer
    from pretrain.checkpoint import SavedModel

COMMAND = "pretrain.fill_mask"
MASK = "[MASK]"
_BETWEEN = "||"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token for a mask, with the probability the model gives it there."""

    token: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class MaskedIds:
    """A text as the model reads it, special tokens included, and the positions of its masks."""

    ids: list[int]
    positions: list[int]


def encode_masked(text: str, tokenizer: Tokenizer) -> MaskedIds:
    """Return the ids of ``[CLS] text [SEP]``. Raises UsageError when the text has no mask."""
    special, parts = tokenizer.special_ids, text.split(MASK)
    if len(parts) == 1:
        raise UsageError(f"the text has no {MASK}", got=repr(text), hint=f"Write {MASK} where a token is to be guessed")
    if tokenizer.kind == "byte-bpe":  # the space before a mask belongs to the masked token, as everywhere in running text
        parts = [part.rstrip() for part in parts]
    ids, positions = [special.cls, *tokenizer.encode(parts[0])], []
    for part in parts[1:]:
        positions.append(len(ids))
        ids += [special.mask, *tokenizer.encode(part)]
    return MaskedIds(ids=[*ids, special.sep], positions=positions)


def rank(logits_V: npt.NDArray[np.floating[Any]], tokenizer: Tokenizer, top_k: int) -> list[Candidate]:
    """Return the `top_k` likeliest tokens that are not special, best first; equal ones by id."""
    import numpy as np

    scores_V = logits_V.astype(np.float64)
    shares_V = np.exp(scores_V - scores_V.max())
    shares_V /= shares_V.sum()
    special = tokenizer.special_ids
    excluded = {special.pad, special.unk, special.cls, special.sep, special.mask}
    order = [int(i) for i in np.argsort(-shares_V, kind="stable") if int(i) not in excluded]
    return [Candidate(token=_shown(i, tokenizer), probability=float(shares_V[i])) for i in order[:top_k]]


def _shown(id: int, tokenizer: Tokenizer) -> str:
    """Return a token to show: as text if byte-level and whole characters, else as the vocabulary spells it."""
    if tokenizer.kind != "byte-bpe":
        return tokenizer.token(id)
    text = tokenizer.decode([id])
    return tokenizer.token(id) if "\ufffd" in text else text


def fill(text: str, candidates: Sequence[Sequence[Candidate]]) -> str:
    """Return the text with its n-th mask replaced by ``[a||b||c]`` from the n-th list."""
    parts = text.split(MASK)
    shown = [f"[{_BETWEEN.join(candidate.token for candidate in of_mask)}]" for of_mask in candidates]
    return parts[0] + "".join(mask + part for mask, part in zip(shown, parts[1:], strict=True))


def predict(saved: SavedModel, masked: MaskedIds, *, device: str) -> npt.NDArray[np.floating[Any]]:
    """Return the logits at the masks, float32[masks, V]. Loads paddle. Raises WeightsError for weights that do not fit."""
    from pretrain.environment import start

    start(device, say=print)
    import paddle

    from pretrain.heads import PretrainingModel
    from pretrain.weights import load_into

    model = PretrainingModel(saved.config)
    load_into(model, saved.weights(), may_lack=saved.absent, where=saved.path)
    model.eval()
    with paddle.no_grad():
        logits_MV, _ = model(
            paddle.to_tensor([masked.ids], dtype="int64"),
            paddle.zeros([1, len(masked.ids)], dtype="int64"),
            paddle.to_tensor([len(masked.ids)], dtype="int64"),
            paddle.to_tensor(masked.positions, dtype="int64"),
        )
    return logits_MV.numpy()  # type: ignore[no-any-return]


def _require_masked_language_model(saved: SavedModel) -> None:
    """Raise MismatchError for a model that has not learnt to fill masks."""
    if saved.objective == "rtd":
        raise MismatchError(
            "a model of replaced token detection fills no masks; its generator does", where=saved.path,
            hint=f"python -m pretrain.export {saved.path} --to hf --out DIR, then --model DIR/generator",
        )  # fmt: skip
    if "cls.predictions." in saved.absent:
        raise MismatchError("an encoder without the head of a masked language model", where=saved.path)


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pipeline.load_tokenizer import load_tokenizer
    from pretrain.checkpoint import resolve_model

    if options.top_k < 1:
        raise UsageError("--top-k is wrong", expected="at least 1", got=options.top_k)
    saved = resolve_model(options.model)
    _require_masked_language_model(saved)
    tokenizer = load_tokenizer(saved.tokenizer_folder)
    if tokenizer.vocab_size > saved.config.vocab_size:
        raise MismatchError(
            "the tokenizer has more tokens than the network",
            where=saved.path,
            expected=f"at most {saved.config.vocab_size}",
            got=tokenizer.vocab_size,
        )
    masked = encode_masked(options.text, tokenizer)
    if len(masked.ids) > saved.config.max_positions:
        raise UsageError(
            "the text is longer than the model takes",
            expected=f"at most {saved.config.max_positions} tokens, special ones included",
            got=len(masked.ids),
        )
    print(f"model: {saved.path} ({saved.fingerprint[:8]})")
    # Rows of the embeddings beyond the tokenizer's are of no token.
    logits_MV = predict(saved, masked, device=options.device)[:, : tokenizer.vocab_size]
    found = [rank(logits_V, tokenizer, options.top_k) for logits_V in logits_MV]
    filled = fill(options.text, found)
    print(filled)
    masks = [
        {"index": index, "candidates": [{"token": c.token, "probability": c.probability} for c in candidates]}
        for index, candidates in enumerate(found)
    ]
    return Outcome(fingerprint=saved.fingerprint, figures={"text": options.text, "filled": filled, "masks": masks})


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m pretrain.fill_mask``."""
    parser = new_parser(COMMAND, "Fill the [MASK]s of a text with a pretrained model.")
    parser.add_argument("--model", required=True, help="run, checkpoint, or folder of transformers or PaddleNLP")
    parser.add_argument("--text", required=True, help=f"text with one {MASK} for each token to guess")
    parser.add_argument("--top-k", type=int, default=5, help="candidates for each mask")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
    return run(COMMAND, parser, body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
