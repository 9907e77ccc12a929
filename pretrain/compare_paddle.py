"""Our networks, and others made of paddle's layers, as `pretrain.compare_batch.Network`.

Legend: B rows of the batch, L padded length, D hidden size, M masked tokens, R real tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from pretrain.attention import select_rows
from pretrain.compare_batch import BINARY, LABELS_OF, NUM_CLASSES, STEP, Batch
from pretrain.config import ModelConfig
from pretrain.errors import WeightsError
from pretrain.heads import PretrainingModel, SequenceClassifier, TokenClassifier
from pretrain.optimizer import Optimizer
from pretrain.rtd import RTDModel
from pretrain.weights import Tensors

# What a network makes of a batch: outputs by name, and labels that depend on them.
Made = tuple[dict[str, Tensor], dict[str, Tensor]]


class PaddleNetwork:
    """Any paddle layer as a `Network`. Its weights are laid out as ours."""

    def __init__(
        self, layer: nn.Layer, make: Callable[[nn.Layer, Batch], Made], theirs: Mapping[str, str], *, unused: Sequence[str] = ()
    ) -> None:
        """make: how outputs follow from a batch; unused: parts of names of weights that no output depends on."""
        layer.eval()
        self._layer, self._make, self.theirs = layer, make, theirs
        own = {name: p for name, p in layer.named_parameters() if not any(part in name for part in unused)}
        if set(own) != set(theirs.values()):
            apart = sorted(set(own) ^ set(theirs.values()))
            raise WeightsError("the map of names and the network's weights differ", where=type(layer).__name__, got=apart[:5])
        self._parameters = {ours: own[name] for ours, name in theirs.items()}

    def load(self, weights: Tensors) -> None:
        for name, parameter in self._parameters.items():
            if name not in weights or tuple(weights[name].shape) != tuple(parameter.shape):
                raise WeightsError(
                    f"no weight for {name!r}", where=type(self._layer).__name__, expected=tuple(parameter.shape),
                    got=weights[name].shape if name in weights else None,
                )  # fmt: skip
            parameter.set_value(weights[name])

    def weights(self) -> Tensors:
        return {name: parameter.numpy() for name, parameter in self._parameters.items()}

    def outputs(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        with paddle.no_grad():
            return {name: tensor.numpy() for name, tensor in self._make(self._layer, batch)[0].items()}

    def gradients(self, batch: Batch, heads: Sequence[str]) -> Tensors:
        self._backward(batch, heads)
        return {name: p.grad.numpy() for name, p in self._parameters.items() if p.grad is not None}

    def step(self, batch: Batch, heads: Sequence[str], decayed: frozenset[str]) -> None:
        """See `Network`. The optimizer is that of training, which lets matrices decay and nothing else: `decayed` are those."""
        optimizer = Optimizer(self._layer, weight_decay=STEP.weight_decay, grad_clip=STEP.grad_clip)
        self._backward(batch, heads)
        optimizer.update(math.sqrt(optimizer.squared_norm().item()), STEP.max_lr)

    def _backward(self, batch: Batch, heads: Sequence[str]) -> None:
        self._layer.clear_gradients(set_to_zero=False)
        outputs, labels = self._make(self._layer, batch)
        losses = []
        for head in heads:
            wanted = labels[head] if head in labels else paddle.to_tensor(getattr(batch, LABELS_OF[head]))
            if head in BINARY:
                losses.append(F.binary_cross_entropy_with_logits(outputs[head], wanted.astype(outputs[head].dtype)))
            else:
                losses.append(F.cross_entropy(outputs[head], wanted))
        paddle.add_n(losses).backward()


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, token types and lengths as paddle's."""
    return paddle.to_tensor(batch.ids_BL), paddle.to_tensor(batch.types_BL), paddle.to_tensor(batch.lengths_B)


def real_tokens(x_BL: Tensor, batch: Batch) -> Tensor:
    """Return what belongs to real tokens of [B, L] or [B, L, D], without padding: [R] or [R, D]."""
    return select_rows(x_BL, paddle.to_tensor(batch.real_R)) if x_BL.ndim == 3 else x_BL.reshape([-1])[batch.real_R]


def our_network(config: ModelConfig, kind: str) -> PaddleNetwork:
    """Return our network of a kind ("pretraining", "sequence", "token", "discriminator", "rtd") as a `Network`."""
    kinds: dict[str, tuple[Callable[[ModelConfig], Any], Callable[[Any, Batch], Made]]] = {
        "pretraining": (PretrainingModel, _pretraining),
        "sequence": (lambda config: SequenceClassifier(config, NUM_CLASSES, 0.0), _sequence),
        "token": (lambda config: TokenClassifier(config, NUM_CLASSES, 0.0), _token),
        "discriminator": (RTDModel, _discriminator),
        "rtd": (RTDModel, _detection),
    }
    layer, make = kinds[kind]
    built = layer(config)
    return PaddleNetwork(built, make, {name: name for name, _ in built.named_parameters()})


def random_weights(network: PaddleNetwork, config: ModelConfig, *, seed: int = 0) -> Tensors:
    """Return random weights that hide nothing: biases and norms are moved away from 0 and 1, and differ from each other.

    The word embedding of padding is 0 and generators do not draw it, as in published weights: others never train by reading it.
    """
    random = np.random.default_rng(seed)
    spread = config.initializer_range
    weights: Tensors = {}
    for name, value in network.weights().items():
        noise = random.normal(0.0, spread, value.shape)
        weights[name] = (noise + np.round(value) if value.ndim == 1 else noise).astype(np.float32)
        if name.endswith("word_embeddings.weight"):
            weights[name][config.pad_id] = 0
        if name == "generator_predictions.decoder_bias":
            weights[name][config.pad_id] = -100
    return weights


def _pretraining(model: Any, batch: Batch) -> Made:
    ids, types, lengths = tensors(batch)
    hidden_BLD = model.encoder(ids, types, lengths)
    mlm, sop = model(ids, types, lengths, paddle.to_tensor(batch.masked_M))
    made = {"hidden": real_tokens(hidden_BLD, batch), "mlm": mlm, "sop": sop}
    if model.config.has_pooler:
        made["pooler"] = model.encoder.pooler(hidden_BLD[:, 0])
    return made, {}


def _sequence(model: Any, batch: Batch) -> Made:
    return {"sequence": model(*tensors(batch))}, {}


def _token(model: Any, batch: Batch) -> Made:
    return {"token": real_tokens(model(*tensors(batch)), batch)}, {}


def _discriminator(model: Any, batch: Batch) -> Made:
    logits_BL = model.discriminator_predictions(model.encoder(*tensors(batch)))
    return {"discriminator": real_tokens(logits_BL, batch)}, {}


def _detection(model: Any, batch: Batch) -> Made:
    given = (paddle.to_tensor(array) for array in (batch.masked_M, batch.words_M, batch.draws_M))
    found = model(*tensors(batch), *given)
    made = {"generator": found.mlm_logits_MV, "discriminator": real_tokens(found.logits_BL, batch)}
    return made, {"discriminator": real_tokens(found.replaced_BL.astype("int64"), batch)}
