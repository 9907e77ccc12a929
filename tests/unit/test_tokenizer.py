"""Tokenizers: reading and refusing vocabularies, and files that `tokenizers` itself reads back."""

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import BertWordPieceTokenizer

from pipeline.errors import VocabularyError
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from shards.errors import NotFoundError, WordloomError
from shards.manifest import SpecialIds

VOCAB = [*SPECIAL_TOKENS, "a", "b", "##b", "##c", "hello", "研", "究", ",", "!", "[", "]", "mask", "\u2028", "é", "##é"]


def write(path: Path, rows: list[str]) -> Path:
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def test_reads_a_vocabulary_file(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write(tmp_path / "vocab.txt", VOCAB))
    assert tokenizer.vocab == VOCAB
    assert tokenizer.vocab_size == len(VOCAB)
    assert tokenizer.special_ids == SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
    assert tokenizer.kind == "wordpiece"
    assert tokenizer.pair_template == "bert"
    assert [tokenizer.token(i) for i in tokenizer.encode("Hello 研究 abc, x")] == [
        "hello",
        "研",
        "究",
        "a",
        "##b",
        "##c",
        ",",
        "[UNK]",
    ]


@pytest.mark.parametrize("content", ["\n".join(VOCAB), "\ufeff" + "\r\n".join(VOCAB) + "\r\n", "\n".join(VOCAB) + "\n\n\n"])
def test_row_ends_and_byte_order_mark_do_not_matter(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content.encode())
    assert Tokenizer.load(path).vocab == VOCAB


def test_case_is_kept_when_the_vocabulary_has_capital_letters(tmp_path: Path) -> None:
    assert Tokenizer.from_vocab(VOCAB).lowercase is True
    assert Tokenizer.from_vocab([*VOCAB, "Q"]).lowercase is False
    assert Tokenizer.from_vocab([*VOCAB, "Qa"]).lowercase is True
    cased = write(tmp_path / "vocab.txt", VOCAB)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert Tokenizer.load(cased).lowercase is True
    assert Tokenizer.load(tmp_path).lowercase is False


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "vocabulary is empty"),
        (["[PAD]", "[UNK]", "[CLS]", "a"], r"lacks \[SEP\], \[MASK\]\. Add"),
        ([*VOCAB, "b"], rf"vocab.txt:{len(VOCAB) + 1}: token 'b' occurs twice\. It is in row 7"),
        ([*VOCAB, "", "z"], rf"vocab.txt:{len(VOCAB) + 1}: empty token"),
    ],
)
def test_unusable_vocabularies_are_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(VocabularyError, match=message) as caught:
        Tokenizer.load(write(tmp_path / "vocab.txt", rows))
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 12


def test_bytes_that_are_not_utf8_are_named_by_row(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("\n".join(VOCAB).encode() + "\n研究".encode("gb18030"))
    with pytest.raises(VocabularyError, match=rf"vocab.txt:{len(VOCAB) + 1}: not UTF-8: byte 0xd1"):
        Tokenizer.load(path)


def test_missing_files_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"expected tokenizer.json or vocab.txt"):
        Tokenizer.load(tmp_path)
    with pytest.raises(NotFoundError, match=r"absent.txt: no such vocabulary file"):
        Tokenizer.load(tmp_path / "absent.txt")


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
def test_files_are_what_the_tokenizers_library_writes(lowercase: bool, strip_accents: bool | None) -> None:
    theirs = BertWordPieceTokenizer(
        {token: id for id, token in enumerate(VOCAB)},
        lowercase=lowercase,
        strip_accents=None if strip_accents == lowercase else strip_accents,
    )
    ours = Tokenizer(VOCAB, lowercase=lowercase, strip_accents=strip_accents).files()["tokenizer.json"].decode()
    if strip_accents is not None and strip_accents == lowercase:
        assert Tokenizer(VOCAB, lowercase=lowercase).files()["tokenizer.json"].decode() == ours
    assert tokenizers.Tokenizer.from_str(ours).to_str(pretty=True) == ours
    assert json.loads(theirs.to_str()) == json.loads(ours)


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_stored_folder_reads_back_as_the_same_tokenizer(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = Tokenizer.from_vocab(VOCAB, lowercase=lowercase)
    for name, data in tokenizer.files().items():
        (tmp_path / name).write_bytes(data)
    again = Tokenizer.load(tmp_path)
    assert again.files() == tokenizer.files()
    assert again.hash == tokenizer.hash
    assert again.lowercase is lowercase
    assert Tokenizer.load(tmp_path / "tokenizer.json").hash == tokenizer.hash


def test_hash_tells_tokenizers_apart() -> None:
    base = Tokenizer.from_vocab(VOCAB)
    others = [
        Tokenizer.from_vocab([*VOCAB, "z"]),
        Tokenizer.from_vocab(VOCAB, lowercase=False),
        Tokenizer.from_vocab(VOCAB[:-2] + VOCAB[:-3:-1]),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 4


def test_folder_whose_files_disagree_is_refused(tmp_path: Path) -> None:
    for name, data in Tokenizer.from_vocab(VOCAB).files().items():
        (tmp_path / name).write_bytes(data)
    write(tmp_path / "vocab.txt", [*VOCAB[:6], "other", *VOCAB[7:]])
    with pytest.raises(VocabularyError, match=r"vocab.txt:7: differs from tokenizer.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "BPE", "vocab": {}, "merges": []}}, r"expected WordPiece, got BPE"),
        ({"model": None}, r"has no model"),
        ({"normalizer": {"type": "NFC"}}, r"normalizer.type is not BERT's \(expected BertNormalizer, got NFC\)"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, r"pre_tokenizer.type is not BERT's"),
        ({"added_tokens": [{"id": 99, "content": "<extra>"}]}, r"added token '<extra>' with id 99"),
    ],
)
def test_other_kinds_of_tokenizer_json_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    content = json.loads(Tokenizer.from_vocab(VOCAB).files()["tokenizer.json"]) | change
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match=message):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("vocab", [{"[PAD]": 0, "[UNK]": 2}, {"[PAD]": 0, "[UNK]": 0}, {"[PAD]": "0"}, [], None])
def test_ids_with_gaps_are_refused(tmp_path: Path, vocab: object) -> None:
    content = json.loads(Tokenizer.from_vocab(VOCAB).files()["tokenizer.json"])
    content["model"]["vocab"] = vocab
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match=r"model.vocab"):
        Tokenizer.load(tmp_path)


def test_damaged_json_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(WordloomError, match=r"not readable as JSON"):
        Tokenizer.load(tmp_path)


def test_special_tokens_in_text_are_text() -> None:
    tokenizer = Tokenizer.from_vocab(VOCAB)
    assert [tokenizer.token(i) for i in tokenizer.encode("[MASK]")] == ["[", "mask", "]"]


def test_decode_reads_well_and_unknown_ids_are_refused() -> None:
    tokenizer = Tokenizer.from_vocab(VOCAB)
    assert tokenizer.decode(tokenizer.encode("hello abc, 研究!")) == "hello abc,研究!"
    with pytest.raises(VocabularyError, match=rf"expected 0..{len(VOCAB) - 1}, got {len(VOCAB)}"):
        tokenizer.token(len(VOCAB))
