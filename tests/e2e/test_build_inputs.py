"""What a user may hand to the data pipeline, through its commands: every format, every flag of cleaning, every tokenizer."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.boundary_agreement import main as agreement
from pipeline.build import main as build
from pipeline.diff import main as diff
from pipeline.inspect import main as inspect
from pipeline.plan import main as plan
from pipeline.report import main as report
from pipeline.tokenizer import Tokenizer
from shards.reader import DataSet
from shards.verify import main as verify
from tests.helpers.commands import error_of, run
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece

SMALL = ("--layout", "full", "--max-seq-len", 64, "--heldout", 0.2, "--segmenter", "rjieba")
SENTENCES = (
    "研究生研究生命起源。",
    "这位正在北京大学的人不了北京天安门！",
    "我用科学写的生命的起源，",
    "小店的光是了不。",
    "他说好下野去？",
)
DOCUMENTS = tuple(
    "\n".join(f"{SENTENCES[(n * k) % 5]}第{n}{SENTENCES[(n + k) % 5]}" for k in range(1, 2 + n % 4)) for n in range(60)
)


def character() -> Tokenizer:
    """A vocabulary of single characters, which is a WordPiece one without pieces."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set("".join(DOCUMENTS)) - {"\n"})]
    return type(wordpiece()).from_vocab(tokens)


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece": wordpiece, "character": character, "roformer-word": roformer_word, "byte-bpe": byte_bpe,
}  # fmt: skip


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in tokenizer.files().items():
        (folder / name).write_bytes(data)
    return folder


def ran(command: Callable[[Sequence[str]], int], capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command in this process and return the figures of its last line."""
    capfd.readouterr()
    code = command([*map(str, arguments), "--json"])
    out, err = capfd.readouterr()
    assert code == 0, err
    figures = json.loads(out.splitlines()[-1])["figures"]
    assert isinstance(figures, dict)
    return figures


class Shop:
    """A folder to build in, with a tokenizer; in-process, so that tests are quick."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capfd = folder, capfd
        self.tokenizer = write_tokenizer(folder / "tokenizer", wordpiece())

    def build(self, name: str, given: Path, *flags: object, tokenizer: Path | None = None) -> dict[str, Any]:
        """Build a data set and check what holds for all of them: figures that add up, nothing left behind."""
        figures = ran(
            build, self.capfd, "--corpus", "text", "--input", given, "--out", self.folder / "shards", "--name", name, "--engine",
            "local", *SMALL, "--tokenizer", tokenizer or self.tokenizer, *flags,
        )  # fmt: skip
        assert figures["documents_read"] == figures["documents_kept"] + sum(figures["dropped"].values())
        assert figures["rows_read"] == figures["rows_kept"] + sum(figures["rows_dropped"].values())
        assert not [path.name for path in self.at(name).iterdir() if path.name.startswith(".")]
        return figures

    def at(self, name: str) -> Path:
        return self.folder / "shards" / name

    def texts(self, name: str) -> list[str]:
        return [sample["text"] for sample in ran(inspect, self.capfd, self.at(name), "--rows", 1000)["samples"]]

    def ids(self, name: str) -> dict[str, list[list[int]]]:
        return ids_of(self.at(name))


def ids_of(path: Path) -> dict[str, list[list[int]]]:
    """Return the ids of every sample."""
    data_set = DataSet.open(path)
    found: dict[str, list[list[int]]] = {}
    for split in ("train", "heldout"):
        part = data_set.split(split)
        rows = part.take(np.arange(len(part)))
        found[split] = [rows.ids[a:b].tolist() for a, b in pairwise(rows.offsets.tolist())]
    return found


@pytest.fixture
def shop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capfd)


def text() -> bytes:
    return "\n\n".join(DOCUMENTS).encode() + b"\n"


def json_lines(field: str = "text") -> bytes:
    return "".join(json.dumps({field: d, "id": n}, ensure_ascii=False) + "\n" for n, d in enumerate(DOCUMENTS)).encode()


def delimited(delimiter: str) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([["id", "text"], *([n, d] for n, d in enumerate(DOCUMENTS))])
    return stream.getvalue().encode()


def table() -> pa.Table:
    return pa.table({"id": list(range(len(DOCUMENTS))), "text": list(DOCUMENTS)})


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(table(), stream, row_group_size=7)
    return stream.getvalue()


def arrow(*, stream: bool = False) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table().schema) as writer:
        writer.write_table(table())
    return sink.getvalue()


def wikiextractor() -> bytes:
    return "".join(f'<doc id="{n}" url="" title="T{n}">\nT{n}\n\n{d}\n\n</doc>\n' for n, d in enumerate(DOCUMENTS)).encode()


def mediawiki() -> bytes:
    pages = "".join(
        f"  <page>\n    <title>T{n}</title>\n    <ns>0</ns>\n    <id>{n + 1}</id>\n    <revision>\n      <id>{n + 1}</id>\n"
        f'      <text bytes="9" xml:space="preserve">{escape(d.replace(chr(10), chr(10) * 2))}</text>\n    </revision>\n  </page>\n'
        for n, d in enumerate(DOCUMENTS)
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="zh">\n{pages}</mediawiki>\n'.encode()


def zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zstd(data: bytes) -> bytes:
    packed = pa.Codec("zstd").compress(data, asbytes=True)
    assert isinstance(packed, bytes)
    return packed


FORMATS: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...]]] = {
    "crlf": ("a.txt", lambda: text().replace(b"\n", b"\r\n"), ()),
    "gzip": ("a.txt.gz", lambda: gzip.compress(text()), ()),
    "bzip2": ("a.txt.bz2", lambda: bz2.compress(text()), ()),
    "xz": ("a.txt.xz", lambda: lzma.compress(text()), ()),
    "zstd": ("a.txt.zst", lambda: zstd(text()), ()),
    "zip": ("a.zip", lambda: zipped("x/a.txt", text()), ()),
    "zip-jsonl": ("a.zip", lambda: zipped("x/a.jsonl", json_lines()), ()),
    "tar": ("a.tar.gz", lambda: tarred("x/a.txt", text()), ()),
    "gb18030": ("a.txt", lambda: text().decode().encode("gb18030"), ("--encoding", "gb18030")),
    "utf-16": ("a.txt", lambda: text().decode().encode("utf-16"), ("--encoding", "utf-16")),
    "jsonl": ("a.jsonl", json_lines, ()),
    "field": ("a.jsonl", lambda: json_lines("body"), ("--field", "body")),
    "csv": ("a.csv", lambda: delimited(","), ()),
    "tsv": ("a.tsv", lambda: delimited("\t"), ()),
    "csv-gzip": ("a.csv.gz", lambda: gzip.compress(delimited(",")), ()),
    "parquet": ("a.parquet", parquet, ()),
    "arrow": ("a.arrow", arrow, ()),
    "arrow-stream": ("a.arrow", lambda: arrow(stream=True), ()),
    "wikiextractor": ("wiki_00", wikiextractor, ()),
    "mediawiki": ("dump.xml", mediawiki, ()),
    "mediawiki-bzip2": ("dump.xml.bz2", lambda: bz2.compress(mediawiki()), ()),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[int]]]:
    """The samples of the documents, given as plain text."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "a.txt").write_bytes(text())
    tokenizer = write_tokenizer(folder / "tokenizer", wordpiece())
    arguments = ["--corpus", "text", "--input", folder / "a.txt", "--out", folder / "shards", "--name", "plain", "--engine"]
    assert build([*map(str, [*arguments, "local", *SMALL, "--tokenizer", tokenizer])]) == 0
    return ids_of(folder / "shards" / "plain")


@pytest.mark.parametrize("name", FORMATS)
def test_equal_documents_are_equal_samples_in_every_format(name: str, shop: Shop, plain: dict[str, list[list[int]]]) -> None:
    file, make, flags = FORMATS[name]
    (shop.folder / file).write_bytes(make())
    figures = shop.build("set.v1", shop.folder / file, *flags)
    assert figures["documents_kept"] == len(DOCUMENTS) and figures["dropped"] == {}
    assert shop.ids("set.v1") == plain and len(plain["train"]) > 30


def test_a_folder_that_datasets_saved(shop: Shop, plain: dict[str, list[list[int]]]) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": datasets.Dataset(table())}).save_to_disk(str(shop.folder / "saved"))
    assert shop.build("set", shop.folder / "saved")["documents_kept"] == len(DOCUMENTS)
    assert shop.ids("set") == plain


SHAPES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "wiki_zh": ({"id": "1", "url": "", "title": "生命", "text": "生命\n\n研究生命的起源。"}, ("研究生命的起源",)),
    "news2016zh": ({"news_id": "1", "title": "北京的大学", "desc": "中国", "content": "这位正在写科学。"}, ("这位正在写科学",)),
    "baike2018qa": (
        {"qid": "1", "category": "c", "title": "生命起源？", "desc": "", "answer": "我说不了。"},
        ("生命起源", "我说不了"),
    ),
    "webtext2019zh": (
        {"qid": "1", "title": "小店好？", "desc": "", "topic": "t", "content": "小店说好。"},
        ("小店好", "小店说好"),
    ),
    "translation2019zh": ({"english": "Hello world.", "chinese": "研究生在北京。"}, ("研究生在北京",)),
}


@pytest.mark.parametrize("corpus", SHAPES)
def test_shapes_of_nlp_chinese_corpus_by_name(corpus: str, shop: Shop) -> None:
    row, wanted = SHAPES[corpus]
    (shop.folder / "rows.json").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    shop.build("set", shop.folder / "rows.json", "--corpus", corpus, "--heldout", 0)
    (sample,) = ran(inspect, shop.capfd, shop.at("set"))["samples"]
    for part in wanted:
        assert part in sample["text"].replace("|", ""), sample


def test_flags_of_cleaning_count_what_they_leave_out(shop: Shop) -> None:
    long = "".join(f"{n}研究生命{n * 7}起源科学{n * 13}北京大学" for n in range(12)) + "。"
    rows = [
        *DOCUMENTS[:10], DOCUMENTS[0], DOCUMENTS[1], long, long + "好", "短", "重复的一行内容在这里。\n" * 30,
        "This is English text, only English text, and nothing but English text here today.", "這是臺灣的計算機，我們愛研究。",
    ]  # fmt: skip
    given = shop.folder / "rows.jsonl"
    given.write_text("".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    task = shop.folder / "task.json"
    task.write_text(json.dumps({"sentence": long, "label": "1"}, ensure_ascii=False) + "\n", encoding="utf-8")

    def dropped(name: str, *flags: object) -> dict[str, int]:
        found = shop.build(name, given, "--heldout", 0, *flags)["dropped"]
        assert isinstance(found, dict)
        return found

    assert dropped("plain") == {}
    assert dropped("exact", "--deduplicate", "exact") == {"duplicate": 2}
    assert dropped("near", "--deduplicate", "near") == {"duplicate": 2, "near_duplicate": 1}
    assert dropped("decontaminated", "--decontaminate", task) == {"contaminated": 2}
    assert dropped("short", "--filter", "min-chars=5") == {"too_short": 1}
    assert dropped("language", "--filter", "language=0.5") == {"other_language": 1}
    assert dropped("lines", "--filter", "repeated-lines") == {"repeated_lines": 1}
    # What another rule drops is compared with nothing: the near copies are both contaminated.
    filters = ("--filter", "min-chars=5", "--filter", "language=0.5", "--filter", "repeated-lines")
    together = {"contaminated": 2, "duplicate": 2, "other_language": 1, "repeated_lines": 1, "too_short": 1}
    assert dropped("all", *filters, "--deduplicate", "near", "--decontaminate", task) == together
    pytest.importorskip("opencc")
    shop.build("simple", given, "--heldout", 0, "--simplify")
    assert shop.texts("simple") != shop.texts("plain")


def test_words_of_a_user_dictionary_are_words(shop: Shop) -> None:
    (shop.folder / "a.txt").write_text("我在北京小店写生命起源。\n", encoding="utf-8")
    (shop.folder / "words.txt").write_text("京小店写 9999999 n\n", encoding="utf-8")
    texts = []
    for name, flags in (
        ("without", ()),
        ("with", ("--segmenter", "jieba-numpy", "--user-dictionary", shop.folder / "words.txt")),
    ):
        shop.build(name, shop.folder / "a.txt", "--heldout", 0, *flags)
        texts.append(ran(inspect, shop.capfd, shop.at(name))["samples"][0]["text"])
    assert "|京小店写|" not in texts[0] and "|京小店写|" in texts[1]


def test_static_masks_are_stored_shown_and_trained_on(shop: Shop) -> None:
    pytest.importorskip("paddle")
    (shop.folder / "a.txt").write_bytes(text())
    once = shop.build("once", shop.folder / "a.txt", "--layout", "pairs")
    thrice = shop.build("thrice", shop.folder / "a.txt", "--masking", "static", "--dupe-factor", 3, "--layout", "pairs")
    assert thrice["rows"] == 3 * once["rows"]
    card = ran(report, shop.capfd, shop.at("thrice"))
    assert card["duplicates"]["rows"] == once["rows"] and card["duplicates"]["stored_copies"] == 3
    first, second = ran(inspect, shop.capfd, shop.at("thrice"), "--masks", "--rows", 2)["samples"]
    assert first["text"] == second["text"] and first["masked"] != second["masked"]
    again = ran(inspect, shop.capfd, shop.at("thrice"), "--masks", "--rows", 2, "--seed", 5)["samples"]
    assert again == [first, second]
    trained = run(
        "pretrain.run", "--shards", str(shop.at("thrice")), "--model", "roformer-tiny", "--max-steps", "2", "--global-batch", "8",
        "--out", str(shop.folder / "runs"), "--json", cwd=shop.folder,
    )  # fmt: skip
    assert trained.code == 0 and trained.json["ok"], trained.err


@pytest.fixture(scope="module")
def of_each_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One data set of the documents with each kind of tokenizer."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "a.txt").write_bytes(text())
    for name, make in TOKENIZERS.items():
        tokenizer = write_tokenizer(folder / name, make())
        arguments = ["--corpus", "text", "--input", folder / "a.txt", "--out", folder / "shards", "--name", name, "--engine"]
        assert (
            build([*map(str, [*arguments, "local", "--max-seq-len", 64, "--segmenter", "rjieba", "--tokenizer", tokenizer])]) == 0
        )
    return {name: folder / "shards" / name for name in TOKENIZERS}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_report_and_inspect_show_text_that_can_be_read(
    kind: str, of_each_kind: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = of_each_kind[kind]
    card = ran(report, capfd, path)
    page = (path.parent / f"{kind}.card.html").read_text(encoding="utf-8")
    shown = "".join(word["text"] for example in card["examples"] for segment in example["segments"] for word in segment)
    assert "研究生" in shown and "研究" in page and "ç" not in page
    assert card["sample"]["scripts"]["Han"] > 1000 and card["duplicates"]["exact"]
    for sample in ran(inspect, capfd, path, "--rows", 20, "--masks")["samples"]:
        told = sample["text"].replace("|", "").replace("‖", "").replace("[UNK]", "")
        assert set(told) <= set("".join(DOCUMENTS)), told


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_diff_of_each_kind(kind: str, of_each_kind: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    path, other = of_each_kind[kind], of_each_kind["wordpiece" if kind != "wordpiece" else "byte-bpe"]
    assert ran(diff, capfd, path, path, "--check")["same"]
    found = ran(diff, capfd, path, other)
    assert not found["same"] and found["fingerprints"][0] != found["fingerprints"][1]
    assert diff([str(path), str(other), "--check"]) == 18
    assert "not comparable, the tokenizers differ" in capfd.readouterr().out


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_plan_of_each_kind_is_what_the_build_gives(
    kind: str, of_each_kind: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = of_each_kind[kind].parent.parent
    figures = ran(
        plan, capfd, "--corpus", "text", "--input", folder / "a.txt", "--max-seq-len", 64, "--tokenizer", folder / kind, "--engine",
        "local", "--segmenter", "rjieba",
    )  # fmt: skip
    made = DataSet.open(of_each_kind[kind]).manifest
    rows, tokens = (sum(getattr(entry, name) for entry in made.shards) for name in ("rows", "tokens"))
    assert figures["tokens"]["value"] == pytest.approx(tokens, rel=0.05)
    assert figures["rows"]["value"] + figures["rows_heldout"]["value"] == pytest.approx(rows, rel=0.1)
    assert figures["documents"]["value"] == len(DOCUMENTS)


@pytest.mark.parametrize(("file", "make"), [("a.parquet", parquet), ("a.csv.gz", lambda: gzip.compress(delimited(",")))])
def test_plan_takes_tables_and_every_flag_of_cleaning(file: str, make: Callable[[], bytes], shop: Shop) -> None:
    (shop.folder / file).write_bytes(make())
    task, words = shop.folder / "task.json", shop.folder / "words.txt"
    task.write_text(json.dumps({"sentence": DOCUMENTS[7]}, ensure_ascii=False) + "\n", encoding="utf-8")
    words.write_text("京小店写 9999 n\n", encoding="utf-8")
    flags = ("--decontaminate", task, "--user-dictionary", words, "--filter", "min-chars=12", "--heldout", 0)
    flags = (*flags, "--masking", "static", "--dupe-factor", 3, "--segmenter", "jieba-numpy")
    made = shop.build("set", shop.folder / file, *flags)
    options = (*SMALL, *flags, "--engine", "local", "--corpus", "text", "--input", shop.folder / file)
    figures = ran(plan, shop.capfd, *options, "--tokenizer", shop.tokenizer)
    assert {name: count["value"] for name, count in figures["dropped"].items()} == made["dropped"] and made["dropped"]
    assert figures["tokens"]["value"] == pytest.approx(made["tokens"], rel=0.05)
    # Each stretch of the sample ends in a sample that is not full, which is much of a corpus as small as this.
    assert figures["rows"]["value"] == pytest.approx(made["rows"], rel=0.2)
    trained = ran(plan, shop.capfd, *options, "--vocab-size", 300)
    assert trained["documents"]["value"] == len(DOCUMENTS)


def test_agreement_is_measured_on_text_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(text())
    assert ran(agreement, capfd, tmp_path / "a.txt")["jieba-numpy"] == 1.0
    (tmp_path / "gb.txt").write_bytes(text().decode().encode("gb18030"))
    (tmp_path / "en.txt").write_bytes(b"no Han at all\n")
    for arguments, code, words in (
        (("gb.txt",), 11, "gb.txt:1"),
        (("en.txt",), 15, "Han"),
        (("a.txt", "--lines", "-1"), 2, "-1"),
    ):
        assert agreement([str(tmp_path / arguments[0]), *arguments[1:]]) == code
        assert words in capfd.readouterr().err


def test_sets_of_different_tokenizers_in_a_folder_are_verified(
    of_each_kind: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ran(verify, capfd, of_each_kind["wordpiece"].parent)["data_sets"] == len(TOKENIZERS)


WRONG: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "encoding": (("--input", "gb.txt"), 11, ("gb.txt", "is not UTF-8", "--encoding gb18030")),
    "column": (("--input", "a.csv", "--field", "nope"), 10, ("a.csv:1", "'nope'", "id, text")),
    "format": (("--input", "a.txt", "--format", "nope"), 2, ("unknown format 'nope'", "parquet")),
    "outside": (("--input", "a.txt", "--format", "mediawiki"), 15, ("outside_of_documents",)),
    "absent": (("--input", "nope/*.txt"), 14, ("nope/*.txt",)),
    "protocol": (("--input", "nope://bucket/a.txt"), 2, ("nope://bucket/a.txt", "no way to reach")),
    "blank": (("--input", "blank.txt"), 15, ("no document is left",)),
    "nothing": (("--input", "empty.txt"), 14, ("empty.txt", "empty")),
    "rule": (("--input", "a.txt", "--clean", "nope"), 2, ("unknown cleaning rule 'nope'",)),
    "filter": (("--input", "a.txt", "--filter", "language=2"), 2, ("language", "2.0")),
    "task": (("--input", "a.txt", "--decontaminate", "nope.tsv"), 5, ("nope.tsv",)),
    "dictionary": (("--input", "a.txt", "--user-dictionary", "bad.txt"), 10, ("bad.txt:2", "a b c d")),
    "kind": (("--input", "a.txt", "--tokenizer-kind", "byte-bpe"), 2, ("--tokenizer", "pipeline.vocab --kind byte-bpe")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, code, words = WRONG[name]
    monkeypatch.chdir(tmp_path)
    files = {"a.txt": text(), "a.csv": delimited(","), "gb.txt": text().decode().encode("gb18030"), "empty.txt": b""}
    for file, data in (files | {"blank.txt": b"\n\n\n", "bad.txt": "好\na b c d\n".encode()}).items():
        Path(file).write_bytes(data)
    write_tokenizer(tmp_path / "tokenizer", wordpiece())
    tokenizer = () if name == "kind" else ("--tokenizer", "tokenizer")
    got = build(["--corpus", "text", "--engine", "local", *tokenizer, *arguments])
    err = capfd.readouterr().err
    line = err.strip().splitlines()[-1]
    assert got == code and line.startswith("error: ") and "Traceback" not in err, err
    for word in words:
        assert word in line, (word, line)
    assert not (tmp_path / "shards" / "text" / "manifest.json").exists()


def test_a_refused_append_leaves_nothing_behind(shop: Shop) -> None:
    (shop.folder / "a.txt").write_bytes(text())
    (shop.folder / "task.json").write_text(json.dumps({"sentence": "研究" * 30}) + "\n", encoding="utf-8")
    shop.build("set", shop.folder / "a.txt")
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shop.at("set").iterdir() if path.is_file()}
    (shop.folder / "b.txt").write_text("研究生命。\n", encoding="utf-8")
    append = ("--append", "--out", shop.folder / "shards", "--name", "set", "--engine", "local", "--input", shop.folder / "b.txt")
    for flags in (("--decontaminate", shop.folder / "task.json"), ("--max-seq-len", 32), ("--deduplicate", "exact")):
        shop.capfd.readouterr()
        assert build([*map(str, (*append, *flags))]) == 16
        assert "made with other options" in shop.capfd.readouterr().err
    assert before == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shop.at("set").iterdir() if path.is_file()
    }
    assert not [path.name for path in shop.at("set").iterdir() if path.name.startswith(".")]
    assert ran(build, shop.capfd, *append)["appended_files"] == 1


def test_the_command_itself_on_a_gzip_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text().decode().encode("gb18030")))
    write_tokenizer(tmp_path / "tokenizer", wordpiece())
    arguments = ("--corpus", "text", "--input", "a.txt.gz", "--engine", "local", "--tokenizer", "tokenizer")
    error_of(run("pipeline.build", *arguments, cwd=tmp_path), 11, "a.txt.gz", "--encoding gb18030")
    assert run("pipeline.build", *arguments, "--encoding", "gb18030", cwd=tmp_path).code == 0
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "shards" / "text").iterdir())[-1].startswith("units")
