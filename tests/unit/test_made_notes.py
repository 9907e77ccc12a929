"""What a build notes beside the tally: rows that rules changed, and input that was passed over. In manifest, card and diff."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import main as build
from pipeline.card import CardSettings, make_card
from pipeline.card_page import render_card
from pipeline.diff import describe
from pipeline.made_notes import MAX_SKIPPED_PATHS, OTHERS, added_changes, merged_skipped, read_changes, read_skipped
from pipeline.set_difference import compare
from pipeline.unit import UnitReport
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.built import build_set, documents
from tests.helpers.tiny_data import write_tiny_data

DIRTY = "\ufeff第一句\u200b话。\nＡ和Ｂ。\n参考文献\n没有问题。\n"


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x/a.txt", documents(10, first=200))
        archive.writestr("x/.hidden", "nothing")
        archive.writestr("__MACOSX/a.txt", "nothing")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)
        member = tarfile.TarInfo("a.txt")
        data = documents(10, first=300).encode()
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("notes")
    corpus = root / "corpus-set"
    (corpus / ".git").mkdir(parents=True)
    for name in (".git/a", ".git/b", ".DS_Store"):
        (corpus / name).write_bytes(b"nothing")
    (corpus / "a.zip").write_bytes(zipped())
    (corpus / "b.tar").write_bytes(tarred())
    (corpus / "c.csv").write_text(
        "\ufefftext\n" + "\n".join(f"第{n}行的\u3000文字。" for n in range(30)) + "\n", encoding="utf-8"
    )
    return build_set(root, "set", {"d.txt": f"{DIRTY}\n\n{documents(40)}"}, corpus="text")


def test_the_manifest_counts_what_each_rule_changed_with_places(built: Path) -> None:
    found = Manifest.read(built).made["rows_changed"]
    assert found["remove_byte_order_marks@1"] == {"rows": 1, "places": ["d.txt:1"]}
    assert found["remove_zero_width_and_bidi@1"] == {"rows": 1, "places": ["d.txt:1"]}
    assert found["fold_full_width@1"] == {"rows": 1, "places": ["d.txt:2"]}
    assert found["drop_boilerplate_lines@1"] == {"rows": 1, "places": ["d.txt:3"]}
    assert found["byte_order_mark"] == {"rows": 1, "places": ["c.csv:1"]}, "which the reader of tables takes off"
    spaces = found["collapse_white_space@1"]
    assert spaces["rows"] == 30 and spaces["places"] == [f"c.csv:{row}" for row in range(2, 22)], "a sample of them"
    assert len(found) == 6


def test_the_manifest_counts_what_was_passed_over(built: Path) -> None:
    assert Manifest.read(built).made["skipped"] == {"corpus-set/": {"hidden": 3}, "a.zip": {"hidden": 2}, "b.tar": {"link": 1}}


def test_the_command_says_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / ".hidden").write_text("x")
    (folder / "a.txt").write_text(f"{DIRTY}\n\n{documents(40)}", encoding="utf-8")
    flags = ["--engine", "local", "--vocab-size", "400", "--max-seq-len", "64", "--out", str(tmp_path / "shards"), "--json"]
    assert build(["--corpus", "text", "--input", str(folder), *flags]) == 0
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert "corpus/: passed over 1 hidden" in lines
    assert (
        "rows changed by drop_boilerplate_lines 1, fold_full_width 1, remove_byte_order_marks 1, remove_zero_width_and_bidi 1"
        in lines
    )
    figures = json.loads(said.out.splitlines()[-1])["figures"]
    assert figures["skipped"] == {"hidden": 1} and figures["rows_changed"]["fold_full_width@1"] == 1


def test_card_and_difference_show_them(built: Path, tmp_path: Path) -> None:
    card = make_card(built, CardSettings())
    assert card["rows_changed"]["fold_full_width@1"] == {"rows": 1, "places": ["d.txt:2"]}
    assert card["rows_changed"]["remove_controls@1"] == {"rows": 0, "places": []}, "named in the recipe, and nothing to do"
    assert card["skipped"]["a.zip"] == {"hidden": 2}
    page = render_card(card)
    assert "Rows changed by cleaning" in page and "c.csv:21" not in page and "Passed over unread" in page
    assert "corpus-set/" in page and "not count which rules" not in page
    other = build_set(tmp_path, "other", {"d.txt": documents(40)}, corpus="text")
    lines = describe(compare(DataSet.open(built), DataSet.open(other)))
    assert "input rows changed by fold_full_width@1: 1 | 0 (-1)" in lines


def test_data_sets_and_units_of_older_builds_are_read_as_they_are(built: Path, tmp_path: Path) -> None:
    old = write_tiny_data(tmp_path / "old")
    card = make_card(old, CardSettings())
    assert card["rows_changed"] is None and card["skipped"] == {}
    assert "did not count which rules" in render_card(card)
    assert compare(DataSet.open(built), DataSet.open(old))["rows_changed"] is None
    note = built / Manifest.read(built).made["units"]["file"]
    report = json.loads(note.read_text().splitlines()[0])["report"]
    del report["changed"]
    assert UnitReport.from_json_object(report).changed == {}


@pytest.mark.parametrize("wrong", [3, [], {"a": 3}, {"a": {"rows": "1", "places": []}}, {"a": {"rows": True, "places": "x"}}])
def test_nonsense_in_a_manifest_is_not_shown(wrong: Any, tmp_path: Path) -> None:
    assert not read_changes({"rows_changed": wrong}) and not any(read_skipped({"skipped": wrong}).get("a", {}).values())
    folder = write_tiny_data(tmp_path / "set")
    dataclasses.replace(Manifest.read(folder), made={"rows_changed": wrong, "skipped": wrong}).commit(folder)
    render_card(make_card(folder, CardSettings(duplicates=False)))


def test_notes_add_up_and_are_bounded() -> None:
    one = {"x": {"rows": 30, "places": [f"a:{row}" for row in range(15)]}}
    assert added_changes([one, one])["x"] == {"rows": 60, "places": [*one["x"]["places"], *(f"a:{row}" for row in range(5))]}
    many = {f"{n}.zip": {"hidden": 1} for n in range(MAX_SKIPPED_PATHS + 7)}
    bounded = merged_skipped(many)
    assert len(bounded) == MAX_SKIPPED_PATHS + 1 and bounded[OTHERS] == {"hidden": 7}
    assert merged_skipped(bounded, {"0.zip": {"hidden": 2}})["0.zip"] == {"hidden": 2}, "an archive given again counts once"
