"""The metrics equal those of scikit-learn and scipy, and are defined where those are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.metrics import accuracy, evaluate, f1, logged, matthews, pearson, precision, recall, softmax, spearman

sklearn_metrics = pytest.importorskip("sklearn.metrics")
scipy_stats = pytest.importorskip("scipy.stats")


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_binary_metrics_equal_scikit_learns(rows: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(rows, dtype=np.int64).T
    assert accuracy(predicted, labels) == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert f1(predicted, labels) == pytest.approx(sklearn_metrics.f1_score(labels, predicted, zero_division=0.0), abs=1e-12)
    for ours, theirs in ((precision, sklearn_metrics.precision_score), (recall, sklearn_metrics.recall_score)):
        assert ours(predicted, labels) == pytest.approx(theirs(labels, predicted, zero_division=0.0), abs=1e-12)
    if len(set(predicted.tolist()) | set(labels.tolist())) > 1:
        assert matthews(predicted, labels) == pytest.approx(sklearn_metrics.matthews_corrcoef(labels, predicted), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_matthews_of_many_classes_equals_scikit_learns(rows: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(rows, dtype=np.int64).T
    if len(set(predicted.tolist()) | set(labels.tolist())) > 1:
        assert matthews(predicted, labels) == pytest.approx(sklearn_metrics.matthews_corrcoef(labels, predicted), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_equal_scipys(ties: bool) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        labels = random.uniform(0, 5, 200)
        predicted = labels + random.normal(0, seed + 0.1, 200)
        if ties:
            labels, predicted = np.round(labels), np.round(predicted)
        assert pearson(predicted, labels) == pytest.approx(scipy_stats.pearsonr(predicted, labels).statistic, abs=1e-12)
        assert spearman(predicted, labels) == pytest.approx(scipy_stats.spearmanr(predicted, labels).statistic, abs=1e-12)


def test_what_is_logged_beside_two_metrics_is_what_the_usual_script_logs() -> None:
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 4.0], [5.0, 0.0]], dtype=np.float32)
    figures = logged(("acc", "f1"), logits, np.array([0, 1, 0, 0]))
    assert list(figures) == ["acc", "precision", "recall", "f1", "acc and f1"]
    assert figures["acc and f1"] == pytest.approx((0.75 + 2 / 3) / 2)
    scores = logged(("pearson", "spearman"), logits[:, :1], np.array([0.0, 1.0, 0.5, 3.0], dtype=np.float32))
    assert list(scores) == ["pearson", "spearman", "pearson and spearman"]
    assert list(logged(("mcc",), logits, np.array([0, 1, 0, 0]))) == ["mcc"]


def test_probabilities_equal_scipys() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (40, 5)).astype(np.float32)
    special = pytest.importorskip("scipy.special")
    np.testing.assert_allclose(softmax(logits), special.softmax(logits.astype(np.float64), axis=1), rtol=1e-6)


def test_undefined_cases_are_zero_and_never_nan() -> None:
    ones, mixed = np.ones(4, dtype=np.int64), np.array([0, 1, 0, 1])
    assert matthews(ones, mixed) == matthews(ones, ones) == 0.0
    assert f1(np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)) == 0.0
    assert pearson(np.ones(4), np.arange(4.0)) == spearman(np.arange(4.0), np.ones(4)) == 0.0


def test_evaluate_reads_logits_by_argmax_and_scores_as_they_are() -> None:
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 4.0], [5.0, 0.0]], dtype=np.float32)
    labels = np.array([0, 1, 0, 0])
    assert evaluate(("acc", "f1", "mcc"), logits, labels) == {
        "acc": 0.75,
        "f1": pytest.approx(2 / 3),
        "mcc": pytest.approx(1 / np.sqrt(3)),
    }
    scores = np.array([[0.5], [1.5], [4.0]], dtype=np.float32)
    figures = evaluate(("pearson", "spearman"), scores, np.array([0.0, 1.0, 3.5], dtype=np.float32))
    assert list(figures) == ["pearson", "spearman"]
    assert figures["pearson"] == pytest.approx(1.0)
    assert figures["spearman"] == pytest.approx(1.0)
