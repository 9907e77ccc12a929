"""What tokens look like as text: how many characters each has and of which script, as look-up tables over a vocabulary."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

SCRIPTS = ("Han", "Latin", "digits", "punctuation", "kana", "other", "unknown")
_HAN, _LATIN, _DIGIT, _PUNCTUATION, _KANA, _OTHER, _UNKNOWN = range(len(SCRIPTS))


def script_of(character: str) -> int:
    """Return the script of a character, as an index into `SCRIPTS`; symbols count as punctuation."""
    name = unicodedata.name(character, "")
    if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH")) or character == "〇":
        return _HAN
    category = unicodedata.category(character)[0]
    if category in "PS":
        return _PUNCTUATION
    if category == "N":
        return _DIGIT
    if "HIRAGANA" in name or "KATAKANA" in name:
        return _KANA
    return _LATIN if "LATIN" in name else _OTHER


class TokenText:
    """Tables over the tokens of a vocabulary of size V, filled for the ids that are asked for.

    A token's characters are those of its text without the mark that joins it to the token before; the unknown token counts as
    one character of the script "unknown". Of byte-level tokens that hold part of a character, the one with its first byte counts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known = np.zeros(tokenizer.vocab_size, np.bool_)
        self._scripts = np.zeros((tokenizer.vocab_size, len(SCRIPTS)), np.int64)
        self._bytes = _byte_alphabet() if "byte" in tokenizer.kind else None

    def characters(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return how many characters each token has."""
        self._learn(ids)
        per_token: npt.NDArray[np.int64] = self._scripts.sum(axis=1)
        return per_token[ids]

    def scripts(self, times: npt.NDArray[np.int64]) -> dict[str, int]:
        """Return how many characters of each script a text has in which token *i* occurs ``times[i]`` times (int64[V])."""
        self._learn(np.flatnonzero(times))
        return dict(zip(SCRIPTS, (times @ self._scripts).tolist(), strict=True))

    def _learn(self, ids: npt.NDArray[np.int64]) -> None:
        for id in np.unique(ids[~self._known[ids]]).tolist():
            self._known[id] = True
            if id == self._tokenizer.special_ids.unk:
                self._scripts[id, _UNKNOWN] = 1
                continue
            for script in self._scripts_of(id):
                self._scripts[id, script] += 1

    def _scripts_of(self, id: int) -> list[int]:
        text = self._tokenizer.decode([id])
        if self._bytes is None or "\ufffd" not in text:
            return [script_of(character) for character in text if not character.isspace()]
        raw = [self._bytes.get(character, 0) for character in self._tokenizer.token(id)]
        # Lead bytes E4 to E9 begin U+4000..U+9FFF, which is Han but for its first few.
        return [_HAN if 0xE4 <= byte <= 0xE9 else _OTHER for byte in raw if byte >= 0xC0]


def _byte_alphabet() -> dict[str, int]:
    """Return the character of each byte in GPT-2's byte-level vocabularies: itself if printable, else one from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
