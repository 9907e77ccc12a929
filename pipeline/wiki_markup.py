"""MediaWiki markup to plain text, one line a paragraph, with the source line of each.

Own code, because the libraries cannot be pointed at strangers' pages: mwparserfromhell 0.7.2 took 392 s for 300 kB of opened and
never closed tables, and read a page of 300 kB at 0.04 MB/s. Templates have to be dropped anyway, for they cannot be expanded
without the wiki. Here every step is linear in the text; nesting deeper than `MAX_DEPTH` is read as text.

What stays: paragraphs, list items, labels of links, text between style tags, one variant of ``-{zh-hans:…;zh-hant:…}-``. What
goes: comments, templates, tables, references, files and categories, formulas, galleries, code, headings (they are listed apart).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

MAX_DEPTH = 100
# XML has no vertical tab, so that it can stand for a line end inside of what was taken out or joined.
_LINE_END = "\v"
_DROPPED_TAGS = (
    "ref|references|math|chem|ce|gallery|timeline|score|syntaxhighlight|source|imagemap|templatestyles|hiero|graph|mapframe|"
    "maplink|inputbox|categorytree|style|script|includeonly|indicator|pre|table"
)
_OPENING = re.compile(rf"<!--|<({_DROPPED_TAGS})\b[^<>]*>|<nowiki\s*/?>|</nowiki>", re.IGNORECASE)
_TOKENS = re.compile(r"\{\{|\}\}|\[\[|\]\]|^[ \t:*#]*\{\||^[ \t]*\|\}(?!\})", re.MULTILINE)
_MEDIA = re.compile(r"\s*(?:file|image|category|media|文件|檔案|档案|图像|圖像|图片|圖片|分类|分類|媒体|媒體)\s*:", re.IGNORECASE)
_OTHER_WIKI = re.compile(r"\s*(?:[a-z]{2,3}|zh-[a-z-]+|simple)\s*:[^|]*$")
_VARIANTS = re.compile(r"-\{([^{}]*)\}-")
_VARIANT = re.compile(r"\s*zh(?:-[a-z]+)?\s*:")
_PREFERRED = ("zh-hans", "zh-cn", "zh")
_HEADING = re.compile(r"\s*(={1,6})(.+?)\1\s*$")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]+([^\[\]]*)\]")
_MAGIC = re.compile(r"__[A-Z\u4e00-\u9fff]{2,30}__")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_QUOTES = re.compile("'{2,}")
_EMPTY_BRACKETS = re.compile(r"[（(][\s,，、;；:：]*[）)]")
_LEFTOVER = re.compile(r"\{\{+|\}\}+|\[\[+|\]\]+|\{\||\|\}")
# Templates that only dress up a text: which of their arguments it is, counted from 1.
_DRESS = {"lang": 2, "nowrap": 1, "nobr": 1, "le": 1, "link-en": 1, "link-ja": 1, "tsl": 3, "internal link helper": 1}


@dataclass(frozen=True, kw_only=True)
class PlainText:
    """paragraphs: (line of the source counted from 0, text), in order, none empty or with a line end; headings: their lines."""

    paragraphs: tuple[tuple[int, str], ...]
    headings: tuple[int, ...]


def plain_text(markup: str) -> PlainText:
    """Return the text of a page. Raises nothing: what cannot be understood is read as text, without its brackets."""
    text = _without_structures(_without_tags(markup.replace(_LINE_END, " ")))
    text = _VARIANTS.sub(_one_variant, text)
    paragraphs: list[tuple[int, str]] = []
    headings: list[int] = []
    number = 0
    for line in text.split("\n"):
        plain = line.strip()
        if plain.startswith("=") and _HEADING.match(plain):
            headings.append(number)
        elif plain and not plain.startswith(("|", "!", "----")) and (plain := _plain_line(plain)):
            paragraphs.append((number, plain))
        number += 1 + line.count(_LINE_END)
    return PlainText(paragraphs=tuple(paragraphs), headings=tuple(headings))


def _line_ends(text: str) -> str:
    return _LINE_END * (text.count("\n") + text.count(_LINE_END))


def _without_tags(text: str) -> str:
    """Take out comments, and elements whose content is no text."""
    parts: list[str] = []
    unclosed: set[str] = set()
    lower = text.lower() if len(text.lower()) == len(text) else text
    at = 0
    while found := _OPENING.search(text, at):
        begin, end = found.span()
        parts.append(text[at:begin])
        name = found[1].lower() if found[1] else ""
        if (name and not found[0].endswith("/>")) or found[0] == "<!--":
            closing = f"</{name}" if name else "-->"
            stop = -1 if closing in unclosed else lower.find(closing, end)
            stop = stop if stop < 0 or not name else lower.find(">", stop) - len(closing) + 1
            if stop < 0:
                unclosed.add(closing)  # looked for once only: what is not there costs one pass
            else:
                end = stop + len(closing)
        parts.append(_line_ends(text[begin:end]))
        at = end
    return "".join((*parts, text[at:]))


def _without_structures(text: str) -> str:
    """Take out templates and tables, and put labels in place of links, innermost first."""
    frames: list[tuple[str, list[str]]] = [("", [])]
    opened = {"{{": 0, "[[": 0, "{|": 0}
    at = 0
    for found in _TOKENS.finditer(text):
        frames[-1][1].append(text[at : found.start()])
        at = found.end()
        token = found[0].strip(" \t:*#")
        if token in opened:
            if len(frames) <= MAX_DEPTH:
                frames.append((token, []))
                opened[token] += 1
            continue
        opener = {"}}": "{{", "]]": "[[", "|}": "{|"}[token]
        if not opened[opener]:
            continue
        index = next(i for i in range(len(frames) - 1, 0, -1) if frames[i][0] == opener)
        content = "".join(part for _, parts in frames[index:] for part in parts)
        for kind, _ in frames[index:]:
            opened[kind] -= 1
        del frames[index:]
        frames[-1][1].append(_CLOSED[opener](content))
    frames[-1][1].append(text[at:])
    return "".join(part for _, parts in frames for part in parts)


def _template(content: str) -> str:
    name, *arguments = content.split("|", 8)
    place = _DRESS.get(name.strip().lower())
    texts = [argument for argument in arguments if "=" not in argument]
    kept = texts[place - 1].strip() if place is not None and len(texts) >= place else ""
    return kept.replace("\n", " ") + _line_ends(content)


def _link(content: str) -> str:
    if _MEDIA.match(content) or _OTHER_WIKI.match(content):
        return _line_ends(content)
    if "\n" in content:  # brackets that do not belong together: no text may be lost between them
        return content
    target, bar, label = content.partition("|")
    if bar and label.strip():
        return label
    return (target.split(" (")[0] if bar else target).lstrip(" :") + _line_ends(label)


_CLOSED = {"{{": _template, "[[": _link, "{|": _line_ends}


def _one_variant(found: re.Match[str]) -> str:
    """Return what ``-{…}-`` shows to a reader of simplified Chinese."""
    content = found[1]
    flags, bar, rule = content.partition("|")
    if bar:
        content = rule if flags.strip() in ("A", "R", "") or _VARIANT.match(flags) else ""
        content = "" if flags.strip() in ("H", "T", "D", "-") else content or rule
    variants = [part.partition(":") for part in content.split(";") if _VARIANT.match(part)]
    if variants:
        by_name = {name.strip(): text.strip() for name, _, text in variants}
        content = next((by_name[name] for name in _PREFERRED if name in by_name), next(iter(by_name.values())))
    return content.replace("\n", " ").replace(_LINE_END, "") + _line_ends(found[0])


def _plain_line(line: str) -> str:
    """Return one line without inline markup; each rule only where its characters are."""
    line = line.lstrip("*#:; ").replace(_LINE_END, "")
    if "[" in line:
        line = _EXTERNAL.sub(r"\1", line)
    if "<" in line:
        line = _TAG.sub(" ", line) if "<br" in line else _TAG.sub("", line)
    if "&" in line:
        line = html.unescape(line)
    if "__" in line:
        line = _MAGIC.sub("", line)
    if "''" in line:
        line = _QUOTES.sub("", line)
    if "(" in line or "（" in line:
        line = _EMPTY_BRACKETS.sub("", line)
    line = _LEFTOVER.sub(" ", line).replace("&nbsp;", " ")
    return " ".join(line.split())
