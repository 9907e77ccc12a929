"""Tags: entities against an independent count, word pieces found by their offsets, for every kind of tokenizer."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.batches import gather, scoring_batches, training_batches
from finetune.encode import EncodedRows, Words, encode
from finetune.metrics import evaluate_tags, f1_macro, predicted_tags
from finetune.tags import bio, entities, entity_figures, labels_of
from finetune.task import Examples, TaggedWords
from tests.helpers.tiny_tokenizers import HAN, LATIN, every_kind

LABELS = labels_of(["LOC", "PER"])
TAGS = st.lists(st.sampled_from(LABELS), min_size=1, max_size=12)


def spelled(tags: list[str]) -> set[tuple[str, int, int]]:
    """Return the entities by a second way: a pattern over one letter a tag (b, i: LOC; B, I: PER; o)."""
    letters = "".join({"O": "o", "B-LOC": "b", "I-LOC": "i", "B-PER": "B", "I-PER": "I"}[tag] for tag in tags)
    return {("LOC" if m[0][0] in "bi" else "PER", m.start(), m.end()) for m in re.finditer(r"[bi]i*|[BI]I*", letters)}


@settings(max_examples=300, deadline=None)
@given(tags=TAGS)
def test_entities_are_those_that_a_pattern_finds(tags: list[str]) -> None:
    assert set(entities(tags)) == spelled(tags)
    assert len(entities(tags)) == len(spelled(tags))


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=8), min_size=1, max_size=5
    )
)
def test_figures_equal_scikit_learns_over_all_possible_entities(rows: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    pairs = [([p for p, _ in row], [t for _, t in row]) for row in rows]
    predicted: list[bool] = []
    true: list[bool] = []
    for guess, truth in pairs:  # each span of each type of each row is one yes-or-no question
        for kind in ("LOC", "PER"):
            for begin in range(len(guess)):
                for end in range(begin + 1, len(guess) + 1):
                    predicted.append((kind, begin, end) in spelled(guess))
                    true.append((kind, begin, end) in spelled(truth))
    figures = entity_figures(pairs)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(true, predicted, average="binary", zero_division=0.0)
    assert figures == pytest.approx({"f1": f1, "precision": precision, "recall": recall})


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_macro_f1_equals_scikit_learns(rows: list[tuple[int, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, labels = np.array(rows, dtype=np.int64).T
    assert f1_macro(predicted, labels) == pytest.approx(metrics.f1_score(labels, predicted, average="macro", zero_division=0.0))


def test_other_schemes_are_read_as_bio() -> None:
    assert [bio(tag) for tag in ("O", "B-X", "M-X", "E-X", "S-X", "I-A-B")] == ["O", "B-X", "I-X", "I-X", "B-X", "I-A-B"]
    assert [bio(tag) for tag in ("", "X", "B-", "B", "-X", "o")] == [None] * 6


def words_of(text: str, tags: list[int]) -> TaggedWords:
    """Return a word a character other than white space."""
    kept = [i for i, character in enumerate(text) if not character.isspace()]
    return TaggedWords(begins=tuple(kept), ends=tuple(i + 1 for i in kept), tags=tuple(tags[: len(kept)]))


@pytest.mark.parametrize("tokenizer", every_kind(), ids=lambda tokenizer: tokenizer.kind)
@settings(max_examples=60, deadline=None)
@given(text=st.text(HAN[:24] + LATIN[:8] + " ，", min_size=1, max_size=20).filter(str.strip), data=st.data())
def test_every_word_finds_the_token_it_begins_in(tokenizer, text: str, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    tags = data.draw(st.lists(st.integers(0, 4), min_size=len(text), max_size=len(text)))
    row = words_of(text, tags)
    rows = encode(Examples(texts_a=[text], texts_b=None, labels=[], words=[row]), tokenizer, max_seq_len=64)
    offsets = tokenizer.encode_with_offsets(text)
    assert [id for id, _, _ in offsets] == tokenizer.encode(text) == rows.ids[1:-1].tolist()
    assert rows.words is not None and rows.target_tokens is not None
    for word, (begin, target) in enumerate(zip(row.begins, rows.words.target.tolist(), strict=True)):
        _, first, end = offsets[int(rows.target_tokens[target]) - 1]
        assert first <= begin < end
        leads = bool(rows.words.leads[word])
        if leads:
            assert rows.labels[target] == row.tags[word]
        assert leads == (word == 0 or rows.words.target[word - 1] != target)
    # What is predicted right at every token that leads gives every tag back, where entities do not part inside a token.
    guess = predicted_tags(rows.labels.astype(np.int64), rows.words, LABELS)
    assert [g for g, leads in zip(guess, rows.words.leads, strict=True) if leads] == [
        LABELS[t] for t, leads in zip(row.tags, rows.words.leads, strict=True) if leads
    ]


def two_rows() -> EncodedRows:
    tokenizer = every_kind()[0]
    texts = ["研究 the 北京", "他说好"]
    words = [words_of(texts[0].replace("the", "  t"), [0, 0, 0, 1, 2]), words_of(texts[1], [3, 0, 0])]
    return encode(Examples(texts_a=texts, texts_b=None, labels=[], words=words), tokenizer, max_seq_len=6)


def test_words_that_were_cut_off_are_outside_and_count_as_missed() -> None:
    rows = two_rows()  # [CLS] 研 究 the 北 [SEP]: 京 is cut off
    assert rows.cut == 1 and rows.words is not None
    assert rows.words.target.tolist() == [0, 1, 2, 3, -1, 4, 5, 6]
    logits = np.eye(len(LABELS), dtype=np.float32)[rows.labels]
    figures = evaluate_tags(("f1", "precision", "recall"), logits, rows.words, LABELS)
    assert figures == {"f1": 0.5, "precision": 0.5, "recall": 0.5}  # 北 alone is not 北京


def test_batches_carry_the_tokens_to_tag() -> None:
    rows = two_rows()
    batch = gather(rows, np.array([1, 0]), 0)
    assert batch.tokens_N is not None
    ids = batch.input_ids_BL.ravel()[batch.tokens_N]
    vocab = every_kind()[0].vocab
    assert [vocab[i] for i in ids] == ["他", "说", "好", "研", "究", "the", "北"]
    assert batch.labels_N.tolist() == [3, 0, 0, 0, 0, 0, 1]
    assert sorted(np.concatenate([b.targets_N for b in scoring_batches(rows, batch_size=1, pad_id=0)]).tolist()) == list(range(7))


def test_a_choice_is_two_sequences_a_row() -> None:
    tokenizer = every_kind()[0]
    examples = Examples(texts_a=["研究", "他"], texts_b=["北京", "好"], texts_c=["上", "大学"], labels=[0, 1])
    rows = encode(examples, tokenizer, max_seq_len=16)
    assert (len(rows), rows.per_row, rows.targets, rows.lengths.tolist()) == (2, 2, 2, [7, 6])
    batch = gather(rows, np.array([1]), 0)
    vocab = tokenizer.vocab
    assert [[vocab[i] for i in row if i] for row in batch.input_ids_BL] == [
        ["[CLS]", "他", "[SEP]", "好", "[SEP]"],
        ["[CLS]", "他", "[SEP]", "大", "学", "[SEP]"],
    ]
    assert (batch.labels_N.tolist(), batch.targets_N.tolist()) == ([1], [1])
    seen = [b.targets_N.tolist() for b in training_batches(rows, batch_size=1, seed=0, epoch=0, pad_id=0)]
    assert sorted(seen) == [[0], [1]]
    assert [len(b.lengths_B) for b in scoring_batches(rows, batch_size=3, pad_id=0)] == [2, 2]


def test_words_hold_their_rows() -> None:
    words = Words(
        offsets=np.array([0, 2, 3]), tags=np.array([1, 2, 3]), target=np.array([0, 0, -1]), leads=np.array([True, False, True])
    )
    assert predicted_tags(np.array([1]), words, LABELS) == ["B-LOC", "I-LOC", "O"]
