"""User dictionaries: read strictly, applied as jieba applies them, named in the identity."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline.errors import EncodingError, InputError
from pipeline.han_runs import runs_of
from pipeline.segment import JiebaSegmenter, NumpySegmenter, cut_words, make_segmenter
from pipeline.user_dictionary import UserDictionary
from shards.errors import NotFoundError

TEXT = "研究生研究生命起源，这位研究生正在研究生命科学。南京市长江大桥，他来到了网易杭研大厦，乒乓球拍卖完了，结婚的和尚未结婚的"


def write(folder: Path, content: str) -> Path:
    path = folder / "words.txt"
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("name", ["jieba", "jieba-numpy", "rjieba"])
def test_words_are_cut_out(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff网易杭研大厦\n\n生命科学 \n江大桥 20000 n\n球拍卖 nz\n")
    words = cut_words(make_segmenter(name, user_dictionary=path), "他来到了网易杭研大厦，江大桥")
    assert words[-2:] == ["网易杭研大厦", "江大桥"]
    assert "网易杭研大厦" not in cut_words(make_segmenter(name), TEXT)
    identity = make_segmenter(name, user_dictionary=path).identity
    assert identity["user_dictionary_sha256"] == UserDictionary.read(path).sha256
    assert "user_dictionary_sha256" not in make_segmenter(name).identity


def test_numpy_engine_is_jieba_with_the_same_words(tmp_path: Path) -> None:
    draw = random.Random(3)
    runs = [run for run in TEXT.replace("。", "，").split("，") if run]
    rows = []
    for _ in range(300):
        run = draw.choice(runs)
        begin = draw.randrange(len(run))
        word = run[begin : begin + draw.randrange(1, 7)]
        rows.append(draw.choice([word, f"{word} {draw.randrange(500, 10**6)}", f"{word} n", f"{word} 1000 x"]))
    rows += ["c++ 20", "ABC", "T恤衫 30"]
    for count in (5, 40, len(rows)):
        words = UserDictionary.read(write(tmp_path, "\n".join(rows[:count])))
        for hmm in (True, False):
            theirs, ours = JiebaSegmenter(hmm=hmm, words=words), NumpySegmenter(hmm=hmm, words=words)
            text = (
                " ".join("".join(draw.choices("".join(runs), k=draw.randrange(1, 30))) for _ in range(200)) + " " + " ".join(runs)
            )
            assert ours.word_starts(runs_of(text)).tolist() == theirs.word_starts(runs_of(text)).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("研究生\n研究 生命 起源\n", r"words.txt:2: not a row of a user dictionary \(expected 'word \[frequency\] \[tag\]'"),
        ("研究生 -3", r"words.txt:1: not a row"),
        ("研究生 1.5 n", r"words.txt:1: not a row"),
        ("一\n\n研究生 0", r"words.txt:3: the frequency of a word is 0"),
    ],
)
def test_bad_rows_are_named(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        make_segmenter("jieba-numpy", user_dictionary=write(tmp_path, content))


def test_bytes_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes("研究\n生命".encode("gb18030"))
    with pytest.raises(EncodingError, match=r"words.txt:1: not UTF-8: byte 0xd1"):
        UserDictionary.read(tmp_path / "words.txt")
    with pytest.raises(NotFoundError, match="no such user dictionary"):
        UserDictionary.read(tmp_path / "absent.txt")
