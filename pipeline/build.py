"""``python -m pipeline.build --corpus NAME``: raw text → a data set under ``shards/NAME/``."""

from __future__ import annotations

import argparse
import re
import signal
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.corpora import CORPORA, LANGUAGES, Corpus, find_corpus
from shards.cli import Interrupted, Outcome, new_parser, run
from shards.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.builder import Built
    from pipeline.inputs import FoundInputs
    from pipeline.local_engine import Engine
    from pipeline.plan import FileScan
    from pipeline.tokenizer import Tokenizer

ENGINES = ("ray", "local")
SEGMENTERS = ("jieba-numpy", "rjieba", "jieba")
LAYOUTS = ("pairs", "full", "line")
DEFAULT_SHORT_SEQ_PROB = 0.1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser("pipeline.build", "Turn raw text into a data set of pretraining samples.")
    add = parser.add_argument
    add("--corpus", required=True, help=f"one of: {', '.join(CORPORA)}")
    add("--input", nargs="+", default=[], metavar="PATH_OR_GLOB", help="files, folders or quoted globs; default: usual places")
    add("--lang", choices=LANGUAGES, help="language of the text; default: the corpus's (the sample: both)")
    add("--hub-id", metavar="ID", help="another data set of the hub to take the corpus from")
    add("--out", default="shards/", help="folder that holds the data sets")
    add("--name", help="name of the data set; default: the corpus")
    add("--tokenizer", metavar="PATH", help="a vocab.txt or a tokenizer folder; default: a vocabulary trained on the corpus")
    add("--vocab-size", type=int, default=8000, help="size of a trained vocabulary")
    add("--max-seq-len", type=int, default=512, help="tokens of the longest sample, special tokens included")
    add("--layout", choices=LAYOUTS, default="pairs", help="how sentences become samples")
    add("--heldout", type=float, default=0.005, help="share of the documents kept from training, for evaluation")
    add("--segmenter", choices=SEGMENTERS, default="jieba-numpy", help="jieba is the reference; jieba-numpy is its equal, fast")
    add("--no-hmm", action="store_true", help="segment by dictionary alone, without jieba's model of unknown words")
    add("--unit-size", type=int, metavar="BYTES", help="input bytes of one shard; default: a 64th of the input, 1 to 64 MiB")
    add("--engine", choices=ENGINES, default="ray", help="ray: one process a worker; local: in this process")
    add("--workers", type=int, help="worker processes; default: one a core (ray), 1 (local)")
    add("--seed", type=int, default=0, help="decides pair borders and short samples")
    add("--overwrite", action="store_true", help="replace a data set of this name once the new one is whole")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.build", build_parser(), _build, argv)


def _build(options: argparse.Namespace) -> Outcome:
    corpus, lang, folder = _check(options)
    from pipeline.builder import check_output
    from shards.lock import exclusive, lock_path

    check_output(folder, overwrite=options.overwrite)
    with exclusive(lock_path(folder)), _resumable(folder):
        check_output(folder, overwrite=options.overwrite)  # another build may have ended while we waited for nothing
        return _build_locked(options, corpus, lang, folder)


def _check(options: argparse.Namespace) -> tuple[Corpus, str | None, Path]:
    """Refuse what makes no sense before anything is read."""
    corpus = find_corpus(options.corpus)
    lang = corpus.language(options.lang)
    name = options.name or corpus.name
    if not _NAME.fullmatch(name):
        raise UsageError("--name must be letters, digits, dots, dashes and underscores", got=name)
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {options.workers}")
    if options.engine == "local" and (options.workers or 1) > 1:
        raise UsageError(f"the local engine works in one process, got --workers {options.workers}", hint="Use --engine ray")
    if options.unit_size is not None and options.unit_size < 1024:
        raise UsageError(f"--unit-size must be at least 1024 bytes, got {options.unit_size}")
    if options.tokenizer is None and options.vocab_size > 1 << 20:
        raise UsageError(f"--vocab-size must be at most {1 << 20}, got {options.vocab_size}")
    if "://" in options.out:
        raise UsageError("--out must be a folder of this machine", got=options.out)
    return corpus, lang, Path(options.out) / name


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Answer SIGINT and SIGTERM with how to go on; finished units stay."""

    def stop(number: int, _frame: object) -> None:
        kept = len(list(folder.glob(".build-*/unit-*.json")))
        raise Interrupted(number, f"{kept} finished units are kept; the same command goes on from there")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build_locked(options: argparse.Namespace, corpus: Corpus, lang: str | None, folder: Path) -> Outcome:
    from pipeline import builder
    from pipeline.clean import CLEAN_RULES
    from pipeline.inputs import find_inputs
    from pipeline.plan import default_unit_bytes
    from pipeline.recipe import Recipe
    from pipeline.segment import make_segmenter
    from pipeline.tokenizer import Tokenizer

    given = Tokenizer.load(options.tokenizer) if options.tokenizer else None
    segmenter = make_segmenter(options.segmenter, hmm=not options.no_hmm)
    inputs = find_inputs(corpus, lang, options.input, folder / f"{builder.WORK_PREFIX}inputs", options.hub_id)
    print(f"input: {len(inputs.files)} files, {inputs.total_bytes / 1e6:,.1f} MB, from {inputs.source}")
    unit_bytes = options.unit_size or default_unit_bytes(inputs.total_bytes)
    engine = _engine(options)
    try:
        scans = builder.scan(inputs, unit_bytes, engine)
        tokenizer, made = (given, {"hash": given.hash}) if given else _train(options, inputs, scans)
        print(f"tokenizer: {tokenizer.kind}, {tokenizer.vocab_size:,} tokens, {_origin(options)}, hash {tokenizer.hash[:8]}")
        recipe = Recipe(
            corpus=corpus.name, lang=lang, layout=options.layout, max_seq_len=options.max_seq_len,
            short_seq_prob=DEFAULT_SHORT_SEQ_PROB, heldout=options.heldout, seed=options.seed, unit_bytes=unit_bytes,
            segmenter=segmenter.identity, clean_rules=CLEAN_RULES, tokenizer=made,
        )  # fmt: skip
        print(f"engine: {engine.description}; {sum(len(s.cuts) for s in scans)} units of about {unit_bytes / 1e6:.1f} MB")
        built = builder.build(folder, inputs, scans, recipe, tokenizer, engine)
    finally:
        engine.close()
    return _report(folder, built)


def _engine(options: argparse.Namespace) -> Engine:
    if options.engine == "local":
        from pipeline.local_engine import LocalEngine

        return LocalEngine()
    from pipeline.ray_engine import RayEngine, cores

    return RayEngine(workers=options.workers or cores())


def _train(options: argparse.Namespace, inputs: FoundInputs, scans: tuple[FileScan, ...]) -> tuple[Tokenizer, dict[str, Any]]:
    from pipeline.tokenizer import Tokenizer
    from pipeline.vocab import train_vocabulary
    from pipeline.vocabulary_source import sample_bytes_per_file, sample_texts

    per_file = sample_bytes_per_file(len(inputs.files))
    print(f"training a vocabulary of {options.vocab_size:,} on up to {per_file / 1e6:.1f} MB of each file")
    vocab = train_vocabulary(sample_texts(inputs.files, scans, per_file), options.vocab_size)
    return Tokenizer.from_vocab(vocab), {"trained": options.vocab_size, "bytes_per_file": per_file}


def _origin(options: argparse.Namespace) -> str:
    return f"from {options.tokenizer}" if options.tokenizer else "trained on the corpus"


def _report(folder: Path, built: Built) -> Outcome:
    manifest, tally = built.manifest, built.manifest.tally
    rows = {split: sum(e.rows for e in manifest.shards if e.split == split) for split in ("train", "heldout")}
    tokens = sum(e.tokens for e in manifest.shards)
    input_bytes = sum(entry.size for entry in manifest.corpus)
    mb_per_s = input_bytes / 1e6 / max(built.elapsed_s, 1e-9)
    reused = f", {built.reused_units} units taken over from an earlier build" if built.reused_units else ""
    print(f"documents: {tally.read:,} read, {tally.kept:,} kept" + "".join(f", {n:,} {why}" for why, n in tally.dropped.items()))
    for why, count in tally.rows_dropped.items():
        places = manifest.made["rejects"].get(why, [])
        print(f"rows left out as {why}: {count:,}, the first at {', '.join(places[:3])}")
    print(
        f"samples: {rows['train']:,} to train on, {rows['heldout']:,} held out; {tokens:,} tokens, {len(manifest.shards)} shards"
    )
    print(f"took {built.elapsed_s:.1f} s, {mb_per_s:.1f} MB/s of input{reused}")
    print(f"committed {folder}, fingerprint {manifest.fingerprint}")
    return Outcome(
        fingerprint=manifest.fingerprint,
        outputs=(str(folder),),
        figures={
            "documents_read": tally.read,
            "documents_kept": tally.kept,
            "dropped": dict(tally.dropped),
            "rows": rows["train"],
            "rows_heldout": rows["heldout"],
            "rows_dropped": dict(tally.rows_dropped),
            "tokens": tokens,
            "input_bytes": input_bytes,
            "elapsed_s": round(built.elapsed_s, 3),
            "mb_per_s": round(mb_per_s, 3),
            "reused_units": built.reused_units,
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
