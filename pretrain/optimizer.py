"""AdamW with a look before the leap: nothing is updated before loss and gradients are known to be finite.

One pass over the gradients gives the sum of their squares. Its root is the norm to clip by, and it is finite exactly when
every gradient is (short of an overflow, which is a divergence as well); so clipping and checking cost one number's transfer to
the host. State is saved under the structured names of the network: paddle's own keys hold a counter of the process, and
do not fit the next one.

Decoupled weight decay (Loshchilov and Hutter, ICLR 2019) on matrices only; biases and norm weights are vectors. β = (0.9,
0.999), ε = 1e-6 as in BERT: paddle's 1e-8 turns the rarely touched rows of an embedding into sign descent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from pretrain.errors import CheckpointError

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-6
# paddle's name of each state tensor, and ours
_KINDS = {
    "moment1_0": "moment1",
    "moment2_0": "moment2",
    "beta1_pow_acc_0": "beta1_power",
    "beta2_pow_acc_0": "beta2_power",
}
STATE_KINDS = tuple(_KINDS.values())


class Optimizer:
    """AdamW over the parameters of one network; the learning rate is given at each step.

    With `owned`, names of parameters, it keeps the state of these and updates these only: see `pretrain.sharding`.
    """

    def __init__(
        self, network: paddle.nn.Layer, *, weight_decay: float, grad_clip: float, owned: Collection[str] | None = None
    ) -> None:
        self._named = {name: p for name, p in network.named_parameters() if not p.stop_gradient}
        self._grad_clip = grad_clip
        self._owned = frozenset(self._named if owned is None else owned)
        decayed = {p.name for p in self._named.values() if p.ndim > 1}
        self._adamw = paddle.optimizer.AdamW(
            learning_rate=0.0,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
            parameters=[p for name, p in self._named.items() if name in self._owned],
            weight_decay=weight_decay,
            apply_decay_param_fun=decayed.__contains__,
        )

    def gradients(self) -> dict[str, Any]:
        """Return the gradients by structured name; parameters that the loss does not reach have none."""
        return {name: p.grad for name, p in self._named.items() if p.grad is not None}

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def squared_norm(self) -> Any:
        """Return the sum of squares of all gradients, a tensor [1] on their device."""
        return paddle.add_n([paddle._C_ops.squared_l2_norm(g).reshape([1]) for g in self.gradients().values()])

    def update(self, norm: float, learning_rate: float, scale: float = 1.0) -> None:
        """Divide gradients of global `norm` by the loss `scale`, clip, update the weights, and forget the gradients."""
        unscaled_norm = norm / scale
        factor = (self._grad_clip / unscaled_norm if 0.0 < self._grad_clip < unscaled_norm else 1.0) / scale
        if factor != 1.0:
            with paddle.no_grad():
                for gradient in self.gradients().values():
                    gradient.scale_(factor)
        self._adamw.set_lr(learning_rate)
        self._adamw.step()
        self.forget()

    def forget(self) -> None:
        """Drop the gradients without using them."""
        for parameter in self._named.values():
            parameter.clear_gradient(set_to_zero=False)

    def first_non_finite(self) -> str | None:
        """Return the name of the gradient nearest to the loss that holds a NaN or an infinity: it came to be first."""
        for name, gradient in reversed(self.gradients().items()):
            if not math.isfinite(float(paddle.abs(gradient).max())) or bool(paddle.isnan(gradient).any()):
                return name
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return moments and beta powers of owned parameters as ``<structured name>::<kind>``; empty before the first update."""
        structured = {p.name: name for name, p in self._named.items()}
        result: dict[str, npt.NDArray[Any]] = {}
        for key, tensor in self._adamw.state_dict().items():
            for kind, ours in _KINDS.items():
                if key.endswith("_" + kind):
                    result[f"{structured[key.removesuffix('_' + kind)]}::{ours}"] = tensor.numpy()
        return result

    def load(self, tensors: Mapping[str, npt.NDArray[Any]], *, where: object) -> None:
        """Take over the state that `state` returned. Raises CheckpointError, naming tensors that are unknown or mis-shaped."""
        kinds = {ours: kind for kind, ours in _KINDS.items()}
        restored: dict[str, Any] = {}
        for key, value in tensors.items():
            name, _, ours = key.rpartition("::")
            if name not in self._named or ours not in kinds:
                raise CheckpointError(f"optimizer state {key!r} belongs to no weight of the network", where=where)
            parameter = self._named[name]
            expected = tuple(parameter.shape) if ours.startswith("moment") else (1,)
            if value.shape != expected or value.dtype != np.float32:
                raise CheckpointError(
                    f"optimizer state {key!r} does not fit", where=where, expected=f"float32 {expected}",
                    got=f"{value.dtype} {value.shape}",
                )  # fmt: skip
            if name in self._owned:
                restored[f"{parameter.name}_{kinds[ours]}"] = paddle.to_tensor(value)
        if partial := sorted({k.rpartition("::")[0] for k in tensors if not _whole(k.rpartition("::")[0], tensors)}):
            raise CheckpointError(f"optimizer state of {partial[0]!r} is incomplete", where=where, expected=sorted(kinds))
        self._adamw.set_state_dict(restored)


def _whole(name: str, tensors: Mapping[str, Any]) -> bool:
    return all(f"{name}::{ours}" in tensors for ours in _KINDS.values())
