"""``python -m pipeline.build --corpus NAME``: raw text → a data set under ``shards/NAME/``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.build_options import RECIPE_OPTIONS, Target, build_parser, check_options, given_options
from shards.cli import Interrupted, Outcome, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.builder import Built
    from pipeline.inputs import FoundInputs, InputFile
    from pipeline.local_engine import Engine
    from pipeline.recipe import Recipe
    from pipeline.scan import FileScan
    from pipeline.tokenizer import Tokenizer
    from shards.manifest import Manifest
    from shards.storage import Storage


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run("pipeline.build", build_parser(), partial(_build, arguments), arguments)


def _build(argv: Sequence[str], options: argparse.Namespace) -> Outcome:
    target = check_options(options)
    from pipeline.builder import check_output
    from shards.storage import storage_at

    storage = storage_at(options.out, target.name)
    if options.append:
        from pipeline.errors import RecipeError
        from pipeline.reuse import WORK_PREFIX

        with storage.exclusive(), _resumable():
            try:
                return _append(options, given_options(argv), target, storage)
            except RecipeError:
                storage.remove(f"{WORK_PREFIX}inputs")  # what was prepared for it: a refusal leaves nothing behind
                raise
    check_output(storage, overwrite=options.overwrite)
    with storage.exclusive(), _resumable():
        check_output(storage, overwrite=options.overwrite)  # another build may have ended while we waited for nothing
        return _build_new(options, target, storage)


@contextmanager
def _resumable() -> Iterator[None]:
    """Answer SIGINT and SIGTERM with how to go on; finished units stay."""

    def stop(number: int, _frame: object) -> None:
        raise Interrupted(number, "finished units are kept; the same command goes on from there")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build_new(options: argparse.Namespace, target: Target, storage: Storage) -> Outcome:
    from pipeline import builder
    from pipeline.build_recipe import reader_settings, recipe_of
    from pipeline.extend_tokenizer import load_extended
    from pipeline.inputs import find_inputs
    from pipeline.reuse import WORK_PREFIX
    from pipeline.scan import default_unit_bytes

    assert target.corpus is not None
    work = storage.scratch(f"{WORK_PREFIX}inputs")
    given = load_extended(options.tokenizer, options.tokenizer_kind, options.extend_vocab) if options.tokenizer else None
    asked = recipe_of(options, target, work)
    settings = reader_settings(options)
    inputs = find_inputs(target.corpus, target.lang, options.input, work, options.hub_id, settings)
    _say_inputs(inputs)
    unit_bytes = options.unit_size or default_unit_bytes(inputs.total_bytes)
    begun = time.perf_counter()
    engine = _engine(options, asked)
    try:
        started_s = time.perf_counter() - begun
        scanned = builder.scan(inputs, unit_bytes, engine, settings, work)
        files, scans = scanned.files, scanned.scans
        tokenizer, made = (given, {"hash": given.hash}) if given else _train(options, files, scans, asked, work)
        print(f"tokenizer: {tokenizer.kind}, {tokenizer.vocab_size:,} tokens, {_origin(options)}, hash {tokenizer.hash[:8]}")
        recipe = replace(asked, unit_bytes=unit_bytes, tokenizer=made)
        _say_engine(engine, scans, unit_bytes)
        context = _deduplicate(options, files, scans, recipe, work, engine)
        built = builder.build(
            storage, files, scans, recipe, tokenizer, engine, work_folder=work, context=context, skipped=scanned.skipped
        )
        elapsed_s = time.perf_counter() - begun - started_s  # starting and stopping workers is no part of it
    finally:
        engine.close()
    return _report(storage, built, elapsed_s, {})


def _deduplicate(
    options: argparse.Namespace, files: Sequence[InputFile], scans: Sequence[FileScan], recipe: Recipe, work: Path, engine: Engine
) -> str:
    """List the duplicates in the work folder, if asked to; return the hash of the list."""
    from pipeline.dedup import deduplication_settings, find_duplicates
    from pipeline.drop_list import DROP_LIST
    from pipeline.units import make_plan
    from shards.durable import hash_file

    settings = deduplication_settings(options.deduplicate, options.near_threshold)
    if settings is None:
        return ""
    found = find_duplicates(make_plan(files, scans).units, recipe.stages, work, engine, settings, recipe.on_error)
    print(f"duplicates: {', '.join(f'{count:,} {reason}' for reason, count in found.counts().items()) or 'none'}")
    return hash_file(work / DROP_LIST).sha256


def _append(options: argparse.Namespace, given: frozenset[str], target: Target, storage: Storage) -> Outcome:
    from pipeline import append, builder
    from pipeline.commit import delete_superseded
    from pipeline.corpora import find_corpus
    from pipeline.inputs import find_inputs
    from pipeline.load_tokenizer import load_tokenizer
    from pipeline.reader_settings import ReaderSettings
    from pipeline.reuse import WORK_PREFIX
    from shards.errors import NotFoundError

    base = builder.read_committed(storage)
    if base is None:
        raise NotFoundError("no data set to add to", where=storage.where, hint="Build it without --append first")
    work = storage.scratch(f"{WORK_PREFIX}inputs")
    _check_decontamination(base, options)
    asked = _asked(options, given, target, base, work)
    recipe = append.stored_recipe(base, storage.where, work)
    _check_agreement(options, given, asked, base, recipe, storage)
    staging = storage.staging()
    tokenizer = load_tokenizer(staging.fetch_folder(base.tokenizer.folder))
    append.check_tokenizer(base, tokenizer.hash, storage.where)
    settings = ReaderSettings(**recipe.reader)
    inputs = find_inputs(find_corpus(recipe.corpus), recipe.lang, options.input, work, None, settings)
    _say_inputs(inputs)
    begun = time.perf_counter()
    engine = _engine(options, recipe)
    try:
        started_s = time.perf_counter() - begun
        scanned = builder.scan(inputs, recipe.unit_bytes, engine, settings, work)
        fresh, skipped = append.new_files(base, scanned.files, scanned.scans)
        for path in skipped:
            print(f"{path}: in the data set already, passed over")
        files = {"appended_files": len(fresh), "skipped_files": len(skipped)}
        if not fresh:
            print("nothing to add")
            delete_superseded(storage, base)
            return Outcome(fingerprint=base.fingerprint, outputs=(storage.where,), figures=files)
        new_scans = [scan for _, scan in fresh]
        _say_engine(engine, new_scans, recipe.unit_bytes)
        built = builder.build(
            storage, [file for file, _ in fresh], new_scans, recipe, tokenizer, engine, work_folder=work, base=base,
            skipped=scanned.skipped,
        )  # fmt: skip
        elapsed_s = time.perf_counter() - begun - started_s
    finally:
        engine.close()
    return _report(storage, built, elapsed_s, files)


def _check_decontamination(base: Manifest, options: argparse.Namespace) -> None:
    from pipeline.errors import RecipeError

    if any(stage.get("name") == "decontaminate" for stage in base.recipe.get("stages", ())) and not options.decontaminate:
        raise RecipeError(
            "the data set was decontaminated",
            hint="Pass the same task files again with --decontaminate, and the other flags of cleaning",
        )  # fmt: skip


def _asked(options: argparse.Namespace, given: frozenset[str], target: Target, base: Manifest, work: Path) -> Recipe:
    """Return the recipe that the options ask for, where corpus and segmenter are filled up from the data set."""
    from pipeline.build_recipe import recipe_of
    from pipeline.corpora import find_corpus

    # The two options of one entry are filled up each for itself: --no-hmm alone must not ask for the default segmenter.
    stored = base.recipe.get("segmenter", {})
    options.segmenter = options.segmenter if "segmenter" in given else stored.get("name", options.segmenter)
    options.no_hmm = options.no_hmm if "no_hmm" in given else not stored.get("hmm", True)
    corpus = target.corpus or find_corpus(str(base.recipe.get("corpus")))
    return recipe_of(options, replace(target, corpus=corpus, lang=target.lang or base.recipe.get("lang")), work)


def _check_agreement(
    options: argparse.Namespace, given: frozenset[str], asked: Recipe, base: Manifest, stored: Recipe, storage: Storage
) -> None:  # fmt: skip
    """Compare the options that are given with the recipe of the data set. Raises RecipeError, naming those that differ."""
    from pipeline import append
    from pipeline.extend_tokenizer import load_extended

    values = asked.to_json_object()
    compared = {name: values[name] for name, flags in RECIPE_OPTIONS.items() if given & set(flags)}
    if "vocab_size" in given and "trained" in stored.tokenizer:
        compared["tokenizer"] = dict(stored.tokenizer) | {"trained": options.vocab_size}
    append.check_agreement(stored, compared, storage.where)
    if "tokenizer" in given:
        asked_for = load_extended(options.tokenizer, options.tokenizer_kind, options.extend_vocab)
        append.check_tokenizer(base, asked_for.hash, storage.where)


def _engine(options: argparse.Namespace, recipe: Recipe) -> Engine:
    from pipeline.unit_task import prepare_worker

    prepare = partial(prepare_worker, recipe.segmenter)
    if options.engine == "local":
        from pipeline.local_engine import LocalEngine

        return LocalEngine(prepare)
    from pipeline.ray_engine import RayEngine

    return RayEngine(workers=options.workers, address=options.ray_address, worker_memory=options.worker_memory, prepare=prepare)


def _train(
    options: argparse.Namespace, files: Sequence[InputFile], scans: Sequence[FileScan], recipe: Recipe, work: Path
) -> tuple[Tokenizer, dict[str, Any]]:
    from pipeline.guard import Guard
    from pipeline.stages import make_stages
    from pipeline.tokenizer_wordpiece import WordPieceTokenizer
    from pipeline.train_wordpiece import train_vocabulary
    from pipeline.vocabulary_source import sample_bytes_per_file, sample_texts

    per_file = sample_bytes_per_file(len(files))
    print(f"training a vocabulary of {options.vocab_size:,} on up to {per_file / 1e6:.1f} MB of each file")
    texts = sample_texts(files, scans, per_file, make_stages(recipe.stages, work), partial(Guard, on_error=recipe.on_error))
    vocab = train_vocabulary(texts, options.vocab_size)
    return WordPieceTokenizer.from_vocab(vocab), {"trained": options.vocab_size, "bytes_per_file": per_file}


def _origin(options: argparse.Namespace) -> str:
    if not options.tokenizer:
        return "trained on the corpus"
    return f"from {options.tokenizer}" + (f" and {options.extend_vocab}" if options.extend_vocab else "")


def _say_inputs(inputs: FoundInputs) -> None:
    print(f"input: {len(inputs.files)} files, {inputs.total_bytes / 1e6:,.1f} MB, from {inputs.source}")


def _say_engine(engine: Engine, scans: Sequence[FileScan], unit_bytes: int) -> None:
    print(f"engine: {engine.description}; {sum(s.units for s in scans)} units of about {unit_bytes / 1e6:.1f} MB")


def _report(storage: Storage, built: Built, elapsed_s: float, more: dict[str, int]) -> Outcome:
    from pipeline.made_notes import total_of

    manifest, tally = built.manifest, built.manifest.tally
    rows = {split: sum(e.rows for e in manifest.shards if e.split == split) for split in ("train", "heldout")}
    tokens = sum(e.tokens for e in manifest.shards)
    mb_per_s = built.input_bytes / 1e6 / max(elapsed_s, 1e-9)
    reused = f", {built.reused_units} units taken over from an earlier build" if built.reused_units else ""
    retried = f", {built.retries} units given out again after a worker died" if built.retries else ""
    print(f"documents: {tally.read:,} read, {tally.kept:,} kept" + "".join(f", {n:,} {why}" for why, n in tally.dropped.items()))
    for why, count in tally.rows_dropped.items():
        places = manifest.made["rejects"].get(why, [])
        print(f"rows left out as {why}: {count:,}, the first at {', '.join(places[:3])}")
    changed = {rule: found["rows"] for rule, found in manifest.made["rows_changed"].items()}
    if changed:
        print("rows changed by " + ", ".join(f"{rule.partition('@')[0]} {count:,}" for rule, count in changed.items()))
    for entry in manifest.made["quarantine"][:3]:
        print(f"set aside: {entry['where']}, stage {entry['stage']}: {entry['error']}")
    print(
        f"samples: {rows['train']:,} to train on, {rows['heldout']:,} held out; {tokens:,} tokens, {len(manifest.shards)} shards"
    )
    print(f"took {elapsed_s:.1f} s, {mb_per_s:.1f} MB/s of input{reused}{retried}")
    print(f"committed {storage.where}, fingerprint {manifest.fingerprint}")
    return Outcome(
        fingerprint=manifest.fingerprint,
        outputs=(storage.where,),
        figures={
            "documents_read": tally.read,
            "documents_kept": tally.kept,
            "dropped": dict(tally.dropped),
            "rows": rows["train"],
            "rows_heldout": rows["heldout"],
            "rows_read": tally.rows_read,
            "rows_kept": tally.rows_kept,
            "rows_dropped": dict(tally.rows_dropped),
            "rows_changed": changed,
            "skipped": total_of(manifest.made["skipped"]),
            "tokens": tokens,
            "input_bytes": built.input_bytes,
            "elapsed_s": round(elapsed_s, 3),
            "mb_per_s": round(mb_per_s, 3),
            "worker_peak_bytes": manifest.made["worker_peak_bytes"],
            "reused_units": built.reused_units,
            "retries": built.retries,
            "quarantined": tally.dropped.get("quarantined", 0),
            **more,
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
