"""How much of the arithmetic that a machine can do goes into the model (model FLOP utilisation, MFU).

Operations of a training step, forward and backward: 6 a weight and token (Kaplan et al. 2020, §2.1), and 12 a feature of
attention, token and token attended to (Chowdhery et al. 2022, appendix B). Matrices of the encoder meet every token, those of
the masked language model, among them the vocabulary's, only masked ones. Padding, look-ups, sentence order, recomputation and
the optimizer do not count.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from shards.peak_memory import peak_resident_bytes

_PROBE_SIZE, _PROBE_TRIES = 1024, 5


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations a training step makes: for each token, for each token times the tokens of its sample, for each masked token."""

    per_token: int
    per_token_and_length: int
    per_masked: int

    @classmethod
    def of(cls, weights: Iterable[tuple[str, tuple[int, ...]]]) -> Work:
        """Count the work of a network by the names and shapes of its weights."""
        token = length = masked = 0
        for name, shape in weights:
            if len(shape) < 2:
                continue
            size = 1
            for side in shape:
                size *= side
            if ".encoder." in name or "embeddings_project" in name or name.startswith("discriminator_predictions"):
                token += 6 * size
            elif "predictions" in name or name.endswith("word_embeddings.weight"):
                masked += 6 * size
            if name.endswith("q_proj.weight"):
                length += 12 * shape[1]
        return cls(per_token=token, per_token_and_length=length, per_masked=masked)

    def operations(self, *, tokens: float, samples: float, masked: float) -> float:
        """Return the operations of training on `samples` samples with `tokens` tokens, of which `masked` are masked."""
        mean_length = tokens / samples if samples else 0.0
        return tokens * (self.per_token + self.per_token_and_length * mean_length) + masked * self.per_masked


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Operations a second that all devices together can do, None if unknown, and where the figure is from."""

    flops_per_s: float | None
    reason: str


def find_peak(given: float | None, *, processes: int, on_gpu: bool) -> Peak:
    """Return the peak to measure by. On a CPU it is that of multiplying matrices, tried out here in a tenth of a second."""
    if given is not None:
        return Peak(flops_per_s=given, reason="--peak-flops")
    if on_gpu:
        return Peak(flops_per_s=None, reason="no MFU: --peak-flops says what the GPUs can do")
    measured = _multiplication_rate() * processes
    many = f", times {processes} processes" if processes > 1 else ""
    size = f"{_PROBE_SIZE:,}"
    return Peak(flops_per_s=measured, reason=f"measured, float32 matrices of {size} x {size}{many}")


@cache
def _multiplication_rate() -> float:
    import paddle

    matrix = paddle.full([_PROBE_SIZE, _PROBE_SIZE], 0.5)
    best_s = float("inf")
    with paddle.no_grad():
        for _ in range(_PROBE_TRIES):
            begun = time.perf_counter()
            float(paddle.matmul(matrix, matrix)[0, 0])
            best_s = min(best_s, time.perf_counter() - begun)
    return float(2 * _PROBE_SIZE**3 / best_s)


def peak_memory_bytes(*, on_gpu: bool) -> int:
    """Return the most memory that this process has held so far: of the GPU if there is one, else resident."""
    if on_gpu:
        import paddle

        return int(paddle.device.cuda.max_memory_allocated())
    return peak_resident_bytes()


def weight_shapes(network: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of a network's weights."""
    return [(name, tuple(weight.shape)) for name, weight in network.named_parameters()]
