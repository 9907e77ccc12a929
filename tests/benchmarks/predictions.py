"""What `pipeline.plan` says of both Wikipedias before they are built, against what the build then comes to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import Figure, command

_ENGINES: dict[str, tuple[str, ...]] = {"one process": ("--engine", "local"), "ray, two workers": ("--workers", "2")}
_COUNTED = {"rows": "samples", "tokens": "tokens", "shard_bytes": "bytes of shards"}


def predictions(setting: Setting) -> list[Figure]:
    """Predict and build each of them in one process and with two workers; times are those of the whole commands."""
    figures: list[Figure] = []
    for lang in ("zh", "en"):
        source = setting.files(lang)
        for engine, options in _ENGINES.items():
            found = setting.turns.take(partial(_turn, setting, lang, source, options))
            if engine == "one process":
                figures += [
                    Figure(
                        name=f"{lang}wiki, {what}",
                        bar="within 5 %",
                        value=f"{found[name]:+.1%}",
                        reached=abs(found[name]) <= 0.05,
                    )
                    for name, what in _COUNTED.items()
                ]
            figures.append(
                Figure(name=f"{lang}wiki, time, {engine}", bar="within 30 %", value=f"{found['time']:+.0%}",
                       reached=abs(found["time"]) <= 0.3)
            )  # fmt: skip
    return figures


def _turn(setting: Setting, lang: str, source: Sequence[Path], options: tuple[str, ...]) -> dict[str, float]:
    """Return by how much each predicted figure is off, as a share of what came."""
    said = command(
        "pipeline.plan", "--corpus", "wikipedia", "--lang", lang, "--input", *map(str, source),
        "--tokenizer", str(setting.vocab(lang)), *options, cwd=setting.work,
    )["figures"]  # fmt: skip
    built = setting.build(lang, source, *options)
    built["shard_bytes"] = sum(path.stat().st_size for path in (setting.work / "out" / "wikipedia").glob("*.arrow"))
    off = {name: said[name]["value"] / built[name] - 1 for name in _COUNTED}
    return off | {"time": said["times"]["total_s"] / built["process_s"] - 1}
