"""One loader for every kind: kinds are told by content, stored folders read back, what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers

from pipeline.errors import VocabularyError
from pipeline.load_tokenizer import load_tokenizer, looks_like_words
from pipeline.tokenizer import Tokenizer
from pipeline.tokenizer_byte_bpe import ByteBpeTokenizer
from pipeline.tokenizer_roformer_word import DESCRIPTION, RoFormerWordTokenizer
from pipeline.tokenizer_wordpiece import SPECIAL_TOKENS, WordPieceTokenizer
from shards.errors import NotFoundError, UsageError
from tests.helpers.tiny_tokenizers import byte_bpe, every_kind, roformer_word, wordpiece

TEXT = "研究生研究生命起源，hello the world's [MASK] <mask>"


def store(tokenizer: Tokenizer, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in tokenizer.files().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("tokenizer", every_kind(), ids=lambda t: str(t.kind))
def test_a_stored_folder_reads_back_as_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = store(tokenizer, tmp_path)
    for kind in ("auto", tokenizer.kind):
        again = load_tokenizer(folder, kind)
        assert type(again) is type(tokenizer)
        assert (again.hash, again.special_ids, again.pair_template) == (
            tokenizer.hash, tokenizer.special_ids, tokenizer.pair_template,
        )  # fmt: skip
        assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert not set(tokenizer.encode(TEXT)) & {again.special_ids.mask, again.special_ids.cls}


@pytest.mark.parametrize("tokenizer", every_kind(), ids=lambda t: str(t.kind))
def test_every_kind_decodes_and_names_its_tokens(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("hello，研究")
    assert tokenizer.decode(ids) == "hello，研究"
    assert [tokenizer.token_id(tokenizer.token(id)) for id in ids] == ids
    assert tokenizer.token_id("no such token") is None
    with pytest.raises(VocabularyError, match="no token has this id"):
        tokenizer.token(tokenizer.vocab_size)


@pytest.mark.parametrize("tokenizer", every_kind(), ids=lambda t: str(t.kind))
def test_another_kind_than_asked_for_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = store(tokenizer, tmp_path)
    other = "byte-bpe" if tokenizer.kind != "byte-bpe" else "wordpiece"
    with pytest.raises(VocabularyError, match=rf"another kind.*expected {other}, got {tokenizer.kind}"):
        load_tokenizer(folder, other)
    with pytest.raises(UsageError, match="tokenizer kind"):
        load_tokenizer(folder, "sentencepiece")


def test_vocabulary_files_are_told_apart_by_their_words(tmp_path: Path) -> None:
    words, pieces = tmp_path / "words.txt", tmp_path / "pieces.txt"
    words.write_bytes(roformer_word().files()["vocab.txt"])
    pieces.write_bytes(wordpiece().files()["vocab.txt"])
    assert isinstance(load_tokenizer(words), RoFormerWordTokenizer)
    assert isinstance(load_tokenizer(pieces), WordPieceTokenizer)
    assert isinstance(load_tokenizer(words, "wordpiece"), WordPieceTokenizer)
    assert isinstance(load_tokenizer(pieces, "roformer-word"), RoFormerWordTokenizer)
    assert not looks_like_words([*SPECIAL_TOKENS, "研究", *(f"t{i}" for i in range(40))])
    assert looks_like_words(["研究", *(f"t{i}" for i in range(19))])


def test_folders_of_other_projects(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(roformer_word().files()["vocab.txt"])
    (tmp_path / "tokenizer.json").write_bytes(WordPieceTokenizer.from_vocab(roformer_word().vocab).files()["tokenizer.json"])
    assert isinstance(load_tokenizer(tmp_path), WordPieceTokenizer)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RoFormerTokenizer", "do_lower_case": false}')
    found = load_tokenizer(tmp_path)
    assert isinstance(found, RoFormerWordTokenizer)
    assert found.lowercase is False
    # transformers 5 stores no vocab.txt, and Han characters are not parted before jieba has cut.
    (tmp_path / "vocab.txt").unlink()
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["normalizer"]["handle_chinese_chars"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    for kind in ("auto", "roformer-word"):
        assert load_tokenizer(tmp_path, kind).hash == found.hash
    roberta = tmp_path / "roberta"
    roberta.mkdir()
    for name in ("vocab.json", "merges.txt"):
        (roberta / name).write_bytes(byte_bpe().files()[name])
    for path in (roberta, roberta / "vocab.json", roberta / "merges.txt"):
        assert load_tokenizer(path).hash == byte_bpe().hash


def test_a_token_spelled_model_makes_no_tokenizer_json(tmp_path: Path) -> None:
    """RoBERTa's vocabulary has one."""
    files = byte_bpe().files()
    merges = files["merges.txt"].decode() + "m o\nmo d\nmod e\nmode l\n"
    vocab = json.loads(files["vocab.json"])
    for token in ("mo", "mod", "mode", "model"):
        vocab[token] = len(vocab)
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path / "vocab.json")
    assert tokenizer.encode("model") == [vocab["model"]]
    assert tokenizer.hash == load_tokenizer(tmp_path).hash


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"expected tokenizer.json or vocab.txt"):
        load_tokenizer(tmp_path)
    with pytest.raises(NotFoundError, match="no such vocabulary file"):
        load_tokenizer(tmp_path / "absent")
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(NotFoundError, match=r"merges.txt: a byte-level BPE tokenizer is two files"):
        load_tokenizer(tmp_path / "vocab.json")


def test_byte_bpe_that_cannot_spell_every_byte_is_refused() -> None:
    tokenizer = byte_bpe()
    without = [token for token in tokenizer.vocab if token != "Ā"]
    with pytest.raises(VocabularyError, match=r"lacks 1 of the 256 bytes, the first is 0x00"):
        ByteBpeTokenizer(without, [])
    with pytest.raises(VocabularyError, match=r"lacks <mask>"):
        ByteBpeTokenizer([token for token in tokenizer.vocab if token != "<mask>"], [])
    with pytest.raises(VocabularyError, match=r"merge 1 of 'q' and 'z' is not in the vocabulary"):
        ByteBpeTokenizer(tokenizer.vocab, [("q", "z")])


def test_bad_rows_of_merges_are_named(tmp_path: Path) -> None:
    store(byte_bpe(), tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\nhe\n")
    with pytest.raises(VocabularyError, match=r"merges.txt:3: not a merge"):
        load_tokenizer(tmp_path / "merges.txt")


def test_tokenizer_json_is_what_the_library_writes() -> None:
    ours = byte_bpe().files()["tokenizer.json"].decode()
    theirs = json.loads(tokenizers.Tokenizer.from_str(ours).to_str())
    mine = json.loads(ours)
    assert theirs == mine


def test_byte_bpe_ids_are_the_librarys(tmp_path: Path) -> None:
    store(byte_bpe(), tmp_path)
    theirs = tokenizers.ByteLevelBPETokenizer.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    for text in ("hello the world's 'tis", "研究生命 𠮷 👍🏽 é", " two  spaces \n", "１２ x²"):
        assert byte_bpe().encode(text) == theirs.encode(text).ids
        assert byte_bpe().decode(theirs.encode(text).ids) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "NFC"}}, "normalizer is not RoBERTa's"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type is not RoBERTa's"),
        ({"added_tokens": [{"id": 1, "content": "<extra>"}]}, "added token '<extra>'"),
    ],
)
def test_other_kinds_of_tokenizer_json_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    content = json.loads(byte_bpe().files()["tokenizer.json"]) | change
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match=message):
        load_tokenizer(tmp_path)


def test_another_dictionary_of_jieba_is_refused(tmp_path: Path) -> None:
    folder = store(roformer_word(), tmp_path)
    content = json.loads((folder / DESCRIPTION).read_text())
    content["segmenter"]["dictionary_sha256"] = "0" * 64
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match="another jieba"):
        load_tokenizer(folder)
    content["kind"] = "unigram"
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match="expected roformer-word, got unigram"):
        load_tokenizer(folder)


def test_roformer_words_are_paddlenlps(tmp_path: Path) -> None:
    """The peer itself, on sentences of every sort; slow to import."""
    import subprocess
    import sys

    store(roformer_word(), tmp_path)
    texts = [
        "研究生研究生命起源", "用Python写的X光，T恤c++ 𠮷野家豈 👍🏽  x", "café naïve 3.14€5 µm x²", "北京大学不了这位", "cdrom 4s店 4S店",
        "hello worldings，天安门", "下\u3000去 下\u200b去",
    ]  # fmt: skip
    code = (
        "import sys, json, warnings; warnings.simplefilter('ignore')\n"
        "from paddlenlp.transformers import RoFormerTokenizer\n"
        f"t = RoFormerTokenizer({str(tmp_path / 'vocab.txt')!r}, use_jieba=True)\n"
        f"print(json.dumps([t.convert_tokens_to_ids(t._tokenize(text)) for text in {texts!r}]))"
    )
    pytest.importorskip("jieba")
    if subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; raise SystemExit(not u.find_spec('paddlenlp'))"]
    ).returncode:
        pytest.skip("paddlenlp is not installed")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert [roformer_word().encode(text) for text in texts] == json.loads(done.stdout.splitlines()[-1])
