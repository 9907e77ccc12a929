"""The embedded sample: encyclopaedic prose in Chinese and English, written for this project (CC0)."""

from __future__ import annotations

from pathlib import Path

_LANGUAGE = {"en.txt": "en", "zh_1.txt": "zh", "zh_2.txt": "zh"}


def sample_files(lang: str | None = None) -> list[tuple[Path, str]]:
    """Return (path, language) of the sample's files, of one language or of all."""
    folder = Path(__file__).parent
    return [(folder / name, of) for name, of in sorted(_LANGUAGE.items()) if lang in (None, of)]
