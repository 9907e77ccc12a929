"""A manifest from a stranger: every lie is an error that names the field, and none is followed out of the folder."""

from __future__ import annotations

import copy
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards.canonical import fingerprint
from shards.errors import FormatError, IntegrityError, NotFoundError, WordloomError
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.columns import made_columns, made_data_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_data_set(tmp_path / "set", [made_columns(5, seed=1), made_columns(6, seed=2)])
    return tmp_path / "set"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alter the manifest and give it the right hashes again, as a careful liar would."""
    value = json.loads((folder / "manifest.json").read_text())
    change(value)
    if isinstance(value.get("recipe"), dict):
        value["recipe_hash"] = fingerprint(value["recipe"])
    parts = {key: value.get(key) for key in ("format", "recipe", "corpus", "tokenizer", "shards")}
    value["fingerprint"] = fingerprint(parts)
    (folder / "manifest.json").write_text(json.dumps(value))


def test_the_helper_itself_leaves_a_good_manifest(folder: Path) -> None:
    rewrite(folder, lambda m: None)
    DataSet.open(folder).verify()


BAD_NAMES = [
    "../evil.arrow", "/etc/passwd", "C:\\x", "a/b", "a\\b", ".hidden", "", "x" * 5000, "a\0b", "..", "évil.arrow", "con\n", "-flag", 5, None,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda n: repr(n)[:20])
def test_names_cannot_lead_out_of_the_folder(folder: Path, name: object) -> None:
    before = sorted(folder.parent.rglob("*"))
    for change in (
        lambda m: m["shards"][0].update(file=name),
        lambda m: m["tokenizer"].update(folder=name),
        lambda m: m["tokenizer"].update(files=[{"name": name, "size": 1, "sha256": "0" * 64}]),
    ):
        saved = (folder / "manifest.json").read_bytes()
        rewrite(folder, change)
        with pytest.raises(FormatError, match=r"manifest\.json: field '(shards|tokenizer)"):
            DataSet.open(folder)
        (folder / "manifest.json").write_bytes(saved)
    assert sorted(folder.parent.rglob("*")) == before


LIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "format": (lambda m: m.update(format=2), "unknown data-set format"),
    "format true": (lambda m: m.update(format=True), "unknown data-set format"),
    "no shards": (lambda m: m.pop("shards"), "'shards' is missing"),
    "shards no list": (lambda m: m.update(shards={}), "'shards' is wrong"),
    "shard no object": (lambda m: m.update(shards=[1]), r"shards\[0\]"),
    "unknown field": (lambda m: m.update(extra=1), "unknown field 'extra'"),
    "unknown shard field": (lambda m: m["shards"][1].update(run="x"), r"unknown field 'shards\[1\]\.run'"),
    "shard twice": (lambda m: m["shards"].append(dict(m["shards"][0])), "listed twice"),
    "rows zero": (lambda m: m["shards"][0].update(rows=0), r"shards\[0\]\.rows"),
    "rows text": (lambda m: m["shards"][0].update(rows="5"), r"shards\[0\]\.rows"),
    "rows float": (lambda m: m["shards"][0].update(rows=5.0), r"shards\[0\]\.rows"),
    "rows huge": (lambda m: m["shards"][0].update(rows=2**40), r"shards\[0\]\.rows"),
    "sha short": (lambda m: m["shards"][0].update(sha256="ab"), r"shards\[0\]\.sha256"),
    "split": (lambda m: m["shards"][0].update(split="test"), r"shards\[0\]\.split"),
    "special id outside": (lambda m: m["tokenizer"]["special_ids"].update(pad=10**6), "special_ids.pad"),
    "special ids equal": (lambda m: m["tokenizer"]["special_ids"].update(pad=101), "five different ids"),
    "pair template": (lambda m: m["tokenizer"].update(pair_template="xlnet"), "pair_template"),
    "vocab size": (lambda m: m["tokenizer"].update(vocab_size=-1), "vocab_size"),
    "layout": (lambda m: m["recipe"].update(layout="other"), "recipe.layout"),
    "tag": (lambda m: m.update(tag="zz"), "'tag'"),
    "tally": (lambda m: m["tally"].update(kept=1), "do not add up"),
    "tally rows": (lambda m: m["tally"]["rows"].update(dropped={"x": 1}), "do not add up"),
    "histogram": (lambda m: m.update(length_histogram={"1": -1}), "length_histogram"),
}


@pytest.mark.parametrize("name", LIES)
def test_every_lie_names_its_field(folder: Path, name: str) -> None:
    change, message = LIES[name]
    rewrite(folder, change)
    with pytest.raises(FormatError, match=message):
        Manifest.read(folder)


DISCOVERED_LATER: dict[str, tuple[Callable[[dict[str, Any]], None], type[WordloomError]]] = {
    "rows": (lambda m: m["shards"][0].update(rows=4), FormatError),
    "more rows": (lambda m: m["shards"][0].update(rows=5000), FormatError),
    "bytes": (lambda m: m["shards"][0].update(bytes=7), IntegrityError),
    "sha256": (lambda m: m["shards"][0].update(sha256="a" * 64), IntegrityError),
    "swapped": (lambda m: m["shards"].__setitem__(0, m["shards"][0] | {"file": m["shards"][1]["file"]}), FormatError),
    "absent": (lambda m: m["shards"][0].update(file="train-no-00000.arrow"), NotFoundError),
    "vocabulary too small": (lambda m: m["tokenizer"].update(vocab_size=150), FormatError),
    "ids of another width": (lambda m: m["tokenizer"].update(vocab_size=70_000), FormatError),
    "tokenizer file": (
        lambda m: m["tokenizer"].update(files=[{"name": "vocab.txt", "size": 1, "sha256": "0" * 64}]), NotFoundError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCOVERED_LATER)
def test_lies_about_shards_are_found_by_verify(folder: Path, name: str) -> None:
    from shards.verify import main

    change, kind = DISCOVERED_LATER[name]
    rewrite(folder, change)
    assert main([str(folder)]) == kind.exit_code


def test_an_altered_manifest_does_not_have_its_fingerprint(folder: Path) -> None:
    path = folder / "manifest.json"
    original = json.loads(path.read_text())
    for key in ("recipe", "corpus", "tokenizer", "shards"):
        value = copy.deepcopy(original)
        if key == "recipe":
            value[key]["seed"] = 99
        elif key == "corpus":
            value[key].append({"path": "x", "size": 1, "sha256": "0" * 64})
        elif key == "tokenizer":
            value[key]["hash"] = "f" * 64
        else:
            value[key][0]["tokens"] += 1
        path.write_text(json.dumps(value))
        with pytest.raises(IntegrityError, match="altered"):
            Manifest.read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON"), ("{", "JSON"), ("[]", "not a JSON object"), ('{"format": NaN}', "NaN"), ('{"format": 1, "format": 1}', "duplicate"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "nested deeper"), ("[" * 200_000, "JSON"), ('{"format": ' + "9" * 6000 + "}", "JSON"),
        ("\xff\xfe", "format|JSON"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=message):
        Manifest.read(folder)


def test_a_huge_manifest_costs_little(folder: Path) -> None:
    path = folder / "manifest.json"
    with open(path, "wb") as file:
        file.truncate(1 << 33)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(FormatError, match="too large"):
        Manifest.read(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert time.process_time() - begun < 1.0


def test_a_folder_without_manifest_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"not a data set.*pipeline\.build"):
        DataSet.open(tmp_path)
