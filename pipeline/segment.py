"""Chinese word segmentation: which characters of a run of Han begin a word.

The reference is python jieba 0.42.1 over runs of ``[\\u4e00-\\u9fd5]+``, each run on its own. Three engines:

- ``jieba``: jieba itself, run by run, in a private copy of the package: words added to or deleted from the process's own jieba do
  not reach it, and it neither reads nor writes jieba's cache in the folder for temporary files.
- ``jieba-numpy``: jieba's algorithm with jieba's own tables, vectorised over a block; equal to the last bit, near ties included.
- ``rjieba``: a re-implementation in Rust; a few runs in a million differ, where its rounded model turns a near tie.

All take the runs of a block as one string, parted by single spaces, and may be given a user dictionary: its words are added to
fresh engines one after another. Frequencies that it leaves open are jieba's own choice with all three.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.dictionary import Dictionary
from pipeline.han_runs import SPACE, Runs, runs_of, text_of
from pipeline.hmm import HiddenMarkovModel, jieba_folder
from pipeline.user_dictionary import UserDictionary
from shards.errors import NotFoundError, unknown_name

HAN_RUN = re.compile("[\u4e00-\u9fd5]+")


class Segmenter(Protocol):
    """What the encoder needs of a segmentation engine."""

    @property
    def identity(self) -> dict[str, str | bool]:
        """Everything that can change a boundary, for the recipe: name, version, dictionary_sha256, hmm and what was hashed."""

    def word_starts(self, runs: Runs) -> NDArray[np.bool_]:
        """Return one flag a character of `runs`: does it begin a word? Flags at spaces are true.

        `runs` are the code points of runs of U+4E00..U+9FD5, parted by single spaces.
        """


def make_segmenter(name: str, hmm: bool = True, user_dictionary: Path | None = None) -> Segmenter:
    """Return the engine of that name, with or without jieba's hidden Markov model for words outside the dictionary.

    `user_dictionary` is a file in jieba's format (`pipeline.user_dictionary`). Raises UsageError for another name, NotFoundError
    when the package or the file is missing, and InputError for a bad row of the file.
    """
    engine = _ENGINES.get(name)
    if engine is None:
        raise unknown_name("segmenter", name, _ENGINES)
    return engine(hmm, None if user_dictionary is None else UserDictionary.read(user_dictionary))


def cut_words(segmenter: Segmenter, text: str) -> list[str]:
    """Return the words of the Han runs of `text`, in order; what lies between runs is left out."""
    words = []
    for run in HAN_RUN.findall(text):
        begins = np.flatnonzero(segmenter.word_starts(runs_of(run))).tolist()
        words += [run[a:b] for a, b in zip(begins, [*begins[1:], len(run)], strict=True)]
    return words


class JiebaSegmenter:
    """The reference itself: exact by definition, about 1 MB/s."""

    def __init__(self, *, hmm: bool = True, words: UserDictionary | None = None) -> None:
        jieba = _private_jieba()
        dictionary = jieba_folder() / "dict.txt"
        self._hmm = hmm
        self._tokenizer = jieba.Tokenizer()
        # Filling the tables by hand skips `initialize`, which reads and writes a marshalled cache that any user may have planted.
        with dictionary.open("rb") as file:
            self._tokenizer.FREQ, self._tokenizer.total = self._tokenizer.gen_pfdict(file)
        self._tokenizer.initialized = True
        for word, frequency in words.words if words else ():
            self._tokenizer.add_word(word, frequency)
        self._identity: dict[str, str | bool] = {
            "name": "jieba",
            "version": str(jieba.__version__),
            "dictionary_sha256": _sha256(dictionary),
            "dictionary": "jieba/dict.txt",
            "hmm": hmm,
        }
        if hmm:
            self._identity["hmm_sha256"] = HiddenMarkovModel().sha256
        _add_identity(self._identity, words)

    @property
    def identity(self) -> dict[str, str | bool]:
        return dict(self._identity)

    def frequencies(self, words: UserDictionary) -> tuple[dict[str, int], int]:
        """Return the frequency that each added word has come to, and the total of all."""
        return {word: int(self._tokenizer.FREQ[word]) for word, _ in words.words}, int(self._tokenizer.total)

    def cut(self, text: str) -> Iterator[str]:
        """Yield the words of any text, as jieba's own ``cut`` does."""
        yield from self._tokenizer.cut(text, HMM=self._hmm)

    def word_starts(self, runs: Runs) -> NDArray[np.bool_]:
        """See `Segmenter.word_starts`."""
        lengths: list[int] = []
        for run in text_of(runs).split(" "):
            lengths.extend(map(len, self._tokenizer.cut(run, HMM=self._hmm)))
            lengths.append(1)
        return _flags_of(np.array(lengths[:-1], np.int64), len(runs))


class RjiebaSegmenter:
    """jieba in Rust: the reference's result but for near ties of the model, whose tables it holds rounded."""

    def __init__(self, *, hmm: bool = True, words: UserDictionary | None = None) -> None:
        try:
            import rjieba
        except ImportError:
            raise NotFoundError(
                "the package rjieba is not installed", hint="pip install rjieba, or choose another --segmenter"
            ) from None
        # A new object: the module's own one may have had words added to it by other code of the process.
        self._engine = rjieba.Jieba()
        self._hmm = hmm
        if words:
            for word, frequency in JiebaSegmenter(hmm=False, words=words).frequencies(words)[0].items():
                self._engine.add_word(word, frequency, "x")  # a tag has no say in cutting
        binary = Path(importlib.import_module("rjieba.rjieba").__file__ or "")
        self._identity: dict[str, str | bool] = {
            "name": "rjieba",
            "version": importlib.metadata.version("rjieba"),
            # The dictionary is compiled into the extension module; that file is the smallest thing that can be hashed.
            "dictionary_sha256": _sha256(binary),
            "dictionary": f"embedded in rjieba/{binary.name}",
            "hmm": hmm,
        }
        _add_identity(self._identity, words)

    @property
    def identity(self) -> dict[str, str | bool]:
        return dict(self._identity)

    def word_starts(self, runs: Runs) -> NDArray[np.bool_]:
        """See `Segmenter.word_starts`."""
        words = self._engine.cut(text_of(runs), self._hmm)
        return _flags_of(np.fromiter(map(len, words), np.int64, len(words)), len(runs))


@functools.cache
def _plain_dictionary() -> Dictionary:
    """Return jieba's own dictionary; made once a process, since it takes half a second and never changes."""
    return Dictionary(jieba_folder() / "dict.txt")


class NumpySegmenter:
    """jieba's algorithm over all runs of a block at once (`pipeline.dictionary`, `pipeline.hmm`), equal to the last bit."""

    def __init__(self, *, hmm: bool = True, words: UserDictionary | None = None) -> None:
        # jieba itself says what adding the words comes to, so that the two cannot differ.
        added, total = JiebaSegmenter(hmm=False, words=words).frequencies(words) if words else ({}, None)
        self._own = Dictionary(jieba_folder() / "dict.txt", added=added, total=total) if words else None
        self._model = HiddenMarkovModel() if hmm else None
        self._identity: dict[str, str | bool] = {
            "name": "jieba-numpy",
            "version": f"1 (jieba {importlib.metadata.version('jieba')})",
            "dictionary_sha256": _sha256(jieba_folder() / "dict.txt"),
            "dictionary": "jieba/dict.txt",
            "hmm": hmm,
        }
        if self._model is not None:
            self._identity["hmm_sha256"] = self._model.sha256
        _add_identity(self._identity, words)

    @property
    def identity(self) -> dict[str, str | bool]:
        return dict(self._identity)

    @property
    def _dictionary(self) -> Dictionary:
        # Made when first used: a driver that only names its engine does without.
        return self._own or _plain_dictionary()

    def word_starts(self, runs: Runs) -> NDArray[np.bool_]:
        """See `Segmenter.word_starts`."""
        space = runs == SPACE
        edges = np.flatnonzero(np.diff(space, prepend=True, append=True))
        begins, ends = edges[::2], edges[1::2]
        flags: NDArray[np.bool_] = self._dictionary.word_starts(runs, begins, ends) | space
        if self._model is not None:
            self._join_unknown_words(runs, space, flags, self._model)
        return flags

    def _join_unknown_words(
        self, runs: Runs, space: NDArray[np.bool_], flags: NDArray[np.bool_], model: HiddenMarkovModel
    ) -> None:
        """Clear the flags inside words that the model finds among neighbouring words of one character."""
        alone = flags & ~space
        alone[:-1] &= flags[1:]
        edges = np.flatnonzero(np.diff(alone, prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        several = ends - begins > 1
        begins, lengths = begins[several], (ends - begins)[several]
        if not len(begins):
            return
        found = model.word_starts(runs, begins, lengths)
        places = np.cumsum(lengths) - lengths
        # jieba leaves a stretch alone that is, as a whole, a word of its dictionary.
        kept = self._dictionary.is_word_of_singles(runs, begins, lengths)
        if kept.any():
            found[np.repeat(kept, lengths)] = True
        flags[np.arange(len(found)) + np.repeat(begins - places, lengths)] = found


def _add_identity(identity: dict[str, str | bool], words: UserDictionary | None) -> None:
    if words is not None:
        identity["user_dictionary_sha256"] = words.sha256


def _flags_of(lengths: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    flags = np.zeros(size + 1, np.bool_)
    flags[0] = True
    flags[np.cumsum(lengths)] = True
    return flags[:size]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _private_jieba() -> Any:
    """Return a copy of the installed jieba package under a name of our own: no state is shared with ``import jieba``."""
    name = "_wordloom_jieba"
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    folder = jieba_folder()
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise NotFoundError(
            "the package jieba cannot be loaded", where=folder, hint="pip install --force-reinstall jieba==0.42.1"
        )
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources announces its end, and old string escapes are warned of
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


_ENGINES: dict[str, Callable[[bool, UserDictionary | None], Segmenter]] = {
    "rjieba": lambda hmm, words: RjiebaSegmenter(hmm=hmm, words=words),
    "jieba": lambda hmm, words: JiebaSegmenter(hmm=hmm, words=words),
    "jieba-numpy": lambda hmm, words: NumpySegmenter(hmm=hmm, words=words),
}
