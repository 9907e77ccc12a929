"""What every tokenizer offers, whatever its kind: wordpiece, roformer-word or byte-bpe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from shards.manifest import SpecialIds

KINDS = ("wordpiece", "roformer-word", "byte-bpe")


class Tokenizer(Protocol):
    """Text to ids and back. Stored as `files`; `pipeline.load_tokenizer` reads them back as the same tokenizer.

    `kind` is one of KINDS, `pair_template` one of `shards.manifest.PAIR_TEMPLATES`; `vocab` lists the tokens by id.
    """

    kind: str
    pair_template: str
    vocab: list[str]
    special_ids: SpecialIds

    @property
    def vocab_size(self) -> int: ...

    @property
    def hash(self) -> str:
        """sha256, as 64 hexadecimal digits, over the names, sizes and bytes of `files`."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return the files a data set or checkpoint stores: name to bytes."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without the special tokens of a sequence; special tokens spelled in it are plain text."""
        ...

    def encode_with_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Return (id, begin, end) of each token, [begin, end) in characters of `text`; the ids are those of `encode`."""
        ...

    def token(self, id: int) -> str:
        """Return the token with that id, as the vocabulary spells it; raises VocabularyError."""
        ...

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return readable text."""
        ...
