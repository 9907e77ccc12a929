"""JSON lines: one object a line, one document an object.

Shapes are told from the keys of each object, so that files of several shapes may be mixed: an object with `text`, and the shapes
of nlp_chinese_corpus. `field` names one key instead. Documented outcomes:

- a row is a document, so each dropped row is a dropped document too, `invalid_utf8` included;
- reasons: `invalid_json` (also NaN, Infinity, and integers of more than `MAX_DIGITS` digits), `duplicate_key`, `nested_too_deep`,
  `not_an_object`, `missing_field`, `null`, `not_text`, `empty`, `title_only`; blank rows are no documents and are passed over;
- a lone surrogate of an escape becomes U+FFFD, so that each document can be written as UTF-8;
- lines part at LF, CR LF and CR (baike2018qa parts its paragraphs with CR), in questions and answers at ``<br>`` as well.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.documents import BYTE_ORDER_MARK, Document, Ledger
from pipeline.rows import decoded_rows

MAX_DEPTH = 100
MAX_DIGITS = 1000
_SENTENCE_END = ("。", "！", "？", "!", "?", "…", ".", "．")
_CLOSING = "”’」』）)\"' "
# A string, closed or not, or a bracket: it always matches from a quote on, so that the scan stays linear.
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)


class _Refused(Exception):
    """Why a row gives no document."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Refused("duplicate_key")
    return value


def _integer(digits: str) -> int:
    # Python's own limit differs between versions and can be set from outside; the outcome may not.
    if len(digits) > MAX_DIGITS:
        raise _Refused("invalid_json")
    return int(digits)


def _constant(name: str) -> float:
    raise _Refused("invalid_json")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A kind of object: the keys it is told by, and how it becomes lines. `lines` raises _Refused."""

    name: str
    keys: frozenset[str]
    lines: Callable[[dict[str, Any], str], list[str]]


def _text(value: dict[str, Any], key: str) -> str:
    if key not in value:
        raise _Refused("missing_field")
    text = value[key]
    if not isinstance(text, str):
        raise _Refused("null" if text is None else "not_text")
    return text


def _split(text: str) -> list[str]:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in text.split("\n") if line and not line.isspace()]


def _required(value: dict[str, Any], key: str, *, breaks: bool = False) -> list[str]:
    text = _text(value, key)
    lines = _split(_BREAK.sub("\n", text) if breaks and "<" in text else text)
    if not lines:
        raise _Refused("empty")
    return lines


def _optional(value: dict[str, Any], key: str, *, breaks: bool = False) -> list[str]:
    text = value.get(key)
    if not isinstance(text, str):
        return []
    return _split(_BREAK.sub("\n", text) if breaks and "<" in text else text)


def _with_title_line(value: dict[str, Any], lang: str) -> list[str]:
    """`text`, without its first line where that is the title, as the wikiextractor reader has it."""
    lines = _required(value, "text")
    title = value.get("title")
    if isinstance(title, str) and (
        lines[0].strip() == title.strip() or html.unescape(lines[0]).strip() == html.unescape(title).strip()
    ):
        del lines[0]
        if not lines:
            raise _Refused("title_only")
    return lines


def _flat(lines: list[str]) -> str:
    return "".join("".join(lines).split())


def _described(head: list[str], description: list[str], body: list[str]) -> list[str]:
    """Return head, description and body; the description is left out when it repeats the head or the body's beginning."""
    flat = _flat(description).rstrip(".…。")
    repeats = not flat or flat == _flat(head).rstrip(".…。") or _flat(body).startswith(flat)
    return head + ([] if repeats else description) + body


def _news(value: dict[str, Any], lang: str) -> list[str]:
    # A headline is a line of the document only where it is a sentence: most are not, and end without a full stop.
    body = _required(value, "content")
    title = _optional(value, "title")
    description = _optional(value, "desc")
    if title and not title[-1].rstrip(_CLOSING).endswith(_SENTENCE_END):
        return _described([], [] if _flat(description) == _flat(title) else description, body)
    return _described(title, description, body)


def _question(answer: str) -> Callable[[dict[str, Any], str], list[str]]:
    """The title is the question: it comes first, then what explains it, then the answer."""

    def lines(value: dict[str, Any], lang: str) -> list[str]:
        body = _required(value, answer, breaks=True)
        return _described(_optional(value, "title"), _optional(value, "desc", breaks=True), body)

    return lines


def _translation(value: dict[str, Any], lang: str) -> list[str]:
    return _required(value, "english" if lang == "en" else "chinese")


# In this order: the first whose keys are all there.
SHAPES: tuple[Shape, ...] = (
    Shape(name="text", keys=frozenset({"text"}), lines=_with_title_line),  # wiki_zh, and what wikiextractor --json writes
    Shape(name="translation2019zh", keys=frozenset({"english", "chinese"}), lines=_translation),
    Shape(name="webtext2019zh", keys=frozenset({"qid", "title", "content"}), lines=_question("content")),
    Shape(name="baike2018qa", keys=frozenset({"title", "answer"}), lines=_question("answer")),
    Shape(name="news2016zh", keys=frozenset({"title", "content"}), lines=_news),
)


@dataclass(frozen=True)
class JsonLinesFormat:
    """JSON lines. field: the key whose string is the document, None to tell the shape; lang: the side of a translation pair."""

    field: str | None = None
    lang: str = "zh"
    name: str = "jsonl"
    border: re.Pattern[bytes] = re.compile(rb"\n")
    splits_anywhere: bool = False

    def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
        undecoded = ledger.rows_dropped["invalid_utf8"]
        for row, line in decoded_rows(data, first_row, ledger):
            if not line or line.isspace():
                continue
            if line[0] == "\ufeff":  # no JSON begins with it; files put one after the other hold several
                ledger.change_rows(BYTE_ORDER_MARK, (row,))
                line = line[1:]
            try:
                lines = self._lines(line)
            except _Refused as refused:
                ledger.drop_row(row, refused.reason)
                ledger.drop_document(refused.reason)
            else:
                yield Document.of(lines, rows=(row,) * len(lines))
        for _ in range(ledger.rows_dropped["invalid_utf8"] - undecoded):
            ledger.drop_document("invalid_utf8")

    def _lines(self, line: str) -> list[str]:
        value = _decode(line)
        if not isinstance(value, dict):
            raise _Refused("not_an_object")
        if self.field is not None:
            lines = _required(value, self.field)
        else:
            shape = next((shape for shape in SHAPES if shape.keys <= value.keys()), None)
            if shape is None:
                raise _Refused("missing_field")
            lines = shape.lines(value, self.lang)
        if "\\ud" in line or "\\uD" in line:  # nothing else can make a lone surrogate
            lines = [part.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for part in lines]
        return lines


def _decode(line: str) -> Any:
    # How deep the parser may go depends on its caller's stack; a limit of our own gives one outcome everywhere.
    if line.count("{") + line.count("[") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
        raise _Refused("nested_too_deep")
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):
        raise _Refused("invalid_json") from None


def _depth(line: str) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(line):
        first = line[found.start()]
        if first in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif first in "]}":
            depth -= 1
    return deepest
