"""Files of tokenizers: rows, JSON, and what is refused in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import VocabularyError
from shards.canonical import read_json_object
from shards.errors import NotFoundError

MAX_FILE_BYTES = 64 << 20


def hash_of(files: Mapping[str, bytes]) -> str:
    """Return sha256, as 64 hexadecimal digits, over names, sizes and bytes of a tokenizer's files."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def numbered(vocab: list[str], where: object) -> dict[str, int]:
    """Return token to id; raises VocabularyError for an empty vocabulary, empty tokens and duplicates."""
    if not vocab:
        raise VocabularyError("the vocabulary is empty", where=where, expected="one token a row")
    id_of: dict[str, int] = {}
    for id, token in enumerate(vocab):
        if not token:
            raise VocabularyError(
                "empty token", where=f"{where}:{id + 1}", hint="Every row is one token; remove the row or fill it"
            )
        first = id_of.setdefault(token, id)
        if first != id:
            raise VocabularyError(
                f"token {token!r} occurs twice",
                where=f"{where}:{id + 1}",
                hint=f"It is in row {first + 1} already; each token has one id",
            )
    return id_of


def read_rows(path: Path) -> list[str]:
    """Return the rows of a vocabulary file; raises NotFoundError and VocabularyError."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise VocabularyError(
                "too large to be a vocabulary", where=path, expected=f"at most {MAX_FILE_BYTES} bytes", got=size
            )
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("no such vocabulary file", where=path) from None
    except IsADirectoryError:
        raise VocabularyError("is a folder", where=path, expected="a file with one token a row") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise VocabularyError(
            f"not UTF-8: byte 0x{data[error.start]:02x}", where=f"{path}:{row}", hint="Save the file as UTF-8"
        ) from None
    # Rows end at LF alone: U+2028 is a token of bert-base-chinese.
    rows = [row.removesuffix("\r") for row in text.removeprefix("\ufeff").split("\n")]
    while rows and not rows[-1]:
        rows.pop()
    return rows


def configured_case(folder: Path) -> bool | None:
    """Return what ``tokenizer_config.json`` says of lower-casing, or None."""
    value = configuration(folder).get("do_lower_case")
    return value if isinstance(value, bool) else None


def configuration(folder: Path) -> dict[str, Any]:
    """Return the content of ``tokenizer_config.json``, empty when there is none."""
    path = folder / "tokenizer_config.json"
    return read_json_object(path, max_bytes=MAX_FILE_BYTES) if path.is_file() else {}


def json_section(content: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Return a member of ``tokenizer.json`` that must be an object; raises VocabularyError."""
    section = content.get(name)
    if not isinstance(section, dict):
        raise VocabularyError(f"the tokenizer has no {name}", where=path, expected="a tokenizer.json of BERT's kind")
    return section


def vocab_by_id(vocab: object, path: Path) -> list[str]:
    """Return the tokens in the order of their ids, 0 and up without gaps; raises VocabularyError."""
    if not isinstance(vocab, dict) or not all(type(id) is int for id in vocab.values()):
        raise VocabularyError("model.vocab does not map tokens to ids", where=path)
    by_id = {id: token for token, id in vocab.items()}
    if sorted(by_id) != list(range(len(vocab))):
        raise VocabularyError(
            "the ids of model.vocab have gaps or occur twice", where=path, expected=f"0..{len(vocab) - 1}, each once"
        )
    return [by_id[id] for id in range(len(by_id))]
