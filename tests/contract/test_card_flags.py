"""The flags of `pipeline.report`, `pipeline.diff` and `pipeline.plan` are a promise: adding or removing one is decided here."""

from __future__ import annotations

from pipeline.build import build_parser as build_parser
from pipeline.diff import build_parser as diff_parser
from pipeline.plan import build_parser as plan_parser
from pipeline.report import build_parser as report_parser
from tests.helpers.commands import flags


def test_flags_of_report() -> None:
    assert flags(report_parser()) == [
        "--debug", "--examples", "--help", "--json", "--no-duplicates", "--no-verify", "--out", "--rows", "--seed",
    ]  # fmt: skip


def test_flags_of_diff() -> None:
    assert flags(diff_parser()) == ["--check", "--debug", "--help", "--json", "--no-verify"]


def test_flags_of_plan() -> None:
    assert flags(plan_parser()) == [
        "--clean", "--corpus", "--debug", "--decontaminate", "--deduplicate", "--dupe-factor", "--encoding", "--engine", "--extend-vocab", "--field", "--filter",
        "--format", "--heldout", "--help", "--hub-id", "--input", "--json", "--lang", "--layout", "--masking", "--max-seq-len",
        "--near-threshold", "--no-hmm", "--on-error", "--sample-bytes", "--seed", "--segmenter", "--simplify", "--tokenizer",
        "--tokenizer-kind", "--unit-size", "--user-dictionary", "--vocab-size", "--workers",
    ]  # fmt: skip


def test_a_plan_takes_what_a_build_takes_and_means_the_same() -> None:
    options = vars(plan_parser().parse_args(["--corpus", "clue_small"]))
    built = vars(build_parser().parse_args(["--corpus", "clue_small"]))
    assert set(options) - set(built) == {"sample_bytes"}
    assert {name: value for name, value in options.items() if name in built} == {
        name: built[name] for name in options if name in built
    }
