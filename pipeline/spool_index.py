"""The index of what was spooled of one input: whether it is still good, and the scan it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec

from pipeline.blocks import block_name
from pipeline.compressed import SourceStream
from pipeline.inputs import InputFile
from pipeline.scan import FileScan
from shards.canonical import canonical_json, fingerprint, read_json_object
from shards.durable import FileDigest, commit_bytes, hash_file
from shards.errors import FormatError, NotFoundError

_NAME = "index.json"
_VERSION = 1
_MAX_INDEX_BYTES = 1 << 30


def write_index(folder: Path, wanted: dict[str, Any], scan: FileScan, blocks: Sequence[FileDigest]) -> None:
    """Commit the index; from then on the blocks can be used again."""
    value = {
        "version": _VERSION,
        "wanted": wanted,
        "blocks": [[digest.size, digest.sha256] for digest in blocks],
        "scan": _to_json(scan),
    }
    commit_bytes(folder / _NAME, canonical_json(value))


def read_index(folder: Path, wanted: dict[str, Any], file: InputFile) -> FileScan | None:
    """Return the scan that was spooled for `wanted`; None when there is none, or when source or blocks are not as they were."""
    try:
        value = read_json_object(folder / _NAME, max_bytes=_MAX_INDEX_BYTES)
        if value["version"] != _VERSION or value["wanted"] != wanted:
            return None
        scan = _from_json(value["scan"], folder.absolute())
        for index, (size, sha256) in enumerate(value["blocks"]):
            if hash_file(folder / block_name(index)) != FileDigest(size=size, sha256=sha256):
                return None
    except (NotFoundError, FormatError, KeyError, TypeError, ValueError, IndexError, OSError):
        return None
    return scan if source_digest(file) == (scan.size, scan.sha256) else None


def source_digest(file: InputFile) -> tuple[int, str]:
    """Return size and sha256 of an input; of a folder the sum of the sizes, and a hash of its files' names and hashes."""
    if file.format != "datasets":
        return _digest(file.url)
    fs, root = fsspec.core.url_to_fs(file.url)
    found = [(name, *_digest(fs.unstrip_protocol(name))) for name in sorted(fs.find(root))]
    entries = [[name.removeprefix(root).lstrip("/"), size, sha256] for name, size, sha256 in found]
    return sum(size for _, size, _ in found), fingerprint(entries)


def _digest(url: str) -> tuple[int, str]:
    with fsspec.open(url, "rb") as raw:
        source = SourceStream(raw)
        source.drain()
    return source.size, source.sha256


def _to_json(scan: FileScan) -> dict[str, Any]:
    return {
        "format": scan.format, "size": scan.size, "sha256": scan.sha256, "path": scan.path, "skipped": dict(scan.skipped),
        "byte_order_mark": scan.byte_order_mark,
        "cuts": [[Path(block).name, *cut] for block, cut in zip(scan.blocks, scan.cuts, strict=True)],
        "members": [_to_json(member) for member in scan.members],
    }  # fmt: skip


def _from_json(value: dict[str, Any], folder: Path) -> FileScan:
    return FileScan(
        format=value["format"],
        size=value["size"],
        sha256=value["sha256"],
        path=value["path"],
        skipped=tuple(sorted(value["skipped"].items())),
        byte_order_mark=bool(value["byte_order_mark"]),
        cuts=tuple((int(begin), int(end), int(row), str(sha256)) for _, begin, end, row, sha256 in value["cuts"]),
        blocks=tuple(str(folder / name) for name, *_ in value["cuts"]),
        members=tuple(_from_json(member, folder) for member in value["members"]),
    )
