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
from finetune.task import Examples, TaggedWords
from pipeline.clean import clean_text
from shards.errors import MismatchError, UsageError
from shards.manifest import PAIR_TEMPLATES, separators_inside

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

I64 = npt.NDArray[np.int64]
MAX_UNKNOWN_SHARE = 0.05
# One Chinese character, or a run of anything else without spaces: what a reader would call the unknown piece.
_PIECE = re.compile(r"[㐀-鿿豈-﫿𠀀-𰀀]|[^\s㐀-鿿豈-﫿𠀀-𰀀]+")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of the n rows of a tagging task, end to end: row i has those from ``offsets[i]`` to ``offsets[i + 1]``.

    `tags` are their true labels; `target` is the target (see `EncodedRows`) whose token holds the word's beginning, -1 where the
    row was cut before it or it has no token; `leads` is false where that token began with an earlier word.
    """

    offsets: I64
    tags: I64
    target: I64
    leads: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Ids of n rows as n sequences (2 n of a choice: row i is sequences 2 i and 2 i + 1), special tokens included, end to end.

    Sequence s is ``ids[offsets[s]:offsets[s + 1]]``; `second[s]` is the position in it where token type 1 begins: with segment
    B, or at its length when there is none or the pair template has one type only (RoBERTa's). `tokens` and `unknown` count the
    text's tokens before cutting, `cut` the rows that were cut.

    `labels` has one entry for each target, which is what one output predicts: a row, or in a tagging task a token that begins a
    word: those of row i are ``target_offsets[i]`` to ``target_offsets[i + 1]``, at `target_tokens` (positions in the row).
    """

    ids: npt.NDArray[np.int32]
    offsets: I64
    second: I64
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    tokens: int
    unknown: int
    cut: int
    per_row: int = 1
    target_offsets: I64 | None = None
    target_tokens: I64 | None = None
    words: Words | None = None

    def __len__(self) -> int:
        return len(self.second) // self.per_row

    @property
    def lengths(self) -> I64:
        """Tokens of each row, special tokens included; of a choice, those of its longer sequence."""
        longest: I64 = np.diff(self.offsets).reshape(-1, self.per_row).max(axis=1)
        return longest

    @property
    def targets(self) -> int:
        """How many outputs there are to predict."""
        return len(self) if self.target_offsets is None else int(self.target_offsets[-1])

    @property
    def unknown_share(self) -> float:
        return self.unknown / self.tokens if self.tokens else 0.0


class _Sequences:
    """Sequences of ids as they come together."""

    def __init__(self, tokenizer: Tokenizer, max_seq_len: int) -> None:
        if tokenizer.pair_template not in PAIR_TEMPLATES:
            raise MismatchError(
                "unknown pair template of the tokenizer", expected=" or ".join(PAIR_TEMPLATES), got=repr(tokenizer.pair_template)
            )
        self._special, self._template, self._max_seq_len = tokenizer.special_ids, tokenizer.pair_template, max_seq_len
        self._inside = separators_inside(tokenizer.pair_template)
        self.flat: list[int] = []
        self.ends: list[int] = [0]
        self.second: list[int] = []
        self.tokens = self.unknown = 0

    def require_room(self, *, pair: bool) -> None:
        specials = 2 + self._inside if pair else 2
        if self._max_seq_len < specials + 2:
            raise UsageError("--max-seq-len leaves no room for text", expected=f"at least {specials + 2}", got=self._max_seq_len)

    def add(self, a: Sequence[int], b: Sequence[int] | None) -> bool:
        """Add a sequence; return whether it had to be cut."""
        self.tokens += len(a) + len(b or ())
        self.unknown += sum(part.count(self._special.unk) for part in (a, b or ()))
        budget = self._max_seq_len - (2 if b is None else 2 + self._inside)
        keep_a, keep_b = fit(len(a), len(b or ()), budget)
        self.flat += [self._special.cls, *a[:keep_a], self._special.sep]
        if b is not None:
            self.flat += [self._special.sep] * (self._inside - 1)
            self.flat += [*b[:keep_b], self._special.sep]
        self.second.append(keep_a + 2 if self._template == "bert" else len(self.flat) - self.ends[-1])
        self.ends.append(len(self.flat))
        return keep_a + keep_b < len(a) + len(b or ())


def encode(examples: Examples, tokenizer: Tokenizer, *, max_seq_len: int, regression: bool = False) -> EncodedRows:
    """Return the rows as ids, none longer than `max_seq_len` tokens including special ones.

    One text, a pair, or for a choice the two sequences (A, B) and (A, C). Raises MismatchError for a tokenizer with a pair
    template that is not known, UsageError for a length without room.
    """
    if examples.words is not None:
        return _encode_words(examples, examples.words, tokenizer, max_seq_len)
    sequences = _Sequences(tokenizer, max_seq_len)
    sequences.require_room(pair=examples.texts_b is not None)
    cut = 0
    for texts in zip(*examples.texts, strict=True):
        a, *others = (tokenizer.encode(clean_text(text)) for text in texts)
        cut += max([sequences.add(a, b) for b in others]) if others else sequences.add(a, None)
    return EncodedRows(
        ids=np.array(sequences.flat, dtype=np.int32),
        offsets=np.array(sequences.ends, dtype=np.int64),
        second=np.array(sequences.second, dtype=np.int64),
        labels=np.array(examples.labels, dtype=np.float32) if regression else np.array(examples.labels, dtype=np.int64),
        tokens=sequences.tokens,
        unknown=sequences.unknown,
        cut=cut,
        per_row=2 if examples.texts_c is not None else 1,
    )


def _encode_words(examples: Examples, words: Sequence[TaggedWords], tokenizer: Tokenizer, max_seq_len: int) -> EncodedRows:
    """Encode the rows of a tagging task, whose words are found in the tokens by their offsets in the text."""
    sequences = _Sequences(tokenizer, max_seq_len)
    sequences.require_room(pair=False)
    labels: list[int] = []
    target_offsets, target_tokens = [0], list[int]()
    word_offsets, tags, target, leads = [0], list[int](), list[int](), list[bool]()
    cut = 0
    for text, row in zip(examples.texts_a, words, strict=True):
        tokens = tokenizer.encode_with_offsets(text)
        cut += sequences.add([id for id, _, _ in tokens], None)
        kept = tokens[: max_seq_len - 2]
        place, last = 0, -1
        for begin, end, tag in zip(row.begins, row.ends, row.tags, strict=True):
            while place < len(kept) and kept[place][2] <= begin:
                place += 1
            inside = place < len(kept) and kept[place][1] < end
            leads.append(inside and place != last)
            if inside and place != last:
                last = place
                labels.append(tag)
                target_tokens.append(place + 1)  # [CLS] comes first
            tags.append(tag)
            target.append(len(labels) - 1 if inside else -1)
        target_offsets.append(len(labels))
        word_offsets.append(len(tags))
    return EncodedRows(
        ids=np.array(sequences.flat, dtype=np.int32),
        offsets=np.array(sequences.ends, dtype=np.int64),
        second=np.array(sequences.second, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        tokens=sequences.tokens,
        unknown=sequences.unknown,
        cut=cut,
        target_offsets=np.array(target_offsets, dtype=np.int64),
        target_tokens=np.array(target_tokens, dtype=np.int64),
        words=Words(
            offsets=np.array(word_offsets, dtype=np.int64),
            tags=np.array(tags, dtype=np.int64),
            target=np.array(target, dtype=np.int64),
            leads=np.array(leads, dtype=np.bool_),
        ),
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
