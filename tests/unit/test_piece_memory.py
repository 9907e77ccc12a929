"""Strings found again by their bytes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.piece_memory
from pipeline.growing import Growing
from pipeline.piece_memory import Learnt, PieceMemory

STRINGS = st.lists(st.text(st.sampled_from(list("ab\0é研究𠮷")), min_size=1, max_size=6), max_size=60)


def spell(strings: list[str]) -> Learnt:
    """One piece a character: its code point, and its place in the string."""
    return Learnt(
        ids=[ord(c) for string in strings for c in string],
        marks=[place for string in strings for place in range(len(string))],
        counts=[len(string) for string in strings],
    )


def look_up(memory: PieceMemory, strings: list[str], gap: str = "|") -> list[str]:
    ends = np.cumsum([len((string + gap).encode()) for string in strings]) - len(gap)
    begins = ends - [len(string.encode()) for string in strings]
    found = memory.look_up("".join(string + gap for string in strings).encode(), begins, ends)
    bounds = np.append(0, np.cumsum(found.counts)).tolist()
    marks, characters = found.marks_of(slice(None)).tolist(), "".join(map(chr, found.ids.tolist()))
    assert all(marks[a:b] == list(range(b - a)) for a, b in itertools.pairwise(bounds))
    return [characters[a:b] for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("gap", ["", "|", "zzz"])
@given(first=STRINGS, second=STRINGS)
def test_strings_get_their_pieces(gap: str, first: list[str], second: list[str]) -> None:
    memory = PieceMemory(spell)
    for strings in (first, second, first):
        if strings:
            assert look_up(memory, strings, gap) == strings


def test_each_string_is_tokenized_once() -> None:
    seen: list[str] = []

    def tokenize(strings: list[str]) -> Learnt:
        seen.extend(strings)
        return spell(strings)

    memory = PieceMemory(tokenize)
    strings = [f"{i}{'!' * (i % 9)}" for i in range(40_000)]
    for _ in range(2):
        assert look_up(memory, strings * 2) == strings * 2
    assert sorted(seen) == sorted(strings)


def test_a_full_memory_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.piece_memory, "_MAX_SLOTS", 10)
    memory = PieceMemory(spell)
    for turn in range(5):
        strings = [f"{turn}-{i}" for i in range(8)] + ["a string of many bytes"]
        assert look_up(memory, strings) == strings
    assert memory.slots <= 20


def test_an_error_leaves_the_memory_as_it_was() -> None:
    fail = True

    def tokenize(strings: list[str]) -> Learnt:
        if fail:
            raise ValueError("no")
        return spell(strings)

    memory = PieceMemory(tokenize)
    strings = ["short", "a string of many bytes"]
    with pytest.raises(ValueError, match="no"):
        look_up(memory, strings)
    fail = False
    assert look_up(memory, strings) == strings


def test_a_view_stays_when_the_array_grows() -> None:
    array = Growing(np.int64)
    array.extend([1, 2, 3])
    view = array.values
    array.extend(np.arange(100_000))
    assert view.tolist() == [1, 2, 3] and len(array) == 100_003
    assert array.values[:5].tolist() == [1, 2, 3, 0, 1]
