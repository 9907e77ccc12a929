"""The metrics of all tasks, in numpy. Undefined cases are 0, never NaN: a classifier that says one thing has no correlation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
import numpy.typing as npt

from finetune.encode import Words
from finetune.tags import OUTSIDE, entity_figures

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def accuracy(predicted: I64, labels: I64) -> float:
    """Return the share of rows predicted right."""
    return float(np.mean(predicted == labels))


def f1(predicted: I64, labels: I64) -> float:
    """Return the F1 of class 1: 2·TP / (2·TP + FP + FN)."""
    hits = int(np.sum((predicted == 1) & (labels == 1)))
    total = int(np.sum(predicted == 1) + np.sum(labels == 1))
    return 2.0 * hits / total if total else 0.0


def precision(predicted: I64, labels: I64) -> float:
    """Return the share of the rows predicted as class 1 that are: TP / (TP + FP)."""
    hits, total = int(np.sum((predicted == 1) & (labels == 1))), int(np.sum(predicted == 1))
    return hits / total if total else 0.0


def recall(predicted: I64, labels: I64) -> float:
    """Return the share of class 1 that was predicted as such: TP / (TP + FN)."""
    return precision(labels, predicted)


def f1_macro(predicted: I64, labels: I64) -> float:
    """Return the mean over the classes seen, predicted or true, of each one's F1."""
    seen = np.union1d(predicted, labels).tolist()
    return float(np.mean([f1((predicted == c).astype(np.int64), (labels == c).astype(np.int64)) for c in seen]))


def matthews(predicted: I64, labels: I64) -> float:
    """Return Matthews' correlation of two or more classes, as the R_K of Gorodkin (2004) generalises it."""
    classes = int(max(predicted.max(), labels.max())) + 1
    confusion = (
        np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes).astype(np.float64)
    )
    true_count, predicted_count, total = confusion.sum(1), confusion.sum(0), confusion.sum()
    covariance = float(np.trace(confusion) * total - true_count @ predicted_count)
    spread = float(total**2 - predicted_count @ predicted_count) * float(total**2 - true_count @ true_count)
    return covariance / float(np.sqrt(spread)) if spread > 0 else 0.0


def pearson(predicted: F64, labels: F64) -> float:
    """Return Pearson's correlation of scores."""
    x, y = predicted - predicted.mean(), labels - labels.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(float(x @ y) / spread, -1.0, 1.0)) if spread > 0 else 0.0


def spearman(predicted: F64, labels: F64) -> float:
    """Return Spearman's correlation of scores: Pearson's of their ranks, ties sharing their mean rank."""
    return pearson(_ranks(predicted), _ranks(labels))


def _ranks(values: F64) -> F64:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2.0)[inverse]


_OF_CLASSES: dict[str, Callable[[I64, I64], float]] = {
    "acc": accuracy, "precision": precision, "recall": recall, "f1": f1, "f1-macro": f1_macro, "mcc": matthews,
}  # fmt: skip
_OF_SCORES: dict[str, Callable[[F64, F64], float]] = {"pearson": pearson, "spearman": spearman}


def evaluate(names: Sequence[str], outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.generic]) -> dict[str, float]:
    """Return the named metrics, in that order, of the head's outputs: [rows, classes] logits, or [rows, 1] scores."""
    figures: dict[str, float] = {}
    for name in names:
        if name in _OF_SCORES:
            figures[name] = _OF_SCORES[name](outputs[:, 0].astype(np.float64), labels.astype(np.float64))
        else:
            figures[name] = _OF_CLASSES[name](np.argmax(outputs, axis=1).astype(np.int64), labels.astype(np.int64))
    return figures


# What the usual GLUE scripts log of a task with two metrics, before the mean of both.
_LOGGED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("acc", "f1"): ("acc", "precision", "recall", "f1"),
    ("pearson", "spearman"): ("pearson", "spearman"),
}


def logged(names: Sequence[str], outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.generic]) -> dict[str, float]:
    """Return the metrics and what PaddleNLP's GLUE script logs beside them, in its order."""
    both = tuple(names)
    figures = evaluate(_LOGGED.get(both, both), outputs, labels)
    if both in _LOGGED:
        figures[" and ".join(both)] = fmean(figures[name] for name in both)
    return figures


def evaluate_tags(
    names: Sequence[str], outputs: npt.NDArray[np.float32], words: Words, labels: Sequence[str]
) -> dict[str, float]:
    """Return the named figures ("f1", "precision", "recall" of entities) of a tagging task's [targets, labels] logits."""
    guessed = predicted_tags(np.argmax(outputs, axis=1).astype(np.int64), words, labels)
    true = [labels[tag] for tag in words.tags]
    figures = entity_figures((guessed[begin:end], true[begin:end]) for begin, end in pairwise(words.offsets.tolist()))
    return {name: figures[name] for name in names}


def sure_of_words(outputs: npt.NDArray[np.float32], words: Words) -> F64:
    """Return how sure [targets, labels] logits are of each word's tag: its probability; of a word without token, 1."""
    shares = softmax(outputs).max(axis=1)
    return np.where(words.target >= 0, shares[words.target], 1.0) if len(shares) else np.ones(len(words.target))


def softmax(outputs: npt.NDArray[np.float32]) -> F64:
    """Return the probabilities of each row of logits."""
    shares: F64 = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def predicted_tags(targets: I64, words: Words, labels: Sequence[str]) -> list[str]:
    """Return the tag of every word: that of the token it begins in.

    A word whose token began with an earlier one goes on with it; a word without token, cut off or invisible, is outside.
    """
    found: list[str] = []
    for target, leads in zip(words.target.tolist(), words.leads.tolist(), strict=True):
        tag = labels[targets[target]] if target >= 0 else OUTSIDE
        found.append(tag if leads or tag == OUTSIDE else f"I-{tag[2:]}")
    return found
