"""Half precision in fine-tuning: matrix products in bfloat16, on a GPU only.

bfloat16 has the exponents of float32, so no loss scaling is needed; weights, optimizer and loss stay in float32.
"""

from __future__ import annotations

from pretrain.errors import DeviceError


def require_device(amp: str, device: str) -> None:
    """Raise DeviceError for half precision on a CPU, whose builds of paddle have no half-precision kernels."""
    if amp != "off" and not device.startswith("gpu"):
        raise DeviceError(
            f"--amp {amp} needs a GPU: builds of paddle for CPUs have no half-precision kernels",
            expected="--device gpu", got=f"device {device}", hint="Leave --amp out",
        )  # fmt: skip
