"""Stages of a run: batch size and sequence length that change at given steps (``--stages 128x300k@512,256x100k@128``).

A stage is BATCHxSTEPS@LENGTH: so many updates of so many samples each, of at most LENGTH tokens with special ones. The third
figure promises what the data holds, and cuts nothing: a stage shorter than the longest sample of its data set is refused, and
needs a set of its own, built with that --max-seq-len (``--stage-shards 128=shards/short``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from shards.batch_sizes import BatchSizes
from shards.errors import UsageError

_STAGE = re.compile(r"([1-9]\d{0,8})x([1-9]\d{0,8})([kM]?)@([1-9]\d{0,6})")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`steps` updates, from `first_step` on, of `global_batch` samples of at most `length` tokens; data of its own or None."""

    first_step: int
    steps: int
    global_batch: int
    length: int
    shards: str | None = None


def parse_stages(text: str, own_shards: str | None) -> tuple[Stage, ...]:
    """Return the stages that --stages and --stage-shards ask for. Raises UsageError."""
    found = [_STAGE.fullmatch(part.strip()) for part in text.split(",")]
    if None in found:
        raise UsageError(f"--stages must be like 128x300k@512,256x100k@128 (batch x steps @ length), got {text!r}")
    numbers = [(int(m[1]), int(m[2]) * _UNITS[m[3]], int(m[4])) for m in found if m is not None]
    own = _parse_own(own_shards)
    if unused := sorted(set(own) - {length for _, _, length in numbers}):
        raise UsageError(f"--stage-shards names data for length {unused[0]}, which no stage has", got=text)
    firsts = [1, *(1 + done for done in accumulate(steps for _, steps, _ in numbers))]
    return tuple(
        Stage(first_step=first, steps=steps, global_batch=batch, length=length, shards=own.get(length))
        for first, (batch, steps, length) in zip(firsts, numbers, strict=False)
    )


def _parse_own(text: str | None) -> dict[int, str]:
    """Return {length: path} of LENGTH=PATH,…"""
    own: dict[int, str] = {}
    for part in text.split(",") if text is not None else ():
        length, equals, path = part.partition("=")
        if not (length.strip().isdigit() and equals and path):
            raise UsageError(f"--stage-shards must be like 128=shards/short (length=path), got {text!r}")
        own[int(length)] = path
    return own


def sections_of(stages: tuple[Stage, ...]) -> list[tuple[Stage, ...]]:
    """Group neighbouring stages that read the same data. Raises UsageError for data that is left and come back to."""
    sections: list[list[Stage]] = []
    for stage in stages:
        if sections and sections[-1][0].shards == stage.shards:
            sections[-1].append(stage)
        elif any(section[0].shards == stage.shards for section in sections):
            raise UsageError(
                f"the stage from step {stage.first_step} comes back to data that other stages have left",
                got=stage.shards or "--shards", hint="Put stages of the same data next to each other",
            )  # fmt: skip
        else:
            sections.append([stage])
    return [tuple(section) for section in sections]


def sizes_of(stages: tuple[Stage, ...]) -> BatchSizes:
    """Return the batch sizes of neighbouring stages."""
    return BatchSizes(stages=tuple((stage.first_step, stage.global_batch) for stage in stages))
