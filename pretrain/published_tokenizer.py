"""The files by which transformers and PaddleNLP read a tokenizer, beside those that `pipeline.load_tokenizer` reads back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.tokenizer_wordpiece import WordPieceTokenizer
from pretrain.published_config import HF
from shards.canonical import pretty_json

if TYPE_CHECKING:
    from pipeline.tokenizer import Tokenizer

TOKENIZER_CONFIG = "tokenizer_config.json"
# kind → class in transformers, class in PaddleNLP
_CLASSES = {
    "wordpiece": ("BertTokenizer", "BertTokenizer"),
    "roformer-word": ("RoFormerTokenizer", "RoFormerTokenizer"),
    "byte-bpe": ("RobertaTokenizer", "RobertaBPETokenizer"),
}


def tokenizer_files(tokenizer: Tokenizer, family: str, max_length: int) -> dict[str, bytes]:
    """Return name → bytes of all files of the tokenizer; `max_length` counts special tokens too."""
    files = tokenizer.files()
    if tokenizer.kind == "roformer-word" and family == HF:
        # transformers 5 hands its RoFormerTokenizer the path of a lone vocab.txt for a vocabulary, and then knows no word.
        files |= {
            "tokenizer.json": WordPieceTokenizer(tokenizer.vocab, lowercase=_lowercase(tokenizer)).files()["tokenizer.json"]
        }
    return {**files, TOKENIZER_CONFIG: pretty_json(_configuration(tokenizer, family, max_length))}


def _configuration(tokenizer: Tokenizer, family: str, max_length: int) -> dict[str, Any]:
    special = tokenizer.special_ids
    names = {"pad": special.pad, "unk": special.unk, "cls": special.cls, "sep": special.sep, "mask": special.mask}
    content: dict[str, Any] = {f"{name}_token": tokenizer.token(id) for name, id in names.items()}
    content |= {"tokenizer_class": _CLASSES[tokenizer.kind][family != HF], "model_max_length": max_length}
    if tokenizer.kind == "byte-bpe":
        return content | {
            "bos_token": tokenizer.token(special.cls), "eos_token": tokenizer.token(special.sep), "add_prefix_space": False,
        }  # fmt: skip
    content |= {"do_lower_case": _lowercase(tokenizer)}
    if tokenizer.kind == "roformer-word":
        return content | ({} if family == HF else {"use_jieba": True})
    return content | {"tokenize_chinese_chars": True, "strip_accents": None}


def _lowercase(tokenizer: Tokenizer) -> bool:
    switch = getattr(tokenizer, "lowercase")  # noqa: B009 - every kind but byte-level BPE has it
    return bool(switch)
