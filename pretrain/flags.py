"""The flags of training, and the options that they ask for."""

from __future__ import annotations

import argparse

from pretrain.environment import DEVICES
from pretrain.models import MODELS
from pretrain.options import CORRUPTIONS, DEFAULT_MICRO_BATCH, DEFAULT_MODEL, OBJECTIVES, TrainConfig
from pretrain.precision import DTYPES, LEVELS
from pretrain.schedule import KINDS
from shards.mask_rate import parse_mask_rate


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training. Those whose default follows from other things are absent from the result unless given."""
    default, derived = TrainConfig(), argparse.SUPPRESS
    data = parser.add_argument_group("data and network")
    data.add_argument("--shards", metavar="PATH", default=default.shards, help="a data set, or a folder of data sets")
    data.add_argument(
        "--model",
        metavar="NAME",
        default=derived,
        help=f"network: {', '.join(MODELS)} (default: {DEFAULT_MODEL}, or that of --init)",
    )
    data.add_argument(
        "--init",
        metavar="PATH",
        default=derived,
        help="start from the weights of this run, checkpoint, or folder of transformers or PaddleNLP",
    )
    data.add_argument("--extend-vocab", metavar="FILE", default=derived, help="new whole tokens for --init, as the data has them")
    data.add_argument("--objective", default=default.objective, choices=OBJECTIVES, help="what is learnt")
    data.add_argument(
        "--mask-rate", metavar="RATE|FIRST:LAST", default=str(default.mask_rate),
        help="share of the tokens that are predicted; FIRST:LAST goes from one to the other over the run",
    )  # fmt: skip
    data.add_argument("--ngrams", type=int, default=default.ngrams, metavar="N", help="mask runs of 1 to N words, p ∝ 1/n")
    data.add_argument(
        "--corruption", default=default.corruption, choices=CORRUPTIONS,
        help="80 %% of masked tokens become [MASK], 10 %% random, 10 %% kept, by token or by word; electra: 85 %%, none, 15 %%",
    )  # fmt: skip
    data.add_argument("--mix", metavar="NAME=WEIGHT,…", default=derived, help="the data sets to mix, and their shares")
    data.add_argument("--bins", type=int, default=default.bins, metavar="K", help="batches of similar length, from K bins")
    data.add_argument("--packing", action="store_true", help="several samples in one row; batches then count rows")
    data.add_argument(
        "--shuffle-block", type=int, metavar="N", default=derived, help="read N neighbours at a time: for slow disks"
    )
    data.add_argument("--skip-samples", metavar="FILE", default=derived, help="leave out the samples that FILE names")
    data.add_argument("--seed", type=int, default=default.seed, help="seed of order, masks, initial weights and dropout")
    data.add_argument("--no-verify", action="store_true", help="trust the shards: do not check their sha256 first")

    steps = parser.add_argument_group("steps")
    steps.add_argument("--max-steps", type=int, default=derived, help="updates (default: one epoch)")
    steps.add_argument(
        "--stages",
        metavar="BxN@L,…",
        default=derived,
        help="instead of --max-steps and --global-batch: N updates of B samples of up to L tokens, and so on; 300k: 300,000",
    )
    steps.add_argument(
        "--stage-shards", metavar="L=PATH,…", default=derived, help="data of the stages of length L (default: --shards)"
    )
    steps.add_argument(
        "--max-hours", type=float, default=derived, help="fill this time: the last step follows from the speed in the warm-up"
    )
    steps.add_argument("--global-batch", type=int, default=default.global_batch, help="samples of one update, over all processes")
    steps.add_argument(
        "--micro-batch", type=int, default=derived, help=f"samples of one forward pass (default: at most {DEFAULT_MICRO_BATCH})"
    )
    steps.add_argument("--logging-steps", type=int, default=default.logging_steps, help="steps from one log line to the next")
    steps.add_argument("--eval-steps", type=int, default=default.eval_steps, help="steps between evaluations on held-out rows")
    steps.add_argument("--save-steps", type=int, default=default.save_steps, help="steps between checkpoints")
    steps.add_argument(
        "--keep", type=int, default=default.keep, help="checkpoints kept: the newest so many, and the best that was evaluated"
    )

    steps.add_argument(
        "--patience", type=int, default=derived, metavar="N",
        help="end when the held-out loss has not fallen for N evaluations (default: never)",
    )  # fmt: skip
    steps.add_argument(
        "--probe", default=derived, metavar="TEXT",
        help='command of finetune to run on checkpoints beside training, as in "glue --task SST-2 --epochs 1" (default: none)',
    )  # fmt: skip
    steps.add_argument(
        "--probe-steps", type=int, default=derived, metavar="K", help="steps between probed checkpoints (default: --save-steps)"
    )

    learning = parser.add_argument_group("optimisation")
    learning.add_argument("--max-lr", type=float, default=default.max_lr, help="highest learning rate")
    learning.add_argument("--min-lr", type=float, default=default.min_lr, help="lowest learning rate, reached at the last step")
    learning.add_argument("--warmup-steps", type=int, default=derived, help="steps of warm-up (default: 1 %% of all)")
    learning.add_argument("--lr-schedule", default=default.lr_schedule, choices=KINDS, help="shape after the warm-up")
    learning.add_argument("--weight-decay", type=float, default=default.weight_decay, help="of weights; none on biases and norms")
    learning.add_argument(
        "--cooldown-from", metavar="CKPT", default=derived, help="decay from this checkpoint of a constant or wsd run (wsd only)"
    )
    learning.add_argument("--grad-clip", type=float, default=default.grad_clip, help="largest global gradient norm; 0: no limit")

    numbers = parser.add_argument_group("precision and trouble")
    numbers.add_argument("--amp", default=default.amp, choices=LEVELS, help="mixed precision: matrix products (O1), or most (O2)")
    numbers.add_argument("--amp-dtype", default=default.amp_dtype, choices=DTYPES, help="what is used beside float32")
    numbers.add_argument("--amp-emulate", action="store_true", help="emulate mixed precision on CPU, by rounding (slow)")
    numbers.add_argument(
        "--spike-threshold",
        type=float,
        default=default.spike_threshold,
        metavar="SD",
        help="robust standard deviations above the recent losses from which a loss is reported as a spike; 0: never",
    )
    numbers.add_argument(
        "--rollback-on-spike",
        type=int,
        default=default.rollback_on_spike,
        metavar="N",
        help="after a spike go back to the last checkpoint and leave out what followed it, at most N times",
    )

    run = parser.add_argument_group("run")
    run.add_argument("--name", default=derived, help="name of the run (default: network and start of the data's fingerprint)")
    run.add_argument("--out", metavar="PATH", default=default.out, help="folder of runs")
    run.add_argument(
        "--resume",
        metavar="auto|never|PATH",
        default=default.resume,
        help="auto: go on with an unfinished run of this name; never: refuse to; PATH: start from this checkpoint's full state",
    )
    run.add_argument("--device", default=default.device, choices=DEVICES, help="where to compute")
    run.add_argument("--nproc", type=int, default=default.nproc, help="processes of this machine to train with")
    run.add_argument(
        "--workers", type=int, default=default.workers, help="loader processes of each; 0: load in the process itself"
    )
    run.add_argument(
        "--sharding", type=int, default=default.sharding, metavar="STAGE",
        help="1: each process keeps the optimizer state of its own share of the weights; 0: of all",
    )  # fmt: skip
    run.add_argument(
        "--peak-flops", type=float, metavar="N", default=derived,
        help="operations a second that all devices together can do, for MFU (default: measured on CPU, unknown on GPU)",
    )  # fmt: skip
    run.add_argument(
        "--recompute",
        action="store_true",
        help="compute blocks twice instead of keeping their activations: less memory, more time",
    )


def config_from(options: argparse.Namespace) -> TrainConfig:
    """Return the configuration that parsed flags ask for. Raises UsageError."""
    given = {name: value for name, value in vars(options).items() if name not in ("json", "debug", "no_verify", "mask_rate")}
    first, last = parse_mask_rate(options.mask_rate)
    last_mask_rate = None if last == first else last
    return TrainConfig(**given, mask_rate=first, last_mask_rate=last_mask_rate, verify=not options.no_verify)
