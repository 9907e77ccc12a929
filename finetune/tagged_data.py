"""Rows of a tagging task (named entities): CoNLL's columns or JSON lines, to words with their tags and places in a text.

CoNLL: a word a line, its tag in the last column, a blank line after each row. JSON lines, in one of three forms:

    {"tokens": ["北", "京"], "tags": ["B-LOC", "I-LOC"]}
    {"text": "北京", "entities": [{"start": 0, "end": 2, "label": "LOC"}]}         characters, `end` not included
    {"text": "北京", "label": {"LOC": {"北京": [[0, 1]]}}}                         CLUENER: the last character included

Where a row is a text, its words are its characters other than white space. Words are cleaned as pretraining text is, one by one;
those that vanish keep their place as they are. Words are joined by a space unless one of the two neighbours is Chinese.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.checks import repeated
from finetune.errors import TaskDataError
from finetune.json_lines import Record, records
from finetune.lines import lines, opened
from finetune.tags import OUTSIDE, bio, labels_of
from finetune.task import Examples, TaggedWords, Task, TaskInput
from finetune.tsv import no_rows
from pipeline.clean import clean_text

_NAME_THEM = "If that is right, name all types: --labels A,B,…"
_FORMS = "tokens and tags, text and entities, or text and label"


@dataclass(frozen=True, kw_only=True)
class TaggedRow:
    """One row: words as written, a tag for each, and where the tag of the first word stands in the file."""

    words: list[str]
    tags: list[str]
    places: list[str]
    spaced: bool


def load_tagged(name: str, *, train: Path, dev: Path, layout: str, kinds: Sequence[str] = ()) -> TaskInput:
    """Read training and dev rows of a tagging task.

    kinds: the types of entities; none given: those of the training rows, and dev rows must have the same ones. Raises
    NotFoundError, TaskDataError with file:row:column.
    """
    rows, files = {}, {}
    for path in (train, dev):
        rows[path], digest = read_tagged(path, layout)
        files[path.name if path.name not in files else str(path)] = digest
    found = labels_of(tag[2:] for row in rows[train] for tag in row.tags if tag != OUTSIDE)
    labels = labels_of(kinds) if kinds else found
    task = Task(
        name=name, family="", kind="tags", layout=layout, texts=("text",), label="tag", labels=labels,
        metrics=("f1", "precision", "recall"), epochs=5,
    )  # fmt: skip
    if len(found) == 1:
        raise TaskDataError("no training row has an entity: there is nothing to learn", where=rows[train][0].places[0])
    sides = {path: _examples(side, labels) for path, side in rows.items()}
    if not kinds:
        _require_same_kinds(rows[train], rows[dev])
    notes, tally = [f"data: {train} and {dev}", f"entity types: {', '.join(label[2:] for label in labels[1::2])}"], {}
    if again := repeated(sides[train], sides[dev]):
        tally["dev_rows_in_train"] = len(again)
        notes.append(
            f"warning: {len(again):,} of {len(sides[dev]):,} dev rows are training rows too, the first at "
            f"{rows[dev][again[0]].places[0]}: the score flatters"
        )
    return TaskInput(task=task, train=sides[train], dev=sides[dev], files=files, notes=tuple(notes), tally=tally)


def _require_same_kinds(train: Sequence[TaggedRow], dev: Sequence[TaggedRow]) -> None:
    """Raise TaskDataError, naming a training row, when the dev rows lack a type; one too many was found before."""
    seen = {tag[2:] for row in dev for tag in row.tags}
    for row in train:
        for tag, place in zip(row.tags, row.places, strict=True):
            if tag != OUTSIDE and tag[2:] not in seen:
                raise TaskDataError(
                    f"the types of entities in training and dev rows differ: no dev row has {tag[2:]!r}", where=place,
                    hint=_NAME_THEM,
                )  # fmt: skip


def _examples(rows: Sequence[TaggedRow], labels: Sequence[str]) -> Examples:
    number = {label: i for i, label in enumerate(labels)}
    texts, words = [], []
    for row in rows:
        for tag, place in zip(row.tags, row.places, strict=True):
            if tag not in number:
                known = ", ".join(label[2:] for label in labels[1::2])
                raise TaskDataError("an unknown type of entity", where=place, expected=known, got=tag[2:], hint=_NAME_THEM)
        text, begins, ends = _joined(row)
        texts.append(text)
        words.append(TaggedWords(begins=begins, ends=ends, tags=tuple(number[tag] for tag in row.tags)))
    return Examples(texts_a=texts, texts_b=None, labels=[], words=words)


def _joined(row: TaggedRow) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return a row's text and the place of each word in it."""
    text, begins, ends = "", [], []
    for word in row.words:
        word = clean_text(word) or word
        if row.spaced and text and text[-1] < "\u2e80" and word[0] < "\u2e80":
            text += " "
        begins.append(len(text))
        text += word
        ends.append(len(text))
    return text, tuple(begins), tuple(ends)


def read_tagged(path: Path, layout: str) -> tuple[list[TaggedRow], str]:
    """Return the rows of a file and its sha256; `layout` is ``conll`` or ``json``. Raises NotFoundError, TaskDataError."""
    digest = hashlib.sha256()
    rows = list(_conll(path, digest) if layout == "conll" else _json(path, digest))
    if not rows:
        raise no_rows(path)
    return rows, digest.hexdigest()


def _conll(path: Path, digest: hashlib._Hash) -> Iterator[TaggedRow]:
    words: list[str] = []
    tags: list[str] = []
    places: list[str] = []
    with opened(path) as file:
        for row, text in lines(file, path, digest):
            if text.strip() and not text.startswith("-DOCSTART-"):
                fields = text.split("\t") if "\t" in text else text.split(" ")
                where = f"{path}:{row}:{len(fields)}"
                if len(fields) < 2 or not fields[0].strip():
                    raise TaskDataError("a word and its tag expected", where=where, got=repr(text[:40]))
                words.append(fields[0])
                tags.append(_tag(fields[-1], where))
                places.append(where)
            elif words:
                yield TaggedRow(words=words, tags=tags, places=places, spaced=True)
                words, tags, places = [], [], []
    if words:
        yield TaggedRow(words=words, tags=tags, places=places, spaced=True)


def _tag(text: object, where: str) -> str:
    tag = bio(text.strip()) if isinstance(text, str) else None
    if tag is None:
        raise TaskDataError("not a tag", where=where, expected="O, B-TYPE or I-TYPE (or BIOES, BMES)", got=repr(text)[:80])
    return tag


def _json(path: Path, digest: hashlib._Hash) -> Iterator[TaggedRow]:
    for row, record in records(path, digest):
        where = f"{path}:{row}"
        if "tokens" in record:
            yield _of_tokens(record, where)
        elif isinstance(record.get("text"), str) and record["text"].strip():
            if "entities" in record:
                yield _of_text(record["text"], list(_spans(record["entities"], f"{where}:entities")), f"{where}:entities")
            else:
                yield _of_text(record["text"], list(_cluener(record.get("label"), f"{where}:label")), f"{where}:label")
        else:
            raise TaskDataError("no row of a tagging task", where=f"{where}:text", expected=_FORMS, got=", ".join(record)[:80])


def _of_tokens(record: Record, where: str) -> TaggedRow:
    words, tags = record["tokens"], record.get("tags")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise TaskDataError("not a list of words", where=f"{where}:tokens", got=repr(words)[:80])
    if not isinstance(tags, list) or len(tags) != len(words):
        got = len(tags) if isinstance(tags, list) else repr(tags)[:80]
        raise TaskDataError("as many tags as tokens expected", where=f"{where}:tags", expected=len(words), got=got)
    place = f"{where}:tags"
    return TaggedRow(words=words, tags=[_tag(tag, place) for tag in tags], places=[place] * len(words), spaced=True)


def _spans(value: Any, where: str) -> Iterator[tuple[str, int, int]]:
    for entity in value if isinstance(value, list) else [value]:
        kind = entity.get("label", entity.get("type")) if isinstance(entity, dict) else None
        begin, end = (entity.get("start"), entity.get("end")) if isinstance(entity, dict) else (None, None)
        if not isinstance(kind, str) or not kind or not isinstance(begin, int) or not isinstance(end, int):
            raise TaskDataError("an entity is an object with start, end and label", where=where, got=repr(entity)[:80])
        yield kind, begin, end


def _cluener(value: Any, where: str) -> Iterator[tuple[str, int, int]]:
    """Yield (type, begin, end) of a row of CLUENER, whose ends are the last characters."""
    for kind, mentions in _items(value, where):
        for _, spans in _items(mentions, where):
            for span in spans if isinstance(spans, list) else [spans]:
                if not isinstance(span, list) or len(span) != 2 or not all(isinstance(place, int) for place in span):
                    raise TaskDataError("a mention is [first, last]", where=where, got=repr(span)[:80])
                yield kind, span[0], span[1] + 1


def _items(value: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise TaskDataError("an object of types, each with its mentions, expected", where=where, got=repr(value)[:80])
    return list(value.items())


def _of_text(text: str, spans: list[tuple[str, int, int]], where: str) -> TaggedRow:
    """Return the row of a text: a word a character, white space left out."""
    tags = [OUTSIDE] * len(text)
    for kind, begin, end in spans:
        if not 0 <= begin < end <= len(text):
            raise TaskDataError(
                "an entity outside of its text", where=where, expected=f"0 to {len(text)}", got=f"{begin} to {end}"
            )
        if any(tag != OUTSIDE for tag in tags[begin:end]):
            raise TaskDataError("entities overlap", where=where, got=f"{kind} at {begin} to {end}", hint="Keep one of them")
        tags[begin:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - begin - 1)]
    kept = [i for i, character in enumerate(text) if not character.isspace()]
    return TaggedRow(words=[text[i] for i in kept], tags=[tags[i] for i in kept], places=[where] * len(kept), spaced=False)
