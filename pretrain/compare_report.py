"""How far our networks are from another implementation's, head by head: forward, gradients, and after one optimizer step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pretrain.compare_batch import LABELS_OF, Batch, Network, difference, worst
from pretrain.compare_paddle import our_network, random_weights
from pretrain.config import ModelConfig

MAX, MEAN = 1e-5, 1e-6  # what differences in float32 may be
FORWARD, GRADIENTS, STEPPED, WEIGHTS = "forward", "gradients", "forward after a step", "weights after a step"
RTD_ARCHITECTURES: Final = ("roformer", "convbert")  # which can be narrower than their embeddings


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a report: the largest and the mean difference over a head's outputs, or the worst of all weights."""

    model: str
    head: str
    case: str
    what: str
    max: float
    mean: float
    scale: float

    @property
    def is_equal(self) -> bool:
        return self.max <= MAX and self.mean <= MEAN

    def __str__(self) -> str:
        mark = "" if self.is_equal else "  over"
        cells = (f"{self.model:<22}", f"{self.head:<14}", f"{self.case:<16}", f"{self.what:<21}")
        return " ".join(cells) + f"{self.max:9.2e} {self.mean:9.2e} {self.scale:9.2e}{mark}"


TITLE: Final = f"{'model':<22} {'head':<14} {'case':<16} {'what':<21}{'max':>9} {'mean':>9} {'largest':>9}"


def compare_kind(
    config: ModelConfig,
    kind: str,
    build: Callable[[ModelConfig, str], Network],
    cases: Mapping[str, Batch],
    *,
    name: str,
    pool_act: str = "tanh",
    trained: Mapping[str, Any] | None = None,
    step: bool = True,
    seed: int = 0,
) -> Iterator[Row]:
    """Yield how far our network of a kind is from the one that `build` gives, on every case.

    Both get one set of weights: random ones, and over them those of `trained` that fit in name and shape. Where our convolution
    stops at padding and theirs does not (`conv_sees_padding` false), theirs reads each row without padding, and only outputs are
    compared. pool_act: what theirs has between the two layers of a sequence classifier.
    """
    if kind == "sequence" and config.has_pooler:
        config = dataclasses.replace(config, pool_act=pool_act)
    ours, theirs = our_network(config, kind), build(config, kind)
    weights = random_weights(ours, config, seed=seed)
    for weight, value in (trained or {}).items():
        if weight in weights and weights[weight].shape == value.shape:
            weights[weight] = value.astype(np.float32)
    decayed = frozenset(name for name, value in weights.items() if value.ndim > 1)
    theirs_reads_padding = config.architecture == "convbert" and not config.conv_sees_padding

    def row(head: str, case: str, what: str, found: Any) -> Row:
        return Row(model=name, head=head, case=case, what=what, **dataclasses.asdict(found))

    for case, batch in cases.items():
        ours.load(weights)
        theirs.load(weights)
        by_rows = theirs_reads_padding and not batch.is_real_BL.all()
        expected = theirs.outputs(batch) if not by_rows else _joined([theirs.outputs(one) for one in batch.rows()])
        found = ours.outputs(batch)
        heads = [head for head in found if head in expected]
        for head in heads:
            yield row(head, case, FORWARD, difference(found[head], expected[head]))
        trained_heads = [head for head in heads if head in LABELS_OF]
        if by_rows:
            continue
        mine, others = ours.gradients(batch, trained_heads), theirs.gradients(batch, trained_heads)
        shared = sorted(mine.keys() & others.keys())
        yield row(kind, case, GRADIENTS, worst([difference(mine[n], others[n]) for n in shared]))
        if not step:
            continue
        ours.step(batch, trained_heads, decayed)
        theirs.step(batch, trained_heads, decayed)
        mine, others = ours.weights(), theirs.weights()
        yield row(kind, case, WEIGHTS, worst([difference(mine[n], others[n]) for n in shared]))
        found, expected = ours.outputs(batch), theirs.outputs(batch)
        for head in heads:
            yield row(head, case, STEPPED, difference(found[head], expected[head]))


def kinds_of(config: ModelConfig, *, against: str) -> tuple[str, ...]:
    """Return the kinds of network that a peer has of an architecture."""
    detects = "rtd" if against == "hf" else "discriminator"
    return ("pretraining", "sequence", "token") + ((detects,) if config.architecture in RTD_ARCHITECTURES else ())


def _joined(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {head: np.concatenate([one[head] for one in outputs]) for head in outputs[0]}
