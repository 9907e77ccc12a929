"""The data card: its numbers are those of the data set, its page is safe and whole, and it stays out of data sets."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.card import CardSettings, make_card
from pipeline.card_page import render_card
from pipeline.padding import padding_waste
from pipeline.report import main as report
from pipeline.sample_hashes import HashSample, overlap, sample_hashes
from pipeline.sample_view import view_samples
from pipeline.token_text import SCRIPTS, TokenText, script_of
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from shards.columns import StaticMasks
from shards.counter import mix64
from shards.errors import ExistsError, IntegrityError, UsageError
from shards.locate import find_data_sets
from shards.manifest import Manifest
from shards.reader import DataSet, Rows
from tests.helpers.built import build_set, documents
from tests.helpers.commands import tree
from tests.helpers.tiny_data import write_tiny_data

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)> \'"><svg/onload=1>'


class Page(HTMLParser):
    """Checks that elements nest, and gathers what a browser would load or run."""

    void = frozenset({"meta", "br", "img", "line", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("card")
    files = {"a & <b>.txt": f"{documents(60)}\n\n{HOSTILE}\n{HOSTILE}。又一句。\n\n\u200b\n", "b.txt": documents(40, first=60)}
    return build_set(root, "set", files)


@pytest.fixture(scope="module")
def card(built: Path) -> dict[str, Any]:
    return make_card(built, CardSettings(examples=1000))


def test_counts_are_those_of_the_manifest(built: Path, card: dict[str, Any]) -> None:
    manifest = Manifest.read(built)
    assert card["tally"]["read"] == manifest.tally.read == 102
    assert card["tally"]["dropped"] == {"empty": 1} and card["rejects"] == {"empty": [*manifest.made["rejects"]["empty"]]}
    for split in ("train", "heldout"):
        entries = [entry for entry in manifest.shards if entry.split == split]
        assert card["splits"][split]["rows"] == sum(entry.rows for entry in entries) > 0
        assert card["splits"][split]["tokens"] == sum(entry.tokens for entry in entries)
    assert card["hashes"]["fingerprint"] == manifest.fingerprint
    assert [entry["sha256"] for entry in card["hashes"]["shards"]] == [entry.sha256 for entry in manifest.shards]
    assert card["lengths"] == {str(int(k)): v for k, v in manifest.length_histogram.items()} == card["sample"]["lengths"]


def test_a_build_tells_its_card_what_was_unknown_and_where_time_went(tmp_path: Path) -> None:
    tokenizer = tmp_path / "vocab.txt"
    characters = [*sorted(set(documents(40)) - {"\n"}), *(f"##{digit}" for digit in range(10))]
    tokenizer.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]) + "\n", encoding="utf-8")
    text = f"{documents(40)}\n\n龘龘龘和鿕。\n龘好。\n"
    folder = build_set(tmp_path, "set", {"a.txt": text}, "--tokenizer", str(tokenizer), "--unit-size", "1024", corpus="text")
    found = make_card(folder, CardSettings())
    assert list(found["unknown_characters"].items()) == [("龘", 4), ("和", 1), ("鿕", 1)], "not in the vocabulary"
    seconds = found["throughput"]["stage_seconds"]
    assert {"read", "clean", "sentences", "encode", "lay_out", "write"} == set(seconds)
    assert all(s >= 0 for s in seconds.values()) and 0 < sum(seconds.values()) <= found["throughput"]["unit_s"] * 1.01 + 0.01
    page = Page(render_card(found))
    assert f"U+{ord('龘'):04X} 4" in page.text and "lay_out" in page.text and "did not record" not in page.text


def test_statistics_equal_a_plain_count(built: Path, card: dict[str, Any]) -> None:
    data_set = DataSet.open(built)
    split = data_set.split("train")
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    rows = split.take(np.arange(len(split)))
    words: list[list[int]] = []
    for begin, end in zip(rows.offsets, rows.offsets[1:], strict=False):
        for position in range(begin, end):
            if rows.word_start[position]:
                words.append([])
            words[-1].append(int(rows.ids[position]))
    unk = tokenizer.special_ids.unk
    sample = card["sample"]
    assert sample["rows"] == len(split) and sample["share_of_rows"] == 1.0
    assert sample["words"] == len(words)
    assert sample["tokens_per_word"] == {str(n): c for n, c in sorted(Counter(len(word) for word in words).items())}
    known = [word for word in words if unk not in word]
    texts = Counter(min(len("".join(tokenizer.token(i).removeprefix("##") for i in word)), 16) for word in known)
    assert sample["characters_per_word"] == {str(n): c for n, c in sorted(texts.items())}
    assert sample["unknown_tokens"] == int((rows.ids == unk).sum())
    assert sample["pairs"] == int((rows.split > 0).sum()) and sample["pairs"] + sample["lone_samples"] == len(split)
    scripts = Counter(SCRIPTS[script_of(c)] for i in rows.ids.tolist() if i != unk for c in tokenizer.token(i).removeprefix("##"))
    assert {name: n for name, n in sample["scripts"].items() if n and name != "unknown"} == dict(scripts)


def test_examples_are_the_samples_they_name(built: Path, card: dict[str, Any]) -> None:
    data_set = DataSet.open(built)
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    split = data_set.split("train")
    assert sorted(example["row"] for example in card["examples"]) == list(range(len(split)))
    for example in card["examples"][:20]:
        rows = split.take(np.array([example["row"]]))
        assert [len(segment) > 0 for segment in example["segments"]] == [True] * (2 if rows.split[0] else 1)
        shown = "".join(word["text"] for segment in example["segments"] for word in segment).replace(" ", "")
        assert shown == "".join(tokenizer.decode([i]) for i in rows.ids.tolist())
        assert example["swapped"] in ((True, False) if rows.split[0] else (False,))
        masked = sum(word["seen"] is not None for segment in example["segments"] for word in segment)
        assert 1 <= masked <= example["masked_tokens"] <= max(1, round(0.15 * example["tokens"]))


def test_pages_are_whole_load_nothing_and_run_nothing(card: dict[str, Any]) -> None:
    text = render_card(card | {"unknown_characters": {"<b>": 3, "鿿": 2, "": 1}})
    page = Page(text)
    assert not page.tags.keys() & {"script", "img", "link", "iframe", "object", "a", "form"}
    assert not any(name.startswith("on") or name in {"src", "href", "srcset"} for name in page.attributes)
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    assert "a & <b>.txt" in page.text and "script" in page.text and "alert" in page.text
    assert card["hashes"]["fingerprint"] in page.text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    for reason in card["rejects"]:
        assert reason in page.text


def test_what_a_build_recorded_of_itself_is_shown_and_nonsense_is_not(built: Path, tmp_path: Path) -> None:
    folder = write_tiny_data(tmp_path / "set")
    manifest = Manifest.read(folder)
    made = {"stage_seconds": {"read": 1.0, "encode": 3.0}, "unknown_characters": {"龘": 7, "鿿": 9}, "elapsed_s": 2.0}
    dataclasses.replace(manifest, made=made).commit(folder)
    good = make_card(folder, CardSettings())
    assert good["throughput"]["stage_seconds"] == made["stage_seconds"]
    assert list(good["unknown_characters"].items()) == [("鿿", 9), ("龘", 7)]
    page = Page(render_card(good))
    assert "75.0%" in page.text and "U+9FFF" in page.text
    wrong: dict[str, Any] = {"stage_seconds": {"read": "1"}, "unknown_characters": [1], "rejects": 3, "elapsed_s": True}
    dataclasses.replace(manifest, made=wrong).commit(folder)
    bad = make_card(folder, CardSettings())
    assert bad["throughput"]["stage_seconds"] is None and bad["unknown_characters"] is None and bad["rejects"] == {}
    Page(render_card(bad))
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text.replace('"rejects": 3', '"rejects": {"bad": ["\\ud800:1"]}'), encoding="utf-8")
    assert report([str(folder)]) == 0
    assert "?:1" in (tmp_path / "set.card.html").read_text(encoding="utf-8")


def test_a_sample_of_rows_is_drawn_by_the_seed(built: Path) -> None:
    few = CardSettings(rows=20, examples=3)
    one, again, other = (make_card(built, s) for s in (few, few, CardSettings(rows=20, examples=3, seed=1)))
    assert one == again and one["sample"]["rows"] == 20 and 0 < one["sample"]["share_of_rows"] < 1
    assert [e["row"] for e in one["examples"]] != [e["row"] for e in other["examples"]]
    assert f"of {20} sampled rows" in render_card(one)


def test_the_command_writes_beside_the_data_set(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(built)
    assert report([str(built), "--json"]) == 0
    page, content = built.parent / "set.card.html", built.parent / "set.card.json"
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["outputs"] == [str(page), str(content)] and said["figures"] == json.loads(content.read_text())
    assert tree(built) == before, "a data set holds its own files only"
    assert [s.name for s in find_data_sets(built.parent)] == ["set"]
    first = page.read_bytes()
    assert report([str(built)]) == 0
    assert page.read_bytes() == first, "no clock in a card"


def test_the_command_keeps_away_from_what_is_not_its_own(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(built), "--out", str(built / "manifest.html")]) == UsageError.exit_code
    assert report([str(built), "--out", str(tmp_path / "card.txt")]) == UsageError.exit_code
    (tmp_path / "package.json").write_text('{"name": "mine"}')
    assert report([str(built), "--out", str(tmp_path / "package.html")]) == ExistsError.exit_code
    assert (tmp_path / "package.json").read_text() == '{"name": "mine"}' and not (tmp_path / "package.html").exists()
    assert report([str(built), "--rows", "0"]) == UsageError.exit_code
    assert "Traceback" not in capsys.readouterr().err


def test_an_altered_shard_gives_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_data(tmp_path / "set")
    shard = next(folder.glob("train-*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    for flags in ([], ["--no-duplicates"]):
        assert report([str(folder), *flags]) == IntegrityError.exit_code
    assert not list(tmp_path.glob("set.card.*"))


def test_equal_samples_are_counted(tmp_path: Path) -> None:
    lines = [f"第{n}句话很短。" for n in range(40)]
    folder = build_set(
        tmp_path, "lines", {"a.txt": "\n".join(lines + lines[:15] + lines[:5])}, "--layout", "line", "--heldout", "0"
    )
    found = make_card(folder, CardSettings())["duplicates"]
    assert (found["rows"], found["distinct"], found["exact"]) == (60, 40, True)
    assert found["duplicate_share"] == pytest.approx(1 / 3)


def test_hashes_tell_samples_apart_by_ids_order_and_split(tmp_path: Path) -> None:
    data_set = DataSet.open(write_tiny_data(tmp_path / "set", rows=400, shards=1, heldout_rows=0))
    rows = data_set.split("train").take(np.arange(400))
    names = [(rows.ids[b:e].tobytes(), int(s)) for b, e, s in zip(rows.offsets, rows.offsets[1:], rows.split, strict=False)]
    hashes = sample_hashes(rows)
    assert len(set(hashes.tolist())) == len(set(names))
    backwards = sample_hashes(data_set.split("train").take(np.arange(400)[::-1]))
    assert np.array_equal(hashes[::-1], backwards), "a hash depends on its sample alone"


def test_many_hashes_are_estimated_within_a_fixed_memory() -> None:
    values = mix64(np.arange(60_000, dtype=np.uint64))
    a, b = HashSample(limit=4096), HashSample(limit=16_384)
    for begin in range(0, 60_000, 1000):
        a.add(values[begin : begin + 1000])
        a.add(values[begin : begin + 500])
    b.add(values[30_000:])
    assert len(np.concatenate(a._kept)) <= 4096
    copies = a.copies()
    assert copies.rows == 90_000 and copies.share_kept < 1
    assert copies.duplicate_share == pytest.approx(1 / 3, abs=0.02)
    found = overlap(a, b)
    assert found.common == pytest.approx(30_000, rel=0.08)
    assert found.common + found.only_a == 90_000 and found.common + found.only_b == 30_000


def test_padding_by_hand() -> None:
    lengths = np.array([16, 32, 16, 32], np.int64)
    waste = padding_waste(lengths, 64, batch_rows=2)
    assert waste.fixed == 1 - 96 / 256
    assert waste.bins == 0.0 <= waste.batches <= 1 - 96 / 128
    even = padding_waste(np.full(1000, 64), 64)
    assert (even.fixed, even.batches, even.bins) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("character", "script"),
    [("中", "Han"), ("〇", "Han"), ("a", "Latin"), ("é", "Latin"), ("Ａ", "Latin"), ("3", "digits"), ("３", "digits"), ("，", "punctuation"),
     ("$", "punctuation"), ("ア", "kana"), ("の", "kana"), ("б", "other"), ("한", "other")],
)  # fmt: skip
def test_scripts(character: str, script: str) -> None:
    assert SCRIPTS[script_of(character)] == script


def test_tokens_as_text() -> None:
    tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "word", "##ing", "中", "2024"])
    text = TokenText(tokenizer)
    assert text.characters(np.array([5, 6, 7, 1, 8])).tolist() == [4, 3, 1, 1, 4]
    times = np.array([0, 2, 0, 0, 0, 1, 1, 5, 1])
    assert text.scripts(times) == {"Han": 5, "Latin": 7, "digits": 4, "punctuation": 0, "kana": 0, "other": 0, "unknown": 2}


def test_byte_level_tokens_count_the_characters_that_begin_in_them() -> None:
    class ByteLevel(Tokenizer):
        """Four tokens of GPT-2's alphabet: " the", the first two bytes of 中, its last one, and é."""

        kind = "byte-bpe"

        def decode(self, ids: Iterable[int]) -> str:
            raw = {5: b" the", 6: "中".encode()[:2], 7: "中".encode()[2:], 8: "é".encode()}
            return b"".join(raw[i] for i in ids).decode("utf-8", "replace")

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = TokenText(ByteLevel([*special, "\u0120the", "ä¸", "Ń", "Ã©"], lowercase=False))
    assert text.characters(np.array([5, 6, 7, 8])).tolist() == [3, 1, 0, 1]
    assert text.scripts(np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])) == dict(zip(SCRIPTS, [1, 4, 0, 0, 0, 0, 0], strict=True))


def test_views_show_the_masks_that_are_drawn_or_stored(tmp_path: Path) -> None:
    data_set = DataSet.open(write_tiny_data(tmp_path / "set"))
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    rows = data_set.split("train").take(np.arange(4))
    views = view_samples(rows, data_set.manifest, tokenizer)
    assert [v.tokens for v in views] == np.diff(rows.offsets).tolist()
    assert views == view_samples(rows, data_set.manifest, tokenizer)
    assert views != view_samples(rows, data_set.manifest, tokenizer, seed=1)
    assert "⟦" in views[0].as_text() and "‖" in views[0].as_text()
    static = StaticMasks(
        offsets=np.array([0, 1, 1, 1, 1]), positions=np.array([0], np.uint16), ids=np.array([9], np.uint16),
        sop_swapped=np.array([True, False, False, False]),
    )  # fmt: skip
    fields = {f.name: getattr(rows, f.name) for f in dataclasses.fields(rows)} | {"static": static}
    stored = view_samples(Rows(**fields), data_set.manifest, tokenizer)
    assert [v.masked_tokens for v in stored] == [1, 0, 0, 0] and [v.swapped for v in stored] == [True, False, False, False]
    seen = stored[0].segments[0][0].seen
    assert seen is not None and seen.startswith(tokenizer.token(9))
