"""What each step was made from, so that nothing is made twice: ``<out>/workflow.json``.

A step's **identity** is its command, its options, the version of the project and a fingerprint of the content of every input.
It is recorded when the step starts (so that an interrupted step knows whether it may go on) and again, with fingerprints of
the outputs and the command's report, when it has succeeded. Paths below the output folder are recorded relative to it: the
folder can be moved.

Fingerprints are as cheap as they can be. A data set's is the one in its manifest, a run's or checkpoint's the hash of its
integrity.json, after a look at the sizes of the files they list (their hashes are checked by whoever reads them); any
other file or folder is hashed whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from shards import __version__
from shards.canonical import fingerprint, pretty_json, read_json_object
from shards.durable import commit_bytes, hash_file
from shards.errors import FormatError, NotFoundError
from shards.manifest import MANIFEST_NAME, Manifest
from workflows.errors import StateError
from workflows.steps import Step, StepResult

STATE_NAME = "workflow.json"
FORMAT = 1
INTEGRITY, RUN = "integrity.json", "run.json"
_OUT = "{out}"
_IDENTITY: Mapping[str, Any] = {"module": str, "argv": list, "version": str, "inputs": dict}
_DONE: Mapping[str, Any] = {
    "identity": dict,
    "command": str,
    "outputs": dict,
    "report": dict,
    "elapsed_s": (int, float),
    "finished": str,
}


def content_fingerprint(path: Path) -> str | None:
    """Return what stands for the content of a file or folder; None when it is missing, unfinished or visibly damaged."""
    try:
        if path.is_file():
            return f"file:{hash_file(path).sha256}"
        if (path / MANIFEST_NAME).is_file():
            return _data_set(path)
        if (path / INTEGRITY).is_file():
            return _checkpoint(path)
        if (path / RUN).is_file():
            return _run(path)
        return _folder(path) if path.is_dir() else None
    except (FormatError, NotFoundError, OSError):
        return None


def _data_set(path: Path) -> str | None:
    manifest = Manifest.read(path)
    sizes = {path / shard.file: shard.bytes for shard in manifest.shards}
    sizes |= {path / manifest.tokenizer.folder / file.name: file.size for file in manifest.tokenizer.files}
    return f"data-set:{manifest.fingerprint}" if _sizes_hold(sizes) else None


def _checkpoint(path: Path) -> str | None:
    listed = read_json_object(path / INTEGRITY).get("files")
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        return None
    sizes = {path / name: entry.get("size") for name, entry in listed.items()}
    return f"checkpoint:{hash_file(path / INTEGRITY).sha256}" if _sizes_hold(sizes) else None


def _run(path: Path) -> str | None:
    checkpoints = sorted((path / "checkpoints").glob("step-*"), key=lambda p: (len(p.name), p.name))
    checkpoints = [p for p in checkpoints if p.name.removeprefix("step-").isdigit()]
    if read_json_object(path / RUN).get("state") != "finished" or not checkpoints:
        return None
    return _checkpoint(checkpoints[-1])


def _folder(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return f"folder:{fingerprint({p.relative_to(path).as_posix(): hash_file(p).sha256 for p in files})}"


def _sizes_hold(sizes: Mapping[Path, Any]) -> bool:
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())


def _is_sound(steps: Any) -> bool:
    """Tell whether the records of a memory have the parts that are read from them."""
    if not isinstance(steps, dict) or not all(isinstance(step, dict) for step in steps.values()):
        return False
    identities = [step["started"] for step in steps.values() if "started" in step]
    for done in (step["done"] for step in steps.values() if "done" in step):
        if not isinstance(done, dict) or not _has(done, _DONE):
            return False
        identities.append(done["identity"])
    return all(isinstance(identity, dict) and _has(identity, _IDENTITY) for identity in identities)


def _has(value: dict[str, Any], shape: Mapping[str, Any]) -> bool:
    return all(isinstance(value.get(name), kind) for name, kind in shape.items())


class State:
    """The memory of one workflow. Every change is committed at once."""

    def __init__(self, out: Path, recipe: str) -> None:
        """Read what is remembered below `out`. Raises StateError for a damaged memory, or another recipe's."""
        self.out, self.path = out, out / STATE_NAME
        try:
            found = read_json_object(self.path)
        except NotFoundError:
            found = {"format": FORMAT, "recipe": recipe, "steps": {}}
        except FormatError as error:
            raise StateError(error.what, where=self.path, hint="Remove it to run every step again") from None
        if found.get("format") != FORMAT or not _is_sound(found.get("steps")):
            raise StateError(
                "not a workflow's memory of this format",
                where=self.path,
                expected=f"format {FORMAT}",
                got=found.get("format"),
                hint="Remove it to run every step again",
            )
        if found.get("recipe") != recipe:
            raise StateError(
                "this folder belongs to another recipe",
                where=self.path,
                expected=recipe,
                got=found.get("recipe"),
                hint="Choose another --out",
            )
        self._value = found

    def identity(self, step: Step) -> dict[str, Any]:
        """Return everything that decides what a step makes, with its inputs as they are now."""
        return {
            "module": step.module,
            "argv": [self._portable(part) if isinstance(part, Path) else part for part in step.argv],
            "version": __version__,
            "inputs": {label: content_fingerprint(path) for label, path in sorted(step.inputs.items())},
        }

    def reason_to_run(self, step: Step, identity: Mapping[str, Any]) -> str | None:
        """Return why a step has to run, None when everything is as it was when it last succeeded."""
        done = self.done(step.name)
        if done is None:
            return "it has not come to its end yet" if self.started(step.name) is not None else "it has not run yet"
        before = done["identity"]
        if (before["module"], before["argv"]) != (identity["module"], identity["argv"]):
            return "its options changed"
        if before["version"] != identity["version"]:
            return f"version {before['version']} became {identity['version']}"
        labels = sorted({*before["inputs"], *identity["inputs"]})
        if changed := [label for label in labels if before["inputs"].get(label) != identity["inputs"].get(label)]:
            return f"input changed: {', '.join(changed)}"
        recorded: dict[str, str] = done["outputs"]
        declared = {self._portable(path) for path in step.outputs}
        for name in sorted(declared | set(recorded)):
            if name not in recorded or content_fingerprint(self.resolve(name)) != recorded[name]:
                return f"output missing or changed: {self.resolve(name)}"
        return None

    def begin(self, step: Step, identity: Mapping[str, Any]) -> None:
        """Remember that a step starts from `identity`; what it made before no longer counts."""
        self._value["steps"][step.name] = {"started": dict(identity)}
        self._commit()

    def finish(self, step: Step, identity: Mapping[str, Any], result: StepResult) -> None:
        """Remember that a step succeeded. Raises StateError when an output it should have made is not there."""
        outputs = {self._portable(path): path for path in step.outputs}
        outputs |= {self._portable(Path(name)): Path(name) for name in result.report.get("outputs", [])}
        prints = {name: content_fingerprint(path) for name, path in sorted(outputs.items())}
        if absent := [str(outputs[name]) for name, found in prints.items() if found is None]:
            raise StateError(f"step {step.name} succeeded without leaving a whole output", where=absent[0])
        self._value["steps"][step.name] = {
            "started": dict(identity),
            "done": {
                "identity": dict(identity),
                "command": step.command_line(),
                "note": step.note,
                "outputs": prints,
                "report": dict(result.report),
                "elapsed_s": round(result.elapsed_s, 3),
                "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        }
        self._commit()

    def started(self, name: str) -> dict[str, Any] | None:
        """Return the identity with which a step last started, None when this workflow never started it."""
        return self._part(name, "started")

    def done(self, name: str) -> dict[str, Any] | None:
        """Return the record of a step's last success (identity, command, note, outputs, report, elapsed_s, finished), if any."""
        return self._part(name, "done")

    def _part(self, name: str, key: str) -> dict[str, Any] | None:
        found = self._value["steps"].get(name, {}).get(key)
        return found if isinstance(found, dict) else None

    def _portable(self, path: Path) -> str:
        return f"{_OUT}/{path.relative_to(self.out).as_posix()}" if path.is_relative_to(self.out) else str(path)

    def resolve(self, name: str) -> Path:
        """Return the path that a recorded name means now."""
        return self.out / name.removeprefix(f"{_OUT}/") if name.startswith(f"{_OUT}/") else Path(name)

    def _commit(self) -> None:
        commit_bytes(self.path, pretty_json(self._value))
