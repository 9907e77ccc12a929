"""New whole tokens for a tokenizer that is there already, each with the pieces it was spelled by before.

A new token is worth its row only if the tokenizer would ever produce it, so each is tried: the extended tokenizer must read it as
that one token. WordPiece parts Han characters from each other, so it has no use for Chinese words; a word vocabulary takes those
that jieba cuts. Byte-level BPE reaches a new token by merges, tried after all others, and the joints on the way are tokens too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import VocabularyError
from pipeline.load_tokenizer import load_tokenizer
from pipeline.tokenizer import Tokenizer
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer
from pipeline.tokenizer_files import read_rows
from pipeline.tokenizer_roformer_word import RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from shards.errors import UsageError

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Extended:
    """A tokenizer with new tokens behind the old ones.

    pieces: for each new id in order, the old ids that spelled it; known: tokens of the list that were in the vocabulary before.
    """

    tokenizer: Tokenizer
    pieces: tuple[tuple[int, ...], ...]
    known: tuple[str, ...]


def read_tokens(path: Path) -> list[str]:
    """Return the tokens of a list, one a row, without empty rows and repetitions. Raises NotFoundError, VocabularyError."""
    return list(dict.fromkeys(row for row in read_rows(path) if row.strip()))


def load_extended(path: str, kind: str, tokens: str | None) -> Tokenizer:
    """Return the tokenizer of ``--tokenizer path``, with the tokens of ``--extend-vocab tokens`` behind its own."""
    tokenizer = load_tokenizer(path, kind)
    if tokens is None:
        return tokenizer
    return extend(tokenizer, read_tokens(Path(tokens)), tokens).tokenizer


def extend(tokenizer: Tokenizer, tokens: Sequence[str], where: object) -> Extended:
    """Return `tokenizer` with `tokens` behind its own.

    Raises UsageError when none of them is new, VocabularyError for tokens that it would never produce.
    """
    known = tuple(token for token in tokens if _stored(token, tokenizer) is not None)
    new = [token for token in tokens if token not in set(known)]
    if not new:
        raise UsageError(
            "no token is new", where=where, expected="tokens that the vocabulary lacks", got=f"{len(known)} that it has"
        )
    pieces = [tuple(tokenizer.encode(token)) for token in new]
    added, grown, spelled = (
        _with_joints(tokenizer, new, pieces) if isinstance(tokenizer, ByteBpeTokenizer) else (new, None, pieces)
    )
    extended = grown or _with_words(tokenizer, added)
    unreached = [token for token in new if extended.encode(token) != [_stored(token, extended)]]
    if unreached:
        raise VocabularyError(
            f"{len(unreached)} tokens would never be produced: {', '.join(map(repr, unreached[:_SHOWN]))}", where=where,
            hint=_why(tokenizer),
        )  # fmt: skip
    return Extended(tokenizer=extended, pieces=tuple(spelled), known=known)


def _stored(token: str, tokenizer: Tokenizer) -> int | None:
    spelled = tokenizer.spelled(token.encode()) if isinstance(tokenizer, ByteBpeTokenizer) else token
    return tokenizer.token_id(spelled)


def _with_words(tokenizer: Tokenizer, new: Sequence[str]) -> Tokenizer:
    if isinstance(tokenizer, RoFormerWordTokenizer):
        return RoFormerWordTokenizer([*tokenizer.vocab, *new], lowercase=tokenizer.lowercase)
    assert isinstance(tokenizer, WordPieceTokenizer)
    vocab = [*tokenizer.vocab, *new]
    return WordPieceTokenizer(vocab, lowercase=tokenizer.lowercase, strip_accents=tokenizer.strip_accents)


def _with_joints(
    tokenizer: ByteBpeTokenizer, new: Sequence[str], pieces: Sequence[tuple[int, ...]]
) -> tuple[list[str], ByteBpeTokenizer, list[tuple[int, ...]]]:
    """Return all new tokens with the joints that lead to them, the tokenizer, and the pieces of each."""
    ids = {token: (id,) for id, token in enumerate(tokenizer.vocab)}
    added: dict[str, tuple[int, ...]] = {}
    merges = list(tokenizer.merges)
    present = set(merges)
    for whole in pieces:
        left, spelled = tokenizer.token(whole[0]), whole[:1]
        for id in whole[1:]:
            right = tokenizer.token(id)
            if (left, right) not in present:
                merges.append((left, right))
                present.add((left, right))
            left, spelled = left + right, (*spelled, id)
            if left not in ids:
                added.setdefault(left, spelled)
    grown = ByteBpeTokenizer([*tokenizer.vocab, *added], merges)
    return list(added), grown, list(added.values())


def _why(tokenizer: Tokenizer) -> str:
    if isinstance(tokenizer, ByteBpeTokenizer):
        return "GPT-2's pattern parts words, numbers and marks before anything is merged"
    if isinstance(tokenizer, RoFormerWordTokenizer):
        return (
            "Chinese words must be what jieba cuts; other tokens lower case where the tokenizer lowers it, and one word of BERT's"
        )
    return "WordPiece parts every Han character and every mark from its neighbours, and lowers case where the tokenizer does"
