"""The flags of the commands are a promise: adding or removing one is a decision, made here."""

from __future__ import annotations

from pipeline.build import build_parser
from pipeline.inspect import build_parser as inspect_parser
from tests.helpers.commands import flags


def test_flags_of_build() -> None:
    assert flags(build_parser()) == [
        "--corpus", "--debug", "--engine", "--heldout", "--help", "--hub-id", "--input", "--json", "--lang", "--layout", "--max-seq-len",
        "--name", "--no-hmm", "--out", "--overwrite", "--seed", "--segmenter", "--tokenizer", "--unit-size", "--vocab-size", "--workers",
    ]  # fmt: skip


def test_defaults_of_build() -> None:
    options = vars(build_parser().parse_args(["--corpus", "clue_small"]))
    assert options == {
        "corpus": "clue_small", "debug": False, "engine": "ray", "heldout": 0.005, "hub_id": None, "input": [], "json": False,
        "lang": None, "layout": "pairs", "max_seq_len": 512, "name": None, "no_hmm": False, "out": "shards/", "overwrite": False,
        "seed": 0, "segmenter": "jieba-numpy", "tokenizer": None, "unit_size": None, "vocab_size": 8000, "workers": None,
    }  # fmt: skip


def test_flags_of_inspect() -> None:
    assert flags(inspect_parser()) == ["--debug", "--help", "--json", "--row", "--rows", "--split"]
