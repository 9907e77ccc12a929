"""Mixed precision: which numbers are half as wide, and on which device that can be had.

    off   float32 throughout
    O1    matrix products in half precision, everything that sums or normalises in float32
    O2    everything in half precision but the operators that paddle keeps in float32

On a GPU that is paddle's `auto_cast`. Weights, moments and gradients of weights are float32 at both levels: the float32 weights
are the master weights, so a checkpoint is the same whatever the level. CPU builds of paddle have no half-precision kernels;
there only the emulation (`pretrain.emulate`) is left. float16 needs a loss scale (`pretrain.scaler`); bfloat16 has the range
of float32 and needs none.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pretrain.errors import DeviceError

if TYPE_CHECKING:
    from pretrain.options import TrainConfig

OFF = "off"
LEVELS = (OFF, "O1", "O2")
FLOAT16 = "float16"
DTYPES = ("bfloat16", FLOAT16)


class Precision:
    """How forward passes of a run compute; asked for by `config`, on the CPU or a GPU.

    Raises DeviceError for half precision on a CPU without emulation, and for emulation on a GPU.
    """

    def __init__(self, config: TrainConfig, *, on_gpu: bool) -> None:
        self._level, self._dtype, self._emulates = config.amp, config.amp_dtype, config.amp_emulate
        if self._level != OFF and not on_gpu and not self._emulates:
            raise DeviceError(
                f"--amp {self._level} needs a GPU: paddle has no {self._dtype} kernels on CPU", got="device cpu",
                hint="Train with --amp off, or try its arithmetic with --amp-emulate (slower than float32)",
            )  # fmt: skip
        if self._emulates and on_gpu:
            raise DeviceError("--amp-emulate is for CPUs; this device has half precision of its own", got="a GPU")

    def prepare(self, network: Any) -> None:
        """Make a network ready for forward passes in `forward`."""
        if self._emulates and self._level == "O2":
            from pretrain.emulate import round_between_layers

            round_between_layers(network)

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context of one forward pass; the backward pass follows it and belongs outside."""
        if self._level == OFF:
            return nullcontext()
        if self._emulates:
            from pretrain.emulate import rounding

            return rounding(self._dtype, between_layers=self._level == "O2")
        import paddle

        context: AbstractContextManager[Any] = paddle.amp.auto_cast(enable=True, level=self._level, dtype=self._dtype)
        return context

    def describe(self) -> str:
        """Return what is said of it when training starts."""
        if self._level == OFF:
            return "precision: float32"
        scale = ", with a loss scale" if self._dtype == FLOAT16 else ", without a loss scale (its range is that of float32)"
        return f"precision: {self._dtype}, level {self._level}" + scale + (", emulated" if self._emulates else "")
