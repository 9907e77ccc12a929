"""The flags of the commands are a promise: adding or removing one is a decision, made here."""

from __future__ import annotations

from pipeline.build import build_parser
from pipeline.inspect import build_parser as inspect_parser
from tests.helpers.commands import flags


def test_flags_of_build() -> None:
    assert flags(build_parser()) == [
        "--append", "--clean", "--corpus", "--debug", "--decontaminate", "--deduplicate", "--dupe-factor", "--encoding", "--engine",
        "--extend-vocab", "--field", "--filter", "--format", "--heldout", "--help", "--hub-id", "--input", "--json", "--lang", "--layout", "--masking",
        "--max-seq-len", "--name", "--near-threshold", "--no-hmm", "--on-error", "--out", "--overwrite", "--ray-address", "--seed",
        "--segmenter", "--simplify", "--tokenizer", "--tokenizer-kind", "--unit-size", "--user-dictionary", "--vocab-size",
        "--worker-memory", "--workers",
    ]  # fmt: skip


def test_defaults_of_build() -> None:
    options = vars(build_parser().parse_args(["--corpus", "clue_small"]))
    assert options == {
        "append": False, "clean": [], "corpus": "clue_small", "debug": False, "decontaminate": [], "deduplicate": "none",
        "dupe_factor": 10, "encoding": "utf-8", "engine": "ray", "extend_vocab": None, "field": None, "filter": [], "format": "auto", "heldout": 0.005,
        "hub_id": None, "input": [], "json": False, "lang": None, "layout": "pairs", "masking": "dynamic", "max_seq_len": 512,
        "name": None, "near_threshold": 0.8, "no_hmm": False, "on_error": "stop", "out": "shards/", "overwrite": False,
        "ray_address": None, "seed": 0, "segmenter": "jieba-numpy", "simplify": False, "tokenizer": None,
        "tokenizer_kind": "auto", "unit_size": None, "user_dictionary": None,
        "vocab_size": 8000, "worker_memory": 1 << 30, "workers": None,
    }  # fmt: skip


def test_flags_of_inspect() -> None:
    assert flags(inspect_parser()) == [
        "--debug", "--help", "--json", "--masks", "--row", "--rows", "--seed", "--split"
    ]  # fmt: skip
