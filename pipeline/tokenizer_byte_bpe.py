"""Byte-level BPE, as of RoBERTa and GPT-2: every text can be spelled, nothing is unknown.

1. Text is cut into pre-tokens by GPT-2's pattern (a word with the space before it, a number, a run of marks, white space), each
   is written in UTF-8, and neighbouring bytes are joined by the learnt merges, the earliest first.
2. A vocabulary spells the 256 bytes as 256 printable characters (``Ġ`` is the space), so a token has as many characters as bytes.
3. Sentences are encoded as strings of their own, as transformers' RobertaTokenizerFast does with ``add_prefix_space=False``: the
   first word of a sentence has no ``Ġ``.
4. Stored as ``tokenizer.json``, ``vocab.json`` and ``merges.txt``, whose bytes follow from vocabulary and merges alone.

Special tokens spelled in a text are plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import VocabularyError
from pipeline.tokenizer_files import MAX_FILE_BYTES, hash_of, json_section, numbered, read_rows, vocab_by_id
from shards.canonical import read_json_object
from shards.errors import NotFoundError
from shards.manifest import SpecialIds

if TYPE_CHECKING:
    import tokenizers

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_VERSION_ROW = "#version: 0.2"


def byte_characters() -> list[str]:
    """Return the character that stands for each of the 256 bytes: itself when printable in Latin-1, else U+0100 and up."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


class ByteBpeTokenizer:
    """A byte-level BPE tokenizer with RoBERTa's special tokens.

    `vocab` lists the tokens by id, `merges` the pairs in the order they are tried. Raises VocabularyError for duplicate or empty
    tokens, for a vocabulary without the special tokens or one of the 256 bytes, and for merges of unknown tokens.
    """

    kind = "byte-bpe"
    pair_template = "roberta"

    def __init__(self, vocab: Sequence[str], merges: Sequence[tuple[str, str]], *, where: object = "vocabulary") -> None:
        self.vocab = list(vocab)
        self.merges = list(merges)
        self._id_of = numbered(self.vocab, where)
        self._characters = byte_characters()
        self._byte_of = {character: byte for byte, character in enumerate(self._characters)}
        missing = [token for token in SPECIAL_TOKENS if token not in self._id_of]
        if missing:
            raise VocabularyError(f"the vocabulary lacks {', '.join(missing)}", where=where, hint="Use RoBERTa's special tokens")
        lacking = [byte for byte, character in enumerate(self._characters) if character not in self._id_of]
        if lacking:
            raise VocabularyError(
                f"the vocabulary lacks {len(lacking)} of the 256 bytes, the first is 0x{lacking[0]:02x}", where=where,
                hint="Text with these bytes could not be spelled; use a byte-level vocabulary",
            )  # fmt: skip
        for row, (left, right) in enumerate(self.merges, 1):
            if left not in self._id_of or right not in self._id_of or left + right not in self._id_of:
                raise VocabularyError(
                    f"merge {row} of {left!r} and {right!r} is not in the vocabulary", where=where,
                    hint="vocab.json and merges.txt must be of one tokenizer",
                )  # fmt: skip
        cls, pad, sep, unk, mask = (self._id_of[token] for token in SPECIAL_TOKENS)
        self.special_ids = SpecialIds(pad=pad, unk=unk, cls=cls, sep=sep, mask=mask)
        self._backend: tokenizers.Tokenizer | None = None

    @classmethod
    def from_files(cls, vocab: Path, merges: Path) -> ByteBpeTokenizer:
        """Read ``vocab.json`` and ``merges.txt``; raises NotFoundError and VocabularyError."""
        for path in (vocab, merges):
            if not path.is_file():
                raise NotFoundError("a byte-level BPE tokenizer is two files, and one is missing", where=path)
        tokens = vocab_by_id(read_json_object(vocab, max_bytes=MAX_FILE_BYTES), vocab)
        pairs: list[tuple[str, str]] = []
        for row, line in enumerate(read_rows(merges), 1):
            if row == 1 and line.startswith("#version"):
                continue
            left, space, right = line.partition(" ")
            if not left or not right or not space or " " in right:
                raise VocabularyError("not a merge", where=f"{merges}:{row}", expected="two tokens and a space", got=repr(line))
            pairs.append((left, right))
        return cls(tokens, pairs, where=vocab)

    @classmethod
    def from_folder(cls, path: str | Path) -> ByteBpeTokenizer:
        """Read a folder with ``tokenizer.json``; raises NotFoundError and VocabularyError."""
        return cls.from_json_file(Path(path) / "tokenizer.json")

    @classmethod
    def from_json_file(cls, path: str | Path) -> ByteBpeTokenizer:
        """Read a ``tokenizer.json`` of the `tokenizers` library; only GPT-2's and RoBERTa's byte-level BPE is accepted."""
        path = Path(path)
        content = read_json_object(path, max_bytes=MAX_FILE_BYTES)
        model, before = json_section(content, "model", path), json_section(content, "pre_tokenizer", path)
        for name, found, expected in (
            ("model.type", model.get("type"), "BPE"),
            ("model.dropout", model.get("dropout"), None),
            ("model.byte_fallback", bool(model.get("byte_fallback")), False),
            ("model.ignore_merges", bool(model.get("ignore_merges")), False),
            ("normalizer", content.get("normalizer"), None),
            ("pre_tokenizer.type", before.get("type"), "ByteLevel"),
            ("pre_tokenizer.add_prefix_space", before.get("add_prefix_space"), False),
            ("pre_tokenizer.use_regex", before.get("use_regex", True), True),
        ):
            if found != expected:
                raise VocabularyError(f"{name} is not RoBERTa's", where=path, expected=expected, got=found)
        merges = model.get("merges")
        if not isinstance(merges, list):
            raise VocabularyError("the tokenizer has no merges", where=path)
        pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
        if any(len(pair) != 2 for pair in pairs):
            raise VocabularyError("model.merges holds something else than pairs", where=path)
        ids = {**model["vocab"]} if isinstance(model.get("vocab"), dict) else {}
        for entry in content.get("added_tokens") or []:
            if entry.get("content") not in SPECIAL_TOKENS and entry.get("content") not in ids:
                raise VocabularyError(f"added token {entry.get('content')!r} is not supported", where=path)
            ids.setdefault(entry["content"], entry["id"])
        return cls(vocab_by_id(ids, path), [(left, right) for left, right in pairs], where=path)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    @cached_property
    def hash(self) -> str:
        """sha256, as 64 hexadecimal digits, over the names, sizes and bytes of `files`."""
        return hash_of(self.files())

    def files(self) -> dict[str, bytes]:
        """Return the files a data set or checkpoint stores: name to bytes, a function of vocabulary and merges alone."""
        merges = "".join(f"{left} {right}\n" for left, right in self.merges)
        return {
            "tokenizer.json": self._description().encode(),
            "vocab.json": json.dumps(self._id_of, ensure_ascii=False).encode(),
            "merges.txt": f"{_VERSION_ROW}\n{merges}".encode(),
        }

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without the special tokens of a sequence; special tokens spelled in it are plain text."""
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_with_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Return (id, begin, end) of each token, [begin, end) in characters of `text`; the ids are those of `encode`."""
        found = self.backend.encode(text, add_special_tokens=False)
        return [(id, begin, end) for id, (begin, end) in zip(found.ids, found.offsets, strict=True)]

    def token(self, id: int) -> str:
        """Return the token with that id, as the vocabulary spells it; raises VocabularyError."""
        if not 0 <= id < len(self.vocab):
            raise VocabularyError("no token has this id", expected=f"0..{len(self.vocab) - 1}", got=id)
        return self.vocab[id]

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        return self._id_of.get(token)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text; special tokens by their names, bytes that are no UTF-8 as U+FFFD."""
        special = set(self.special_ids.as_tuple())
        data = b""
        for id in ids:
            token = self.token(int(id))
            data += token.encode() if id in special else self.bytes_of(token)
        return data.decode("utf-8", "replace")

    def bytes_of(self, token: str) -> bytes:
        """Return the bytes that a token of the vocabulary stands for; those it does not spell in bytes, as UTF-8."""
        byte_of = self._byte_of
        return b"".join(bytes((byte_of[c],)) if c in byte_of else c.encode() for c in token)

    def merges_between_characters(self) -> list[tuple[bytes, bytes]]:
        """Return the merges, as bytes, that join two characters of which at least one is not ASCII."""
        characters = self._characters
        ascii, continuing = set(characters[:0x80]), set(characters[0x80:0xC0])
        return [
            (self.bytes_of(left), self.bytes_of(right))
            for left, right in self.merges
            if right[0] not in continuing and not (right[0] in ascii and left[-1] in ascii)
        ]

    def spelled(self, data: bytes) -> str:
        """Return bytes in the vocabulary's spelling."""
        characters = self._characters
        return "".join([characters[byte] for byte in data])

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The same tokenizer as an object of the `tokenizers` library, to which special tokens in text are plain text."""
        if self._backend is None:
            import tokenizers

            self._backend = tokenizers.Tokenizer.from_str(self._description())
            self._backend.encode_special_tokens = True
        return self._backend

    def _description(self) -> str:
        """Return what `tokenizers` itself writes for these settings (a test compares)."""
        ids = self.special_ids
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        content = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": id, "content": self.vocab[id], **flags, "lstrip": id == ids.mask} for id in sorted(ids.as_tuple())
            ],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": {
                "type": "RobertaProcessing", "sep": ["</s>", ids.sep], "cls": ["<s>", ids.cls],
                "trim_offsets": True, "add_prefix_space": False,
            },
            "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                "vocab": self._id_of, "merges": self.merges,
            },
        }  # fmt: skip
        return json.dumps(content, ensure_ascii=False, indent=2)
