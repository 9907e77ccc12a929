"""From a task's rows and a checkpoint to a committed score row; every command of this package ends here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune.encode import EncodedRows, encode, require_known
from finetune.score import SeedScore, commit_row, row_folder, score_row, summary
from finetune.settings import Settings
from finetune.task import Examples, Task, TaskInput
from pipeline.load_tokenizer import load_tokenizer
from pipeline.tokenizer import Tokenizer
from pretrain.checkpoint import STATE, Contents, SavedModel, Tensors, write_checkpoint
from pretrain.environment import start
from pretrain.signals import StopSignals
from shards.canonical import fingerprint, read_json_object
from shards.counter import Purpose, fold
from shards.durable import remove_tree, sweep
from shards.errors import MismatchError, UsageError
from shards.lock import exclusive, lock_path
from shards.order import Permutation

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A committed score row, and where."""

    row: dict[str, Any]
    path: Path

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.row)


class Job:
    """Encoded rows, ready to be trained on with any number of seeds."""

    def __init__(self, task: Task, data: TaskInput, saved: SavedModel, settings: Settings, *, allow_unk: bool) -> None:
        """Encode every row, without paddle.

        Raises UsageError for a length the network has no positions for, MismatchError for a tokenizer that is not the
        checkpoint's, UnknownTextError for text that is mostly unknown.
        """
        self._task, self._data, self._saved, self._settings = task, data, saved, settings
        self._tokenizer = _tokenizer_of(saved)
        if settings.max_seq_len > saved.config.max_positions:
            raise UsageError(
                f"the network has only {saved.config.max_positions} positions",
                expected=f"--max-seq-len of at most {saved.config.max_positions}",
                got=settings.max_seq_len,
            )
        examples = subset(data.train, settings.max_train_rows)
        self._train = self._encode(examples)
        print(
            f"rows: {len(self._train):,} to train on, {len(data.dev):,} to score; {self._train.cut:,} training rows cut to "
            f"{settings.max_seq_len} tokens; [UNK] {self._train.unknown_share:.2%} of {self._train.tokens:,} tokens"
        )
        require_known(self._train, examples, self._tokenizer, task=task.name, allow=allow_unk)
        self._dev_sets = {"": self._encode(data.dev)}
        self._dev_sets |= {name: self._encode(examples) for name, examples in data.other_dev.items()}

    def _encode(self, examples: Examples) -> EncodedRows:
        length, regression = self._settings.max_seq_len, self._task.is_regression
        return encode(examples, self._tokenizer, max_seq_len=length, regression=regression)

    def run(self, seeds: Sequence[int], *, device: str, logging_steps: int, out: Path) -> Result:
        """Train and score once a seed, commit the first seed's model and the row, and print what there is to know."""
        place = start(device, say=print).device  # prepares the process, so it comes before the import of paddle
        from finetune.train import FineTuning

        out.mkdir(parents=True, exist_ok=True)  # a place that cannot be written to is noticed now, not after the training
        scores: list[SeedScore] = []
        weights: Tensors = {}
        with StopSignals() as signals:
            for number, seed in enumerate(seeds, 1):
                print(f"seed {seed} ({number} of {len(seeds)})")
                tuning = FineTuning(self._task, self._saved, self._settings, seed)
                scores.append(tuning.train(self._train, self._dev_sets, logging_steps=logging_steps, stop=signals.poll))
                weights = weights or tuning.weights()
        row = score_row(
            scores,
            task=self._task.name,
            primary=self._task.metrics[0],
            model=self._saved.name,
            checkpoint_fingerprint=self._saved.fingerprint,
            data_fingerprint=self._data.fingerprint,
            settings={**self._settings.to_json(), "device": place.partition(":")[0]},
        )
        row["rows"] = {"train": len(self._train), "dev": len(self._dev_sets[""])}
        row["unknown_share"] = self._train.unknown_share
        folder = row_folder(out, row)
        with exclusive(lock_path(folder)):
            row["fine_tuned_fingerprint"] = self._save_model(folder, weights, scores[0])
            path = commit_row(folder, row)
        self._report(row, path)
        return Result(row=row, path=path)

    def _save_model(self, folder: Path, weights: Tensors, score: SeedScore) -> str:
        """Commit the fine-tuned network beside the row; return its fingerprint."""
        target = folder / MODEL
        if folder.is_dir():
            sweep(folder)
            remove_tree(target)
        contents = Contents(
            step=score.steps,
            model=weights,
            optimizer=None,
            state={
                "kind": "fine-tuned",
                "task": self._task.name,
                "labels": list(self._task.labels),
                "seed": score.seed,
                "tokenizer_hash": self._saved.tokenizer_hash,
                "encoder_fingerprint": self._saved.fingerprint,
                "data_fingerprint": self._data.fingerprint,
                "settings": self._settings.to_json(),
            },
            config=self._saved.config,
            tokenizer_files=self._tokenizer.files(),
        )
        return write_checkpoint(target, contents).fingerprint

    def _report(self, row: dict[str, Any], path: Path) -> None:
        print("\n".join(summary(row)))
        print(f"data set {_trained_on(self._saved)}")
        print(f"  -> checkpoint {self._saved.name} step {self._saved.step} {self._saved.fingerprint[:16]}")
        print(f"  -> task data {row['data_fingerprint'][:16]} -> {path}")


def _trained_on(saved: SavedModel) -> str:
    if saved.published is not None:
        return "unknown (published weights)"
    entries = read_json_object(saved.path / STATE).get("data")
    named = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return ", ".join(f"{e.get('name')} {str(e.get('fingerprint'))[:16]}" for e in named) or "unknown (the checkpoint names none)"


def subset(examples: Examples, rows: int | None) -> Examples:
    """Return `rows` of the examples, a keyed choice that no seed changes, in file order; all of them for None."""
    if rows is None or rows >= len(examples):
        return examples
    chosen = Permutation(len(examples), fold(Purpose.FINETUNE, Purpose.SUBSET)).at(np.arange(rows, dtype=np.int64))
    return examples.take(sorted(chosen.tolist()))


def _tokenizer_of(saved: SavedModel) -> Tokenizer:
    tokenizer = load_tokenizer(saved.tokenizer_folder)
    if tokenizer.hash != saved.tokenizer_hash:
        raise MismatchError(
            "the tokenizer in the checkpoint is not the one it was trained with",
            where=saved.tokenizer_folder,
            expected=saved.tokenizer_hash,
            got=tokenizer.hash,
        )
    if tokenizer.vocab_size > saved.config.vocab_size:
        raise MismatchError(
            "the tokenizer has more tokens than the network",
            where=saved.path,
            expected=f"at most {saved.config.vocab_size:,}",
            got=f"{tokenizer.vocab_size:,}",
        )
    return tokenizer
