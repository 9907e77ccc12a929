"""What is learnt: which network an objective trains, and its losses over a micro-batch.

Losses are shares of means over the global batch: sums over the micro-batch, divided by counts of the whole. Every loss is
computed in every micro-batch, so that all ranks have the same set of gradients to add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.config import ModelConfig
from pretrain.heads import PretrainingModel
from pretrain.loader import DRAWS, INPUT_KEYS, LABEL_KEYS, PACKING_KEYS
from pretrain.losses import pretraining_losses, summed_cross_entropy
from pretrain.options import RTD, RTD_WEIGHT
from pretrain.rtd import Detection, RTDModel


class Shares(NamedTuple):
    """This micro-batch's share of the loss that is minimised, and of its parts, unweighted; 0-d tensors."""

    loss: Tensor
    lm: Tensor
    sop: Tensor
    rtd: Tensor


class Objective(Protocol):
    """keys: the arrays of a micro-batch that it needs, beside those of packed rows (`pretrain.loader.PACKING_KEYS`)."""

    keys: tuple[str, ...]

    def build(self, config: ModelConfig) -> nn.Layer:
        """Return the network to train, with initial weights."""

    def shares(self, network: Any, batch: Mapping[str, Tensor], counts: tuple[int, int, int]) -> Shares:
        """Return losses; counts: masked tokens, pairs and tokens of the global batch."""

    def sums(self, network: Any, batch: Mapping[str, Tensor]) -> npt.NDArray[np.float64]:
        """Return for evaluation (summed loss, count, correct) of masked tokens, pairs and tokens that may be replaced: [9]."""


class MaskedTokens:
    """Masked language model, with sentence order prediction or without."""

    keys: tuple[str, ...] = (*INPUT_KEYS, *LABEL_KEYS)

    def __init__(self, *, sop: bool) -> None:
        self._sop = sop

    def build(self, config: ModelConfig) -> nn.Layer:
        return PretrainingModel(config)

    def shares(self, network: Any, batch: Mapping[str, Tensor], counts: tuple[int, int, int]) -> Shares:
        lm_count, pairs, _ = counts
        mlm_logits_MV, sop_logits_B2 = network(*(batch[name] for name in INPUT_KEYS), *_packing(batch, PACKING_KEYS))
        loss = lm = summed_cross_entropy(mlm_logits_MV, batch["masked_labels"]) / lm_count
        sop = paddle.zeros([])
        if self._sop:
            # Computed without pairs too: it is 0 then, and every rank has the same set of gradients to add.
            sop = summed_cross_entropy(sop_logits_B2, batch["sop_labels"]) / max(pairs, 1)
            loss = lm + sop
        return Shares(loss, lm, sop, paddle.zeros([]))

    def sums(self, network: Any, batch: Mapping[str, Tensor]) -> npt.NDArray[np.float64]:
        mlm_logits_MV, sop_logits_B2 = network(*(batch[name] for name in INPUT_KEYS))
        losses = pretraining_losses(mlm_logits_MV, batch["masked_labels"], sop_logits_B2, batch["sop_labels"])
        return np.array([*(float(value) for value in losses), 0.0, 0.0, 0.0], np.float64)


class ReplacedTokens:
    """Replaced token detection; see `pretrain.rtd`. A token is found replaced above a logit of 0."""

    keys: tuple[str, ...] = (*INPUT_KEYS, "masked_labels", DRAWS)

    def build(self, config: ModelConfig) -> nn.Layer:
        return RTDModel(config)

    def shares(self, network: Any, batch: Mapping[str, Tensor], counts: tuple[int, int, int]) -> Shares:
        lm_count, _, tokens = counts
        found: Detection = network(*(batch[name] for name in self.keys), *_packing(batch, PACKING_KEYS[:1]))
        lm = summed_cross_entropy(found.mlm_logits_MV, batch["masked_labels"]) / lm_count
        rtd = _detection_loss(found) / tokens
        return Shares(lm + rtd * RTD_WEIGHT, lm, paddle.zeros([]), rtd)

    def sums(self, network: Any, batch: Mapping[str, Tensor]) -> npt.NDArray[np.float64]:
        found: Detection = network(*(batch[name] for name in self.keys))
        labels_M = batch["masked_labels"]
        lm_correct = float((found.mlm_logits_MV.argmax(axis=-1) == labels_M).sum()) if labels_M.shape[0] else 0.0
        rightly_BL = ((found.logits_BL > 0) == found.replaced_BL).logical_and(found.is_real_BL)
        lm_sum = float(summed_cross_entropy(found.mlm_logits_MV, labels_M))
        rtd = (float(_detection_loss(found)), float(found.is_real_BL.sum()), float(rightly_BL.sum()))
        return np.array([lm_sum, labels_M.shape[0], lm_correct, 0.0, 0.0, 0.0, *rtd], np.float64)


def _packing(batch: Mapping[str, Tensor], keys: tuple[str, ...]) -> list[Tensor]:
    """Return what tells the samples of a row apart, where rows hold several."""
    return [batch[name] for name in keys if name in batch]


def _detection_loss(found: Detection) -> Tensor:
    """Return the binary cross entropies of all tokens but padding, summed, in nats."""
    terms_BL = F.binary_cross_entropy_with_logits(found.logits_BL, found.replaced_BL.astype("float32"), reduction="none")
    return (terms_BL * found.is_real_BL.astype("float32")).sum()


def objective_of(name: str) -> Objective:
    """Return the objective of ``--objective name``."""
    return ReplacedTokens() if name == RTD else MaskedTokens(sop=name == "mlm-sop")
