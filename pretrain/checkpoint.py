"""Checkpoints: folders that appear whole, prove their own bytes, and can be read without running any code.

    runs/<name>/checkpoints/step-00001000/
        model.safetensors       weights by structured name
        optimizer.safetensors   moments and beta powers, ``<structured name>::<kind>``
        state.json              where training stands (`pretrain.train_state`)
        config.json             the network (`pretrain.config.ModelConfig`)
        tokenizer/              the files of the data set's tokenizer
        integrity.json          format, step, sha256 and size of every file above

A checkpoint is written under a temporary name, fsynced, renamed; only then are older ones removed. There is no "latest"
pointer that could lie: the newest checkpoint is the one with the highest step whose hashes hold. Its fingerprint is the
sha256 of integrity.json, which is canonical JSON, so equal training states have equal fingerprints on any machine.

Nothing here imports paddle: tensors are numpy arrays.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pretrain.config import ModelConfig
from pretrain.errors import CheckpointError
from shards.canonical import canonical_json, fingerprint, read_json_object
from shards.durable import commit_bytes, commit_directory, hash_file, remove_tree
from shards.errors import FormatError, NotFoundError, WordloomError

if TYPE_CHECKING:
    from pretrain.published import PublishedModel

FORMAT = 1
CHECKPOINTS = "checkpoints"
MODEL, OPTIMIZER, STATE, CONFIG, TOKENIZER, INTEGRITY = (
    "model.safetensors", "optimizer.safetensors", "state.json", "config.json", "tokenizer", "integrity.json",
)  # fmt: skip
_NEEDED = (MODEL, STATE, CONFIG)
_STEP_NAME = re.compile(r"step-(\d{8,})")
_ENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9][A-Za-z0-9._-]{0,199})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What goes into one checkpoint. `optimizer` is None for weights that came from elsewhere; `state` is JSON."""

    step: int
    model: Mapping[str, npt.NDArray[Any]]
    optimizer: Mapping[str, npt.NDArray[Any]] | None
    state: Mapping[str, Any]
    config: ModelConfig
    tokenizer_files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose every hash was found to hold."""

    path: Path
    step: int
    fingerprint: str

    def state(self) -> dict[str, Any]:
        return read_json_object(self.path / STATE)

    def config(self) -> ModelConfig:
        return ModelConfig.from_json(read_json_object(self.path / CONFIG))

    def model(self) -> Tensors:
        from pretrain.weights import load_weights

        return load_weights(self.path / MODEL)

    def optimizer(self) -> Tensors:
        """Return the optimizer's tensors. Raises CheckpointError for a checkpoint that holds weights only."""
        from pretrain.weights import load_weights

        if not (self.path / OPTIMIZER).is_file():
            raise CheckpointError(
                "holds weights but no optimizer state, so training cannot be resumed from it", where=self.path,
                hint=f"Start a new run from its weights: --init {self.path}",
            )  # fmt: skip
        return load_weights(self.path / OPTIMIZER)


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A trained encoder on disk, for fine-tuning or for training on.

    `name` is the run's name; `fingerprint` identifies the checkpoint's exact bytes; `objective` is what it was trained for, None
    for weights that came from elsewhere without a head. `absent`: beginnings of the names of weights that it lacks, which start
    from random values; `bfloat16`: names of weights that were published so; `published`: the folder of transformers or PaddleNLP
    that it is; `new_tokens`: for each token that its vocabulary is extended by, the old ids that spell it.
    """

    path: Path
    name: str
    step: int
    config: ModelConfig
    tokenizer_folder: Path
    tokenizer_hash: str
    fingerprint: str
    objective: str | None = None
    absent: tuple[str, ...] = ()
    bfloat16: frozenset[str] = frozenset()
    published: PublishedModel | None = None
    new_tokens: tuple[tuple[int, ...], ...] = ()

    def weights(self) -> Tensors:
        """Read the weights by structured name. Raises WeightsError."""
        from pretrain.extend_vocab import with_new_tokens
        from pretrain.weights import load_weights

        weights = self.published.read().tensors if self.published is not None else load_weights(self.path / MODEL)
        return with_new_tokens(weights, self.new_tokens, self.config.vocab_size) if self.new_tokens else weights


def step_folder(run: Path, step: int) -> Path:
    return run / CHECKPOINTS / f"step-{step:08d}"


def step_of(folder: Path) -> int | None:
    """Return the step a folder's name claims, None for any other name."""
    found = _STEP_NAME.fullmatch(folder.name)
    return int(found[1]) if found else None


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, newest first, valid or not."""
    root = run / CHECKPOINTS
    found = [(step, p) for p in root.iterdir() if (step := step_of(p)) is not None] if root.is_dir() else []
    return [path for _, path in sorted(found, reverse=True)]


def write_checkpoint(folder: Path, contents: Contents) -> Checkpoint:
    """Commit a checkpoint under `folder`, which must not exist. Raises StorageError, and leaves nothing half-written there."""
    from pretrain.weights import save_weights

    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.tmp-{uuid.uuid4().hex[:12]}"
    try:
        temporary.mkdir()
        # Digests of what was meant to be written, taken on its way out: no second reading of a large file.
        digests = {MODEL: save_weights(temporary / MODEL, contents.model)}
        if contents.optimizer is not None:
            digests[OPTIMIZER] = save_weights(temporary / OPTIMIZER, contents.optimizer)
        digests[STATE] = commit_bytes(temporary / STATE, canonical_json(contents.state))
        digests[CONFIG] = commit_bytes(temporary / CONFIG, canonical_json(contents.config.to_json()))
        for name, data in contents.tokenizer_files.items():
            digests[f"{TOKENIZER}/{name}"] = commit_bytes(temporary / TOKENIZER / name, data)
        files = {name: {"sha256": digest.sha256, "size": digest.size} for name, digest in sorted(digests.items())}
        record = {"format": FORMAT, "step": contents.step, "files": files}
        commit_bytes(temporary / INTEGRITY, canonical_json(record))
        commit_directory(temporary, folder)
    except BaseException:
        remove_tree(temporary)
        raise
    return Checkpoint(path=folder, step=contents.step, fingerprint=fingerprint(record))


def verify_checkpoint(folder: Path) -> Checkpoint:
    """Check every byte of a checkpoint. Raises CheckpointError, naming the file that is missing, truncated or altered."""
    path = folder / INTEGRITY
    try:
        record = read_json_object(path)
    except NotFoundError:
        raise CheckpointError("not a whole checkpoint: integrity.json is missing", where=folder) from None
    except FormatError as error:
        raise CheckpointError(error.what, where=path) from None
    if canonical_json(record) != path.read_bytes():
        raise CheckpointError("altered: not canonical JSON any more", where=path)
    if set(record) != {"format", "step", "files"} or record["format"] != FORMAT:
        raise CheckpointError("unknown checkpoint format", where=path, expected=FORMAT, got=record.get("format"))
    if step_of(folder) not in (None, record["step"]):
        raise CheckpointError(
            "the folder's name and the recorded step differ", where=path, expected=folder.name, got=record["step"]
        )
    files = record["files"]
    if not isinstance(files, dict) or (absent := [n for n in _NEEDED if n not in files]):
        raise CheckpointError(f"no record of {', '.join(absent) if isinstance(files, dict) else 'any file'}", where=path)
    for name, entry in files.items():
        _verify_file(folder, name, entry)
    return Checkpoint(path=folder, step=int(record["step"]), fingerprint=fingerprint(record))


def _verify_file(folder: Path, name: str, entry: Any) -> None:
    path = folder / name
    if not _ENTRY_NAME.fullmatch(name) or not isinstance(entry, dict) or set(entry) != {"sha256", "size"}:
        raise CheckpointError(f"unusable record of {name[:80]!r}", where=folder / INTEGRITY)
    if not isinstance(entry["size"], int) or not isinstance(entry["sha256"], str) or not _SHA256.fullmatch(entry["sha256"]):
        raise CheckpointError(f"unusable record of {name!r}", where=folder / INTEGRITY)
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"recorded in {INTEGRITY}, but missing or not a plain file", where=path)
    if (size := path.stat().st_size) != entry["size"]:
        raise CheckpointError(
            f"truncated or altered, or its record in {INTEGRITY} is",
            where=path,
            expected=f"{entry['size']} bytes",
            got=f"{size} bytes",
        )
    if (found := hash_file(path).sha256) != entry["sha256"]:
        raise CheckpointError(
            f"altered, or its record in {INTEGRITY} is", where=path, expected=f"sha256 {entry['sha256']}", got=found
        )


def newest_valid(run: Path, say: Callable[[str], None] = print) -> tuple[Checkpoint | None, list[Path]]:
    """Return the newest checkpoint of a run whose hashes hold, and the newer ones that had to be passed over.

    Each one passed over is reported through `say`; nothing is deleted. None when there is no valid one.
    """
    passed_over: list[Path] = []
    for folder in list_checkpoints(run):
        try:
            return verify_checkpoint(folder), passed_over
        except CheckpointError as error:
            say(f"warning: checkpoint {folder.name} is not usable and is passed over: {error}")
            passed_over.append(folder)
    return None, passed_over


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint so that its step can be written again; its bytes stay as evidence."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    commit_directory(folder, aside)
    return aside


def prune(run: Path, *, keep: int, spared: frozenset[Path] = frozenset()) -> list[Path]:
    """Delete all checkpoints but the newest `keep`, the best and the `spared`; return the deleted ones."""
    kept = {best_checkpoint(run), *spared}
    doomed = [folder for folder in list_checkpoints(run)[keep:] if folder not in kept]
    for folder in doomed:
        remove_tree(folder)
    return doomed


def best_checkpoint(run: Path) -> Path | None:
    """Return the checkpoint of a run with the lowest evaluation loss at its own step, the newest where none was evaluated."""
    return min(list_checkpoints(run), key=_loss_at, default=None)


def _loss_at(folder: Path) -> float:
    """Return the held-out loss recorded at a checkpoint's own step; infinity when it was not evaluated there."""
    try:
        evaluation = read_json_object(folder / STATE).get("evaluation")
        return float(evaluation["loss"]) if evaluation else float("inf")
    except (WordloomError, OSError, KeyError, TypeError, ValueError):
        return float("inf")


def find_checkpoint(path: Path, say: Callable[[str], None] = print) -> Checkpoint:
    """Return the checkpoint that `path` means: that folder, or the newest valid one of a run folder.

    Damaged newer checkpoints of a run are passed over, saying so. Raises NotFoundError when there is nothing of the kind,
    CheckpointError when a named checkpoint, or every checkpoint of the run, is damaged.
    """
    if (path / INTEGRITY).is_file() or (step_of(path) is not None and path.is_dir()):
        return verify_checkpoint(path)
    if not list_checkpoints(path):
        raise NotFoundError(
            "no model here", where=path, expected="a run, a checkpoint, or a folder of transformers or PaddleNLP",
            hint="List runs: python -m pretrain.runs",
        )  # fmt: skip
    found, damaged = newest_valid(path, say)
    if found is None:
        raise CheckpointError(f"none of the {len(damaged)} checkpoints of this run is whole", where=path)
    return found


def resolve_model(path: str | Path, *, say: Callable[[str], None] = print) -> SavedModel:
    """Return the model that `path` means: see `find_checkpoint`; or a published folder, see `pretrain.published`."""
    path = Path(path)
    if (path / CONFIG).is_file() and not (path / INTEGRITY).is_file() and step_of(path) is None:
        from pretrain.published import open_published

        return open_published(path).saved()
    checkpoint = find_checkpoint(path, say)
    state = checkpoint.state()
    tokenizer_hash, training = state.get("tokenizer_hash"), state.get("training")
    absent, bfloat16 = (state.get(name) or [] for name in ("absent", "bfloat16"))
    if not isinstance(tokenizer_hash, str):
        raise CheckpointError("state.json does not name the tokenizer", where=checkpoint.path)
    owner = checkpoint.path.resolve()
    return SavedModel(
        path=checkpoint.path,
        name=owner.parent.parent.name if owner.parent.name == CHECKPOINTS else owner.name,
        step=checkpoint.step,
        config=checkpoint.config(),
        tokenizer_folder=checkpoint.path / TOKENIZER,
        tokenizer_hash=tokenizer_hash,
        fingerprint=checkpoint.fingerprint,
        objective=training.get("objective") if isinstance(training, dict) else state.get("objective"),
        absent=tuple(absent),
        bfloat16=frozenset(bfloat16),
    )


def newest_finished_run(out: str | Path = "runs/") -> Path:
    """Return the folder of the run below `out` that finished last. Raises NotFoundError when none has."""
    root = Path(out)
    finished: list[tuple[str, str]] = []
    for path in sorted(root.glob("*/run.json")):
        try:
            record = read_json_object(path)
        except WordloomError:
            continue  # a damaged record of one run must not hide the others; `pretrain.runs` shows it
        if record.get("state") == "finished":
            finished.append((str(record.get("finished", "")), path.parent.name))
    if not finished:
        raise NotFoundError(
            "no finished run here", where=root, hint="Train one first: python -m pretrain.run --shards shards/; or name a model"
        )
    return root / max(finished)[1]
