"""What a fine-tuning starts from: a pretrained checkpoint, a fine-tuned one, or the same network with random weights.

Nothing here imports paddle. Whichever it is, network and tokenizer are those of a checkpoint on disk, whose every byte was
checked; what differs is where the first weights come from, and a score row says so in plain words (`weights`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.checkpoint import STATE, SavedModel, newest_finished_run, resolve_model
from shards.canonical import fingerprint, read_json_object
from shards.errors import MismatchError, UsageError

RUNS = "runs/"
MODEL = "model"
SCORE = "score.json"
PRETRAINED, FINE_TUNED, RANDOM = "pretrained", "fine-tuned", "random"


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head that a fine-tuned checkpoint brings along: it is used where the new task has the same one."""

    task: str
    kind: str
    labels: tuple[str, ...]
    pooling: str

    def fits(self, kind: str, labels: tuple[str, ...], pooling: str) -> bool:
        return (self.kind, self.labels, self.pooling) == (kind, labels, pooling)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the first weights come from.

    saved: the checkpoint that network and tokenizer are taken from. weights: PRETRAINED, FINE_TUNED or RANDOM. name and
    fingerprint identify the start in score rows; random weights have those of network and tokenizer, whatever was trained.
    """

    saved: SavedModel
    weights: str
    name: str
    fingerprint: str
    head: Head | None = None

    @property
    def is_random(self) -> bool:
        return self.weights == RANDOM

    def trained_on(self) -> str:
        """Return one line that names the data sets the weights were pretrained on, as far as the checkpoint knows."""
        if self.is_random:
            return "no data set: random weights"
        if self.saved.published is not None:
            return "data set unknown (published weights)"
        entries = read_json_object(self.saved.path / STATE).get("data")
        named = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
        sets = ", ".join(f"{e.get('name')} {str(e.get('fingerprint'))[:16]}" for e in named)
        return f"data set {sets or 'unknown (the checkpoint names none)'}"


def choose_start(*, model: str | None = None, init_from: str | None = None, random_weights: bool = False) -> Start:
    """Return the start that the options mean, and print which it is.

    model: a run or checkpoint, None: the newest finished run. init_from: a score row's folder, its score.json, or a fine-tuned
    checkpoint. Raises UsageError for options that contradict each other, MismatchError for an `init_from` that was never
    fine-tuned, and pretrain's errors for what is not there or damaged.
    """
    if init_from is not None:
        if model is not None or random_weights:
            other = "--model" if model is not None else "--random-weights"
            raise UsageError(f"--init-from {init_from} and {other} name two starts", hint="Give one of them")
        return _fine_tuned(init_from)
    path = Path(model) if model is not None else newest_finished_run(RUNS)
    saved = resolve_model(path)
    reason = "--model" if model is not None else f"the newest finished run of {RUNS}"
    if random_weights:
        config = saved.config.to_json()
        mark = fingerprint({"weights": RANDOM, "config": config, "tokenizer": saved.tokenizer_hash})
        print(f"model: random weights, in the network and with the tokenizer of {saved.path} ({reason})")
        return Start(saved=saved, weights=RANDOM, name=f"{saved.name}-random", fingerprint=mark)
    print(f"model: {saved.path} (step {saved.step}; {reason})")
    return Start(saved=saved, weights=PRETRAINED, name=saved.name, fingerprint=saved.fingerprint)


def _fine_tuned(given: str) -> Start:
    saved, state = resolve_fine_tuned(given)
    owner = saved.path.resolve().parent
    name = f"{owner.name}-{state['task']}"
    head = Head(
        task=str(state["task"]),
        kind=str(state["task_kind"]),
        labels=tuple(state["labels"]),
        pooling=str(state["settings"]["pooling"]),
    )
    print(f"model: {saved.path} (fine-tuned on {state['task']}, seed {state['seed']}, step {saved.step}; --init-from)")
    return Start(saved=saved, weights=FINE_TUNED, name=name, fingerprint=saved.fingerprint, head=head)


def resolve_fine_tuned(given: str | Path) -> tuple[SavedModel, dict[str, Any]]:
    """Return the fine-tuned checkpoint that a path means, every byte checked, and its state.

    given: a score row's folder, its score.json, or the checkpoint beside it. Raises NotFoundError, CheckpointError for damage,
    MismatchError for a checkpoint that was not fine-tuned.
    """
    path = Path(given)
    if path.name == SCORE:
        path = path.parent
    if (path / SCORE).is_file() or (path / MODEL).is_dir():
        path = path / MODEL
    saved = resolve_model(path)
    state = read_json_object(saved.path / STATE) if saved.published is None else {}
    if state.get("kind") != "fine-tuned":
        raise MismatchError(
            "this checkpoint was pretrained, not fine-tuned: it has no task",
            where=saved.path,
            expected="the folder of a score row, or the model beside it",
            hint="Rows: python -m finetune.table results/",
        )
    return saved, state


def with_dropout(saved: SavedModel, rate: float | None) -> SavedModel:
    """Return the model with another dropout inside the encoder; None leaves it as it is."""
    if rate is None:
        return saved
    return dataclasses.replace(saved, config=dataclasses.replace(saved.config, dropout=rate, attention_dropout=rate))
