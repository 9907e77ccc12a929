"""From a task's rows to padded batches: template, truncation, unknown tokens, order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.batches import Batch, scoring_batches, steps_per_epoch, training_batches
from finetune.encode import EncodedRows, encode, fit, require_known, unknown_pieces
from finetune.errors import UnknownTextError
from finetune.task import Examples
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from shards.errors import UsageError
from tests.helpers.tiny_tokenizers import byte_bpe

PAD, UNK, CLS, SEP = 0, 1, 2, 3
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "good", "bad", "##ly", "好", "坏"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    return Tokenizer.from_vocab_file(path)


def single(*texts: str) -> Examples:
    return Examples(texts_a=list(texts), texts_b=None, labels=[i % 2 for i in range(len(texts))])


def pairs(*texts: tuple[str, str]) -> Examples:
    return Examples(texts_a=[a for a, _ in texts], texts_b=[b for _, b in texts], labels=[i % 2 for i in range(len(texts))])


def rows_of(rows: EncodedRows) -> list[list[str]]:
    return [[VOCAB[i] for i in rows.ids[start:end]] for start, end in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]


def test_template_of_one_text_and_of_a_pair(tokenizer: Tokenizer) -> None:
    rows = encode(single("a badly", "好 b"), tokenizer, max_seq_len=16, regression=False)
    assert rows_of(rows) == [["[CLS]", "a", "bad", "##ly", "[SEP]"], ["[CLS]", "好", "b", "[SEP]"]]
    assert rows.second.tolist() == [5, 4]
    rows = encode(pairs(("a b", "c"), ("d", "e a")), tokenizer, max_seq_len=16, regression=True)
    assert rows_of(rows) == [["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"], ["[CLS]", "d", "[SEP]", "e", "a", "[SEP]"]]
    assert rows.second.tolist() == [4, 3]
    assert rows.labels.dtype == np.float32


def test_long_rows_are_cut_to_the_length_and_counted(tokenizer: Tokenizer) -> None:
    rows = encode(single("a b c d e", "a b"), tokenizer, max_seq_len=5, regression=False)
    assert rows_of(rows) == [["[CLS]", "a", "b", "c", "[SEP]"], ["[CLS]", "a", "b", "[SEP]"]]
    assert rows.cut == 1
    rows = encode(pairs(("a b c d e", "a b")), tokenizer, max_seq_len=7, regression=False)
    assert rows_of(rows) == [["[CLS]", "a", "b", "[SEP]", "a", "b", "[SEP]"]]
    with pytest.raises(UsageError, match=r"at least 5, got 4"):
        encode(pairs(("a", "b")), tokenizer, max_seq_len=4, regression=False)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 40))
def test_longest_first_equals_dropping_one_token_at_a_time(length_a: int, length_b: int, budget: int) -> None:
    a, b = length_a, length_b
    while a + b > budget:
        if a > b:
            a -= 1
        else:
            b -= 1
    assert fit(length_a, length_b, budget) == (a, b)


def test_unknown_tokens_are_counted_and_named(tokenizer: Tokenizer) -> None:
    examples = single("a b c d e a b c d e a b c d e a b c d 坏", "我 good", "我 fine")
    rows = encode(examples, tokenizer, max_seq_len=8, regression=False)
    assert (rows.unknown, rows.tokens) == (3, 24)
    named = unknown_pieces(examples.texts_a, tokenizer)
    assert named.startswith("'我' ×2")
    assert "'fine' ×1" in named
    assert "good" not in named


def test_a_task_above_five_percent_unknown_is_refused_unless_allowed(tokenizer: Tokenizer) -> None:
    at_bar = single(" ".join(["a"] * 19 + ["我"]))
    rows = encode(at_bar, tokenizer, max_seq_len=64, regression=False)
    require_known(rows, at_bar, tokenizer, task="SST-2", allow=False)
    above = single(" ".join(["a"] * 18 + ["我"]))
    rows = encode(above, tokenizer, max_seq_len=64, regression=False)
    with pytest.raises(UnknownTextError, match=r"5\.3% of the tokens .*'我' ×1.*--allow-unk"):
        require_known(rows, above, tokenizer, task="SST-2", allow=False)
    require_known(rows, above, tokenizer, task="SST-2", allow=True)


@pytest.fixture(scope="module")
def ten(tokenizer: Tokenizer) -> EncodedRows:
    words = ["a", "b", "c", "d", "e"]
    return encode(
        pairs(*((" ".join(words[: 1 + i % 5]), words[i % 5]) for i in range(10))), tokenizer, max_seq_len=16, regression=False
    )


def check(batch: Batch, rows: EncodedRows) -> None:
    """Check every cell of a batch against the rows it was made of."""
    assert batch.input_ids_BL.shape == batch.token_type_ids_BL.shape == (len(batch.targets_N), batch.lengths_B.max())
    for place, row in enumerate(batch.targets_N):
        ids = rows.ids[rows.offsets[row] : rows.offsets[row + 1]]
        padding = batch.input_ids_BL.shape[1] - len(ids)
        types = [0] * int(rows.second[row]) + [1] * (len(ids) - int(rows.second[row]))
        assert batch.input_ids_BL[place].tolist() == [*ids.tolist(), *[PAD] * padding]
        assert batch.token_type_ids_BL[place].tolist() == [*types, *[0] * padding]
        assert batch.lengths_B[place] == len(ids)
        assert batch.labels_N[place] == rows.labels[row]


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own(ten: EncodedRows) -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        batches = list(training_batches(ten, batch_size=4, seed=seed, epoch=epoch, pad_id=PAD))
        assert [len(batch.targets_N) for batch in batches] == [4, 4, 2]
        assert len(batches) == steps_per_epoch(len(ten), 4)
        for batch in batches:
            check(batch, ten)
        orders.append(np.concatenate([batch.targets_N for batch in batches]).tolist())
        assert sorted(orders[-1]) == list(range(10))
    assert len({tuple(order) for order in orders}) == 3
    again = [batch.targets_N.tolist() for batch in training_batches(ten, batch_size=4, seed=0, epoch=1, pad_id=PAD)]
    assert [row for rows in again for row in rows] == orders[1]


def test_scoring_visits_every_row_once_short_rows_first(ten: EncodedRows) -> None:
    batches = list(scoring_batches(ten, batch_size=3, pad_id=PAD))
    for batch in batches:
        check(batch, ten)
    assert sorted(np.concatenate([batch.targets_N for batch in batches]).tolist()) == list(range(10))
    lengths = np.concatenate([batch.lengths_B for batch in batches])
    assert (np.diff(lengths) >= 0).all()


def test_robertas_template_has_two_separators_and_one_token_type() -> None:
    tokenizer = byte_bpe()
    special = tokenizer.special_ids
    rows = encode(pairs(("hello", "the")), tokenizer, max_seq_len=32, regression=False)
    a, b = tokenizer.encode("hello"), tokenizer.encode("the")
    assert rows.ids.tolist() == [special.cls, *a, special.sep, special.sep, *b, special.sep]
    (batch,) = scoring_batches(rows, batch_size=2, pad_id=special.pad)
    assert not batch.token_type_ids_BL.any()
    rows = encode(single("hello"), tokenizer, max_seq_len=32, regression=False)
    assert rows.ids.tolist() == [special.cls, *a, special.sep]
    with pytest.raises(UsageError, match=r"at least 6, got 5"):
        encode(pairs(("a", "b")), tokenizer, max_seq_len=5, regression=False)
