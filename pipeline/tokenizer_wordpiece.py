"""WordPiece tokenizers: read from files, checked, and written so that HF's `tokenizers` reads them back.

1. A tokenizer is an ordered vocabulary and two switches (lower-casing, accent stripping); everything else is BERT's: white space,
   punctuation and each CJK character split words, words are matched greedily from the left, ``##`` marks a piece that goes on.
2. It is stored as two files, ``vocab.txt`` and ``tokenizer.json``. Their bytes follow from vocabulary and switches alone (not
   from the version of a library), so `hash` names the tokenizer wherever it lies.
3. Text is text: a corpus that spells ``[MASK]`` gets a bracket, a word and a bracket, never the special token.

The work is done by the `tokenizers` library (loaded at the first use); `pipeline.encode` is the fast path with equal ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import VocabularyError
from pipeline.tokenizer_files import MAX_FILE_BYTES, configured_case, hash_of, json_section, numbered, read_rows, vocab_by_id
from shards.canonical import read_json_object
from shards.errors import NotFoundError
from shards.manifest import SpecialIds

if TYPE_CHECKING:
    import tokenizers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
MAX_WORD_CHARACTERS = 100  # longer words are [UNK], as in BERT


class WordPieceTokenizer:
    """A WordPiece tokenizer.

    `vocab` lists the tokens in the order of their ids. `strip_accents` defaults to `lowercase`, as in BERT. `where` is named in
    errors. Raises VocabularyError for an empty vocabulary, duplicate or empty tokens, and missing special tokens.
    """

    kind = "wordpiece"
    pair_template = "bert"

    def __init__(
        self, vocab: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None, where: object = "vocabulary"
    ) -> None:
        self.vocab = list(vocab)
        self.lowercase = lowercase
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self._id_of = numbered(self.vocab, where)
        self.special_ids = bert_special_ids(self._id_of, where)
        self._backend: tokenizers.Tokenizer | None = None

    @classmethod
    def from_vocab(
        cls, vocab: Sequence[str], *, lowercase: bool | None = None, where: object = "vocabulary"
    ) -> WordPieceTokenizer:
        """Return the tokenizer of a list of tokens. Unless told, case is kept iff one of the tokens A..Z is in the vocabulary."""
        if lowercase is None:
            lowercase = not any(len(token) == 1 and "A" <= token <= "Z" for token in vocab)
        return cls(vocab, lowercase=lowercase, where=where)

    @classmethod
    def load(cls, path: str | Path) -> WordPieceTokenizer:
        """Read a vocabulary file, a ``tokenizer.json`` or a folder that holds them; raises NotFoundError and VocabularyError."""
        path = Path(path)
        if path.is_dir():
            return cls.from_folder(path)
        return cls.from_json_file(path) if path.suffix == ".json" else cls.from_vocab_file(path)

    @classmethod
    def from_vocab_file(cls, path: str | Path, *, lowercase: bool | None = None) -> WordPieceTokenizer:
        """Read a file with one token a row; `lowercase` as in `from_vocab`."""
        path = Path(path)
        return cls.from_vocab(read_rows(path), lowercase=lowercase, where=path)

    @classmethod
    def from_folder(cls, path: str | Path) -> WordPieceTokenizer:
        """Read a folder with ``tokenizer.json``, ``vocab.txt`` or both (which then must agree)."""
        folder = Path(path)
        described, listed = folder / "tokenizer.json", folder / "vocab.txt"
        if not described.is_file():
            if not listed.is_file():
                raise NotFoundError("no tokenizer here", where=folder, expected="tokenizer.json or vocab.txt")
            return cls.from_vocab_file(listed, lowercase=configured_case(folder))
        tokenizer = cls.from_json_file(described)
        if listed.is_file():
            vocab = read_rows(listed)
            if vocab != tokenizer.vocab:
                row = next(
                    (i for i, (a, b) in enumerate(zip(vocab, tokenizer.vocab, strict=False)) if a != b),
                    min(len(vocab), tokenizer.vocab_size),
                )
                raise VocabularyError(
                    "differs from tokenizer.json beside it",
                    where=f"{listed}:{row + 1}",
                    hint="Delete the one of the two that is out of date",
                )
        return tokenizer

    @classmethod
    def from_json_file(cls, path: str | Path) -> WordPieceTokenizer:
        """Read a ``tokenizer.json`` of the `tokenizers` library; only BERT's WordPiece pipeline is accepted."""
        path = Path(path)
        content = read_json_object(path, max_bytes=MAX_FILE_BYTES)
        model, normalizer = json_section(content, "model", path), json_section(content, "normalizer", path)
        if model.get("type") != "WordPiece":
            raise VocabularyError(
                "the tokenizer's model is not supported",
                where=path,
                expected="WordPiece",
                got=model.get("type"),
                hint="Pass a WordPiece tokenizer, or its vocab.txt",
            )
        for name, section, expected in (
            (
                "model",
                model,
                {"unk_token": "[UNK]", "continuing_subword_prefix": CONTINUES, "max_input_chars_per_word": MAX_WORD_CHARACTERS},
            ),
            ("normalizer", normalizer, {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}),
            ("pre_tokenizer", json_section(content, "pre_tokenizer", path), {"type": "BertPreTokenizer"}),
        ):
            for key, value in expected.items():
                if section.get(key) != value:
                    raise VocabularyError(f"{name}.{key} is not BERT's", where=path, expected=value, got=section.get(key))
        lowercase, strip_accents = normalizer.get("lowercase"), normalizer.get("strip_accents")
        if not isinstance(lowercase, bool) or not (strip_accents is None or isinstance(strip_accents, bool)):
            raise VocabularyError("normalizer.lowercase and normalizer.strip_accents must be true or false", where=path)
        vocab = vocab_by_id(model.get("vocab"), path)
        _check_added_tokens(content.get("added_tokens", []), vocab, path)
        return cls(vocab, lowercase=lowercase, strip_accents=strip_accents, where=path)

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    @cached_property
    def hash(self) -> str:
        """sha256, as 64 hexadecimal digits, over the names, sizes and bytes of `files`."""
        return hash_of(self.files())

    def files(self) -> dict[str, bytes]:
        """Return the files a data set or checkpoint stores: name to bytes, a function of vocabulary and switches alone."""
        return {
            "vocab.txt": "".join(f"{token}\n" for token in self.vocab).encode(),
            "tokenizer.json": self._description().encode(),
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
        """Return the token with that id; raises VocabularyError."""
        if not 0 <= id < len(self.vocab):
            raise VocabularyError("no token has this id", expected=f"0..{len(self.vocab) - 1}", got=id)
        return self.vocab[id]

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        return self._id_of.get(token)

    def decode(self, ids: Iterable[int]) -> str:
        """Return readable text: pieces joined, no space beside a CJK character or before closing punctuation."""
        text = ""
        for id in ids:
            token = self.token(int(id))
            if token.startswith(CONTINUES) and len(token) > len(CONTINUES):
                text += token[len(CONTINUES) :]
            elif (
                text
                and not _is_wide(text[-1])
                and not _is_wide(token[0])
                and token[0] not in ".,;:!?)]}%"
                and text[-1] not in "([{"
            ):
                text += f" {token}"
            else:
                text += token
        return text

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The same tokenizer as an object of the `tokenizers` library, to which special tokens in text are plain text."""
        if self._backend is None:
            import tokenizers

            self._backend = tokenizers.Tokenizer.from_str(self._description())
            self._backend.encode_special_tokens = True
        return self._backend

    def _description(self) -> str:
        """Return what `tokenizers` itself writes for these settings, key by key (a test compares)."""
        ids = self.special_ids
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        content = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": id, "content": self.vocab[id], **flags} for id in sorted(ids.as_tuple())],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None if self.strip_accents == self.lowercase else self.strip_accents,
                "lowercase": self.lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", ids.sep], "cls": ["[CLS]", ids.cls]},
            "decoder": {"type": "WordPiece", "prefix": CONTINUES, "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": CONTINUES,
                "max_input_chars_per_word": MAX_WORD_CHARACTERS,
                "vocab": self._id_of,
            },
        }
        return json.dumps(content, ensure_ascii=False, indent=2)


def _is_wide(character: str) -> bool:
    return character >= "\u2e80"


def bert_special_ids(id_of: dict[str, int], where: object) -> SpecialIds:
    missing = [token for token in SPECIAL_TOKENS if token not in id_of]
    if missing:
        raise VocabularyError(
            f"the vocabulary lacks {', '.join(missing)}",
            where=where,
            hint="Add each as a row of its own, or use another vocabulary",
        )
    pad, unk, cls, sep, mask = (id_of[token] for token in SPECIAL_TOKENS)
    return SpecialIds(pad=pad, unk=unk, cls=cls, sep=sep, mask=mask)


def _check_added_tokens(added: object, vocab: list[str], path: Path) -> None:
    """Refuse tokens beside the vocabulary: they would match inside words and change ids."""
    if not isinstance(added, list) or not all(isinstance(entry, dict) for entry in added):
        raise VocabularyError("added_tokens is not a list of objects", where=path)
    for entry in added:
        token, id = entry.get("content"), entry.get("id")
        if token not in SPECIAL_TOKENS or type(id) is not int or not 0 <= id < len(vocab) or vocab[id] != token:
            raise VocabularyError(
                f"added token {token!r} with id {id} is not supported", where=path, expected=f"only {', '.join(SPECIAL_TOKENS)}"
            )
