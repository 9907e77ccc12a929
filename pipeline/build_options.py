"""The options of ``pipeline.build``: their parser, what makes no sense among them, and which part of a recipe each decides."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.corpora import CORPORA, LANGUAGES, Corpus, find_corpus
from shards.cli import Parser, new_parser
from shards.errors import UsageError

ENGINES = ("ray", "local")
SEGMENTERS = ("jieba-numpy", "rjieba", "jieba")
TOKENIZER_KINDS = ("auto", "wordpiece", "roformer-word", "byte-bpe")
LAYOUTS = ("pairs", "full", "line")
MASKINGS = ("dynamic", "static")
DEDUPLICATIONS = ("none", "exact", "near")
ON_ERROR = ("stop", "quarantine")
DEFAULT_SHORT_SEQ_PROB = 0.1
DEFAULT_WORKER_MEMORY_BYTES = 1 << 30
MIN_WORKER_MEMORY_BYTES = 64 << 20
MIN_UNIT_BYTES = 1024
MAX_VOCAB_SIZE = 1 << 20
MAX_DUPE_FACTOR = 100
# Entry of the recipe → the options that decide it. With --append, an option that is given must agree with the stored entry,
# and entries whose options are not given are taken from there. (--tokenizer and --vocab-size are compared by `pipeline.build`.)
RECIPE_OPTIONS = {
    "corpus": ("corpus",),
    "lang": ("lang",),
    "layout": ("layout",),
    "max_seq_len": ("max_seq_len",),
    "heldout": ("heldout",),
    "seed": ("seed",),
    "unit_bytes": ("unit_size",),
    "segmenter": ("segmenter", "no_hmm", "user_dictionary"),
    "reader": ("format", "field", "encoding"),
    "stages": ("clean", "filter", "simplify", "decontaminate"),
    "deduplication": ("deduplicate", "near_threshold"),
    "masking": ("masking", "dupe_factor"),
    "on_error": ("on_error",),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def build_parser() -> Parser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser("pipeline.build", "Turn raw text into a data set of pretraining samples.")
    add_input(parser)
    _add_output(parser)
    add_recipe(parser)
    add_cleaning(parser)
    _add_engine(parser)
    return parser


def add_input(parser: Parser) -> None:
    add = parser.add_argument_group("input").add_argument
    add("--corpus", metavar="NAME", help=f"one of: {', '.join(CORPORA)}; needed save with --append")
    add("--input", nargs="+", default=[], metavar="PATH_OR_GLOB", help="files, folders or quoted globs; default: usual places")
    add("--lang", choices=LANGUAGES, help="language of the text; default: the corpus's (the sample: both)")
    add("--hub-id", metavar="ID", help="another data set of the hub to take the corpus from")
    add("--format", default="auto", metavar="NAME", help="text, wikiextractor, mediawiki, jsonl, csv, tsv, parquet, arrow or "
        "datasets; default: told by the corpus and the files")  # fmt: skip
    add("--field", metavar="NAME", help="the field or column that holds the text; default: the usual ones")
    add("--encoding", default="utf-8", metavar="NAME", help="encoding of text files, such as gb18030, big5 or utf-16")


def _add_output(parser: Parser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--out", default="shards/", help="folder that holds the data sets, or a URL: s3://bucket/folder")
    add("--name", help="name of the data set; default: the corpus")
    add("--overwrite", action="store_true", help="replace a data set of this name once the new one is whole")
    add("--append", action="store_true", help="add the files of --input to a data set, by the recipe it was made with")


def add_recipe(parser: Parser) -> None:
    add = parser.add_argument_group("recipe").add_argument
    add("--tokenizer", metavar="PATH", help="a vocab.txt, a tokenizer folder or a data set; default: one trained on the corpus")
    add("--tokenizer-kind", choices=TOKENIZER_KINDS, default="auto", help="what --tokenizer holds; default: told by its files")
    add("--extend-vocab", metavar="FILE", help="new whole tokens, one a row, behind those of --tokenizer")
    add("--vocab-size", type=int, default=8000, help="size of a trained vocabulary")
    add("--max-seq-len", type=int, default=512, help="tokens of the longest sample, special tokens included")
    add("--layout", choices=LAYOUTS, default="pairs", help="how sentences become samples")
    add("--heldout", type=float, default=0.005, help="share of the documents kept from training, for evaluation")
    add("--segmenter", choices=SEGMENTERS, default="jieba-numpy", help="jieba is the reference; jieba-numpy is its equal, fast")
    add("--no-hmm", action="store_true", help="segment by dictionary alone, without jieba's model of unknown words")
    add("--user-dictionary", metavar="FILE", help="words to add to jieba's, one a row: word [frequency] [tag]")
    add("--unit-size", type=int, metavar="BYTES", help="input bytes of one shard; default: a 64th of the input, 1 to 16 MiB")
    add("--masking", choices=MASKINGS, default="dynamic", help="dynamic: drawn anew each epoch; static: stored in the shards")
    add("--dupe-factor", type=int, default=10, metavar="K", help="with static masks: how often each sample is stored")
    add("--seed", type=int, default=0, help="decides pair borders, short samples and static masks")
    add("--on-error", choices=ON_ERROR, default="stop", help="a row that a stage cannot cope with: stop there, or set it aside")


def add_cleaning(parser: Parser) -> None:
    add = parser.add_argument_group("cleaning").add_argument
    add("--clean", nargs="+", default=[], metavar="RULE", help="only these cleaning rules, or none; default: all")
    add("--simplify", action="store_true", help="traditional to simplified characters (needs the package opencc)")
    add(
        "--filter", action="append", default=[], metavar="NAME[=VALUE]", help="drop documents or lines by a rule; may be repeated"
    )
    add("--decontaminate", nargs="+", default=[], metavar="PATH", help="drop documents that hold text of these task files")
    add("--deduplicate", choices=DEDUPLICATIONS, default="none", help="drop copies of documents, or near copies as well")
    add("--near-threshold", type=float, default=0.8, metavar="SHARE", help="Jaccard similarity from which texts are near copies")


def _add_engine(parser: Parser) -> None:
    add = parser.add_argument_group("engine").add_argument
    add("--engine", choices=ENGINES, default="ray", help="ray: one process a worker; local: in this process")
    add("--workers", type=int, help="worker processes; default (ray): one a core, as far as --worker-memory lasts; local: 1")
    add("--ray-address", metavar="ADDRESS", help="a ray cluster to work on, as in HOST:6379; default: this machine alone")
    add("--worker-memory", type=int, default=DEFAULT_WORKER_MEMORY_BYTES, metavar="BYTES",
        help="memory promised to a worker, 1 GiB by default: decides how many fit on this machine or a node")  # fmt: skip


def given_options(argv: Sequence[str]) -> frozenset[str]:
    """Return the names of the options that a valid command line holds, whatever their values."""
    parser, unset = build_parser(), object()
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args([])), unset))
    return frozenset(name for name, value in vars(parser.parse_args(argv)).items() if value is not unset)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is built: corpus and language are None when an append takes them from the recipe."""

    corpus: Corpus | None
    lang: str | None
    name: str


def check_options(options: argparse.Namespace) -> Target:
    """Refuse what makes no sense before anything is read. Raises UsageError."""
    if options.append:
        _check_append(options)
    elif options.corpus is None:
        raise UsageError("the following arguments are required: --corpus", expected=f"one of {', '.join(CORPORA)}")
    corpus = find_corpus(options.corpus) if options.corpus is not None else None
    lang = corpus.language(options.lang) if corpus is not None else options.lang
    name = options.name or (corpus.name if corpus is not None else "")
    if not _NAME.fullmatch(name):
        raise UsageError("--name must be letters, digits, dots, dashes and underscores", got=name)
    _check_engine(options)
    if options.unit_size is not None and options.unit_size < MIN_UNIT_BYTES:
        raise UsageError(f"--unit-size must be at least {MIN_UNIT_BYTES} bytes, got {options.unit_size}")
    if not 1 <= options.dupe_factor <= MAX_DUPE_FACTOR:
        raise UsageError(f"--dupe-factor must lie between 1 and {MAX_DUPE_FACTOR}, got {options.dupe_factor}")
    check_tokenizer_kind(options)
    if options.tokenizer is None and options.vocab_size > MAX_VOCAB_SIZE:
        raise UsageError(f"--vocab-size must be at most {MAX_VOCAB_SIZE}, got {options.vocab_size}")
    return Target(corpus=corpus, lang=lang, name=name)


def check_tokenizer_kind(options: argparse.Namespace) -> None:
    """Refuse a kind, or more tokens, without a tokenizer: what is trained along the way is WordPiece. Raises UsageError."""
    if options.tokenizer is None and options.extend_vocab is not None:
        raise UsageError("--extend-vocab needs --tokenizer: the one that the new tokens are added to")
    if options.tokenizer is None and options.tokenizer_kind != "auto":
        raise UsageError(
            f"--tokenizer-kind {options.tokenizer_kind} needs --tokenizer",
            hint=f"Train one first: python -m pipeline.vocab --kind {options.tokenizer_kind} --out FOLDER",
        )


def _check_append(options: argparse.Namespace) -> None:
    if options.overwrite:
        raise UsageError("--append and --overwrite exclude each other")
    if not options.input:
        raise UsageError("--append needs --input: the files to add")
    if options.name is None and options.corpus is None:
        raise UsageError("--append needs --name: the data set to add to")


def _check_engine(options: argparse.Namespace) -> None:
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {options.workers}")
    if options.worker_memory < MIN_WORKER_MEMORY_BYTES:
        raise UsageError(f"--worker-memory must be at least {MIN_WORKER_MEMORY_BYTES} bytes, got {options.worker_memory}")
    if options.engine == "local":
        if (options.workers or 1) > 1:
            raise UsageError(f"the local engine works in one process, got --workers {options.workers}", hint="Use --engine ray")
        if options.ray_address is not None:
            raise UsageError("the local engine knows no cluster", got=f"--ray-address {options.ray_address}")
    elif options.ray_address is not None and ":" not in options.ray_address:
        # ray's "auto" would take an address from a variable or a file.
        raise UsageError("--ray-address must name the cluster", expected="HOST:PORT", got=options.ray_address)
    elif found := next((url for url in (options.out, *options.input) if url.startswith("memory://")), None):
        raise UsageError("memory:// is seen by one process alone", got=found, hint="Use --engine local with it")
