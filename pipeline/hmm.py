"""jieba's hidden Markov model over many stretches of text at once, to the last bit.

Where jieba's dictionary leaves two or more characters in a row as words of their own, a model with four states (Begin, Middle,
End, Single) decides which of them form words. The Viterbi recursion here is jieba's (`jieba.finalseg.viterbi`): the same tables,
the same order of additions in float64, the same preference at ties (the state whose letter comes later), vectorised over all
stretches of a block. That makes near ties come out as they do in jieba, which re-implementations with rounded tables do not.

The tables are read from the installed jieba package, file by file: importing jieba itself is not needed.
Cost: about 30 numpy operations a character position, each over all stretches that reach it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import NotFoundError

# States in the order of their letters, so that "the later letter" is "the greater index".
_BEGIN, _END, _MIDDLE, _SINGLE = range(4)
_LETTERS = "BEMS"
# The two states each state can follow, the one preferred at a tie first.
_BEFORE = {_BEGIN: (_SINGLE, _END), _END: (_MIDDLE, _BEGIN), _MIDDLE: (_MIDDLE, _BEGIN), _SINGLE: (_SINGLE, _END)}
_IMPOSSIBLE = -3.14e100  # jieba's MIN_FLOAT; finite, so sums of it are ordered as jieba orders them
_LONG_STRETCH = 64  # longer ones hardly occur, and a numpy step for a few costs as much as for thousands
_TABLE_FILES = ("prob_start.py", "prob_trans.py", "prob_emit.py")


def jieba_folder() -> Path:
    """Return the folder of the installed jieba package without importing it; raises NotFoundError."""
    spec = importlib.util.find_spec("jieba")
    if spec is None or spec.origin is None:
        raise NotFoundError("the package jieba is not installed", hint="pip install jieba==0.42.1")
    return Path(spec.origin).parent


class HiddenMarkovModel:
    """jieba's model; `sha256` is over its three table files."""

    def __init__(self) -> None:
        folder = jieba_folder() / "finalseg"
        start, transition, emission = (_load_table(folder / name) for name in _TABLE_FILES)
        self.sha256 = hashlib.sha256(b"".join((folder / name).read_bytes() for name in _TABLE_FILES)).hexdigest()
        self._start = [float(start[letter]) for letter in _LETTERS]
        self._transition = [[float(transition[a].get(b, _IMPOSSIBLE)) for b in _LETTERS] for a in _LETTERS]
        self._emission = np.full((1 << 16, len(_LETTERS)), _IMPOSSIBLE)
        for state, letter in enumerate(_LETTERS):
            for character, probability in emission[letter].items():
                self._emission[ord(character), state] = probability

    def word_starts(
        self, characters: NDArray[np.uint16], begins: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which characters begin a word.

        `characters`: code points in U+4E00..U+9FD5 (the tables know no others). Stretch *i* is
        ``characters[begins[i] : begins[i] + lengths[i]]``, lengths at least 1. One flag a character, stretch after stretch.
        """
        flags = np.empty(int(lengths.sum()), np.bool_)
        if not len(lengths):
            return flags
        places = np.cumsum(lengths) - lengths
        long = lengths > _LONG_STRETCH
        for i in np.flatnonzero(long).tolist():
            stretch = characters[begins[i] : begins[i] + lengths[i]]
            flags[places[i] : places[i] + lengths[i]] = self._long_stretch(stretch)
        if not long.all():
            self._stretches(flags, characters, begins[~long], lengths[~long], places[~long])
        flags[places] = True
        return flags

    def _stretches(
        self,
        flags: NDArray[np.bool_],
        characters: NDArray[np.uint16],
        begins: NDArray[np.int64],
        lengths: NDArray[np.int64],
        places: NDArray[np.int64],
    ) -> None:
        """Set the flags of stretches, those of stretch *i* from ``flags[places[i]]`` on."""
        # Longest first: the stretches that reach step t are then a prefix.
        order = np.argsort(-lengths.astype(np.int16), kind="stable")  # 16 bits: numpy then sorts by radix
        first = begins[order]
        length = lengths[order]
        place = places[order]
        reach = len(length) - np.searchsorted(length[::-1], np.arange(1, length[0] + 1), side="left")

        def emit(step: int, count: int) -> NDArray[np.float64]:
            emitted: NDArray[np.float64] = self._emission.take(characters.take(first[:count] + step), axis=0)
            return emitted.T

        emitted = emit(0, len(length))
        score = [self._start[state] + emitted[state] for state in range(4)]
        choices: list[NDArray[np.bool_]] = []
        final_score = np.empty((2, len(length)))
        for step in range(1, int(length[0])):
            count, before = int(reach[step]), int(reach[step - 1])
            if count < before:
                final_score[0, count:before], final_score[1, count:before] = score[_END][count:], score[_SINGLE][count:]
            emitted = emit(step, count)
            choice = np.empty((4, count), np.bool_)
            following = []
            for state in range(4):
                high, low = _BEFORE[state]
                # jieba adds score + transition + emission from the left; any other grouping rounds differently.
                by_high = score[high][:count] + self._transition[high][state] + emitted[state]
                by_low = score[low][:count] + self._transition[low][state] + emitted[state]
                np.less(by_high, by_low, out=choice[state])
                following.append(np.maximum(by_high, by_low))
            score = following
            choices.append(choice)
        count = int(reach[-1])
        final_score[0, :count], final_score[1, :count] = score[_END], score[_SINGLE]

        ending = np.where(final_score[1] >= final_score[0], _SINGLE, _END)
        high_of, low_of = (np.array([_BEFORE[state][i] for state in range(4)]) for i in (0, 1))
        states = np.empty(len(length), np.int64)
        for step in range(int(length[0]) - 1, -1, -1):
            count = int(reach[step])
            known = int(reach[step + 1]) if step + 1 < len(reach) else 0
            if known:
                took_low = choices[step][states[:known], np.arange(known)]
                states[:known] = np.where(took_low, low_of[states[:known]], high_of[states[:known]])
            states[known:count] = ending[known:count]
            flags[place[:count] + step] = (states[:count] == _BEGIN) | (states[:count] == _SINGLE)

    def _long_stretch(self, characters: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """The same for one stretch, with plain floats: quicker than numpy where a step is a single number a state."""
        transition = self._transition
        emitted = self._emission.take(characters, axis=0).tolist()
        score = [self._start[state] + emitted[0][state] for state in range(4)]
        came_from: list[list[int]] = []
        for emission in emitted[1:]:
            following, chosen = [], []
            for state, (high, low) in _BEFORE.items():
                by_high = score[high] + transition[high][state] + emission[state]
                by_low = score[low] + transition[low][state] + emission[state]
                following.append(by_low if by_high < by_low else by_high)
                chosen.append(low if by_high < by_low else high)
            score = following
            came_from.append(chosen)
        state = _SINGLE if score[_SINGLE] >= score[_END] else _END
        states = [state]
        for chosen in reversed(came_from):
            state = chosen[state]
            states.append(state)
        answer: NDArray[np.bool_] = np.isin(np.array(states[::-1]), (_BEGIN, _SINGLE))
        return answer


def _load_table(path: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"_wordloom_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise NotFoundError("jieba's model table is missing", where=path, hint="pip install --force-reinstall jieba==0.42.1")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table: dict[str, Any] = module.P
    return table
