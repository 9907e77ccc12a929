"""Where training stands between two steps, as the JSON of a checkpoint; and what must not change when it goes on.

Samples, masks, dropout and learning rates are functions of (seed, step), so the state is small: a step, sums for the log line
in the making, and the running sum that proves no sample of the epoch was lost. It holds no clock: an interrupted and resumed
run writes the same bytes as one that was left alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretrain.errors import CheckpointError
from pretrain.scaler import Scaler
from pretrain.schedule import Schedule
from pretrain.spikes import WINDOW
from shards.errors import FormatError, MismatchError, UsageError
from shards.fields import Fields

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class DataIdentity:
    """One data set of a run: its name and the fingerprint of its manifest."""

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Window:
    """Sums since the last log line, over all ranks: losses times their counts, and the counts.

    Steps whose loss is not finite are left out; the mean of nothing is NaN.
    """

    lm_sum: float = 0.0
    lm_count: int = 0
    sop_sum: float = 0.0
    sop_count: int = 0
    rtd_sum: float = 0.0
    rtd_count: int = 0

    def plus(self, other: Window) -> Window:
        return Window(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(Window)})

    @property
    def lm_loss(self) -> float:
        return self.lm_sum / self.lm_count if self.lm_count else math.nan

    @property
    def sop_loss(self) -> float:
        return self.sop_sum / max(self.sop_count, 1)

    @property
    def rtd_loss(self) -> float:
        return self.rtd_sum / max(self.rtd_count, 1)


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """See the module docstring.

    scaler: the loss scale and its counters; recent_losses: those that spikes are measured against; rollbacks: made so far;
    horizon: the last step, once a budget of time has fixed it;
    evaluation: {"step", "loss"} of the evaluation made at this very step, or None; best_evaluation: the lowest so far;
    odometer: per data set, the sum over the samples of the current epoch consumed so far (32 hexadecimal digits);
    training: every option that decides the result, see `TrainConfig.identity`.
    """

    step: int = 0
    seed: int
    samples_seen: int = 0
    tokenizer_hash: str
    data: tuple[DataIdentity, ...]
    training: Mapping[str, Any]
    scaler: Scaler = field(default_factory=Scaler)
    recent_losses: tuple[float, ...] = ()
    rollbacks: int = 0
    horizon: int | None = None
    evaluation: Mapping[str, Any] | None = None
    best_evaluation: Mapping[str, Any] | None = None
    odometer: tuple[str, ...] = ()
    window: Window = field(default_factory=Window)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"format": FORMAT, "training": dict(self.training)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, where: object) -> TrainState:
        """Read the JSON of `to_json`. Raises CheckpointError, naming the field."""
        names = frozenset(f.name for f in dataclasses.fields(cls)) | {"format"}
        try:
            fields = Fields(dict(value), where=where, allowed=names)
            if fields.integer("format") != FORMAT:
                raise fields.wrong("format", str(FORMAT), value["format"])
            data = [
                Fields(entry, where=where, place=f"data[{i}]", allowed=frozenset({"name", "fingerprint"}))
                for i, entry in enumerate(fields.array("data", maximum=1 << 16))
            ]
            window = Fields(
                fields.object("window"),
                where=where,
                place="window",
                allowed=frozenset(f.name for f in dataclasses.fields(Window)),
            )
            return cls(
                step=fields.integer("step"),
                seed=fields.integer("seed", minimum=-(2**63)),
                samples_seen=fields.integer("samples_seen"),
                tokenizer_hash=fields.sha256("tokenizer_hash"),
                data=tuple(DataIdentity(name=d.text("name"), fingerprint=d.sha256("fingerprint")) for d in data),
                training=fields.object("training"),
                scaler=_scaler_from(fields.object("scaler"), where),
                recent_losses=tuple(float(x) for x in fields.array("recent_losses", maximum=WINDOW)),
                rollbacks=fields.integer("rollbacks"),
                horizon=None if fields.get("horizon") is None else fields.integer("horizon", minimum=1),
                evaluation=fields.get("evaluation"),
                best_evaluation=fields.get("best_evaluation"),
                odometer=tuple(str(s) for s in fields.array("odometer", maximum=1 << 16)),
                window=Window(
                    lm_sum=float(window.get("lm_sum")),
                    lm_count=window.integer("lm_count"),
                    sop_sum=float(window.get("sop_sum")),
                    sop_count=window.integer("sop_count"),
                    rtd_sum=float(window.get("rtd_sum")),
                    rtd_count=window.integer("rtd_count"),
                ),
            )
        except FormatError as error:
            raise CheckpointError(error.what, where=where, expected=error.expected, got=error.got) from None


def _scaler_from(value: dict[str, Any], where: object) -> Scaler:
    names = [f.name for f in dataclasses.fields(Scaler)]
    fields = Fields(value, where=where, place="scaler", allowed=frozenset(names))
    counters = {name: fields.integer(name) for name in names if name.endswith("_steps")}
    return Scaler(scale=float(fields.get("scale")), is_dynamic=bool(fields.get("is_dynamic")), **counters)


def require_continues(saved: TrainState, now: TrainState, *, where: object) -> None:
    """Raise MismatchError, printing both values, unless training as set up `now` is the training that wrote `saved`."""
    hint = "Give the original value, or start another run: --name OTHER"
    if saved.tokenizer_hash != now.tokenizer_hash:
        raise MismatchError(
            "the tokenizer is another one", where=where, expected=_tokenizer(saved), got=_tokenizer(now), hint=hint
        )
    if [d.fingerprint for d in saved.data] != [d.fingerprint for d in now.data]:
        raise MismatchError(
            "the data is not the data this run was trained on", where=where,
            expected=_describe(saved.data), got=_describe(now.data),
            hint="Start another run: --name OTHER; --init keeps the weights",
        )  # fmt: skip
    before, after = {"seed": saved.seed, **saved.training}, {"seed": now.seed, **now.training}
    for name in sorted(set(before) | set(after)):
        if before.get(name) != after.get(name):
            old, new = _first_difference(before.get(name), after.get(name))
            raise MismatchError(f"{name} differs from the run's", where=where, expected=old, got=new, hint=hint)


def require_coolable(saved: TrainState, now: Schedule, *, where: object) -> None:
    """Raise MismatchError unless a checkpoint stands at the highest rate of the schedule `now`, before any decay."""
    fields = saved.training.get("schedule")
    try:
        before = Schedule(**fields) if isinstance(fields, dict) else None
    except (TypeError, UsageError):
        before = None
    if before is None:
        raise CheckpointError("state.json does not name the learning-rate schedule", where=where)
    if before.kind not in ("wsd", "constant"):
        raise MismatchError("only a wsd or constant schedule can be cooled down", where=where, expected="wsd", got=before.kind)
    if before.max_lr != now.max_lr:
        raise MismatchError("max_lr differs from the run's", where=where, expected=before.max_lr, got=now.max_lr)
    if not before.warmup_steps <= saved.step <= before.last_full_step:
        raise MismatchError(
            "the checkpoint does not stand at the highest learning rate", where=where,
            expected=f"a step from {before.warmup_steps} to {before.last_full_step}", got=saved.step,
        )  # fmt: skip


def _tokenizer(state: TrainState) -> str:
    network = state.training.get("model")
    size = network.get("vocab_size") if isinstance(network, Mapping) else "unknown"
    return f"{state.tokenizer_hash} of {size} tokens"


def _describe(data: Sequence[DataIdentity]) -> str:
    return ", ".join(f"{d.name} {d.fingerprint[:16]}" for d in data)


def _first_difference(before: Any, after: Any) -> tuple[Any, Any]:
    """Narrow two differing objects down to the fields that differ."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return before, after
    names = [name for name in sorted(set(before) | set(after)) if before.get(name) != after.get(name)]
    return {n: before.get(n) for n in names}, {n: after.get(n) for n in names}
