"""Remains of wiki markup in one line: what an extractor left behind, and only where it cannot be anything else.

Corpora of Wikipedia text are made by extractors that miss unbalanced templates, tables and links. Single brackets, single
equals signs, `|` in running text and angle brackets around unknown names are left alone: prose and code hold them too.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.entities import html5

MARKUP_RULE = "remove_wiki_markup@1"
# Every form below holds at least one of these characters, or two apostrophes, or is a line that begins with one of those.
MARKUP_CHARACTERS = r"\[{<&"
MARKUP_BEGINNINGS = "!|#=}]"

_MAX_PASSES = 16  # nesting deeper than this is not text
_ALL = re.compile(r"[\[\]{}<&=|#]|''+|!!+")

# Lines that are markup as a whole: table starts, rows and ends; cells and headers with attributes; headers of several cells;
# parser functions; and lines of nothing but brackets and bars. No pattern here looks back further than its own start on failure:
# a giant hostile line costs linear time.
_LINE = re.compile(
    r"(?:\{\||\|-|\|\}"
    r"|[!|][^|]{0,200}\b(?:style|colspan|rowspan|align|valign|bgcolor|width|class|scope)\s*="
    r"|#(?:if|ifeq|ifexist|ifexpr|iferror|switch|expr|invoke|tag|titleparts|time)\s*:)",
    re.IGNORECASE,
)
_PUNCTUATION = " {}[]|!:,.#*-"
_BRACKETS = ("|", "{{", "}}", "[[", "]]")
_HEADING = re.compile(r"(={2,6})\s*([^=].*?)\s*\1")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_COMMENT = re.compile(r"<!--(?:(?!<!--|-->).)*-->")
_REFERENCE = re.compile(r"<ref(?:\s[^<>]*)?/>|<ref(?:\s[^<>]*)?>[^<]*(?:<(?!/?ref)[^<]*)*</ref\s*>", re.IGNORECASE)
_BREAK = re.compile(r"</?(?:br|hr|div|table|tr|td|th|ul|ol|li|dl|dd|dt|gallery|poem|blockquote)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:ref|references|nowiki|noinclude|includeonly|onlyinclude|small|big|sub|sup|center|font|span|math"
    r"|score|timeline|imagemap|syntaxhighlight)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\[\[\s*:?(?:file|image|media|category|文件|檔案|档案|图像|圖像|图片|圖片|分类|分類)\s*:[^\[\]]*(?:\]\]|$)", re.IGNORECASE
)
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)*([^\[\]|]*)\]\]")
_ADDRESS = re.compile(r"\[(?:https?:)?//[^\s\[\]]+(?: ([^\[\]]*))?\]")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_QUOTES = re.compile(r"''+")
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_VARIANT_NAME = re.compile(r"\s*(zh(?:-[a-z]{2,4})?)\s*:\s*", re.IGNORECASE)


def remove_markup(text: str, clean: Callable[[str], str]) -> str:
    """Return a line without markup, cleaned by `clean` (an idempotent function of the line's characters) after each pass.

    Passes go on until nothing changes, so that the result is a fixed point: what was nested is taken apart from the inside, and
    an entity may become a tag that goes as well. After 16 passes whatever could still be markup is deleted character by
    character, which bounds the work on hostile input.
    """
    for _ in range(_MAX_PASSES):
        if not _is_suspect(text):
            return text
        after = clean(_one_pass(text))
        if after == text:
            return text
        text = after
    return clean(_ALL.sub(" ", text))


def _is_suspect(text: str) -> bool:
    # Spelled out: five looks for one character each are a tenth of the time of a pattern that looks for any of them.
    return (
        "[" in text or "{" in text or "<" in text or "&" in text or "''" in text
        or (text != "" and text[0] in MARKUP_BEGINNINGS)
    )  # fmt: skip


def _one_pass(text: str) -> str:
    if _LINE.match(text) or (text[0] == "!" and "!!" in text) or _is_punctuation(text):
        return ""
    if heading := _HEADING.fullmatch(text):
        text = heading[2]
    if "&" in text:
        text = _ENTITY.sub(_unescaped, text)
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub(" ", _REFERENCE.sub("", _COMMENT.sub("", text))))
    if "{" in text:
        text = _TEMPLATE.sub("", _VARIANT.sub(_variant, text))
    if "[" in text:
        text = _ADDRESS.sub(r"\1", _LINK.sub(r"\1", _FILE.sub("", text)))
    return _QUOTES.sub("", text) if "''" in text else text


def _is_punctuation(text: str) -> bool:
    return not text.strip(_PUNCTUATION) and any(mark in text for mark in _BRACKETS)


def _unescaped(found: re.Match[str]) -> str:
    entity = found[0]
    return html.unescape(entity) if entity[1] == "#" or entity[1:] in html5 else entity


def _variant(found: re.Match[str]) -> str:
    """Return the mainland reading of ``-{zh-hans:…; zh-hant:…}-``, else the first one; nothing for rules that show nothing."""
    flags, bar, body = found[1].partition("|")
    if not bar:
        body = flags
    elif set(flags.strip().upper()) & set("HTD-"):
        return ""
    readings: dict[str, str] = {}
    for part in body.split(";"):
        name = _VARIANT_NAME.match(part)
        if name:
            readings.setdefault(name[1].lower(), part[name.end() :].strip())
    for wanted in ("zh-hans", "zh-cn", "zh"):
        if wanted in readings:
            return readings[wanted]
    return next(iter(readings.values())) if readings else body.strip()
