"""RoFormer's word vocabulary: Chinese words first, their characters where the vocabulary lacks the word.

1. Text is cleaned as BERT does it and cut by jieba with its model of unknown words off. A word of the vocabulary is a token; any
   other is parted into its Han characters, and what is not Han goes through BERT's WordPiece.
2. A ``tokenizer.json`` cannot express that: stored are ``vocab.txt`` and ``wordloom_tokenizer.json``, which names the kind, the
   case and jieba's version and dictionary. Another dictionary would give other ids and is refused.

Ids equal paddlenlp's RoFormerTokenizer with ``use_jieba``; symbols (Unicode category S, and eight characters more) are words of
their own, as there. Known differences: the case of a final capital sigma, characters newer than the Unicode tables of one side,
and special tokens spelled in a text, which are plain text here. transformers' RoFormerTokenizer does not part symbols from words.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import VocabularyError
from pipeline.tokenizer_files import MAX_FILE_BYTES, hash_of, numbered, read_rows
from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from shards.canonical import read_json_object

if TYPE_CHECKING:
    from pipeline.segment import JiebaSegmenter

DESCRIPTION = "wordloom_tokenizer.json"
# paddlenlp's list beside category S.
_MORE_SYMBOLS = frozenset("\u00ad\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1")
_CJK_RANGES = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One token of a text: its id, the characters ``text[begin:end]`` it comes from, and whether it begins a word of BERT's."""

    id: int
    begin: int
    end: int
    begins: bool


class RoFormerWordTokenizer:
    """A RoFormer word tokenizer. Arguments and errors as of `WordPieceTokenizer`."""

    kind = "roformer-word"
    pair_template = "bert"

    def __init__(self, vocab: Sequence[str], *, lowercase: bool, where: object = "vocabulary") -> None:
        self.vocab = list(vocab)
        self.lowercase = lowercase
        self._id_of = numbered(self.vocab, where)
        self._pieces = WordPieceTokenizer(self.vocab, lowercase=lowercase, where=where)
        self.special_ids = self._pieces.special_ids

    @classmethod
    def from_vocab(
        cls, vocab: Sequence[str], *, lowercase: bool | None = None, where: object = "vocabulary"
    ) -> RoFormerWordTokenizer:
        """Return the tokenizer of a list of tokens; `lowercase` unless told as in `WordPieceTokenizer.from_vocab`."""
        if lowercase is None:
            lowercase = WordPieceTokenizer.from_vocab(vocab, where=where).lowercase
        return cls(vocab, lowercase=lowercase, where=where)

    @classmethod
    def from_folder(cls, path: str | Path) -> RoFormerWordTokenizer:
        """Read a stored tokenizer; raises NotFoundError, and VocabularyError when jieba's dictionary is another one."""
        folder = Path(path)
        where = folder / DESCRIPTION
        content = read_json_object(where, max_bytes=MAX_FILE_BYTES)
        if content.get("kind") != cls.kind:
            raise VocabularyError("unknown kind of tokenizer", where=where, expected=cls.kind, got=content.get("kind"))
        lowercase, segmenter = content.get("lowercase"), content.get("segmenter")
        if not isinstance(lowercase, bool):
            raise VocabularyError("lowercase must be true or false", where=where, got=lowercase)
        if segmenter != segmenter_identity():
            raise VocabularyError(
                "the tokenizer cuts words with another jieba than the one installed", where=where, expected=segmenter,
                got=segmenter_identity(), hint="Install the version of jieba named there",
            )  # fmt: skip
        return cls(read_rows(folder / "vocab.txt"), lowercase=lowercase, where=folder / "vocab.txt")

    @property
    def wordpiece(self) -> WordPieceTokenizer:
        """BERT's WordPiece with the same vocabulary, to which everything goes that is no Chinese word."""
        return self._pieces

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    @functools.cached_property
    def hash(self) -> str:
        """sha256, as 64 hexadecimal digits, over the names, sizes and bytes of `files`."""
        return hash_of(self.files())

    def files(self) -> dict[str, bytes]:
        """Return the files a data set or checkpoint stores: name to bytes."""
        content = {"kind": self.kind, "lowercase": self.lowercase, "segmenter": segmenter_identity()}
        return {
            "vocab.txt": "".join(f"{token}\n" for token in self.vocab).encode(),
            DESCRIPTION: (json.dumps(content, indent=2, sort_keys=True) + "\n").encode(),
        }

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without the special tokens of a sequence; special tokens spelled in it are plain text."""
        return [piece.id for piece in self.pieces(text)]

    def encode_with_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Return (id, begin, end) of each token, [begin, end) in characters of `text`; the ids are those of `encode`."""
        return [(piece.id, piece.begin, piece.end) for piece in self.pieces(text)]

    def pieces(self, text: str) -> list[Piece]:
        """Return the tokens of `text` with where each comes from."""
        kept = [(i, " " if is_space(c) else c) for i, c in enumerate(text) if not is_removed(c)]
        pieces: list[Piece] = []
        spaced: list[str] = []  # what goes to WordPiece, and the character of `text` that each of it comes from
        origin: list[int] = []
        place = 0
        for word in _jieba().cut("".join(c for _, c in kept)):
            here = [i for i, _ in kept[place : place + len(word)]]
            place += len(word)
            id = self._id_of.get(word)
            if id is not None and any(map(is_cjk, word)) and not any(map(_is_mark, word)):
                self._flush(spaced, origin, pieces)
                pieces.append(Piece(id=id, begin=here[0], end=here[-1] + 1, begins=True))
                continue
            whole = id is not None
            for i, character in zip(here, word, strict=True):
                alone = is_symbol(character) or (not whole and is_cjk(character))
                before, after = alone or (whole and i == here[0]), alone or (whole and i == here[-1])
                spaced += [" "] * before + [character] + [" "] * after
                origin += [i] * (before + 1 + after)
        self._flush(spaced, origin, pieces)
        return pieces

    def _flush(self, spaced: list[str], origin: list[int], pieces: list[Piece]) -> None:
        """Tokenize by WordPiece what has gathered, and forget it."""
        if spaced:
            found = self._pieces.backend.encode("".join(spaced), add_special_tokens=False)
            before = None
            for id, (begin, end), word in zip(found.ids, found.offsets, found.word_ids, strict=True):
                pieces.append(Piece(id=id, begin=origin[begin], end=origin[max(end - 1, begin)] + 1, begins=word != before))
                before = word
            spaced.clear()
            origin.clear()

    def token(self, id: int) -> str:
        """Return the token with that id; raises VocabularyError."""
        return self._pieces.token(id)

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        return self._id_of.get(token)

    def decode(self, ids: Iterable[int]) -> str:
        """Return readable text: pieces joined, no space beside a CJK character or before closing punctuation."""
        return self._pieces.decode(ids)


def is_cjk(character: str) -> bool:
    """Return whether BERT takes a character for CJK, a word of its own."""
    code = ord(character)
    return any(first <= code <= last for first, last in _CJK_RANGES)


def is_symbol(character: str) -> bool:
    """Return whether paddlenlp parts a character from its neighbours as a symbol."""
    return character in _MORE_SYMBOLS or unicodedata.category(character).startswith("S")


def _is_mark(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "PS" or character in _MORE_SYMBOLS


def is_space(character: str) -> bool:
    """Return whether BERT takes a character for white space."""
    return character in " \t\n\r" or unicodedata.category(character) == "Zs"


def is_removed(character: str) -> bool:
    """Return whether BERT's cleaning takes a character out: controls, formats, and what is not assigned."""
    return character not in "\t\n\r" and (character == "\ufffd" or unicodedata.category(character)[0] == "C")


@functools.cache
def _jieba() -> JiebaSegmenter:
    from pipeline.segment import JiebaSegmenter

    return JiebaSegmenter(hmm=False)


@functools.cache
def _identity() -> tuple[str, str]:
    from pipeline.hmm import jieba_folder

    dictionary = (jieba_folder() / "dict.txt").read_bytes()
    return importlib.metadata.version("jieba"), hashlib.sha256(dictionary).hexdigest()


def segmenter_identity() -> dict[str, Any]:
    """Return the segmentation that word tokens come from: jieba's, without its model of unknown words."""
    version, digest = _identity()
    return {"name": "jieba", "version": version, "dictionary_sha256": digest, "hmm": False}
