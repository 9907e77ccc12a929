"""Segmentation engines: the path and model of jieba, isolation from the process, and what they say of themselves."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dictionary import Dictionary
from pipeline.han_runs import runs_of
from pipeline.hmm import jieba_folder
from pipeline.segment import Segmenter, cut_words, make_segmenter
from shards.errors import FormatError, UsageError

ENGINES = ("jieba", "rjieba", "jieba-numpy")


@functools.cache
def engine(name: str, hmm: bool = True) -> Segmenter:
    return make_segmenter(name, hmm)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("研究生研究生命起源", "研究生 研究 生命 起源"),
        ("我来到北京清华大学", "我 来到 北京 清华大学"),
        ("他来到了网易杭研大厦", "他 来到 了 网易 杭研 大厦"),
        ("hello 世界，研究x生命", "世界 研究 生命"),
        ("", ""),
        ("abc", ""),
    ],
)
def test_known_sentences(name: str, text: str, words: str) -> None:
    assert cut_words(engine(name), text) == words.split()


@pytest.mark.parametrize("name", ENGINES)
def test_without_the_model_unknown_words_fall_into_characters(name: str) -> None:
    assert cut_words(engine(name, False), "他来到了网易杭研大厦") == ["他", "来到", "了", "网易", "杭", "研", "大厦"]


@pytest.mark.parametrize("name", ENGINES)
def test_flags_cover_the_string_and_spaces_are_true(name: str) -> None:
    assert engine(name).word_starts(runs_of("")).tolist() == []
    assert engine(name).word_starts(runs_of("生命 研究生 中")).tolist() == [True, False, True, True, False, False, True, True]


# Frequent characters, rare ones, and some that neither dictionary nor model knows.
CHARACTERS = "研究生命起源的一是不了在人有我他这中大来上国和也子时道出而要于就下得可你年网易杭大厦仿佛魑魅魍魉瀞彁鿕鿔"


@pytest.mark.parametrize("hmm", [True, False])
@settings(max_examples=300, deadline=None)
@given(
    runs=st.lists(
        st.text(
            alphabet=st.one_of(st.sampled_from(CHARACTERS), st.characters(min_codepoint=0x4E00, max_codepoint=0x9FD5)),
            min_size=1,
            max_size=30,
        ),
        max_size=6,
    )
)
def test_numpy_engine_is_jieba_on_any_runs(hmm: bool, runs: list[str]) -> None:
    text = " ".join(runs)
    assert np.array_equal(engine("jieba-numpy", hmm).word_starts(runs_of(text)), engine("jieba", hmm).word_starts(runs_of(text)))


@pytest.mark.parametrize("hmm", [True, False])
def test_numpy_engine_is_jieba_on_long_runs_between_short_ones(hmm: bool) -> None:
    text = " ".join(["研究生命" * 100, "的", "仿佛魑魅魍魉他来到了网易杭研大厦" * 30, "一", "研究生", "中华人民共和国" * 60])
    assert np.array_equal(engine("jieba-numpy", hmm).word_starts(runs_of(text)), engine("jieba", hmm).word_starts(runs_of(text)))


@pytest.mark.parametrize("stretch", ["的", "一是的了不", "瀞彁鿕", "魑的魅一魍了魉"])
def test_numpy_engine_is_jieba_on_long_stretches_of_single_characters(stretch: str) -> None:
    text = " ".join((stretch * 400)[:size] for size in (2, 3, 63, 64, 65, 66, 400))
    assert np.array_equal(engine("jieba-numpy").word_starts(runs_of(text)), engine("jieba").word_starts(runs_of(text)))


def test_near_ties_of_the_model_come_out_as_in_jieba() -> None:
    for text in ("常在和答應", "自身常在帏幄"):
        assert cut_words(engine("jieba-numpy"), text) == cut_words(engine("jieba"), text)


@pytest.mark.parametrize("hmm", [True, False])
def test_numpy_engine_is_jieba_on_every_word_of_the_dictionary(hmm: bool) -> None:
    """Every 7th word, in context of its neighbours: covers all lengths, and words cut into single characters."""
    rows = (jieba_folder() / "dict.txt").read_text(encoding="utf-8").split("\n")
    words = [word for row in rows[::7] if (word := row.split(" ")[0]) and min(word) >= "\u4e00" and max(word) <= "\u9fd5"]
    text = " ".join("".join(words[i : i + 3]) for i in range(0, len(words), 3))
    assert np.array_equal(engine("jieba-numpy", hmm).word_starts(runs_of(text)), engine("jieba", hmm).word_starts(runs_of(text)))


@pytest.mark.parametrize("name", ENGINES)
def test_identity_names_everything_that_can_change_a_boundary(name: str) -> None:
    with_model, without = engine(name).identity, engine(name, False).identity
    assert with_model["name"] == name
    assert with_model["hmm"] is True
    assert without["hmm"] is False
    package = name.partition("-")[0]
    assert importlib.metadata.version(package) in str(with_model["version"])
    if package == "jieba":
        assert with_model["dictionary_sha256"] == hashlib.sha256((jieba_folder() / "dict.txt").read_bytes()).hexdigest()
    assert len(str(with_model["dictionary_sha256"])) == 64


def test_identity_is_a_copy() -> None:
    engine("jieba").identity["name"] = "changed"
    assert engine("jieba").identity["name"] == "jieba"


def test_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"unknown segmenter 'rjeiba'\. Did you mean 'rjieba'"):
        make_segmenter("rjeiba")


def test_engines_are_deaf_to_the_process_and_leave_no_trace(tmp_path: Path) -> None:
    """User words and deletions of the process do not reach them, nothing is printed, warned of or cached."""
    code = """if True:
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import jieba, rjieba, tempfile
        jieba.dt.FREQ, jieba.dt.total, jieba.dt.initialized = {"研究": 1}, 1, True
        jieba.finalseg.add_force_split("杭研")
        rjieba.add_word("生命起源", 10**9, None)
        warnings.simplefilter("error")
        from pipeline.segment import cut_words, make_segmenter
        for name in ("jieba", "rjieba", "jieba-numpy"):
            assert cut_words(make_segmenter(name), "研究生研究生命起源杭研大厦") == ["研究生", "研究", "生命", "起源", "杭研", "大厦"], name
    """
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_planted_cache_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jieba.cache").write_bytes(b"not a dictionary")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cut_words(make_segmenter("jieba"), "研究生") == ["研究生"]
    assert (tmp_path / "jieba.cache").read_bytes() == b"not a dictionary"


def test_a_dictionary_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("研究 3 n\n生命 7\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"dict.txt: not a jieba dictionary"):
        Dictionary(path)
