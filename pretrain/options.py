"""The options of training, as one frozen dataclass that refuses what makes no sense. Its flags: `pretrain.flags`."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from pretrain.budget import LEAST_WARMUP_STEPS, UNBOUNDED_STEPS, WARMUP_STEPS
from pretrain.environment import DEVICES
from pretrain.precision import DTYPES, FLOAT16, LEVELS, OFF
from pretrain.schedule import KINDS, WSD_DECAY_SHARE, Schedule, default_warmup_steps
from pretrain.stages import Stage, parse_stages, sections_of, sizes_of
from shards.batch_sizes import WINDOW_STEPS, BatchSizes
from shards.errors import UsageError, unknown_name
from shards.mask_rate import MAX_NGRAM, MaskRates
from shards.mix_weights import parse_mix

RTD = "rtd"
OBJECTIVES = ("mlm-sop", "mlm", RTD)
CORRUPTIONS = ("token", "word", "electra")
RTD_WEIGHT = 50.0  # of the detection loss beside the generator's, as ELECTRA has it
DEFAULT_MODEL = "roformer-small"
DEFAULT_MICRO_BATCH = 32
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What the user asked for; None where the answer follows from the data or from other options.

    Batches are counted in samples, over all ranks (`global_batch`) or in one forward pass of one rank (`micro_batch`).
    """

    shards: str = "shards/"
    model: str | None = None
    init: str | None = None
    extend_vocab: str | None = None
    objective: str = "mlm-sop"
    max_steps: int | None = None
    global_batch: int = 128
    micro_batch: int | None = None
    max_lr: float = 1e-4
    min_lr: float = 1e-5
    warmup_steps: int | None = None
    lr_schedule: str = "linear"
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    mix: str | None = None
    bins: int = 1
    packing: bool = False
    shuffle_block: int | None = None
    skip_samples: str | None = None
    mask_rate: float = 0.15
    last_mask_rate: float | None = None
    ngrams: int = 1
    corruption: str = "token"
    seed: int = 0
    logging_steps: int = 20
    eval_steps: int = 1000
    save_steps: int = 1000
    keep: int = 3
    amp: str = OFF
    amp_dtype: str = "bfloat16"
    amp_emulate: bool = False
    spike_threshold: float = 8.0
    rollback_on_spike: int = 0
    max_hours: float | None = None
    cooldown_from: str | None = None
    stages: str | None = None
    stage_shards: str | None = None
    name: str | None = None
    out: str = "runs/"
    resume: str = "auto"
    device: str = "auto"
    nproc: int = 1
    workers: int = 1
    sharding: int = 0
    recompute: bool = False
    peak_flops: float | None = None
    patience: int | None = None
    probe: str | None = None
    probe_steps: int | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("objective", self.objective, OBJECTIVES),
            ("learning-rate schedule", self.lr_schedule, KINDS),
            ("device", self.device, DEVICES),
            ("corruption", self.corruption, CORRUPTIONS),
            ("--amp", self.amp, LEVELS),
            ("--amp-dtype", self.amp_dtype, DTYPES),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        for name in ("global_batch", "logging_steps", "eval_steps", "save_steps", "keep", "nproc", "bins"):
            _at_least(name, getattr(self, name), 1)
        for name in ("max_steps", "micro_batch", "shuffle_block", "patience", "probe_steps"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        for name in ("workers", "rollback_on_spike"):
            _at_least(name, getattr(self, name), 0)
        for name in ("weight_decay", "grad_clip", "spike_threshold"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0.0):
                raise UsageError(f"{_flag(name)} must be 0 or more, got {value}")
        for rate in (self.mask_rate, self.last_mask_rate):
            if rate is not None and not 0.0 < rate < 1.0:
                raise UsageError(f"--mask-rate must lie between 0 and 1, got {rate}")
        if self.peak_flops is not None and not (math.isfinite(self.peak_flops) and self.peak_flops > 0):
            raise UsageError(f"--peak-flops must be positive, got {self.peak_flops}")
        if not 1 <= self.ngrams <= MAX_NGRAM:
            raise UsageError(f"--ngrams must be 1 to {MAX_NGRAM}, got {self.ngrams}")
        if self.mix is not None:
            parse_mix(self.mix)
        if self.packing and self.shuffle_block is not None:
            raise UsageError("--packing and --shuffle-block cannot go together: packed rows hold samples from everywhere")
        if not -(2**63) <= self.seed < 2**63:
            raise UsageError(f"--seed must fit in 64 bits, got {self.seed}")
        if self.probe_steps is not None and (self.probe is None or self.probe_steps % self.save_steps):
            raise UsageError(
                f"--probe-steps {self.probe_steps} needs --probe, and a checkpoint to probe",
                expected=f"a multiple of --save-steps {self.save_steps}",
            )
        if self.sharding not in (0, 1):
            raise UsageError(
                f"--sharding must be 0 or 1, got {self.sharding}",
                hint="Stage 2 is GPU only in paddle 3.3, and this project has not run it there" if self.sharding == 2 else None,
            )
        self._check_together()
        if self.name is not None and not _RUN_NAME.fullmatch(self.name):
            raise UsageError(f"--name must be letters, digits, '.', '_' and '-', got {self.name!r}")

    def _check_together(self) -> None:
        """Raise UsageError for options that are of no use beside each other."""
        if self.last_mask_rate is not None and self.max_hours is not None:
            raise UsageError("--mask-rate FIRST:LAST goes by the last step, and with --max-hours that is not known beforehand")
        if self.stages is not None:
            sections_of(self.stage_list())
            for name in ("max_steps", "max_hours", "cooldown_from"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--stages says how long the run is, so {_flag(name)} cannot be given as well")
            if self.global_batch != TrainConfig.global_batch:
                raise UsageError(f"--stages says how large batches are, got --global-batch {self.global_batch} as well")
        if self.stage_shards is not None:
            if self.stages is None:
                raise UsageError("--stage-shards names the data of stages, and there are none", hint="Add --stages")
            for name in ("mix", "packing", "skip_samples"):
                if getattr(self, name):
                    raise UsageError(f"{_flag(name)} belongs to one set of data, and --stage-shards brings others")
        if self.amp_emulate and self.amp == OFF:
            raise UsageError("--amp-emulate emulates mixed precision, and --amp is off", hint="Add --amp O1")
        if self.rollback_on_spike and self.spike_threshold == 0:
            raise UsageError("--rollback-on-spike needs spikes to be looked for, and --spike-threshold is 0")
        if self.max_hours is not None:
            if not (math.isfinite(self.max_hours) and self.max_hours > 0):
                raise UsageError(f"--max-hours must be positive, got {self.max_hours}")
            if self.warmup_steps is not None and self.warmup_steps < LEAST_WARMUP_STEPS:
                raise UsageError(
                    f"--max-hours measures the speed in the warm-up, got --warmup-steps {self.warmup_steps}",
                    expected=f"at least {LEAST_WARMUP_STEPS}",
                )
            if self.cooldown_from is not None:
                raise UsageError("--cooldown-from has no warm-up in which --max-hours could measure the speed")
        if self.cooldown_from is not None and self.lr_schedule != "wsd":
            raise UsageError(f"--cooldown-from is the decay of a wsd schedule, got --lr-schedule {self.lr_schedule}")
        if self.cooldown_from is not None and self.init is not None:
            raise UsageError("--cooldown-from brings weights of its own: give it or --init, not both")

    @property
    def scales_loss(self) -> bool:
        return self.amp != OFF and self.amp_dtype == FLOAT16

    @property
    def sop(self) -> bool:
        return self.objective == "mlm-sop"

    @property
    def rtd(self) -> bool:
        return self.objective == RTD

    def batch_sizes(self) -> BatchSizes:
        """Return how many samples every step takes."""
        return BatchSizes.constant(self.global_batch) if self.stages is None else sizes_of(self.stage_list())

    def stage_list(self) -> tuple[Stage, ...]:
        """Return the stages of --stages, none without it."""
        return () if self.stages is None else parse_stages(self.stages, self.stage_shards)

    def mask_rates(self, max_steps: int) -> MaskRates | None:
        """Return the mask rate of each step; None when it is the same in all."""
        if self.last_mask_rate is None:
            return None
        return MaskRates(first=self.mask_rate, last=self.last_mask_rate, steps=max_steps)

    def schedule(self, rows: int, cooldown_step: int | None = None) -> Schedule:
        """Return the learning-rate schedule of training on `rows` samples (packed rows, with packing).

        One epoch unless options say otherwise; with bins, up to the end of the window of steps in which it ends. With
        --max-hours it has no known end (`pretrain.budget`). From `cooldown_step` on it decays, by default over 10 % of all steps.
        """
        max_steps, warmup_steps = self.max_steps, self.warmup_steps
        if self.stages is not None:
            max_steps = sum(stage.steps for stage in self.stage_list())
        if max_steps is None and self.max_hours is not None:
            max_steps = UNBOUNDED_STEPS
        elif max_steps is None and cooldown_step is not None:
            max_steps = math.ceil(cooldown_step / (1 - WSD_DECAY_SHARE))
        elif max_steps is None:
            max_steps = -(-rows // self.global_batch)
            if self.bins > 1:
                max_steps = -(-max_steps // WINDOW_STEPS) * WINDOW_STEPS
        if warmup_steps is None:
            warmup_steps = default_warmup_steps(max_steps) if self.max_hours is None else min(WARMUP_STEPS, max_steps)
        if cooldown_step is not None:
            if not cooldown_step < max_steps:
                raise UsageError(
                    f"--max-steps {max_steps} leaves no step to cool down in", expected=f"more than {cooldown_step}, where "
                    "--cooldown-from stands",
                )  # fmt: skip
            warmup_steps = min(warmup_steps, cooldown_step)
        return Schedule(
            kind=self.lr_schedule, max_lr=self.max_lr, min_lr=self.min_lr, warmup_steps=warmup_steps, max_steps=max_steps,
            decay_from=cooldown_step,
        )  # fmt: skip

    def micro_batch_on(self, ranks: int) -> int:
        """Return the samples of one forward pass when `ranks` processes share the global batch. Raises UsageError."""
        sizes = [size for _, size in self.batch_sizes().stages]
        if min(sizes) < ranks:
            raise UsageError(f"--global-batch {min(sizes)} leaves some of {ranks} processes without a sample")
        share = -(-max(sizes) // ranks)
        if self.micro_batch is not None and self.micro_batch > share:
            raise UsageError(
                f"--micro-batch {self.micro_batch} is more than a process's share of the global batch",
                expected=f"at most {share} (--global-batch {max(sizes)} over {ranks} processes)",
            )
        return self.micro_batch or min(share, DEFAULT_MICRO_BATCH)

    def identity(self, schedule: Schedule, network: dict[str, Any]) -> dict[str, Any]:
        """Return everything that decides the result beside data, tokenizer and seed; a resumed run must have it unchanged."""
        return {
            "model": network,
            "objective": self.objective,
            "global_batch": self.global_batch,
            "stages": [[stage.steps, stage.global_batch] for stage in self.stage_list()],
            "schedule": asdict(schedule),
            "max_hours": self.max_hours,
            "precision": OFF if self.amp == OFF else [self.amp, self.amp_dtype, *(["emulated"] if self.amp_emulate else [])],
            "rollback": [self.rollback_on_spike, self.spike_threshold, self.save_steps] if self.rollback_on_spike else None,
            "weight_decay": self.weight_decay,
            "grad_clip": self.grad_clip,
            "mask_rate": self.mask_rate,
        } | self._drawing_identity()

    def _drawing_identity(self) -> dict[str, Any]:
        """Return what decides samples and masks beyond the plain way, as far as it was asked for."""
        default = TrainConfig()
        names = ("mix", "bins", "shuffle_block", "last_mask_rate", "ngrams", "corruption")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(default, name)}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise UsageError(f"{_flag(name)} must be at least {minimum}, got {value}")
