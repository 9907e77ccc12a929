"""How fast a build is, against what others need for less; two workers against one; and a worker's memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.calm import CalmTurns
from tests.benchmarks.measure import Figure, command, median, peer, replicated, spread


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where the data is, where to work, how often to measure, and whether to take small inputs (to try the script out)."""

    data: Path
    work: Path
    repeats: int
    quick: bool
    torch_python: Path | None = None
    turns: CalmTurns = field(default_factory=lambda: CalmTurns(max_lookup_ns=None))

    def files(self, lang: str) -> list[Path]:
        files = sorted((self.data / f"{lang}wiki" / "AA").iterdir())
        return files[:4] if self.quick else files

    def vocab(self, lang: str) -> Path:
        name = {"zh": "bert_base_chinese_vocab.txt", "en": "bert_base_uncased_vocab.txt"}[lang]
        return self.data / "vocab" / name

    def build(self, lang: str, source: Sequence[Path], *options: str) -> dict[str, float]:
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        found = command(
            "pipeline.build", "--corpus", "wikipedia", "--lang", lang, "--input", *map(str, source), "--out", str(out),
            "--tokenizer", str(self.vocab(lang)), *options, cwd=self.work,
        )  # fmt: skip
        return found["figures"] | {"process_s": found["process_s"]}


def size_mb(figures: dict[str, float]) -> float:
    return figures["input_bytes"] / 1e6


def speed(setting: Setting, lang: str) -> list[Figure]:
    """Build one language in one process, turn and turn about with its peer."""
    source = setting.files(lang)
    name = {"zh": "jieba", "en": "tokenizers"}[lang]

    def turn() -> tuple[dict[str, float], float]:
        return setting.build(lang, source, "--engine", "local"), peer(name, setting.vocab(lang), source)

    found = [setting.turns.take(turn) for _ in range(setting.repeats)]
    ours = [figures["mb_per_s"] for figures, _ in found]
    whole = [size_mb(figures) / figures["process_s"] for figures, _ in found]
    others = [rate for _, rate in found]
    wanted = {"zh": 13.0, "en": 3.0}[lang]
    ratio = median([own / other for own, other in zip(ours, others, strict=True)])
    language, than = {"zh": ("Chinese", "`jieba.lcut`"), "en": ("English", "`tokenizers` encode_batch_fast, one thread")}[lang]
    return [
        Figure(name=f"{language} build, one process", bar="≥ 10 MB/s", value=f"{spread(ours)} MB/s", reached=median(ours) >= 10),
        Figure(name=f"the same, by the clock of the whole process ({size_mb(found[0][0]):.0f} MB)", bar="",
               value=f"{spread(whole)} MB/s", reached=None),
        Figure(name=f"{than}, same text", bar="", value=f"{spread(others)} MB/s", reached=None),
        Figure(name=f"{language} build ÷ {than}", bar=f"≥ {wanted:.0f} ×", value=f"{ratio:.1f} ×", reached=ratio >= wanted),
    ]  # fmt: skip


def scaling(setting: Setting) -> list[Figure]:
    """Two ray workers against one, on 200 MB or more."""
    size = (20 if setting.quick else 205) * 10**6
    source = replicated(setting.files("zh"), setting.work / "scaling", size)
    workers = ("1", "2")

    def turn() -> list[dict[str, float]]:
        return [setting.build("zh", [source], "--workers", count) for count in workers]

    found = [setting.turns.take(turn) for _ in range(setting.repeats)]
    rates = {count: [figures[i]["mb_per_s"] for figures in found] for i, count in enumerate(workers)}
    whole = {count: [size_mb(figures[i]) / figures[i]["process_s"] for figures in found] for i, count in enumerate(workers)}
    ratio = median([two / one for one, two in zip(rates["1"], rates["2"], strict=True)])
    rows = [(rates, ""), (whole, ", by the clock of the whole process")]
    return [
        Figure(name=f"ray, {name}, {size / 1e6:.0f} MB{clock}", bar="", value=f"{spread(measured[count])} MB/s", reached=None)
        for measured, clock in rows
        for count, name in (("1", "one worker"), ("2", "two workers"))
    ] + [Figure(name="two workers ÷ one", bar="≥ 1.8 ×", value=f"{ratio:.2f} ×", reached=ratio >= 1.8)]


def memory(setting: Setting) -> list[Figure]:
    """Peak resident memory of a worker, from small to large inputs."""
    figures = []
    sizes = (10, 20) if setting.quick else (10, 200, 2000)
    for size in sizes:
        source = replicated(setting.files("zh"), setting.work / f"memory-{size}", size * 10**6)
        peak = setting.build("zh", [source], "--workers", "2")["worker_peak_bytes"] / 1e6
        shutil.rmtree(source)
        name = f"peak resident memory of a worker, {size:,} MB of input"
        figures.append(Figure(name=name, bar="≤ 1,000 MB", value=f"{peak:.0f} MB", reached=peak <= 1000))
    return figures
