"""Data sets behind a URL: read through a verified copy on this machine, or checked where they are.

The copy lies below ``$WORDLOOM_CACHE`` (or ``~/.cache/wordloom``) under the data set's fingerprint, so that a data set that
changes gets a new copy and equal ones are fetched once. Every file is hashed as it comes and appears only when it is what the
manifest says; names come from the manifest, which admits plain names alone.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from shards.durable import commit_bytes, commit_stream
from shards.errors import IntegrityError, NotFoundError, StorageError
from shards.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from shards.store import cache_root, connect, read_bounded, read_through, store_errors

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read_remote_manifest(url: str) -> Manifest:
    """Return the manifest of the data set at a URL. Raises NotFoundError, FormatError, IntegrityError, StorageError."""
    fs, root = connect(url)
    fs.invalidate_cache()
    try:
        data = read_bounded(fs, f"{root}/{MANIFEST_NAME}", MAX_MANIFEST_BYTES)
    except NotFoundError:
        raise NotFoundError("not a data set: there is no manifest.json (an unfinished build has none)", where=url) from None
    return Manifest.from_bytes(data, f"{url}/{MANIFEST_NAME}")


def data_set_urls(url: str) -> list[str]:
    """Return the URLs of the data sets that a URL means: itself, or every committed one directly below it, sorted."""
    fs, root = connect(url)
    try:
        with store_errors("list", url):
            fs.invalidate_cache()
            if fs.exists(f"{root}/{MANIFEST_NAME}"):
                return [url]
            folders = sorted(str(name).rstrip("/").rpartition("/")[2] for name in fs.ls(root, detail=False))
            return [f"{url.rstrip('/')}/{name}" for name in folders if name and fs.exists(f"{root}/{name}/{MANIFEST_NAME}")]
    except FileNotFoundError:
        return []


def local_copy(url: str) -> Path:
    """Return a folder of this machine with the data set at `url`; what is not there yet is fetched, the manifest last.

    Raises NotFoundError, FormatError, IntegrityError, and StorageError when it does not fit on the disk.
    """
    manifest = read_remote_manifest(url)
    name = url.rstrip("/").rpartition("/")[2]
    folder = cache_root() / "data-sets" / manifest.fingerprint / (name if _NAME.fullmatch(name) else "data-set")
    files = {file: size for file, (size, _) in _files(manifest).items() if not _has(folder / file, size)}
    folder.mkdir(parents=True, exist_ok=True)
    if (needed := sum(files.values())) > (free := shutil.disk_usage(folder).free):
        raise StorageError(f"no room for a copy of {url}", where=folder, expected=f"{needed:,} bytes", got=f"{free:,} free")
    if files:
        print(f"{url}: fetching {len(files)} files, {needed:,} bytes, to {folder}", flush=True)
    fs, root = connect(url)
    for file in files:
        _fetch(fs, f"{root}/{file}", folder / file, _files(manifest)[file])
    commit_bytes(folder / MANIFEST_NAME, manifest.to_bytes())
    return folder


def check_stored(url: str) -> None:
    """Read every byte of the data set where it is stored. Raises IntegrityError on the first file that is not as recorded."""
    fs, root = connect(url)
    for file, (size, sha256) in _files(read_remote_manifest(url)).items():
        digest = read_through(fs, f"{root}/{file}")
        if digest is None:
            raise NotFoundError("a file of the data set is missing", where=f"{url}/{file}")
        if (digest.size, digest.sha256) != (size, sha256):
            raise _altered(f"{url}/{file}", (size, sha256), (digest.size, digest.sha256))


def _files(manifest: Manifest) -> dict[str, tuple[int, str]]:
    """Return name → (bytes, sha256) of every file of a data set."""
    found = {f"{manifest.tokenizer.folder}/{f.name}": (f.size, f.sha256) for f in manifest.tokenizer.files}
    return found | {entry.file: (entry.bytes, entry.sha256) for entry in manifest.shards}


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _fetch(fs: Any, source: str, target: Path, expected: tuple[int, str]) -> None:
    room = expected[0]

    with commit_stream(target) as file:

        def take(chunk: bytes) -> None:
            nonlocal room
            room -= len(chunk)
            if room < 0:  # longer than recorded: no need to see how much longer
                raise _altered(source, expected, (expected[0] - room, "more bytes"))
            file.write(chunk)

        digest = read_through(fs, source, take)
        if digest is None:
            raise NotFoundError("a file of the data set is missing", where=source)
        if (digest.size, digest.sha256) != expected:
            raise _altered(source, expected, (digest.size, digest.sha256))


def _altered(where: str, expected: tuple[int, str], got: tuple[int, str]) -> IntegrityError:
    return IntegrityError(
        "not what was built", where=where, expected=f"{expected[0]:,} bytes, sha256 {expected[1][:16]}",
        got=f"{got[0]:,} bytes, sha256 {got[1][:16]}",
    )  # fmt: skip
