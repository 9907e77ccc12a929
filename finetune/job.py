"""One job: a task, a setting, a seed. Rows are encoded once for all of them; a finished job is kept and never run again.

    results/<task>/jobs/<start>-<identity8>-seed<seed>/job.json    what it was (identity), what it gave
                                                       log.txt     its log lines
                                                       model/      the weights at its best evaluation, while a row may want them

A job's identity holds all that decides its score: task, starting weights, data, every setting, seed, and the project's version.
The number of threads is not in it: it belongs to the machine, changes the order of additions only, and is recorded with the
result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from finetune.encode import EncodedRows, encode, require_known
from finetune.initial import MODEL, Start
from finetune.precision import require_device
from finetune.score import SeedScore
from finetune.settings import Settings
from finetune.task import Examples, Task, TaskInput
from pipeline.load_tokenizer import load_tokenizer
from pipeline.tokenizer import Tokenizer
from pretrain.checkpoint import Contents, SavedModel, Tensors, verify_checkpoint, write_checkpoint
from pretrain.environment import start as start_paddle
from pretrain.errors import CheckpointError
from shards import __version__
from shards.canonical import fingerprint, pretty_json, read_json_object
from shards.counter import Purpose, fold
from shards.durable import commit_bytes, remove_tree, sweep
from shards.errors import MismatchError, UsageError, WordloomError
from shards.order import Permutation

ROTARY = ("roformer", "roformer_v2")
JOBS, JOB, LOG = "jobs", "job.json", "log.txt"


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """A task's rows as ids, ready for any setting of one length, and where its jobs start.

    dev_sets: the first one is called "" and decides. available, dev_available: training rows and dev rows there were before a
    subset was taken.
    """

    task: Task
    start: Start
    train: EncodedRows
    dev_sets: Mapping[str, EncodedRows]
    available: int
    dev_available: int
    tally: Mapping[str, int]
    data_fingerprint: str
    tokenizer_files: Mapping[str, bytes]


def prepare(task: Task, data: TaskInput, start: Start, settings: Settings, *, allow_unk: bool) -> TaskRows:
    """Encode every row, without paddle.

    Raises UsageError for a length the network has no positions for, MismatchError for a tokenizer that is not the
    checkpoint's, UnknownTextError for text that is mostly unknown.
    """
    tokenizer = tokenizer_of(start.saved)
    start = with_positions(start, settings.max_seq_len)

    def encoded(examples: Examples) -> EncodedRows:
        return encode(examples, tokenizer, max_seq_len=settings.max_seq_len, regression=task.is_regression)

    examples = subset(data.train, settings.max_train_rows)
    train = encoded(examples)
    dev_sets = {
        name: encoded(subset(examples, settings.max_dev_rows)) for name, examples in {"": data.dev, **data.other_dev}.items()
    }
    print(
        f"rows: {len(train):,} to train on, {len(dev_sets['']):,} to score; {train.cut:,} training rows cut to "
        f"{settings.max_seq_len} tokens; [UNK] {train.unknown_share:.2%} of {train.tokens:,} tokens"
    )
    require_known(train, examples, tokenizer, task=task.name, allow=allow_unk)
    return TaskRows(
        task=task, start=start, train=train, dev_sets=dev_sets, available=len(data.train), dev_available=len(data.dev),
        tally=data.tally, data_fingerprint=data.fingerprint,
        tokenizer_files=tokenizer.files(),
    )  # fmt: skip


def subset(examples: Examples, rows: int | None) -> Examples:
    """Return `rows` of the examples, a keyed choice that no seed changes, in file order; all of them for None."""
    if rows is None or rows >= len(examples):
        return examples
    chosen = Permutation(len(examples), fold(Purpose.FINETUNE, Purpose.SUBSET)).at(np.arange(rows, dtype=np.int64))
    return examples.take(sorted(chosen.tolist()))


def with_positions(start: Start, length: int) -> Start:
    """Return the start with room for rows of `length` tokens: rotary positions have no end, and their network is told so.

    Raises UsageError for a network whose positions are a table of weights, which ends.
    """
    config = start.saved.config
    if length <= config.max_positions:
        return start
    if config.architecture not in ROTARY:
        raise UsageError(
            f"the network has only {config.max_positions} positions",
            expected=f"--max-seq-len of at most {config.max_positions}",
            got=length,
            hint="A RoFormer's positions have no end",
        )
    print(f"positions: {length}; the network was made for {config.max_positions}, and its rotary positions go on beyond that")
    return replace(start, saved=replace(start.saved, config=replace(config, max_positions=length)))


def tokenizer_of(saved: SavedModel) -> Tokenizer:
    """Return the checkpoint's tokenizer. Raises MismatchError when it is not the one the network was trained with."""
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


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run: `rows` is the number of its `TaskRows` in the list of all; `threads` it may use, `device` as asked for."""

    rows: int
    settings: Settings
    seed: int
    device: str
    threads: int
    logging_steps: int

    def identity(self, rows: TaskRows) -> dict[str, Any]:
        task = rows.task
        return {
            "task": task.name,
            "kind": task.kind,
            "labels": list(task.labels),
            "metrics": list(task.metrics),
            "start": {"weights": rows.start.weights, "fingerprint": rows.start.fingerprint},
            "data_fingerprint": rows.data_fingerprint,
            "settings": self.settings.to_json(),
            "seed": self.seed,
            "device": self.device,
            "version": __version__,
        }


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job gave: scores, the weights at its best evaluation, how many weights there are, and how it was computed."""

    score: SeedScore
    weights: Tensors
    parameters: int
    device: str
    threads: int
    elapsed_s: float
    log: tuple[str, ...]


def start_device(job: Job) -> str:
    """Prepare this process for a job, import paddle, return the device. Raises DeviceError, also for half precision on a CPU."""
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    place = start_paddle(job.device).device
    require_device(job.settings.amp, place)
    return place


def run_job(job: Job, rows: TaskRows, *, stop: Callable[[], int | None], say: Callable[[str], None]) -> JobResult:
    """Train and score once, in this process; log lines go to `say` as well. Raises DivergenceError, Interrupted."""
    place = start_device(job)  # prepares the process, so it comes before the import of paddle
    from finetune.train import FineTuning

    begun, log = time.perf_counter(), list[str]()

    def both(line: str) -> None:
        log.append(line)
        say(line)

    tuning = FineTuning(rows.task, rows.start, job.settings, job.seed, say=both)
    score = tuning.train(rows.train, rows.dev_sets, logging_steps=job.logging_steps, stop=stop, say=both)
    return JobResult(
        score=score, weights=tuning.best_weights(), parameters=tuning.parameters, device=place.partition(":")[0],
        threads=int(os.environ["OMP_NUM_THREADS"]), elapsed_s=time.perf_counter() - begun, log=tuple(log),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A finished job on disk."""

    folder: Path
    score: SeedScore
    parameters: int
    device: str
    threads: int

    @property
    def model(self) -> Path | None:
        """The folder of its weights, None once no row wants them."""
        return self.folder / MODEL if (self.folder / MODEL).is_dir() else None


class JobStore:
    """Finished jobs below the folder of score rows."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def folder(self, job: Job, rows: TaskRows) -> Path:
        mark = fingerprint(job.identity(rows))[:12]
        return self._out / rows.task.name / JOBS / f"{rows.start.name}-{mark}-seed{job.seed}"

    def find(self, job: Job, rows: TaskRows) -> StoredJob | None:
        """Return the job if it is finished. A record that is damaged or of another job counts as none, and this is said."""
        folder = self.folder(job, rows)
        if not (folder / JOB).is_file():
            return None
        try:
            record = read_json_object(folder / JOB)
            if record["identity"] != job.identity(rows):
                return None
            stored = StoredJob(
                folder=folder, score=SeedScore.from_json(record["score"]), parameters=int(record["parameters"]),
                device=str(record["device"]), threads=int(record["threads"]),
            )  # fmt: skip
        except (WordloomError, KeyError, TypeError, ValueError) as error:
            print(f"{folder / JOB}: not readable, so the job is run again ({error})")
            return None
        return stored if self._whole(stored) else None

    def _whole(self, stored: StoredJob) -> bool:
        if stored.model is None:
            return True
        try:
            verify_checkpoint(stored.model)
            return True
        except CheckpointError as error:
            print(f"the job is run again, its model is damaged: {error}")
            return False

    def commit(self, job: Job, rows: TaskRows, result: JobResult) -> StoredJob:
        """Commit weights, log and, last of all, the record. Raises StorageError."""
        folder = self.folder(job, rows)
        if folder.is_dir():
            sweep(folder)
            remove_tree(folder / MODEL)
        contents = Contents(
            step=result.score.best_dev_step,
            model=result.weights,
            optimizer=None,
            state={
                "kind": "fine-tuned",
                "task": rows.task.name,
                "task_kind": rows.task.kind,
                "labels": list(rows.task.labels),
                "texts": list(rows.task.texts),
                "seed": job.seed,
                "tokenizer_hash": rows.start.saved.tokenizer_hash,
                "start": {"weights": rows.start.weights, "name": rows.start.name},
                "encoder_fingerprint": rows.start.fingerprint,
                "data_fingerprint": rows.data_fingerprint,
                "settings": job.settings.to_json(),
                "chosen": "the best evaluation on dev",
            },
            config=rows.start.saved.config,
            tokenizer_files=rows.tokenizer_files,
        )
        write_checkpoint(folder / MODEL, contents)
        commit_bytes(folder / LOG, "".join(line + "\n" for line in result.log).encode())
        record = {
            "identity": job.identity(rows), "score": result.score.to_json(), "parameters": result.parameters,
            "device": result.device, "threads": result.threads, "elapsed_s": round(result.elapsed_s, 3),
        }  # fmt: skip
        commit_bytes(folder / JOB, pretty_json(record))
        return StoredJob(
            folder=folder, score=result.score, parameters=result.parameters, device=result.device, threads=result.threads
        )
