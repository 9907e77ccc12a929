"""Rows of a task as ids: ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``, cut to the length the model is given.

A tokenizer of RoBERTa's pair template gives ``<s> A </s>`` or ``<s> A </s></s> B </s>``, and token types of zeros.

A pair that is too long loses tokens from the end of its longer half first, one at a time, until it fits; the result has a
closed form, so nothing is popped.

The text is cleaned as the pretraining text was, and the ids come from the checkpoint's own tokenizer. Where its vocabulary
cannot spell the task, training would quietly learn from ``[UNK]``: the share is counted, and a task above the bar is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from finetune.errors import UnknownTextError
from finetune.tasks import Examples
from pipeline.clean import clean_text
from shards.collate import separators_inside
from shards.errors import MismatchError, UsageError
from shards.manifest import PAIR_TEMPLATES

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

I64 = npt.NDArray[np.int64]
MAX_UNKNOWN_SHARE = 0.05
# One Chinese character, or a run of anything else without spaces: what a reader would call the unknown piece.
_PIECE = re.compile(r"[㐀-鿿豈-﫿𠀀-𰀀]|[^\s㐀-鿿豈-﫿𠀀-𰀀]+")


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Ids of n rows, special tokens included, end to end.

    Row i is ``ids[offsets[i]:offsets[i + 1]]``; `second[i]` is the position in the row where token type 1 begins: with segment
    B, or at the row's length when there is none or the pair template has one type only (RoBERTa's). `tokens` and `unknown`
    count the text's tokens before cutting, `cut` the rows that were cut.
    """

    ids: npt.NDArray[np.int32]
    offsets: I64
    second: I64
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    tokens: int
    unknown: int
    cut: int

    def __len__(self) -> int:
        return len(self.second)

    @property
    def lengths(self) -> I64:
        """Tokens of each row, special tokens included."""
        return np.diff(self.offsets)

    @property
    def unknown_share(self) -> float:
        return self.unknown / self.tokens if self.tokens else 0.0


def encode(examples: Examples, tokenizer: Tokenizer, *, max_seq_len: int, regression: bool) -> EncodedRows:
    """Return the rows as ids, none longer than `max_seq_len` tokens including special ones.

    Raises MismatchError for a tokenizer with a pair template that is not known, UsageError for a length without room.
    """
    if tokenizer.pair_template not in PAIR_TEMPLATES:
        raise MismatchError(
            "unknown pair template of the tokenizer", expected=" or ".join(PAIR_TEMPLATES), got=repr(tokenizer.pair_template)
        )
    inside = separators_inside(tokenizer.pair_template)
    specials = 2 if examples.texts_b is None else 2 + inside
    if max_seq_len < specials + 2:
        raise UsageError("--max-seq-len leaves no room for text", expected=f"at least {specials + 2}", got=max_seq_len)
    cls, sep, unk = tokenizer.special_ids.cls, tokenizer.special_ids.sep, tokenizer.special_ids.unk
    flat: list[int] = []
    ends: list[int] = [0]
    second: list[int] = []
    tokens = unknown = cut = 0
    for index, text in enumerate(examples.texts_a):
        a = tokenizer.encode(clean_text(text))
        b = [] if examples.texts_b is None else tokenizer.encode(clean_text(examples.texts_b[index]))
        tokens += len(a) + len(b)
        unknown += a.count(unk) + b.count(unk)
        keep_a, keep_b = fit(len(a), len(b), max_seq_len - specials)
        cut += keep_a + keep_b < len(a) + len(b)
        flat += [cls, *a[:keep_a], sep]
        if examples.texts_b is not None:
            flat += [sep] * (inside - 1)
            flat += [*b[:keep_b], sep]
        second.append(keep_a + 2 if tokenizer.pair_template == "bert" else len(flat) - ends[-1])
        ends.append(len(flat))
    return EncodedRows(
        ids=np.array(flat, dtype=np.int32),
        offsets=np.array(ends, dtype=np.int64),
        second=np.array(second, dtype=np.int64),
        labels=np.array(examples.labels, dtype=np.float32) if regression else np.array(examples.labels, dtype=np.int64),
        tokens=tokens,
        unknown=unknown,
        cut=cut,
    )


def fit(length_a: int, length_b: int, budget: int) -> tuple[int, int]:
    """Return how many tokens of A and B stay within `budget`, the longer one cut first (B on a tie)."""
    if length_a + length_b <= budget:
        return length_a, length_b
    keep_b = min(length_b, max(budget // 2, budget - length_a))
    return budget - keep_b, keep_b


def require_known(rows: EncodedRows, examples: Examples, tokenizer: Tokenizer, *, task: str, allow: bool) -> None:
    """Raise UnknownTextError when more than 5 % of the text's tokens are unknown, unless that is allowed."""
    if rows.unknown_share <= MAX_UNKNOWN_SHARE or allow:
        return
    raise UnknownTextError(
        f"{rows.unknown_share:.1%} of the tokens of {task}'s training rows are [UNK] under the checkpoint's vocabulary of "
        f"{tokenizer.vocab_size:,}, most often {unknown_pieces(examples.texts_a, tokenizer)}",
        expected=f"at most {MAX_UNKNOWN_SHARE:.0%}",
        got=f"{rows.unknown:,} of {rows.tokens:,}",
        hint="Take a checkpoint pretrained on the task's language, or go on all the same with --allow-unk",
    )


def unknown_pieces(texts: Sequence[str], tokenizer: Tokenizer, *, rows: int = 2000, top: int = 10) -> str:
    """Return the most frequent characters and words of the first `rows` texts that hold an unknown token, with counts."""
    pieces = Counter(piece for text in texts[:rows] for piece in _PIECE.findall(clean_text(text)))
    unk = tokenizer.special_ids.unk
    found: list[str] = []
    for piece, count in sorted(pieces.items(), key=lambda item: (-item[1], item[0])):
        if unk in tokenizer.encode(piece):
            found.append(f"{piece[:20]!r} ×{count}")
            if len(found) == top:
                break
    return ", ".join(found)
