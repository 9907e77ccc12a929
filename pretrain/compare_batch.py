"""Batches that two implementations of a network are compared on, and how far apart their arrays are. numpy only.

Legend: B rows of the batch, L padded length, M masked tokens, R real tokens (without padding), C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from pretrain.config import ModelConfig
from pretrain.options import TrainConfig
from pretrain.weights import Tensors

NUM_CLASSES: Final = 3
# Which labels each output of a network is trained with; outputs without labels are compared, not trained.
LABELS_OF: Final = {
    "mlm": "words_M", "sop": "order_B", "sequence": "classes_B", "token": "tags_R", "generator": "words_M",
    "discriminator": "replaced_R",
}  # fmt: skip
BINARY: Final = ("discriminator",)
STEP: Final = TrainConfig()  # the hyper-parameters of the one step that is compared: those that training has by default

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Token ids, and labels for every head. masked_M: numbers b·L + l; draws_M: what tokens are sampled by, in [0, 1)."""

    ids_BL: Ids
    types_BL: Ids
    lengths_B: Ids
    masked_M: Ids
    draws_M: npt.NDArray[np.float64]
    words_M: Ids
    order_B: Ids
    classes_B: Ids
    tags_R: Ids
    replaced_R: Ids

    @property
    def is_real_BL(self) -> npt.NDArray[np.bool_]:
        return np.arange(self.ids_BL.shape[1])[None, :] < self.lengths_B[:, None]

    @property
    def real_R(self) -> Ids:
        """Numbers b·L + l of the real tokens."""
        return np.flatnonzero(self.is_real_BL)

    def rows(self) -> Iterator[Batch]:
        """Yield each row in a batch of its own, without padding. Real and masked tokens keep their order."""
        row_M, column_M = np.divmod(self.masked_M, self.ids_BL.shape[1])
        row_R = self.real_R // self.ids_BL.shape[1]
        for row, size in enumerate(self.lengths_B):
            one, masked, real = slice(row, row + 1), row_M == row, row_R == row
            yield Batch(
                ids_BL=self.ids_BL[one, :size], types_BL=self.types_BL[one, :size], lengths_B=self.lengths_B[one],
                masked_M=column_M[masked], draws_M=self.draws_M[masked], words_M=self.words_M[masked],
                order_B=self.order_B[one], classes_B=self.classes_B[one], tags_R=self.tags_R[real],
                replaced_R=self.replaced_R[real],
            )  # fmt: skip


def make_batch(config: ModelConfig, lengths: Sequence[int], *, width: int, seed: int = 0) -> Batch:
    """Return random tokens (none of them padding) in rows of these lengths, padded to `width`; 15 % of each row is masked."""
    random = np.random.default_rng(seed)
    lengths_B = np.array(lengths, np.int64)
    ids_BL = random.integers(0, config.vocab_size - 1, (len(lengths), width))
    ids_BL += ids_BL >= config.pad_id
    ids_BL[np.arange(width)[None, :] >= lengths_B[:, None]] = config.pad_id
    masked = [row * width + np.sort(random.choice(n, max(1, round(0.15 * n)), replace=False)) for row, n in enumerate(lengths)]
    masked_M, real = np.concatenate(masked), int(lengths_B.sum())
    return Batch(
        ids_BL=ids_BL,
        types_BL=random.integers(0, config.type_vocab_size, ids_BL.shape),
        lengths_B=lengths_B,
        masked_M=masked_M,
        draws_M=random.random(len(masked_M)),
        words_M=random.integers(0, config.vocab_size, len(masked_M)),
        order_B=random.integers(0, 2, len(lengths)),
        classes_B=random.integers(0, NUM_CLASSES, len(lengths)),
        tags_R=random.integers(0, NUM_CLASSES, real),
        replaced_R=random.integers(0, 2, real),
    )


class Network(Protocol):
    """One implementation of a network, with weights by its own names.

    theirs: our name of each weight → its own name; weights that it lacks are not in it.
    """

    theirs: Mapping[str, str]

    def load(self, weights: Tensors) -> None:
        """Take weights by our names in our layout; each of its own must get one. Raises WeightsError."""

    def weights(self) -> Tensors:
        """Return the weights by our names in our layout."""

    def outputs(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        """Return what each head gives, by its name."""

    def gradients(self, batch: Batch, heads: Sequence[str]) -> Tensors:
        """Return the gradients of the sum of these heads' mean losses, by our names in our layout."""

    def step(self, batch: Batch, heads: Sequence[str], decayed: frozenset[str]) -> None:
        """Update the weights once with AdamW; `decayed` are those, by our names, that decay."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Between arrays that should be equal: the largest and the mean absolute difference; `scale` is the largest value."""

    max: float
    mean: float
    scale: float


def difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> Difference:
    """Return how far apart two arrays of one shape are; infinitely far if either holds NaN. Raises ValueError for two shapes."""
    if found.shape != expected.shape:
        raise ValueError(f"arrays of two shapes: {found.shape} and {expected.shape}")
    apart = np.nan_to_num(np.abs(found.astype(np.float64) - expected.astype(np.float64)), nan=np.inf)
    if not apart.size:
        return Difference(max=0.0, mean=0.0, scale=0.0)
    return Difference(max=float(apart.max()), mean=float(apart.mean()), scale=float(np.abs(expected).max()))


def worst(differences: Sequence[Difference]) -> Difference:
    """Return the largest of each figure over several arrays."""
    return Difference(
        max=max(d.max for d in differences), mean=max(d.mean for d in differences), scale=max(d.scale for d in differences)
    )
