"""`pipeline.plan`: the sample is of whole documents from everywhere, totals are what a build gives, within what they claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpora import find_corpus
from pipeline.errors import CorpusError, InputError
from pipeline.inputs import find_inputs
from pipeline.plan import main as plan
from pipeline.plan_estimate import held_out, shards_of, total_of, units_in
from pipeline.plan_sample import STRETCHES, Source, find_sources, take_stretches
from pipeline.plan_time import EFFICIENCY, RAY_SECONDS, Rates, predict, warm_rate
from pipeline.plan_vocabulary import extrapolate
from pipeline.reader_settings import ReaderSettings
from pipeline.scan import scan_file
from pipeline.units import read_unit
from shards.errors import UsageError
from shards.manifest import Manifest
from tests.helpers.built import SMALL, build_set, documents

WORDS = "今天天气很好我们去公园玩孩子们在草地上放风筝研究生研究生命起源明天再见"


def long_documents(count: int, seed: int) -> str:
    """Return documents of very different lengths, in plain text."""
    random = np.random.default_rng(seed)
    made: list[str] = []
    for _ in range(count):
        lines = random.integers(1, 30)
        made.append(
            "\n".join(
                "".join(WORDS[i] for i in random.integers(0, len(WORDS), random.integers(4, 60))) + "。" for _ in range(lines)
            )
        )
    return "\n\n".join(made) + "\n"


def predicted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert plan([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert isinstance(figures, dict)
    return figures


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 12 files of very different documents, 900 kB in all; its corpus lies in ``../../corpus-set``."""
    files = {f"{n:02}.txt": long_documents(60, n) for n in range(12)}
    return build_set(tmp_path_factory.mktemp("plan"), "set", files, "--unit-size", "40000")


def arguments(built: Path, *more: str) -> list[str]:
    corpus = built.parents[1] / "corpus-set"
    tokenizer = next(built.glob("tokenizer-*"))
    small = [flag for flag in SMALL if flag not in ("--vocab-size", "400")]
    return [
        "--corpus",
        "clue_small",
        "--input",
        str(corpus),
        *small,
        "--tokenizer",
        str(tokenizer),
        "--unit-size",
        "40000",
        *more,
    ]


def totals(built: Path) -> dict[str, float]:
    manifest = Manifest.read(built)
    return {
        "rows": sum(entry.rows for entry in manifest.shards),
        "tokens": sum(entry.tokens for entry in manifest.shards),
        "bytes": sum(entry.bytes for entry in manifest.shards),
        "shards": len(manifest.shards),
    }


def test_a_sample_of_everything_predicts_exactly(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, actual, manifest = predicted(capsys, *arguments(built)), totals(built), Manifest.read(built)
    assert figures["documents"] == {"value": manifest.tally.read, "plus_minus": 0}
    assert figures["tokens"] == {"value": actual["tokens"], "plus_minus": 0}
    assert figures["rows"]["value"] + figures["rows_heldout"]["value"] == pytest.approx(actual["rows"], rel=0.01)
    assert figures["shard_bytes"]["value"] == pytest.approx(actual["bytes"], rel=0.03)
    assert figures["shards"] == pytest.approx(actual["shards"], abs=3)
    assert figures["sample_bytes"] == figures["input_bytes"] and figures["scanned_files"] == 0


def test_a_part_predicts_the_whole_within_what_it_claims(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    actual = totals(built)
    errors: list[float] = []
    for seed in range(2):
        figures = predicted(capsys, *arguments(built, "--sample-bytes", "200000", "--seed", str(seed)))
        assert 200_000 <= figures["sample_bytes"] < figures["input_bytes"] * 0.6
        tokens = figures["tokens"]
        assert tokens["value"] == pytest.approx(actual["tokens"], rel=0.05)
        assert figures["rows"]["value"] + figures["rows_heldout"]["value"] == pytest.approx(actual["rows"], rel=0.08)
        assert figures["shard_bytes"]["value"] == pytest.approx(actual["bytes"], rel=0.05)
        errors.append(abs(tokens["value"] - actual["tokens"]) / tokens["plus_minus"])
        assert (
            0 <= figures["padding_waste"]["bins"] <= figures["padding_waste"]["batches"] <= figures["padding_waste"]["fixed"] < 1
        )
    assert np.mean(errors) < 1.5


@pytest.mark.parametrize("layout", ["full", "line"])
def test_other_layouts_and_a_trained_vocabulary(built: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = built.parents[1] / "corpus-set"
    same = ["--corpus", "clue_small", "--input", str(corpus), *SMALL, "--layout", layout]
    figures = predicted(capsys, *same, "--sample-bytes", "300000")
    files = {path.name: path.read_text() for path in corpus.iterdir()}
    actual = totals(build_set(built.parents[1], layout, files, "--layout", layout))
    assert figures["tokens"]["value"] == pytest.approx(actual["tokens"], rel=0.05)
    assert figures["rows"]["value"] + figures["rows_heldout"]["value"] == pytest.approx(actual["rows"], rel=0.05)
    assert figures["times"]["vocabulary_s"] > 0
    total = sum(value for name, value in figures["times"].items() if name != "total_s")
    assert figures["times"]["total_s"] == pytest.approx(total, abs=0.01)


def sources_of(folder: Path) -> list[Source]:
    inputs = find_inputs(find_corpus("text"), "zh", [str(folder)], folder)
    return find_sources(inputs.files, 1 << 20, ReaderSettings(), folder)[0]


def test_stretches_are_whole_documents_spread_over_all_files(tmp_path: Path) -> None:
    whole: set[str] = set()
    for number in range(40):
        text = documents(30, first=number * 30)
        whole |= set(text.strip().split("\n\n"))
        (tmp_path / f"{number:02}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "empty.txt").write_text("")
    sources = sources_of(tmp_path)
    stretches = take_stretches(sources, 20_000, seed=3)
    assert len(stretches) == STRETCHES and all(stretch.size > 0 for stretch in stretches)
    for stretch in stretches:
        for unit in stretch.units:
            assert set(read_unit(unit).decode().strip().split("\n\n")) <= whole
    assert len({unit.file_index for stretch in stretches for unit in stretch.units}) == 40
    assert stretches == take_stretches(sources, 20_000, seed=3) != take_stretches(sources, 20_000, seed=4)


def test_rows_of_a_sample_are_those_of_the_file_or_say_what_they_count_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text := documents(200), encoding="utf-8")
    data, sources = text.encode(), sources_of(tmp_path)
    for stretch in take_stretches(sources, len(data), seed=0):
        for unit in stretch.units:
            assert (unit.path, unit.first_row) == ("a.txt", data[: unit.begin].count(b"\n") + 1)
    for stretch in take_stretches(sources, len(data) // 2, seed=0):
        for unit in stretch.units:
            said = f" (row {unit.first_row} is the one {unit.begin} bytes behind row 1)" if unit.begin else ""
            assert unit.path == f"a.txt{said}" and unit.first_row == unit.begin + 1


def test_a_stretch_goes_on_in_the_next_file_when_files_are_small(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}.txt").write_text(documents(2, first=number * 2) + "\n", encoding="utf-8")
    stretches = take_stretches(sources_of(tmp_path), 12_800, seed=0)
    assert max(len(stretch.units) for stretch in stretches) > 1
    assert all(stretch.size >= 12_800 // STRETCHES for stretch in stretches)


def test_a_small_corpus_is_taken_whole_and_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(documents(50), encoding="utf-8")
    (tmp_path / "b.txt").write_text(documents(3), encoding="utf-8")
    sources = sources_of(tmp_path)
    stretches = take_stretches(sources, 1 << 20, seed=0)
    joined = b"".join(read_unit(unit) for stretch in stretches for unit in stretch.units)
    assert joined == (tmp_path / "a.txt").read_bytes() + (tmp_path / "b.txt").read_bytes()


def test_a_file_without_a_document_border_is_cut_at_rows(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("一行没有空行的文字。\n" * 300_000, encoding="utf-8")
    for stretch in take_stretches(sources_of(tmp_path), 100_000, seed=0)[::40]:
        for unit in stretch.units:
            assert set(read_unit(unit).decode().splitlines()) == {"一行没有空行的文字。"}


def test_a_standard_error_is_what_it_says() -> None:
    """Of totals estimated from random stretches, about 95 % lie within two standard errors."""
    random = np.random.default_rng(0)
    inside = 0
    sizes = random.integers(500, 1500, 2000).astype(np.float64)
    counts = sizes * random.gamma(4.0, 0.25, 2000)
    for _ in range(400):
        chosen = random.choice(2000, 128, replace=False)
        estimate = total_of(counts[chosen], sizes[chosen], float(sizes.sum()))
        inside += abs(estimate.value - counts.sum()) <= estimate.plus_minus
    assert 0.91 <= inside / 400 <= 0.985
    assert total_of(counts, sizes, float(sizes.sum())).plus_minus == 0.0
    assert total_of(counts[:1], sizes[:1], float(sizes.sum())).plus_minus > 0


def test_held_out_rows_are_a_share_with_its_own_spread() -> None:
    whole = total_of(np.array([50.0, 50.0]), np.array([100.0, 100.0]), 200.0)
    part = held_out(whole, 0.1, documents=50)
    assert part.value == pytest.approx(10) and part.plus_minus > 0
    assert held_out(whole, 0.0, documents=50).value == 0
    assert shards_of(4, documents=400, heldout=0.0) == 4 and shards_of(4, documents=4000, heldout=0.1) == pytest.approx(
        8, abs=0.01
    )


@pytest.mark.parametrize("unit_bytes", [2000, 5000, 50_000])
def test_units_are_counted_as_the_scan_cuts(tmp_path: Path, unit_bytes: int) -> None:
    text = long_documents(100, 1)
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    file = find_inputs(find_corpus("text"), "zh", [str(path)], tmp_path).files[0]
    cuts = len(scan_file(file, unit_bytes).cuts)
    assert units_in(file.size, unit_bytes, file.size / 100) == pytest.approx(cuts, rel=0.25, abs=1)


def test_the_time_of_a_build() -> None:
    cold, rate = warm_rate([(100, 3.0), (100, 2.0), (100, 1.0), (100, 1.0)])
    assert (cold, rate) == (3.0, 0.01)
    assert warm_rate([(100, 1.0)]) == (0.0, 0.01)
    assert extrapolate((50, 1.0), (100, 2.0), 400) == pytest.approx(8.0), "in proportion"
    assert extrapolate((50, 1.0), (100, 1.0), 400) == pytest.approx(2.0), "at least as the root"
    assert extrapolate((50, 1.0), (100, 9.0), 400) == pytest.approx(36.0), "at most in proportion"
    rates = Rates(load_s=1.0, cold_s=0.5, commit_s=0.0, build_s_per_byte=1e-7, scan_s_per_byte=1e-9, timed_unit=1e6)

    def seconds(workers: int, *, ray: bool = True, units: int = 64, cores: int = 8) -> float:
        times = predict(
            rates, total_bytes=10**9, files=10, units=units, shards=units, workers=workers, ray=ray, cores=cores, vocabulary_s=2.0
        )
        assert times.total_s == pytest.approx(times.start_s + times.scan_s + times.vocabulary_s + times.build_s)
        return times.build_s

    assert seconds(1) == seconds(1, ray=False) == pytest.approx(100.5)
    assert seconds(4) == pytest.approx(0.5 + 25 / EFFICIENCY)
    assert seconds(4, units=2) == pytest.approx(0.5 + 50 / EFFICIENCY), "a unit is not shared"
    assert seconds(64, cores=2) == seconds(2)
    assert RAY_SECONDS > 0
    # a = 8e-8 s a byte and b = 0.02 s a unit: 0.1 s for a megabyte, 0.0208 s for ten kilobytes.
    apart = rates.with_small_units(size=1_000_000, units=100, seconds=0.5 + 100 * 0.0208)
    assert (apart.build_s_per_byte, apart.unit_s) == (pytest.approx(8e-8), pytest.approx(0.02))
    assert rates.with_small_units(size=1_000_000, units=1, seconds=9.0) == rates, "units of one size tell nothing"


def test_what_a_plan_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORDLOOM_DATA", raising=False)
    (tmp_path / "a.txt.gz").write_bytes(b"\x1f\x8b\x08 not really")
    same = ["--corpus", "text", "--lang", "zh", "--input", str(tmp_path / "a.txt.gz")]
    assert plan(same) == InputError.exit_code
    assert plan(["--corpus", "wikipedia"]) == CorpusError.exit_code, "the hub is not asked: it would hand out the whole corpus"
    for wrong in (["--workers", "0"], ["--workers", "2", "--engine", "local"], ["--sample-bytes", "5"], ["--unit-size", "5"]):
        assert plan([*same, *wrong]) == UsageError.exit_code
    assert "Traceback" not in capsys.readouterr().err
