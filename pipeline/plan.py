"""``python -m pipeline.plan --corpus NAME``: what a build would give and how long it would take, from a sample."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.build_options import DEFAULT_WORKER_MEMORY_BYTES, ENGINES, add_cleaning, add_input, add_recipe, check_options
from pipeline.build_options import build_parser as build_parser_of_build
from shards.cli import Outcome, new_parser, run
from shards.errors import UsageError

if TYPE_CHECKING:
    from pipeline.plan_estimate import Estimate
    from pipeline.prediction import Prediction

DEFAULT_SAMPLE_BYTES = 8 << 20
_MIN_SAMPLE_BYTES = 1 << 16


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser(
        "pipeline.plan", "Predict rows, tokens, bytes, time and padding of a build from a sample of its input, without building."
    )
    add_input(parser)
    add_recipe(parser)
    add_cleaning(parser)
    add = parser.add_argument_group("engine").add_argument
    add("--engine", choices=ENGINES, default="ray", help="ray: one process a worker; local: in one process")
    add("--workers", type=int, help="worker processes of the build; default: one a core that has a GiB (ray), 1 (local)")
    add("--sample-bytes", type=int, default=DEFAULT_SAMPLE_BYTES, metavar="BYTES", help="how much of the input to build")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.plan", build_parser(), _plan, argv)


def _plan(options: argparse.Namespace) -> Outcome:
    import dataclasses
    import tempfile

    if options.sample_bytes < _MIN_SAMPLE_BYTES:
        raise UsageError(f"--sample-bytes must be at least {_MIN_SAMPLE_BYTES}, got {options.sample_bytes}")
    build = build_parser_of_build().parse_args([])
    target = check_options(argparse.Namespace(**vars(build) | vars(options)))
    begun = time.perf_counter()
    from pipeline.build_recipe import reader_settings, recipe_of
    from pipeline.extend_tokenizer import load_extended
    from pipeline.inputs import find_inputs
    from pipeline.machine import cores, default_workers
    from pipeline.plan_sample import find_sources, take_stretches
    from pipeline.plan_vocabulary import train_on
    from pipeline.prediction import Workers, predict_build
    from pipeline.scan import default_unit_bytes
    from pipeline.stages import make_stages
    from pipeline.unit_task import prepare_worker
    from pipeline.vocabulary_source import sample_bytes_per_file

    assert target.corpus is not None
    given = load_extended(options.tokenizer, options.tokenizer_kind, options.extend_vocab) if options.tokenizer else None
    with tempfile.TemporaryDirectory(prefix="wordloom-plan-") as name:
        work = Path(name)
        asked = recipe_of(options, target, work)
        prepare_worker(asked.segmenter)
        load_s = time.perf_counter() - begun
        settings = reader_settings(options)
        # The hub hands out a corpus as a whole; a prediction is made from files that are here.
        inputs = find_inputs(dataclasses.replace(target.corpus, hub_id=None), target.lang, options.input, work, settings=settings)
        print(f"input: {len(inputs.files)} files, {inputs.total_bytes / 1e6:,.1f} MB, from {inputs.source}")
        unit_bytes = options.unit_size or default_unit_bytes(inputs.total_bytes)
        sources, scanned = find_sources(inputs.files, unit_bytes, settings, work)
        if scanned:
            print(f"{scanned} files cannot be read from the middle and were read in whole")
        if asked.deduplication is not None:
            print("duplicates are not looked for here: the figures are those of a build that keeps them")
        stretches = take_stretches(sources, options.sample_bytes, options.seed)
        recipe = dataclasses.replace(asked, unit_bytes=unit_bytes, deduplication=None)
        if given is not None:
            tokenizer, vocabulary_s = given, 0.0
        else:
            per_file = sample_bytes_per_file(len(inputs.files))
            trained = train_on(
                stretches,
                options.vocab_size,
                make_stages(recipe.stages, work),
                sum(min(file.size, per_file) for file in inputs.files),
                options.on_error,
            )
            tokenizer, vocabulary_s = trained.tokenizer, trained.seconds
        count = 1 if options.engine == "local" else options.workers or default_workers(DEFAULT_WORKER_MEMORY_BYTES)
        workers = Workers(count=count, ray=options.engine == "ray", cores=cores())
        found = predict_build(
            sources, stretches, recipe, tokenizer, Path(name), workers, load_s=load_s, vocabulary_s=vocabulary_s
        )
    for line in describe(found, workers.count):
        print(line)
    return Outcome(
        figures={
            **found.to_json_object(),
            "input_bytes": inputs.total_bytes,
            "scanned_files": scanned,
            "workers": workers.count,
            "engine": options.engine,
            "elapsed_s": round(time.perf_counter() - begun, 3),
        }
    )


def describe(found: Prediction, workers: int) -> list[str]:
    """Return a prediction as lines for a person."""

    def line(what: str, estimate: Estimate, unit: str = "", scale: float = 1.0) -> str:
        relative = estimate.plus_minus / estimate.value if estimate.value else 0.0
        digits = 0 if scale == 1.0 else 1
        return f"{what}: {estimate.value / scale:,.{digits}f}{unit} ± {relative:.1%}"

    times, waste = found.times, found.padding
    dropped = [line(f"documents dropped as {reason}", count) for reason, count in found.dropped.items()]
    return [
        f"sample: {found.sample_bytes / 1e6:,.1f} MB in {found.sample_stretches} stretches; ± is two standard errors",
        line("documents", found.documents),
        *dropped,
        line("samples to train on", found.rows),
        line("samples held out", found.rows_heldout),
        line("tokens", found.tokens),
        line("shards", found.shard_bytes, " MB", 1e6) + f", about {found.shards:,} files from {found.units:,} units",
        f"padding: {waste.fixed:.1%} at full length, {waste.batches:.1%} by batch, {waste.bins:.1%} in bins",
        f"time with {workers} worker{'s' if workers > 1 else ''} on this machine: about {times.total_s:,.1f} s "
        f"(start {times.start_s:.1f}, scan {times.scan_s:.1f}, vocabulary {times.vocabulary_s:.1f}, build {times.build_s:.1f})",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
