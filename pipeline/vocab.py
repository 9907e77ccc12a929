"""``python -m pipeline.vocab``: a corpus → a trained tokenizer, in a folder that ``pipeline.build --tokenizer`` takes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.build_options import ON_ERROR
from pipeline.corpora import CORPORA, LANGUAGES, find_corpus
from shards.cli import Outcome, new_parser, run
from shards.errors import UsageError

KINDS = ("wordpiece", "byte-bpe", "character", "roformer-word")
MAX_SIZE = 1 << 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser("pipeline.vocab", "Train a vocabulary on a corpus; the same text gives the same bytes.")
    add = parser.add_argument
    add("--corpus", default="text", help=f"one of: {', '.join(CORPORA)}")
    add("--input", nargs="+", default=[], metavar="PATH_OR_GLOB", help="files, folders or quoted globs; default: usual places")
    add("--lang", choices=LANGUAGES, help="language of the text; default: the corpus's (the sample: both)")
    add("--hub-id", metavar="ID", help="another data set of the hub to take the corpus from")
    add("--format", default="auto", metavar="NAME", help="format of the input, as pipeline.build takes it")
    add("--field", metavar="NAME", help="the field or column that holds the text; default: the usual ones")
    add("--encoding", default="utf-8", metavar="NAME", help="encoding of text files, such as gb18030, big5 or utf-16")
    add("--kind", choices=KINDS, default="wordpiece", help="character: WordPiece of single characters")
    add("--size", type=int, default=8000, help="tokens of the vocabulary at most")
    add("--cased", action="store_true", help="keep capital letters (byte-bpe always does)")
    add("--on-error", choices=ON_ERROR, default="stop", help="a row that cleaning cannot cope with: stop there, or set it aside")
    add("--out", required=True, help="folder for the tokenizer; must not hold anything yet")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.vocab", build_parser(), _train, argv)


def _train(options: argparse.Namespace) -> Outcome:
    corpus = find_corpus(options.corpus)
    lang = corpus.language(options.lang)
    out = Path(options.out)
    if "://" in options.out:
        raise UsageError("--out must be a folder of this machine", got=options.out)
    if not 1 <= options.size <= MAX_SIZE:
        raise UsageError(f"--size must lie between 1 and {MAX_SIZE}", got=options.size)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("--out holds something already", got=options.out, hint="Give another folder, or empty this one")
    from pipeline.guard import Guard
    from pipeline.inputs import find_inputs
    from pipeline.reader_settings import ReaderSettings
    from pipeline.scan import default_unit_bytes, scan_file
    from pipeline.stages import default_stages
    from pipeline.train_kinds import train_tokenizer
    from pipeline.vocabulary_source import sample_bytes_per_file, sample_texts
    from shards.durable import commit_bytes, remove_tree

    settings = ReaderSettings(format=options.format, field=options.field, encoding=options.encoding)
    guards: list[Guard] = []

    def guard_for(path: str) -> Guard:
        guards.append(Guard(path, options.on_error))
        return guards[-1]

    work = out.absolute().with_name(f".{out.name}.inputs")
    try:
        inputs = find_inputs(corpus, lang, options.input, work, options.hub_id, settings)
        print(f"input: {len(inputs.files)} files, {inputs.total_bytes / 1e6:,.1f} MB, from {inputs.source}")
        unit_bytes = default_unit_bytes(inputs.total_bytes)
        scans = [scan_file(file, unit_bytes, settings, work) for file in inputs.files]
        per_file = sample_bytes_per_file(len(inputs.files))
        print(f"training {options.kind} of {options.size:,} tokens on up to {per_file / 1e6:.1f} MB of each file")
        texts = sample_texts(inputs.files, scans, per_file, default_stages(), guard_for)
        tokenizer = train_tokenizer(options.kind, texts, options.size, lowercase=not options.cased)
    finally:
        remove_tree(work)
    for name, data in sorted(tokenizer.files().items()):
        commit_bytes(out / name, data)
    aside = sum(guard.count for guard in guards)
    listed = [f"{guard.path}:{q.row}, stage {q.stage}: {q.error}" for guard in guards for q in guard.quarantined]
    if aside:
        print(f"trained without {aside:,} documents that were set aside, the first {'; '.join(listed[:3])}")
    print(f"wrote {out}: {tokenizer.kind}, {tokenizer.vocab_size:,} tokens, hash {tokenizer.hash[:8]}")
    return Outcome(
        fingerprint=tokenizer.hash,
        outputs=(str(out),),
        figures={
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "input_bytes": inputs.total_bytes,
            "quarantined": aside,
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
