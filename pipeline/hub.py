"""A corpus from the hub, through `datasets`: its rows are written once, as JSON lines, below the build's work folder.

While the hub answers, rows are streamed: 14 GB of text then cost 14 GB of disk, and not a second copy in the cache of `datasets`;
memory holds a batch of rows. When it does not, the cache is all there is, and is read memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pipeline.errors import HubError
from pipeline.format_json import SHAPES
from shards.durable import commit_stream
from shards.reach import prepare_hub

_PROBE_ROWS = 10_000


def export_from_hub(hub_id: str, config: str | None, rows_are: str, work: Path, looked: str, field: str | None = None) -> Path:
    """Write the train split of a hub data set to a file and return it; a file that is there already is used again.

    hub_id: an identifier of the hub, or a folder that `datasets.load_dataset` reads. The text is in column `field`, else in
    ``text``; else the columns have to be those of a shape that the JSON reader knows, and are all written.
    Rows that are documents become JSON lines; rows that are lines of text become text, where blank rows part documents.
    Raises HubError within seconds when the hub does not answer and the local cache of `datasets` has nothing; `looked` says
    where else was looked, and how to pass local files.
    """
    ending = ".jsonl" if rows_are == "documents" else ".txt"
    name = f"{hub_id}-{config or 'default'}" + (f"-{field}" if field else "")
    # Two identifiers may not meet in one file name, as a--b and a/b would.
    target = work / (name.replace("/", "--")[-100:] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8] + ending)
    if target.is_file():
        return target
    local = Path(hub_id).is_dir()
    problem = None if local else prepare_hub()
    import datasets

    try:
        rows = datasets.load_dataset(hub_id, config, split="train", streaming=local or problem is None)
        first = next(iter(rows), None)
        columns = list(first or rows.column_names or ())
        column = field or ("text" if "text" in columns else None)
        if column in columns:
            rows = rows.select_columns([column])
    except Exception as error:  # `datasets` raises from every library below it
        raise _cannot_load(hub_id, error, problem, looked) from error
    whole = column is None and rows_are == "documents" and any(shape.keys <= set(columns) for shape in SHAPES)
    if not whole and column not in columns:
        raise HubError(
            f"{hub_id} has no column {column or 'text'!r}",
            got=", ".join(columns),
            hint=f"Name one: --field COLUMN. Also, {looked}",
        )
    if rows_are == "documents":
        encoded = _json_lines(rows, None if whole else column)
    else:
        encoded = _text_lines(_as_text(row[column]) for row in rows)
    with commit_stream(target) as file:
        try:
            for line in encoded:
                file.write(line)
        except OSError:
            raise  # the disk, or a connection: both say themselves what they are
        except Exception as error:
            raise _cannot_load(hub_id, error, problem, looked) from error
    return target


def _cannot_load(hub_id: str, error: Exception, problem: str | None, looked: str) -> HubError:
    reason = problem or f"{type(error).__name__}: {error}"
    return HubError(f"cannot load {hub_id} from the hub", got=" ".join(reason.split())[:300], hint=f"Also, {looked}")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _json_lines(rows: Any, column: str | None) -> Iterator[bytes]:
    """Yield rows as JSON, the text of `column` as ``text``; what is no string stays so, for the reader to name and count."""
    for row in rows:
        value = row if column is None else {"text": row[column]}
        yield (json.dumps(value, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace")


def _text_lines(texts: Iterator[str]) -> Iterator[bytes]:
    # A copy that has lost the blank rows has lost the documents too: then every row has to stand for itself.
    probe = list(islice(texts, _PROBE_ROWS))
    own_documents = all(text.strip() for text in probe)
    for text in chain(probe, texts):
        line = " ".join(text.split("\n")).strip()
        yield (line + ("\n\n" if own_documents else "\n")).encode("utf-8", "replace")
