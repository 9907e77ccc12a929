"""One loader for every kind of tokenizer: the kind is told by what the files hold.

A folder is one of ours, a data set, a checkpoint or a run (whose newest checkpoint counts), or a model's of transformers or
PaddleNLP. Looked at in this order:

1. ``wordloom_tokenizer.json``: names its kind (a RoFormer word vocabulary).
2. ``tokenizer.json``: WordPiece or byte-level BPE by its ``model.type``. Where transformers 5 stored a RoFormerTokenizer, its
   vocabulary counts as a ``vocab.txt`` does: what cuts the words is not in the file.
3. ``vocab.json`` and ``merges.txt``: byte-level BPE.
4. ``vocab.txt``: WordPiece, or RoFormer's words. The format is the same; a vocabulary of which at least 5 % are tokens of several
   Han characters holds words, since WordPiece parts every Han character from its neighbours and could never reach them
   (RoFormer's base vocabulary: 80 %; bert-base-chinese, bert-base-uncased, RoFormerV2's characters: none).
5. ``tokenizer/`` of a checkpoint, or of the newest of ``checkpoints/``; what the manifest of a data set names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import VocabularyError
from pipeline.tokenizer import KINDS, Tokenizer
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer
from pipeline.tokenizer_files import MAX_FILE_BYTES, configuration, configured_case, json_section, read_rows, vocab_by_id
from pipeline.tokenizer_roformer_word import DESCRIPTION, RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from shards.canonical import read_json_object
from shards.errors import IntegrityError, NotFoundError, unknown_name
from shards.manifest import MANIFEST_NAME, Manifest

AUTO = "auto"
WORD_SHARE = 0.05
_STEP = re.compile(r"step-\d{8,}")
_SEVERAL_HAN = re.compile("[\u4e00-\u9fd5]{2,}")


def load_tokenizer(path: str | Path, kind: str = AUTO) -> Tokenizer:
    """Read a tokenizer from a file or a folder; `kind` is ``auto`` or one of KINDS, which the files must then fit.

    Raises NotFoundError, VocabularyError for what is no tokenizer or one of another kind, UsageError for an unknown `kind`.
    """
    if kind not in (AUTO, *KINDS):
        raise unknown_name("tokenizer kind", kind, (AUTO, *KINDS))
    path = Path(path)
    if not path.exists():
        raise NotFoundError("no such vocabulary file", where=path)
    tokenizer = _from_folder(path, kind) if path.is_dir() else _from_file(path, kind)
    if kind not in (AUTO, tokenizer.kind):
        raise VocabularyError("the tokenizer is of another kind", where=path, expected=kind, got=tokenizer.kind)
    return tokenizer


def looks_like_words(vocab: Sequence[str]) -> bool:
    """Return whether at least 5 % of the tokens are several Han characters, which WordPiece could never reach."""
    return sum(1 for token in vocab if _SEVERAL_HAN.fullmatch(token)) >= WORD_SHARE * max(len(vocab), 1)


def _from_folder(folder: Path, kind: str) -> Tokenizer:
    if (folder / DESCRIPTION).is_file():
        return RoFormerWordTokenizer.from_folder(folder)
    listed, described = folder / "vocab.txt", folder / "tokenizer.json"
    jieba = str(configuration(folder).get("tokenizer_class", "")).startswith("RoFormerTokenizer")
    # transformers stores a RoFormer tokenizer with BERT's pre-tokenizer in the place of its own; since 5 without vocab.txt.
    if described.is_file() and jieba and not listed.is_file():
        model = json_section(read_json_object(described, max_bytes=MAX_FILE_BYTES), "model", described)
        return _from_vocab(vocab_by_id(model.get("vocab"), described), kind, configured_case(folder), described)
    if described.is_file() and kind != "roformer-word" and not jieba:
        if _model_type(described) == "BPE":
            return ByteBpeTokenizer.from_folder(folder)
        return WordPieceTokenizer.from_folder(folder)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return ByteBpeTokenizer.from_files(folder / "vocab.json", folder / "merges.txt")
    if listed.is_file():
        return _from_rows(listed, kind, configured_case(folder))
    if (folder / MANIFEST_NAME).is_file():
        return _of_data_set(folder, kind)
    if (below := _of_checkpoint(folder)) is not None:
        return _from_folder(below, kind)
    raise NotFoundError("no tokenizer here", where=folder, expected="tokenizer.json or vocab.txt, or vocab.json and merges.txt")


def _of_data_set(folder: Path, kind: str) -> Tokenizer:
    entry = Manifest.read(folder).tokenizer
    tokenizer = _from_folder(folder / entry.folder, kind)
    if tokenizer.hash != entry.hash:
        where = folder / entry.folder
        raise IntegrityError("not the tokenizer of the data set", where=where, expected=entry.hash, got=tokenizer.hash)
    return tokenizer


def _of_checkpoint(folder: Path) -> Path | None:
    """Return the tokenizer's folder in a checkpoint or in a run's newest one; all checkpoints of a run have the same."""
    steps = sorted(path for path in folder.glob("checkpoints/step-*") if _STEP.fullmatch(path.name))
    checkpoint = steps[-1] if steps else folder
    return checkpoint / "tokenizer" if (checkpoint / "tokenizer").is_dir() else None


def _from_file(path: Path, kind: str) -> Tokenizer:
    if path.name == DESCRIPTION:
        return RoFormerWordTokenizer.from_folder(path.parent)
    if path.suffix != ".json":
        if path.name == "merges.txt":
            return ByteBpeTokenizer.from_files(path.with_name("vocab.json"), path)
        return _from_rows(path, kind, None)
    if isinstance(read_json_object(path, max_bytes=MAX_FILE_BYTES).get("model"), dict):  # else a token of a vocab.json at most
        return ByteBpeTokenizer.from_json_file(path) if _model_type(path) == "BPE" else WordPieceTokenizer.from_json_file(path)
    return ByteBpeTokenizer.from_files(path, path.with_name("merges.txt"))


def _from_rows(path: Path, kind: str, lowercase: bool | None) -> Tokenizer:
    return _from_vocab(read_rows(path), kind, lowercase, path)


def _from_vocab(vocab: list[str], kind: str, lowercase: bool | None, where: Path) -> Tokenizer:
    if kind == "roformer-word" or (kind == AUTO and looks_like_words(vocab)):
        return RoFormerWordTokenizer.from_vocab(vocab, lowercase=lowercase, where=where)
    return WordPieceTokenizer.from_vocab(vocab, lowercase=lowercase, where=where)


def _model_type(path: Path) -> object:
    model = read_json_object(path, max_bytes=MAX_FILE_BYTES).get("model")
    return model.get("type") if isinstance(model, dict) else None
