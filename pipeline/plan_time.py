"""How long a build will take: rates measured on the sample in this process, and what starting workers costs.

total = start + scan + vocabulary + build

start       imports, tokenizer and segmenter (measured); with ray also the constants below
scan        bytes at the measured rate, files shared by the workers
vocabulary  measured on the sample (`pipeline.plan_vocabulary`)
build       what a worker pays until its caches are warm, once; the units and the bytes of the worker with the most of them, at
            the warm rates, divided by `EFFICIENCY` when there are several workers; and settling the shards on disk

Files are read from the page cache here; a slow disk or a remote store adds to this.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.inputs import InputFile
from pipeline.plan_sample import Stretch
from pipeline.recipe import Recipe
from pipeline.scan import scan_file
from pipeline.unit import UnitBuilder
from pipeline.units import make_plan, read_unit
from shards.durable import commit_bytes, settle

# Several workers share memory bandwidth and caches, and the last units leave some of them idle: two ran at 1.8 to 1.9 × one.
EFFICIENCY = 0.9
# Measured on two cores (2026-11): a python process to its first line and from its last; ray and its workers, from init to
# shutdown.
PROCESS_SECONDS = 0.2
RAY_SECONDS = 5.0
_TIMED_UNITS, _MIN_TIMED_BYTES = 8, 1 << 16
_TIMED_COMMITS = 16


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds. load_s: making a builder; cold_s: until its caches are warm; commit_s: a small file on disk, of many; unit_s: a
    unit, however small; the others: a byte. `timed_unit`: bytes of the units that `build_s_per_byte` was measured on, and
    holds for.
    """

    load_s: float
    cold_s: float
    commit_s: float
    build_s_per_byte: float
    scan_s_per_byte: float
    timed_unit: float
    unit_s: float = 0.0

    def with_small_units(self, size: int, units: int, seconds: float) -> Rates:
        """Return the rates with `unit_s` told apart, from `units` small units of `size` bytes in all that took `seconds`.

        Both measurements follow t = a · bytes + b · units.
        """
        small, rate = size / units, max(seconds - self.cold_s, 0.0) / size
        if small >= 0.5 * self.timed_unit:
            return self
        unit_s = max(rate - self.build_s_per_byte, 0.0) / (1.0 / small - 1.0 / self.timed_unit)
        unit_s = min(unit_s, self.build_s_per_byte * self.timed_unit)
        return replace(self, unit_s=unit_s, build_s_per_byte=self.build_s_per_byte - unit_s / self.timed_unit)


@dataclass(frozen=True, kw_only=True)
class Times:
    """Predicted seconds of the steps of a build; see the module docstring."""

    start_s: float
    scan_s: float
    vocabulary_s: float
    build_s: float

    @property
    def total_s(self) -> float:
        return self.start_s + self.scan_s + self.vocabulary_s + self.build_s

    def to_json_object(self) -> dict[str, float]:
        parts = {name: getattr(self, name) for name in ("start_s", "scan_s", "vocabulary_s", "build_s", "total_s")}
        return {name: round(value, 3) for name, value in parts.items()}


def measure(
    stretches: Sequence[Stretch], recipe: Recipe, tokenizer_folder: Path, folder: Path, unit_bytes: int, load_s: float
) -> Rates:
    """Build the sample once more in units like those of the build, with cold caches, and time it. `folder` is a temporary one.

    The sample is put together in a file for each format and language, so that units are as long as they will be.
    """
    files = _joined(stretches, folder)
    total = sum(file.size for file in files)
    timed_unit = min(unit_bytes, max(total // _TIMED_UNITS, _MIN_TIMED_BYTES))
    begun = time.perf_counter()
    scans = [scan_file(file, timed_unit) for file in files]
    scan_s = time.perf_counter() - begun
    begun = time.perf_counter()
    builder = UnitBuilder(recipe, tokenizer_folder, folder, "timing00", folder)
    load_s += time.perf_counter() - begun
    pairs: list[tuple[int, float]] = []
    for unit in make_plan(files, scans).units:
        begun = time.perf_counter()
        builder.build(unit)
        pairs.append((unit.end - unit.begin, time.perf_counter() - begun))  # giving memory back is part of it
    cold_s, build_s_per_byte = warm_rate(pairs)
    begun = time.perf_counter()
    names = [f"commit-{number}.json" for number in range(_TIMED_COMMITS)]
    for name in names:
        commit_bytes(folder / name, b"{}", settled=False)
    settle(folder, names)
    commit_s = (time.perf_counter() - begun) / _TIMED_COMMITS
    return Rates(
        load_s=load_s,
        cold_s=cold_s,
        timed_unit=total / len(pairs),
        commit_s=commit_s,
        build_s_per_byte=build_s_per_byte,
        scan_s_per_byte=scan_s / total,
    )


def warm_rate(units: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return (extra seconds of the first units, seconds a byte of the later ones) of units of (bytes, seconds), in order."""
    half = len(units) // 2
    later = units[half:]
    rate = sum(seconds for _, seconds in later) / sum(size for size, _ in later)
    extra = sum(seconds - rate * size for size, seconds in units[:half])
    return max(extra, 0.0), rate


def predict(
    rates: Rates,
    *,
    total_bytes: int,
    files: int,
    units: int,
    shards: int,
    workers: int,
    ray: bool,
    cores: int,
    vocabulary_s: float,
) -> Times:
    """Return the times of a build with `workers` workers (1 without ray); more workers than `cores` give no more speed."""
    at_work = max(1, min(workers, units, cores))
    efficiency = EFFICIENCY if at_work > 1 else 1.0
    share = math.ceil(units / at_work) / units
    scanning = max(1, min(workers, files, cores))
    start_s = PROCESS_SECONDS + rates.load_s + (RAY_SECONDS + rates.load_s if ray else 0.0)  # each worker loads for itself
    # Writing a unit's own shard is part of its rate; settling it on disk, and a shard of documents held out, come on top.
    commits_s = rates.commit_s * shards
    return Times(
        start_s=start_s,
        scan_s=total_bytes * rates.scan_s_per_byte / scanning / (EFFICIENCY if scanning > 1 else 1.0),
        vocabulary_s=vocabulary_s,
        build_s=rates.cold_s + (total_bytes * rates.build_s_per_byte + units * rates.unit_s) * share / efficiency + commits_s,
    )


def _joined(stretches: Sequence[Stretch], folder: Path) -> list[InputFile]:
    paths: dict[tuple[str, str], Path] = {}
    for stretch in stretches:
        for unit in stretch.units:
            path = paths.setdefault((unit.format, unit.lang), folder / f"joined-{unit.format}-{unit.lang}")
            end = b"\n" if unit.format == "rows" else b"\n\n"  # spooled rows know no empty line
            with open(path, "ab") as file:
                file.write(read_unit(unit).rstrip() + end)  # the last document of a file may lack its end
    return [
        InputFile(url=str(path), path=path.name, size=path.stat().st_size, lang=lang, format=format)
        for (format, lang), path in sorted(paths.items())
    ]
