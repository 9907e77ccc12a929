"""A corpus from the hub, through `datasets`: its rows are written once, as JSON lines, below the build's work folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from pipeline.errors import HubError
from shards.durable import commit_stream
from shards.reach import prepare_hub

_PROBE_ROWS = 10_000


def export_from_hub(hub_id: str, config: str | None, rows_are: str, work: Path, looked: str) -> Path:
    """Write the train split of a hub data set to a file and return it; a file that is there already is used again.

    Rows that are documents become JSON lines; rows that are lines of text become text, where blank rows part documents.
    Raises HubError within seconds when the hub does not answer and the local cache of `datasets` has nothing; `looked` says
    where else was looked, and how to pass local files.
    """
    ending = ".jsonl" if rows_are == "documents" else ".txt"
    target = work / (f"{hub_id}-{config or 'default'}".replace("/", "--") + ending)
    if target.is_file():
        return target
    problem = prepare_hub()
    import datasets

    try:
        rows = datasets.load_dataset(hub_id, config, split="train")
    except Exception as error:  # `datasets` raises from every library below it
        reason = problem or f"{type(error).__name__}: {error}"
        raise HubError(
            f"cannot load {hub_id} from the hub", got=" ".join(reason.split())[:300], hint=f"Also, {looked}"
        ) from error
    if "text" not in rows.column_names:
        raise HubError(f"{hub_id} has no column 'text'", got=", ".join(rows.column_names), hint=f"Also, {looked}")
    texts = (str(row["text"]) for row in rows)
    encoded = _json_lines(texts) if rows_are == "documents" else _text_lines(texts)
    with commit_stream(target) as file:
        for line in encoded:
            file.write(line)
    return target


def _json_lines(texts: Iterator[str]) -> Iterator[bytes]:
    for text in texts:
        yield (json.dumps({"text": text}, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _text_lines(texts: Iterator[str]) -> Iterator[bytes]:
    # A copy that has lost the blank rows has lost the documents too: then every row has to stand for itself.
    probe = list(islice(texts, _PROBE_ROWS))
    own_documents = all(text.strip() for text in probe)
    for text in chain(probe, texts):
        line = " ".join(text.split("\n")).strip()
        yield (line + ("\n\n" if own_documents else "\n")).encode("utf-8", "replace")
