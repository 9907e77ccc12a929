"""Traditional to simplified Chinese, through OpenCC."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.documents import Document
from pipeline.stage import Edited
from shards.errors import MismatchError, UsageError

SIMPLIFY_RULE = "simplify"
_CONFIGURATION = "t2s"


@dataclass(frozen=True)
class Simplify:
    """Convert text by OpenCC's ``t2s``: characters and phrases, no regional vocabulary; lines stay lines, in order.

    version: of the `opencc` package, whose dictionaries decide the result. To be put after `Clean`, which takes out what cannot
    be written as UTF-8.
    """

    version: str

    @property
    def description(self) -> dict[str, Any]:
        return {"name": "simplify", "configuration": _CONFIGURATION, "opencc": self.version}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Simplify:
        """Raises MismatchError when the installed opencc is not the recipe's."""
        installed = make_simplify()
        if installed.description != description:
            raise MismatchError(
                "the recipe was made with another opencc", expected=description.get("opencc"), got=installed.version,
                hint="Install that version, or build again",
            )  # fmt: skip
        return installed

    def __call__(self, document: Document) -> Document | Edited:
        text = document.text
        if text.isascii():
            return document
        converted: str = _converter().convert(text)
        if converted == text:
            return document
        lines = zip(text.split("\n"), converted.split("\n"), document.rows, strict=True)
        rows = list(dict.fromkeys(row for before, after, row in lines if before != after))
        return Edited(result=Document(text=converted, rows=document.rows), changed={SIMPLIFY_RULE: rows})


def make_simplify() -> Simplify:
    """Return the stage, with the version that is installed. Raises UsageError when opencc is not."""
    try:
        import opencc  # noqa: F401

        return Simplify(importlib.metadata.version("opencc"))
    except (ImportError, importlib.metadata.PackageNotFoundError):
        raise UsageError(
            "traditional to simplified needs the package opencc", hint="Install it: pip install 'wordloom[opencc]'"
        ) from None


@cache
def _converter() -> Any:
    import opencc

    return opencc.OpenCC(_CONFIGURATION)
