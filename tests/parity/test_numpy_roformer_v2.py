"""RoFormerV2, which transformers does not have, against an independent reference in numpy and float64: forward and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from pretrain.environment import start

start("cpu")

from pretrain.compare_batch import Batch, difference  # noqa: E402
from pretrain.compare_paddle import our_network, random_weights  # noqa: E402
from tests.parity.cases import CASES, V2, batches  # noqa: E402
from tests.parity.numpy_roformer_v2 import Arrays, NumpyRoFormerV2  # noqa: E402

MAX, MEAN = 1e-5, 1e-6
OURS = our_network(V2, "pretraining")
WEIGHTS = random_weights(OURS, V2)


def expected_of(batch: Batch, weights: Arrays) -> tuple[dict[str, np.ndarray], float, Arrays]:
    """Return the reference's outputs, its loss (mean cross entropies of masked tokens and of the order), and the gradients."""
    reference = NumpyRoFormerV2(weights, heads=V2.num_heads, eps=V2.layer_norm_eps)
    words, order = "embeddings.word_embeddings.weight", "cls.seq_relationship.weight"
    outputs: dict[str, list[np.ndarray]] = {"hidden": [], "mlm": [], "sop": []}
    gradients = {name: np.zeros_like(value) for name, value in reference.w.items()}
    loss = 0.0
    for one in batch.rows():
        hidden, kept = reference.forward(one.ids_BL[0], one.types_BL[0])
        d_hidden = np.zeros_like(hidden)
        logits = reference.logits(hidden[one.masked_M])
        terms, d_logits = cross_entropy(logits, one.words_M)
        loss += terms.sum() / len(batch.words_M)
        d_logits /= len(batch.words_M)
        gradients[words] += d_logits.T @ hidden[one.masked_M]
        d_hidden[one.masked_M] += d_logits @ reference.w[words]
        answer = hidden[:1] @ reference.w[order]
        terms, d_answer = cross_entropy(answer, one.order_B)
        loss += terms.sum() / len(batch.order_B)
        d_answer /= len(batch.order_B)
        gradients[order] += hidden[:1].T @ d_answer
        d_hidden[:1] += d_answer @ reference.w[order].T
        for name, gradient in reference.backward(kept, d_hidden).items():
            gradients[name] += gradient
        for head, value in (("hidden", hidden), ("mlm", logits), ("sop", answer)):
            outputs[head].append(value)
    named = {name if name.startswith("cls.") else f"roformerv2.{name}": value for name, value in gradients.items()}
    return {head: np.concatenate(parts) for head, parts in outputs.items()}, loss, named


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms of each row and their gradients."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    rows = np.arange(len(labels))
    terms = -np.log(shares[rows, labels])
    shares[rows, labels] -= 1
    return terms, shares


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_the_reference(case: str) -> None:
    batch = batches(V2)[case]
    OURS.load(WEIGHTS)
    outputs, _, gradients = expected_of(batch, WEIGHTS)
    found = OURS.outputs(batch)
    assert found.keys() == outputs.keys()
    apart = {head: difference(found[head], outputs[head]) for head in outputs}
    mine = OURS.gradients(batch, ("mlm", "sop"))
    assert mine.keys() == gradients.keys() == WEIGHTS.keys()
    apart |= {name: difference(mine[name], gradients[name]) for name in gradients}
    assert {name: d for name, d in apart.items() if not (d.max <= MAX and d.mean <= MEAN)} == {}
    assert min(d.scale for d in apart.values()) > 1e-3


def test_the_references_gradients_are_those_of_its_loss() -> None:
    batch = batches(V2)["mixed lengths"]
    weights = {name: value.astype(np.float64) for name, value in WEIGHTS.items()}
    _, _, gradients = expected_of(batch, weights)
    random = np.random.default_rng(0)
    for name, value in weights.items():
        along = random.normal(size=value.shape)
        ahead, behind = (expected_of(batch, weights | {name: value + step * along})[1] for step in (1e-6, -1e-6))
        assert (ahead - behind) / 2e-6 == pytest.approx(float((gradients[name] * along).sum()), rel=1e-5, abs=1e-8), name
