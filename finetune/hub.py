"""GLUE from the hub, through `datasets`; without a network it says so within ten seconds.

`datasets` retries for minutes when nothing answers, so the hub is asked for one reply first, under a deadline that holds for
name resolution too. When there is none, the local cache of `datasets` is tried, with its network use switched off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from finetune.checks import repeated
from finetune.errors import HubError, TaskDataError
from finetune.read import parse_label
from finetune.task import Examples, Task, TaskInput
from shards.canonical import canonical_json
from shards.reach import prepare_hub


def load_from_hub(task: Task, hub_id: str, *, looked: Iterable[str] = ()) -> TaskInput:
    """Return the rows of a task as the hub has them. Raises HubError, or TaskDataError for rows that are no rows of the task."""
    if task.hub_config is None:
        raise HubError(f"{task.name} is not on the hub", got=hub_id, hint=_how_to_go_on(task, looked))
    problem = prepare_hub()
    import datasets

    digests: dict[str, str] = {}

    def read(split: str) -> Examples:
        try:
            rows = datasets.load_dataset(hub_id, task.hub_config, split=split)
        except Exception as error:  # `datasets` raises from every library below it
            reason = problem or f"{type(error).__name__}: {error}"
            raise HubError(
                f"cannot load {task.hub_config} of {hub_id} from the hub",
                got=" ".join(reason.split())[:300],
                hint=_how_to_go_on(task, looked),
            ) from error
        place = f"{hub_id}/{task.hub_config}/{split}"
        examples = examples_of(task, rows, rows.features, place)
        digests[f"{split}.jsonl"] = digest_of(examples)
        return examples

    train, dev = read("train"), read(task.hub_dev)
    # The hub has the second dev set of MNLI; the labelled diagnostic is not on it.
    other_dev = {split.name: read(f"validation_{split.name}") for split in task.other_dev if split.metrics is None}
    notes = [f"data: {hub_id} ({task.hub_config}) " + ("from the cache of `datasets`" if problem else "from the hub")]
    tally = {}
    if again := repeated(train, dev):
        tally["dev_rows_in_train"] = len(again)
        notes.append(f"warning: {len(again):,} of {len(dev):,} dev rows are training rows too: the score flatters")
    return TaskInput(task=task, train=train, dev=dev, other_dev=other_dev, files=digests, notes=tuple(notes), tally=tally)


def examples_of(task: Task, rows: Iterable[Mapping[str, Any]], features: Mapping[str, Any], place: str) -> Examples:
    """Return hub rows as examples. Class numbers are read through the names the hub gives them, never by position alone.

    Raises TaskDataError naming place:row:column.
    """
    columns = (*(task.hub_texts or task.texts), "label")
    for column in columns:
        if column not in features:
            raise TaskDataError("missing column", where=place, expected=repr(column), got=", ".join(sorted(features)))
    names: list[str] | None = getattr(features["label"], "names", None)
    texts: tuple[list[str], ...] = tuple([] for _ in columns[:-1])
    labels: list[float] = []
    for row, record in enumerate(rows, 1):
        for column, values in zip(columns, texts, strict=False):
            text = record[column]
            if not isinstance(text, str):
                raise TaskDataError("not a text", where=f"{place}:{row}:{column}", got=repr(text)[:80])
            values.append(text)
        raw = record["label"]
        label = None
        if isinstance(raw, int) and names is not None and 0 <= raw < len(names) and names[raw] in task.labels:
            label = parse_label(task, names[raw])
        elif isinstance(raw, (int, float)) and not isinstance(raw, bool):
            label = parse_label(task, str(raw))
        if label is None:
            raise TaskDataError(f"not a label of {task.name}", where=f"{place}:{row}:label", got=repr(raw)[:80])
        labels.append(label)
    if not labels:
        raise TaskDataError("no rows", where=place)
    return Examples(texts_a=texts[0], texts_b=texts[1] if len(texts) == 2 else None, labels=labels)


def digest_of(examples: Examples) -> str:
    """Return the sha256 of the rows, one canonical JSON list a line: the hub keeps no file of the task's own to hash."""
    digest = hashlib.sha256()
    for index, text in enumerate(examples.texts_a):
        pair = [] if examples.texts_b is None else [examples.texts_b[index]]
        digest.update(canonical_json([text, *pair, examples.labels[index]]) + b"\n")
    return digest.hexdigest()


def _how_to_go_on(task: Task, looked: Iterable[str]) -> str:
    tried = ", ".join(looked)
    return (
        (f"No files in {tried} either. " if tried else "")
        + f"Give --data-dir DIR, a folder that holds {task.train_files[0]} and {task.dev.files[0]}; or set WORDLOOM_DATA to "
        f"the folder above {task.places[0]}; or try the embedded sample: --task SST-2 --data sample"
    )
