"""`pipeline.build` as a user meets it: from files to a committed data set, and every way in which it can go wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.build import main as build
from pipeline.errors import CorpusError, EmptyCorpusError, EncodingError, HubError, VocabularyError
from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from shards.errors import ExistsError, IntegrityError, LockedError, UsageError
from shards.lock import exclusive, lock_path
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.commands import error_of, run, tree

ARTICLE = "今天天气很好，我们去公园玩。孩子们在草地上放风筝！你想一起来吗？\n研究生研究生命起源。他说：“明天再见。”然后离开了。"
SMALL = ("--engine", "local", "--vocab-size", "600", "--max-seq-len", "64", "--heldout", "0.2")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.txt", "b.txt", "sub/c.txt")):
        documents = [f"第{n}篇文章，文件{number}。\n{ARTICLE}" for n in range(30)] + ["只有一句话的文章。"]
        (folder / name).write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return folder


def test_a_build_accounts_for_everything(tmp_path: Path, corpus: Path) -> None:
    (corpus / "a.txt").write_bytes((corpus / "a.txt").read_bytes() + b"\n\n\xff\xfe\n" + "\n\n\u200b\n".encode())
    ran = run("pipeline.build", "--corpus", "clue_small", "--input", str(corpus), *SMALL, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    report = ran.json
    assert report["command"] == "pipeline.build" and report["ok"] and report["outputs"] == ["shards/clue_small"]
    figures = report["figures"]
    assert set(figures) >= {
        "documents_read",
        "documents_kept",
        "dropped",
        "rows",
        "tokens",
        "input_bytes",
        "elapsed_s",
        "mb_per_s",
    }
    assert figures["documents_read"] == 94 == figures["documents_kept"] + sum(figures["dropped"].values())
    assert figures["dropped"] == {"empty": 1} and figures["rows_dropped"] == {"empty": 1, "invalid_utf8": 1}
    manifest = Manifest.read(tmp_path / "shards" / "clue_small")
    assert manifest.fingerprint == report["fingerprint"]
    assert [e.path for e in manifest.corpus] == ["a.txt", "b.txt", "sub/c.txt"]
    assert manifest.made["rejects"]["invalid_utf8"] == ["a.txt:124"]
    assert "rows left out as invalid_utf8: 1, the first at a.txt:124" in ran.err
    rows = {s: sum(e.rows for e in manifest.shards if e.split == s) for s in ("train", "heldout")}
    assert rows["train"] == figures["rows"] == sum(manifest.length_histogram.values())
    assert rows["heldout"] > 0, "one document in five is held out"
    assert str(tmp_path) not in (tmp_path / "shards" / "clue_small" / "manifest.json").read_text(), "no absolute path"
    assert run("shards.verify", "shards/", cwd=tmp_path).code == 0


def test_the_text_comes_back_from_the_shards(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(["--corpus", "clue_small", "--input", str(corpus), *SMALL]) == 0
    data_set = DataSet.open("shards/clue_small")
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    seen: dict[tuple[int, int], str] = {}
    for name in ("train", "heldout"):
        split = data_set.split(name)
        rows = split.take(np.arange(len(split)))
        for i in range(len(split)):
            ids = rows.ids[rows.offsets[i] : rows.offsets[i + 1]].tolist()
            place = (int(rows.source_file[i]), int(rows.source_row[i]))
            seen[place] = seen.get(place, "") + "".join(tokenizer.token(t).removeprefix("##") for t in ids)
    for file in range(3):
        text = "".join(seen[place] for place in sorted(seen) if place[0] == file)
        expected = (corpus / ("a.txt", "b.txt", "sub/c.txt")[file]).read_text(encoding="utf-8").replace("\n", "")
        assert text == expected, "every character of the corpus is in exactly one sample, in order"


def test_held_out_documents_are_not_trained_on(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(["--corpus", "clue_small", "--input", str(corpus), *SMALL, "--heldout", "0.5"]) == 0
    data_set = DataSet.open("shards/clue_small")
    tokenizer = Tokenizer.from_folder(data_set.tokenizer_folder)
    text: dict[str, str] = {}
    for name in ("train", "heldout"):
        split = data_set.split(name)
        text[name] = "".join(tokenizer.token(t).removeprefix("##") for t in split.take(np.arange(len(split))).ids.tolist())
    for number in range(30):
        for file in range(3):
            title = f"第{number}篇文章，文件{file}。"
            assert (title in text["train"]) != (title in text["heldout"]), "a document is on one side, as a whole"
    single = "只有一句话的文章。"
    assert {text["train"].count(single), text["heldout"].count(single)} == {0, 3}, "copies of a document go the same way"


def test_a_data_set_lends_its_tokenizer(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--corpus", "clue_small", "--input", str(corpus), *SMALL]
    lent = ["--tokenizer", "shards/clue_small", "--name", "other"]
    assert build(arguments) == 0 == build([*arguments, *lent])
    one, other = (Manifest.read(Path("shards") / name) for name in ("clue_small", "other"))
    assert one.tokenizer == other.tokenizer
    assert [(e.split, e.rows, e.tokens) for e in one.shards] == [(e.split, e.rows, e.tokens) for e in other.shards]
    capsys.readouterr()
    for stored in (Path("shards/clue_small") / one.tokenizer.folder).iterdir():
        stored.write_text(stored.read_text(encoding="utf-8").replace("风", "疯"), encoding="utf-8")
    assert build([*arguments, *lent, "--overwrite"]) == IntegrityError.exit_code
    assert one.tokenizer.folder in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["full", "line"])
def test_other_layouts(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(["--corpus", "clue_small", "--input", str(corpus), *SMALL, "--layout", layout]) == 0
    data_set = DataSet.open("shards/clue_small")
    rows = data_set.split("train").take(np.arange(len(data_set.split("train"))))
    assert not rows.split.any() and np.diff(rows.offsets).max() <= 62
    separators = (rows.ids == data_set.manifest.tokenizer.special_ids.sep).sum()
    assert (separators > 0) == (layout == "full")


def test_wikipedia_in_both_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pages = [f"第{n}条。{ARTICLE.splitlines()[0]}" for n in range(40)]
    wiki = "".join(f'<doc id="{n}" url="u" title="条目{n}">\n条目{n}\n\n{page}\n\n</doc>\n' for n, page in enumerate(pages))
    (tmp_path / "wiki_00").write_text(wiki, encoding="utf-8")
    (tmp_path / "wiki.json").write_text("".join(json.dumps({"text": p}) + "\n" for p in pages), encoding="utf-8")
    for name, path in (("one", "wiki_00"), ("two", "wiki.json")):
        assert build(["--corpus", "wikipedia", "--input", path, "--name", name, *SMALL]) == 0
    one, two = (DataSet.open(f"shards/{name}").split("train") for name in ("one", "two"))
    assert np.array_equal(one.take(np.arange(len(one))).ids, two.take(np.arange(len(two))).ids), (
        "the same articles, the same samples"
    )


def test_the_sample_has_both_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(["--corpus", "sample", "--engine", "local", "--vocab-size", "5000"]) == 0
    manifest = Manifest.read(Path("shards/sample"))
    sizes = {e.path: e.size for e in manifest.corpus}
    assert sum(n for p, n in sizes.items() if p.startswith("zh")) >= 100_000
    assert sum(n for p, n in sizes.items() if p.startswith("en")) >= 60_000
    assert manifest.tally.dropped == {} and manifest.tally.rows_dropped == {}


def test_corpora_are_looked_up_in_the_usual_places(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / "data").mkdir(parents=True)
    corpus.rename(tmp_path / "elsewhere" / "clue_small")
    command = ("pipeline.build", "--corpus", "clue_small", *SMALL)
    ran = run(*command, cwd=tmp_path / "here", env={"WORDLOOM_DATA": str(tmp_path / "elsewhere")})
    assert ran.code == 0 and "$WORDLOOM_DATA" in ran.out
    (tmp_path / "elsewhere" / "clue_small").rename(tmp_path / "here" / "data" / "clue_small")
    ran = run(*command, "--name", "again", cwd=tmp_path / "here")
    assert ran.code == 0 and "data/clue_small (the working directory)" in ran.out


def test_an_existing_data_set_is_kept_unless_told_otherwise(tmp_path: Path, corpus: Path) -> None:
    command = ("--corpus", "clue_small", "--input", str(corpus), *SMALL)
    assert run("pipeline.build", *command, cwd=tmp_path).code == 0
    before = tree(tmp_path / "shards")
    error_of(run("pipeline.build", *command, cwd=tmp_path), ExistsError.exit_code, "--overwrite", "shards/clue_small")
    assert tree(tmp_path / "shards") == before
    # A replacement that fails leaves what was there.
    (tmp_path / "blank.txt").write_text("\u200b\n")
    failed = run("pipeline.build", "--corpus", "clue_small", "--input", "blank.txt", "--tokenizer", "shards/clue_small/" + next(
        p.name for p in (tmp_path / "shards/clue_small").glob("tokenizer-*")), *SMALL, "--overwrite", cwd=tmp_path)  # fmt: skip
    error_of(failed, EmptyCorpusError.exit_code, "no document is left")
    assert tree(tmp_path / "shards") == before
    again = run("pipeline.build", *command, "--overwrite", "--seed", "5", "--json", cwd=tmp_path)
    assert again.code == 0
    manifest = Manifest.read(tmp_path / "shards/clue_small")
    files = (
        {e.file for e in manifest.shards}
        | {"manifest.json", manifest.made["units"]["file"]}
        | {f"{manifest.tokenizer.folder}/{f.name}" for f in manifest.tokenizer.files}
    )
    assert set(tree(tmp_path / "shards/clue_small")) == files, "superseded files are gone"


def test_two_builds_of_one_name(tmp_path: Path, corpus: Path) -> None:
    with exclusive(lock_path(tmp_path / "shards" / "clue_small")):
        ran = run("pipeline.build", "--corpus", "clue_small", "--input", str(corpus), *SMALL, cwd=tmp_path)
    error_of(ran, LockedError.exit_code, "locked by pid", "on host", "since")


def test_a_folder_that_is_no_data_set_is_left_alone(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "shards" / "clue_small").mkdir(parents=True)
    (tmp_path / "shards" / "clue_small" / "thesis.tex").write_text("years of work")
    for extra in ((), ("--overwrite",)):
        ran = run("pipeline.build", "--corpus", "clue_small", "--input", str(corpus), *SMALL, *extra, cwd=tmp_path)
        error_of(ran, ExistsError.exit_code, "thesis.tex")
    assert (tmp_path / "shards" / "clue_small" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--corpus", "clue_smal"), UsageError.exit_code, ("unknown corpus 'clue_smal'", "Did you mean 'clue_small'?")),
        (("--corpus", "text"), CorpusError.exit_code, ("data/text", "--input", "WORDLOOM_DATA")),
        (("--corpus", "text", "--input", "nowhere/*.txt"), CorpusError.exit_code, ("nowhere/*.txt", "no file found")),
        (("--corpus", "clue_small", "--lang", "en"), UsageError.exit_code, ("'clue_small'", "'en'")),
        (("--corpus", "sample", "--name", "../x"), UsageError.exit_code, ("--name", "../x")),
        (("--corpus", "sample", "--max-seq-len", "7"), UsageError.exit_code, ("--max-seq-len", "7")),
        (("--corpus", "sample", "--heldout", "1"), UsageError.exit_code, ("--heldout", "1.0")),
        (("--corpus", "sample", "--engine", "local", "--workers", "2"), UsageError.exit_code, ("--engine ray",)),
        (("--corpus", "sample", "--workers", "0"), UsageError.exit_code, ("--workers", "0")),
        (("--corpus", "sample", "--vocab-size", "50"), VocabularyError.exit_code, ("50",)),
        (("--corpus", "sample", "--tokenizer", "missing.txt"), None, ("missing.txt",)),
    ],
)
def test_bad_options(tmp_path: Path, arguments: tuple[str, ...], code: int | None, words: tuple[str, ...]) -> None:
    local = () if "--engine" in arguments else ("--engine", "local")
    ran = run("pipeline.build", *arguments, *local, cwd=tmp_path)
    error_of(ran, ran.code if code is None else code, *words)
    assert ran.code != 0 and not list(tmp_path.rglob("manifest.json"))


def test_without_the_corpus_and_without_a_network(tmp_path: Path) -> None:
    begun = time.monotonic()
    ran = run("pipeline.build", "--corpus", "clue_small", "--engine", "local", cwd=tmp_path)
    error_of(
        ran,
        HubError.exit_code,
        "austenjs/ClueCorpusSmallDataset",
        "does not answer",
        "--input PATH",
        "CLUECorpus2020",
        "data/clue_small",
    )
    assert time.monotonic() - begun < 30, "a deadline, not a benchmark: retries would take minutes"
    assert not list(tmp_path.rglob("manifest.json"))


def test_rows_of_a_hub_are_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.chdir(tmp_path)
    pages = [f"第{n}条。{ARTICLE}" for n in range(20)]
    lines = [line for page in pages for line in (*page.split("\n"), "")]
    asked: list[object] = []

    def load_dataset(hub_id: str, config: str | None, split: str, streaming: bool) -> datasets.Dataset:
        asked.append((hub_id, config, split))
        assert streaming, "the hub answers"
        return datasets.Dataset.from_dict({"text": pages if "wiki" in hub_id else lines})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("pipeline.hub.prepare_hub", lambda: None)
    assert build(["--corpus", "wikipedia", "--lang", "zh", *SMALL]) == 0
    assert build(["--corpus", "clue_small", *SMALL]) == 0
    assert asked == [("wikimedia/wikipedia", "20231101.zh", "train"), ("austenjs/ClueCorpusSmallDataset", None, "train")]
    wiki, clue = (Manifest.read(Path("shards") / name) for name in ("wikipedia", "clue_small"))
    assert wiki.tally.read == clue.tally.read == 20
    assert wiki.corpus[0].path.startswith("hub:wikimedia/wikipedia/20231101.zh/")
    assert not list(Path("shards").glob("*/.build-*")), "what was fetched goes with the work folder"


def test_a_vocabulary_without_mask_is_refused(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "天", "地"]) + "\n", encoding="utf-8")
    ran = run(
        "pipeline.build", "--corpus", "clue_small", "--input", str(corpus), "--tokenizer", "vocab.txt", *SMALL, cwd=tmp_path
    )
    error_of(ran, VocabularyError.exit_code, "[MASK]", "vocab.txt")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "gbk.txt").write_bytes((ARTICLE + "\n").encode("gb18030") * 30)
    ran = run("pipeline.build", "--corpus", "clue_small", "--input", "gbk.txt", *SMALL, cwd=tmp_path)
    error_of(ran, EncodingError.exit_code, "gbk.txt", "GB18030", "--encoding gb18030")


def test_debug_shows_the_traceback_and_json_reports_the_error(tmp_path: Path) -> None:
    ran = run("pipeline.build", "--corpus", "nope", "--debug", "--json", cwd=tmp_path)
    assert "Traceback" in ran.err and ran.code == 2
    assert ran.json["ok"] is False and "unknown corpus 'nope'" in ran.json["error"]


def test_inspect_shows_words_split_and_source(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert build(["--corpus", "clue_small", "--input", str(corpus), *SMALL, "--heldout", "0", "--max-seq-len", "128"]) == 0
    ran = run("pipeline.inspect", "shards/clue_small", "--row", "0", "--rows", "3", "--json", cwd=tmp_path)
    assert ran.code == 0
    sample = ran.json["figures"]["samples"][0]
    assert sample["source"] == "a.txt:1" and sample["split"] > 0 and "‖" in sample["text"]
    text = "".join(s["text"] for s in ran.json["figures"]["samples"])
    assert "研究生|研究|生命|起源" in text and "今天天气|很|好" in text
    error_of(
        run("pipeline.inspect", "shards/clue_small", "--row", "100000", cwd=tmp_path), UsageError.exit_code, "--row from 0 to"
    )
