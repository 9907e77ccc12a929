"""The segmenter of a recipe; the words of a user dictionary travel to workers as a file in the work folder, by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError
from pipeline.segment import Segmenter, make_segmenter
from shards.durable import commit_bytes

_HASH = "user_dictionary_sha256"


def prepared_segmenter(name: str, hmm: bool, user_dictionary: str | None, work_folder: Path) -> Segmenter:
    """Return the segmenter that the options name, and put a copy of the user's words into `work_folder`.

    Raises as `make_segmenter`.
    """
    if user_dictionary is None:
        return make_segmenter(name, hmm=hmm)
    segmenter = make_segmenter(name, hmm=hmm, user_dictionary=Path(user_dictionary))
    data = Path(user_dictionary).read_bytes()
    commit_bytes(_copy(work_folder, hashlib.sha256(data).hexdigest()), data)
    return segmenter


def segmenter_of(identity: Mapping[str, Any], work_folder: Path | None) -> Segmenter:
    """Return the segmenter that a recipe describes. Raises RecipeError when the user's words are not in `work_folder`."""
    name, hmm, sha256 = str(identity["name"]), bool(identity["hmm"]), identity.get(_HASH)
    if sha256 is None:
        return make_segmenter(name, hmm=hmm)
    path = _copy(work_folder, str(sha256)) if work_folder is not None else None
    if path is None or not path.is_file():
        raise RecipeError(
            "the words of the user dictionary are not at hand", where=path, hint="Pass the same file again: --user-dictionary"
        )
    return make_segmenter(name, hmm=hmm, user_dictionary=path)


def has_user_dictionary(identity: Mapping[str, Any]) -> bool:
    """Return whether a user's words are part of the segmenter that a recipe describes."""
    return _HASH in identity


def _copy(work_folder: Path, sha256: str) -> Path:
    return work_folder / f"user-dictionary-{sha256[:16]}.txt"
