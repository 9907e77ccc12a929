"""The flags of training are a promise: adding or removing one is a decision, made here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pretrain.flags import config_from
from pretrain.options import TrainConfig
from pretrain.run import build_parser
from pretrain.runs import build_parser as runs_parser
from pretrain.verify_resume import build_parser as verify_parser
from shards.errors import UsageError
from tests.helpers.commands import ROOT, flags


def test_flags_of_run() -> None:
    assert flags(build_parser()) == [
        "--amp", "--amp-dtype", "--amp-emulate", "--bins", "--cooldown-from", "--corruption", "--debug", "--device",
        "--eval-steps", "--extend-vocab", "--global-batch", "--grad-clip", "--help", "--init", "--json", "--keep", "--logging-steps",
        "--lr-schedule", "--mask-rate", "--max-hours", "--max-lr", "--max-steps", "--micro-batch", "--min-lr", "--mix",
        "--model", "--name", "--ngrams", "--no-verify", "--nproc", "--objective", "--out", "--packing", "--patience", "--peak-flops", "--probe",
        "--probe-steps", "--recompute", "--resume", "--rollback-on-spike", "--save-steps", "--seed", "--sharding", "--shards",
        "--shuffle-block", "--skip-samples", "--spike-threshold", "--stage-shards", "--stages", "--warmup-steps",
        "--weight-decay", "--workers",
    ]  # fmt: skip


def test_defaults_of_run() -> None:
    assert config_from(build_parser().parse_args([])) == TrainConfig(
        shards="shards/", model=None, init=None, extend_vocab=None, objective="mlm-sop", max_steps=None, global_batch=128, micro_batch=None,
        max_lr=1e-4, min_lr=1e-5, warmup_steps=None, lr_schedule="linear", weight_decay=0.01, grad_clip=1.0, mask_rate=0.15,
        last_mask_rate=None, ngrams=1, corruption="token", mix=None, bins=1, packing=False, shuffle_block=None, skip_samples=None,
        seed=0, logging_steps=20, eval_steps=1000, save_steps=1000, keep=3, name=None, out="runs/", resume="auto", device="auto",
        nproc=1, workers=1, sharding=0, recompute=False, peak_flops=None, patience=None, probe=None, probe_steps=None, verify=True, amp="off", amp_dtype="bfloat16", amp_emulate=False,
        spike_threshold=8.0, rollback_on_spike=0, max_hours=None, cooldown_from=None,
        stages=None, stage_shards=None,
    )  # fmt: skip


def test_what_follows_from_the_data() -> None:
    config = TrainConfig()
    schedule = config.schedule(rows=128 * 250 + 1)
    assert (schedule.max_steps, schedule.warmup_steps) == (251, 3)
    assert [config.micro_batch_on(ranks) for ranks in (1, 4, 8)] == [32, 32, 16]


def test_flags_of_runs() -> None:
    assert flags(runs_parser()) == ["--debug", "--help", "--json", "--out"]


def test_flags_of_verify_resume_are_those_of_run_and_two() -> None:
    assert set(flags(verify_parser())) - set(flags(build_parser())) == {"--steps", "--kill-at"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--global-batch", "0"], "--global-batch must be at least 1, got 0"),
        (["--mask-rate", "1.5"], "--mask-rate.*1.5"),
        (["--mask-rate", "0.3:0"], "--mask-rate.*0.0"),
        (["--mask-rate", "0.3:x"], "--mask-rate.*'0.3:x'"),
        (["--mask-rate", "0.3:0.1", "--max-hours", "1"], "--max-hours"),
        (["--mix", "a=0"], "--mix.*'a=0'"),
        (["--ngrams", "9"], "--ngrams.*9"),
        (["--bins", "0"], "--bins.*0"),
        (["--packing", "--shuffle-block", "4"], "--packing and --shuffle-block"),
        (["--name", "../up"], "--name.*'../up'"),
        (["--grad-clip", "-1"], "--grad-clip.*-1"),
        (["--weight-decay", "nan"], "--weight-decay.*nan"),
        (["--workers", "-1"], "--workers.*-1"),
        (["--amp-emulate"], "--amp-emulate.*--amp is off"),
        (["--rollback-on-spike", "1", "--spike-threshold", "0"], "--spike-threshold is 0"),
        (["--spike-threshold", "nan"], "--spike-threshold.*nan"),
        (["--max-hours", "0"], "--max-hours.*0.0"),
        (["--max-hours", "1", "--warmup-steps", "3"], "--warmup-steps 3"),
        (["--stages", "8x2"], "--stages must be like.*'8x2'"),
        (["--stages", "8x2@32", "--max-steps", "3"], "--max-steps cannot"),
        (["--stages", "8x2@32", "--global-batch", "8"], "--global-batch 8"),
        (["--stages", "8x2@32", "--stage-shards", "64=x"], "length 64, which no stage has"),
        (["--stages", "8x2@32,8x2@64,8x2@32", "--stage-shards", "64=x"], "step 5 comes back"),
        (["--stage-shards", "64=x"], "Add --stages"),
        (["--stages", "8x2@32", "--stage-shards", "32=x", "--packing"], "--packing belongs to one set"),
        (["--cooldown-from", "x"], "--lr-schedule linear"),
        (["--cooldown-from", "x", "--lr-schedule", "wsd", "--init", "y"], "--init"),
    ],
)
def test_unusable_values_are_refused_by_flag_and_value(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config_from(build_parser().parse_args(arguments))


@pytest.mark.parametrize("module", ["pretrain.run", "pretrain.runs", "pretrain.verify_resume"])
def test_help_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module} as m\ntry: m.main(['--help'])\nfinally: print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


HEAVY = ["paddle", "ray", "datasets", "numpy", "pyarrow", "pipeline"]
