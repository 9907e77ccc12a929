"""Training of a WordPiece vocabulary: the same texts give the same list, in any process.

1. Words are counted, cut exactly as `pipeline.encode` cuts them. CJK characters and punctuation marks are words of one character.
2. The alphabet is chosen: ASCII always, then Han by frequency, then other characters by frequency.
3. Pairs of neighbouring pieces are merged, the most frequent first, until the vocabulary is full: byte-pair encoding
   (Sennrich et al. 2016) in WordPiece's spelling, where ``##`` marks a piece that does not begin its word.

Every choice has one outcome: counts first, then code points. (`tokenizers`' trainers number pieces in the order of a hash
map that is seeded anew in each process, and break ties by those numbers.) Counting takes about as long as encoding; merging
works on distinct words and updates only the pairs that a merge touches.
"""

from __future__ import annotations

import heapq
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from pipeline.characters import HAN, CharacterClasses, code_points, cut_cells, distinct_words
from pipeline.errors import EmptyCorpusError, VocabularyError
from pipeline.tokenizer_wordpiece import CONTINUES, MAX_WORD_CHARACTERS, SPECIAL_TOKENS, WordPieceTokenizer

_BLOCK_CHARACTERS = 1 << 20
_MIN_PAIR_COUNT = 2
# Merging is done over the most frequent words only; rarer ones could not win a merge.
_MAX_DISTINCT_WORDS = 1 << 20
# Of the room that ASCII leaves: Han may take three quarters, other characters a quarter of what remains then.
_HAN_SHARE, _OTHER_SHARE = 0.75, 0.25


def train_vocabulary(texts: Iterable[str], size: int, lowercase: bool = True) -> list[str]:
    """Return at most `size` tokens trained on `texts`, in the order of their ids.

    First the special tokens, then single characters by code point, then pieces in the order of their merging. All of
    printable ASCII is in it (letters and digits also as ``##`` pieces), so no plain word is unknown. Fewer than `size`
    tokens come back when no pair of pieces occurs twice any more and all characters are in.

    Raises VocabularyError when `size` cannot hold special tokens and ASCII, EmptyCorpusError when the texts hold no word, and
    EncodingError for a lone surrogate.
    """
    base = ascii_symbols(lowercase)
    least = len(SPECIAL_TOKENS) + len(base)
    if size < least:
        raise VocabularyError("the vocabulary is too small", expected=f"at least {least} (special tokens and ASCII)", got=size)
    words, han = _count_words(texts, lowercase)
    if not words:
        raise EmptyCorpusError("no text to train a vocabulary on", hint="Check the input, or pass an existing vocabulary")

    counts = _count_symbols(words)
    room = size - least
    by_frequency = sorted((symbol for symbol in counts if symbol not in base), key=lambda symbol: (-counts[symbol], symbol))
    han_first = [symbol for symbol in by_frequency if symbol in han]
    others = [symbol for symbol in by_frequency if symbol not in han]
    chosen = han_first[: int(room * _HAN_SHARE)]
    chosen += others[: int((room - len(chosen)) * _OTHER_SHARE)]
    alphabet = base | set(chosen)

    merged = _merge(words, alphabet, size - len(SPECIAL_TOKENS) - len(alphabet))
    spare = size - len(SPECIAL_TOKENS) - len(alphabet) - len(merged)
    alphabet.update([symbol for symbol in han_first + others if symbol not in alphabet][:spare])
    return [*SPECIAL_TOKENS, *sorted(alphabet, key=_plain_first), *merged]


def _plain_first(symbol: str) -> tuple[bool, str]:
    return _continues(symbol), symbol


def _continues(symbol: str) -> bool:
    return len(symbol) > len(CONTINUES) and symbol.startswith(CONTINUES)


def ascii_symbols(lowercase: bool) -> set[str]:
    """Return printable ASCII, letters and digits also as pieces."""
    inside = string.digits + (string.ascii_lowercase if lowercase else string.ascii_letters)
    return {*string.punctuation, *inside, *(CONTINUES + character for character in inside)}


def text_blocks(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts joined by line feeds, about a million characters at a time."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text) + 1
        if size >= _BLOCK_CHARACTERS:
            yield "\n".join(held)
            held, size = [], 0
    if held:
        yield "\n".join(held)


def _count_words(texts: Iterable[str], lowercase: bool) -> tuple[Counter[str], set[str]]:
    """Return how often each normalised word occurs, and which of them are Han characters."""
    backend = WordPieceTokenizer.from_vocab(SPECIAL_TOKENS, lowercase=lowercase).backend
    classes = CharacterClasses(backend)
    raw: Counter[str] = Counter()
    singles = np.zeros(0x110000, np.int64)
    for block in text_blocks(texts):
        codes = code_points(block)
        cells = cut_cells(codes, classes)
        codes_seen, times = np.unique(codes[cells.at[~cells.is_word]], return_counts=True)
        singles[codes_seen] += times
        distinct, which = distinct_words(codes, cells.begins, cells.lengths)
        for word, count in zip(distinct, np.bincount(which, minlength=len(distinct)).tolist(), strict=True):
            raw[word] += count

    words: Counter[str] = Counter()
    for word, count in raw.items():
        for part, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(word)):
            words[part] += count
    han = set()
    for code in np.flatnonzero(singles).tolist():
        normal = backend.normalizer.normalize_str(chr(code)).strip(" ")
        words[normal] += int(singles[code])
        if classes.kinds(np.array([code], np.uint32))[0] == HAN:
            han.add(normal)
    return words, han


def _symbols(word: str) -> list[str]:
    return [word[0], *(CONTINUES + character for character in word[1:])]


def _count_symbols(words: Counter[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for symbol in _symbols(word):
            counts[symbol] += count
    return counts


def _merge(words: Counter[str], alphabet: set[str], room: int) -> list[str]:
    """Return up to `room` merged pieces. Words with a character outside the alphabet are unknown anyway and do not count."""
    eligible = [
        (-count, word)
        for word, count in words.items()
        if 1 < len(word) <= MAX_WORD_CHARACTERS and alphabet.issuperset(_symbols(word))
    ]
    eligible.sort()
    del eligible[_MAX_DISTINCT_WORDS:]
    names = sorted(alphabet)
    number = {symbol: i for i, symbol in enumerate(names)}
    pieces = [[number[symbol] for symbol in _symbols(word)] for _, word in eligible]
    counts = [-negative for negative, _ in eligible]

    pair_counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    holders: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, word_pieces in enumerate(pieces):
        for pair in pairwise(word_pieces):
            pair_counts[pair] += counts[i]
            holders[pair].add(i)

    # Entries may be out of date (too high): a pair is then put back with its present count.
    queue = [(-count, names[pair[0]], names[pair[1]], pair) for pair, count in pair_counts.items()]
    heapq.heapify(queue)
    merged: list[str] = []
    while queue and len(merged) < room:
        negative, left, right, pair = heapq.heappop(queue)
        count = pair_counts[pair]
        if count != -negative:
            if count >= _MIN_PAIR_COUNT:
                heapq.heappush(queue, (-count, left, right, pair))
            continue
        if count < _MIN_PAIR_COUNT:
            break
        token = left + right[len(CONTINUES) :]
        if token not in number:  # otherwise another pair has made the same piece before
            number[token] = len(names)
            names.append(token)
            merged.append(token)
        raised: set[tuple[int, int]] = set()
        for i in holders.pop(pair):
            _replace(pieces[i], pair, number[token], counts[i], i, pair_counts, holders, raised)
        pair_counts.pop(pair, None)
        for changed in raised:
            if pair_counts[changed] >= _MIN_PAIR_COUNT:
                heapq.heappush(queue, (-pair_counts[changed], names[changed[0]], names[changed[1]], changed))
    return merged


def _replace(
    pieces: list[int],
    pair: tuple[int, int],
    merged: int,
    count: int,
    index: int,
    pair_counts: defaultdict[tuple[int, int], int],
    holders: defaultdict[tuple[int, int], set[int]],
    raised: set[tuple[int, int]],
) -> None:
    """Merge `pair` in one word from the left, and keep counts and holders of the pairs around it up to date."""
    before = list(pairwise(pieces))
    i = 0
    while i < len(pieces) - 1:
        if pieces[i] == pair[0] and pieces[i + 1] == pair[1]:
            pieces[i : i + 2] = [merged]
        i += 1
    for old in before:
        pair_counts[old] -= count
    for new in pairwise(pieces):
        pair_counts[new] += count
        if merged in new:
            holders[new].add(index)
            raised.add(new)
