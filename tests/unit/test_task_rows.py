"""Rows of every family of tasks: read as their users ship them, refused at file, row and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.cail import load_cail, row_hash, swaps
from finetune.errors import TaskDataError
from finetune.inputs import load_task, read_folder, there_of
from finetune.own_data import load_own, own_task
from finetune.read import read_examples
from finetune.tagged_data import load_tagged
from finetune.task import Task, TaskInput
from finetune.tasks import CAIL, CLUE, GLUE, TASKS, THUCNEWS, find_tasks
from shards.errors import NotFoundError, UsageError

CLUE_ROWS: dict[str, tuple[list[dict[str, Any]], list[str], list[int]]] = {
    "tnews": (
        [{"label": "103", "label_desc": "news_sports", "sentence": "甲", "keywords": "", "id": 1}, {"label": 116, "sentence": "乙", "id": 2}],
        ["甲", "乙"],
        [3, 14],
    ),
    "iflytek": ([{"label": 0, "label_des": "打车", "sentence": "甲"}, {"label": "118", "sentence": "乙"}], ["甲", "乙"], [0, 118]),
    "afqmc": ([{"sentence1": "甲", "sentence2": "乙", "label": "0"}, {"sentence1": "丙", "sentence2": "丁", "label": "1"}], ["甲", "丙"], [0, 1]),
    "cmnli": (
        [
            {"sentence1": "甲", "sentence2": "乙", "label": "neutral"},
            {"sentence1": "无", "sentence2": "无", "label": "-"},
            {"sentence1": "丙", "sentence2": "丁", "label": "contradiction"},
        ],
        ["甲", "丙"],
        [1, 2],
    ),
    "ocnli": (
        [{"level": "easy", "sentence1": "甲", "sentence2": "乙", "label": "entailment", "label0": None, "id": 0}, {"sentence1": "丙", "sentence2": "丁", "label": "neutral"}],
        ["甲", "丙"],
        [0, 1],
    ),
    "csl": (
        [{"id": 1, "abst": "丙", "keyword": ["甲", "乙"], "label": "1"}, {"id": 2, "abst": "丙", "keyword": ["丁"], "label": "0"}],
        ["甲 乙", "丁"],
        [1, 0],
    ),
    "cluewsc": (
        [
            {"target": {"span2_index": 4, "span1_index": 0, "span1_text": "小明", "span2_text": "他"}, "idx": 0, "label": "true", "text": "小明说，他好"},
            {"target": {"span2_index": 0, "span1_index": 2, "span1_text": "书", "span2_text": "它"}, "label": "false", "text": "它是书"},
        ],
        ["_小明_说，[他]好", "[它]是_书_"],
        [1, 0],
    ),
}  # fmt: skip


def write_json(path: Path, rows: list[dict[str, Any]], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode())
    return path


@pytest.mark.parametrize("name", [task.name for task in CLUE])
@pytest.mark.parametrize("few", [False, True])
def test_rows_of_every_clue_task(tmp_path: Path, name: str, few: bool) -> None:
    rows, texts, labels = CLUE_ROWS[name]
    names = ("train_few_all.json", "dev_few_all.json") if few else ("train.json", "dev.json")
    for file in names:
        write_json(tmp_path / file, rows, "\r\n" if few else "\n")
    data = read_folder(TASKS[name], tmp_path, "here", tests=False)
    assert (data.train.texts_a, data.train.labels) == (texts, labels)
    assert (data.train.texts_b is not None) == (len(TASKS[name].texts) == 2)
    assert data.tally.get("rows_without_label", 0) == (2 if name == "cmnli" else 0)


def test_rows_of_which_none_has_a_label_are_refused(tmp_path: Path) -> None:
    rows, _, _ = CLUE_ROWS["cmnli"]
    write_json(tmp_path / "train.json", rows)
    write_json(tmp_path / "dev.json", [{**row, "label": "-"} for row in rows])
    with pytest.raises(TaskDataError, match=r"dev\.json:1:label: no row has a label"):
        read_folder(TASKS["cmnli"], tmp_path, "here", tests=False)


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ('{"sentence": "甲"}', ":3:label", "no key 'label'"),
        ('{"sentence": "甲", "label": "999"}', ":3:label", "expected one of 100, 101"),
        ('{"sentence": "", "label": "100"}', ":3:sentence", "nothing in"),
        ('{"sentence": {"a": 1}, "label": "100"}', ":3:sentence", "not a text"),
        ('{"sentence": "\\ud83d", "label": "100"}', ":3:sentence", "surrogate"),
        ('{"sentence": "甲", "sentence": "乙", "label": "100"}', ":3:1", "duplicate key"),
        ("[1]", ":3:1", "not a JSON object"),
        ("甲\t100", ":3:1", "one JSON object a line"),
        ('{"sentence": NaN, "label": "100"}', ":3:1", "NaN"),
    ],
)
def test_a_wrong_json_row_is_named(tmp_path: Path, line: str, place: str, words: str) -> None:
    path = write_json(tmp_path / "train.json", CLUE_ROWS["tnews"][0])
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(TaskDataError) as caught:
        read_examples(TASKS["tnews"], path)
    assert str(caught.value).startswith(f"{path}{place}: ")
    assert words in str(caught.value)


def test_a_span_outside_of_its_text_is_named(tmp_path: Path) -> None:
    row = {
        "target": {"span2_index": 9, "span1_index": 0, "span1_text": "甲", "span2_text": "乙"},
        "label": "true",
        "text": "甲乙",
    }
    with pytest.raises(TaskDataError, match=r"train\.json:1:target: span2 does not lie"):
        read_examples(TASKS["cluewsc"], write_json(tmp_path / "train.json", [row]))


def test_several_tasks_and_all_of_them() -> None:
    all_of = tuple(task for task in GLUE if task.name != "AX")
    assert len(find_tasks("all", GLUE, all_of)) == 9
    assert [task.name for task in find_tasks("rte,SST-2", GLUE, all_of)] == ["RTE", "SST-2"]
    with pytest.raises(UsageError, match="twice"):
        find_tasks("RTE,rte", GLUE, all_of)


def test_all_means_those_that_are_there(tmp_path: Path) -> None:
    for name in ("RTE", "WNLI"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.tsv").write_text("", encoding="utf-8")
    assert [task.name for task in there_of(GLUE, data_dir=str(tmp_path))] == ["RTE", "WNLI"]


MNLI = "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\tneutral\n1\tc\td\tentailment\n2\te\tf\tcontradiction\n"
DIAGNOSTIC = "Domain\tPremise\tHypothesis\tLabel\nnews\tg\th\tentailment\nnews\ti\tj\tneutral\n"


def test_mnli_has_two_dev_sets_and_the_diagnostic(tmp_path: Path) -> None:
    folder = tmp_path / "MNLI"
    folder.mkdir()
    for name in ("train.tsv", "dev_matched.tsv"):
        (folder / name).write_text(MNLI, encoding="utf-8")
    data = read_folder(TASKS["MNLI"], folder, "here", tests=False)
    assert not data.other_dev
    assert "dev_mismatched.tsv is not there: no mismatched score" in data.notes
    with pytest.raises(NotFoundError, match=r"--predict: no test file of MNLI .*test_matched\.tsv"):
        read_folder(TASKS["MNLI"], folder, "here", tests=True)
    (folder / "dev_mismatched.tsv").write_text(MNLI, encoding="utf-8")
    (tmp_path / "diagnostic").mkdir()
    (tmp_path / "diagnostic" / "diagnostic-full.tsv").write_text(DIAGNOSTIC, encoding="utf-8")
    (tmp_path / "diagnostic" / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n7\tg\th\n9\ti\tj\n", encoding="utf-8")
    data = read_folder(TASKS["MNLI"], folder, "here", tests=True)
    assert {name: rows.labels for name, rows in data.other_dev.items()} == {"mismatched": [1, 0, 2], "ax": [0, 1]}
    assert data.task.metrics_of("ax") == ("mcc",) and data.task.metrics_of("mismatched") == ("acc",)
    assert data.tests["ax"].ids == ["7", "9"]
    alone = load_task(TASKS["AX"], data_dir=str(tmp_path))
    assert (len(alone.train), alone.dev.labels, alone.task.metrics) == (3, [0, 1], ("mcc",))


def test_titles_and_articles_of_thucnews(tmp_path: Path) -> None:
    articles, titles = THUCNEWS
    (tmp_path / "class.txt").write_text("体育\n财经\n", encoding="utf-8")
    for name in ("train.txt", "dev.txt"):
        (tmp_path / name).write_text("甲 队\t0\n乙 股\t1\n", encoding="utf-8")
    data = read_folder(titles, tmp_path, "here", tests=False)
    assert (data.task.labels, data.train.labels, data.train.texts_a) == (("体育", "财经"), [0, 1], ["甲 队", "乙 股"])
    assert data.tally["dev_rows_in_train"] == 2
    assert any(note.startswith("warning: 2 of 2 dev rows are training rows too, the first at") for note in data.notes)
    (tmp_path / "dev.txt").write_text("甲\t2\n", encoding="utf-8")
    with pytest.raises(TaskDataError, match=r"dev\.txt:1:2: .*a number from 0 to 1, a line of class\.txt"):
        read_folder(titles, tmp_path, "here", tests=False)
    folder = tmp_path / "articles"
    folder.mkdir()
    for name in ("train.txt", "val.txt", "test.txt"):
        (folder / name).write_text("体育\t甲。\u3000乙\n财经\t丙\t丁\n", encoding="utf-8")
    data = read_folder(articles, folder, "here", tests=False)
    texts = ["甲。\u3000乙", "丙\t丁"]  # an article may hold tabs
    assert (data.task.labels, data.train.texts_a, list(data.other_dev)) == (("体育", "财经"), texts, ["test"])


def scm(count: int, *, labelled: bool = False) -> list[dict[str, Any]]:
    return [{"A": f"甲{i}", "B": f"乙{i}", "C": f"丙{i}"} | ({"label": "BC"[i % 2]} if labelled else {}) for i in range(count)]


def closer(data: TaskInput) -> set[tuple[str, str]]:
    """Return (A, the closer one) of all rows."""
    found = set()
    for rows in (data.train, data.dev):
        assert rows.texts_b is not None and rows.texts_c is not None
        found |= {(a, (b, c)[int(n)]) for a, b, c, n in zip(rows.texts_a, rows.texts_b, rows.texts_c, rows.labels, strict=True)}
    return found


def test_cases_without_label_are_divided_and_swapped_by_their_own_hash(tmp_path: Path) -> None:
    (task,) = CAIL
    rows = scm(400)
    data = load_cail(task, write_json(tmp_path / "one" / "triples.jsonl", rows).parent, "here", swap_seed=0)
    assert closer(data) == {(row["A"], row["B"]) for row in rows}  # the convention survives the swap
    assert len(data.train) + len(data.dev) == 400 and 0.75 < len(data.train) / 400 < 0.85
    share = sum(data.train.labels) / len(data.train)
    assert 0.4 < share < 0.6
    again = load_cail(task, write_json(tmp_path / "two" / "triples.jsonl", rows[::-1]).parent, "here", swap_seed=0)
    assert set(again.dev.texts_a) == set(data.dev.texts_a)
    other = load_cail(task, tmp_path / "one", "here", swap_seed=1)
    assert other.dev.texts_a == data.dev.texts_a and other.train.labels != data.train.labels
    assert other.fingerprint != data.fingerprint
    texts = ("甲", "乙", "丙")
    assert swaps(texts, 3) == swaps(list(texts), 3) and row_hash(texts) == row_hash(list(texts))


def test_labelled_cases_keep_their_places(tmp_path: Path) -> None:
    (task,) = CAIL
    for name in ("train.json", "valid.json", "test.json"):
        write_json(tmp_path / name, scm(6, labelled=True))
    data = load_cail(task, tmp_path, "here", swap_seed=0)
    assert data.train.texts_b == [f"乙{i}" for i in range(6)] and data.train.labels == [0, 1] * 3
    assert list(data.other_dev) == ["test"]
    write_json(tmp_path / "train.json", [*scm(2, labelled=True), {"A": "甲", "B": "乙", "C": "丙", "label": "D"}])
    with pytest.raises(TaskDataError, match=r"train\.json:3:label: .*one of B, C"):
        load_cail(task, tmp_path, "here", swap_seed=0)


def test_a_row_without_label_among_labelled_ones_follows_the_convention(tmp_path: Path) -> None:
    (task,) = CAIL
    rows = [*scm(6, labelled=True), *({**row, "label": ""} for row in scm(12)[6:9]), *scm(12)[9:]]
    for name in ("train.json", "valid.json"):
        write_json(tmp_path / name, rows)
    data = load_cail(task, tmp_path, "here", swap_seed=0)
    assert data.train.labels[:6] == [0, 1] * 3 and data.train.texts_b is not None
    assert closer(data) == {(row["A"], row["C" if row.get("label") == "C" else "B"]) for row in rows}
    assert data.tally["rows_labelled_by_convention"] == 12  # six of each file


def own(folder: Path, train: str, dev: str, *, suffix: str = ".tsv", columns: str = "text,label", kind: str = "classes",
        labels: str | None = None, has_header: bool = True) -> TaskInput:  # fmt: skip
    for name, text in (("train", train), ("dev", dev)):
        (folder / f"{name}{suffix}").write_bytes(text.encode())
    task = own_task("mine", columns=columns, kind=kind, labels=labels)
    return load_own(task, train=folder / f"train{suffix}", dev=folder / f"dev{suffix}", layout="auto", has_header=has_header)


def test_own_rows_in_every_layout(tmp_path: Path) -> None:
    wanted = (["good, very", "bad"], ["a", "b"])
    tsv = own(tmp_path, "text\tlabel\ngood, very\ta\nbad\tb\n", "label\ttext\nb\tx\na\ty\n")
    csv = own(tmp_path, '\ufefftext,label\r\n"good, very",a\r\nbad,b\r\n', "text,label\nx,b\ny,a\n", suffix=".csv")
    rows = '{"text": "good, very", "label": "a"}\n{"text": "bad", "label": "b"}\n'
    jsonl = own(tmp_path, rows, rows, suffix=".jsonl")
    bare = own(tmp_path, "a\t1\tgood, very\nb\t2\tbad\n", "b\t3\tx\na\t4\ty\n", columns="3,1", has_header=False)
    for data in (tsv, csv, jsonl, bare):
        assert (data.train.texts_a, [data.task.labels[int(n)] for n in data.train.labels]) == wanted
    assert tsv.dev.texts_a == ["x", "y"] and tsv.dev.labels == [1, 0]
    pairs = own(tmp_path, "p,q,label\nx,y,1\nz,w,0\n", "p,q,label\nx,z,1\nz,w,0\n", suffix=".csv", columns="p,q,label")
    assert pairs.train.texts_b == ["y", "w"] and pairs.tally["dev_rows_in_train"] == 1
    scores = own(tmp_path, "text,label\nx,-1.5\ny,2e3\n", "text,label\nz,0\n", suffix=".csv", kind="score")
    assert scores.train.labels == [-1.5, 2000.0] and scores.task.outputs == 1
    quoted = own(tmp_path, 'text,label\n"two\nlines",a\n"a ""b""",b\n', "text,label\nx,b\ny,a\n", suffix=".csv")
    assert quoted.train.texts_a == ["two\nlines", 'a "b"']


HEAD = "text\tlabel\n"
GOOD = HEAD + "good\ta\nbad\tb\n"


@pytest.mark.parametrize(
    ("train", "dev", "columns", "kind", "place", "words"),
    [
        ("text\tlabel\n", GOOD, "text,label", "classes", "train.tsv:1:1", "no rows"),
        (GOOD, "", "text,label", "classes", "dev.tsv:1:1", "empty"),
        (GOOD, GOOD, "text,score", "classes", "train.tsv:1:1", "no column 'score'"),
        (GOOD, HEAD + "x\ta\ny\tc\n", "text,label", "classes", "dev.tsv:3:2", "the training rows have no c"),
        (GOOD, HEAD + "x\ta\ny\ta\n", "text,label", "classes", "train.tsv:3:2", "the dev rows have no b"),
        (HEAD + "1\ta\n2\tb\n", GOOD, "text,label", "classes", "train.tsv:2:1", "holds only numbers"),
        (HEAD + "x\ta\ny\ta\n", HEAD + "x\ta\n", "text,label", "classes", "train.tsv:2:2", "same label"),
        (HEAD + "x\t1.5\ny\tgreat\n", GOOD, "text,label", "score", "train.tsv:3:2", "expected a number, got 'great'"),
        (HEAD + "x\t1\ny\tinf\n", GOOD, "text,label", "score", "train.tsv:3:2", "expected a number"),
        (HEAD + "".join(f"x{i}\t{i}.5\n" for i in range(30)), GOOD, "text,label", "classes", "train.tsv:2:2", "--kind score"),
    ],
)
def test_what_is_wrong_with_own_rows_is_named(
    tmp_path: Path, train: str, dev: str, columns: str, kind: str, place: str, words: str
) -> None:
    with pytest.raises(TaskDataError) as caught:
        own(tmp_path, train, dev, columns=columns, kind=kind)
    assert str(caught.value).startswith(f"{tmp_path / place}: ")
    assert words in str(caught.value)


def test_labels_that_are_named_may_be_missing_on_one_side(tmp_path: Path) -> None:
    data = own(tmp_path, GOOD, HEAD + "x\ta\ny\ta\n", labels="a,b,c")
    assert data.task.labels == ("a", "b", "c")
    with pytest.raises(TaskDataError, match=r"dev\.tsv:2:2: .*expected one of a, b"):
        own(tmp_path, GOOD, HEAD + "x\tz\n", labels="a,b")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('text,label\n"open,a\nx,b\n', "train.csv:2:1", "no CSV"),
        ("text,label\nx\n", "train.csv:2:2", "expected 2, got 1"),
        ('text,label\n"a\nb",x\nc,\n', "train.csv:4:2", "nothing in column 'label'"),
    ],
)
def test_wrong_csv_is_named_by_the_row_it_begins_on(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(TaskDataError) as caught:
        own(tmp_path, text, "text,label\nx,a\n", suffix=".csv")
    assert str(caught.value).startswith(f"{tmp_path / place}: ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "kind", "labels", "words"),
    [
        ("text", "classes", None, "--columns"),
        ("a,b,c,d", "classes", None, "--columns"),
        ("a,a,label", "classes", None, "--columns"),
        ("a,label", "score", "x,y", "--labels goes with classes"),
        ("a,label", "classes", "x", "--labels needs two"),
    ],
)
def test_options_that_make_no_task_are_refused(columns: str, kind: str, labels: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        own_task("mine", columns=columns, kind=kind, labels=labels)


CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\nGerman JJ S-MISC\n\n北\tB-LOC\n京\tE-LOC\n人\tO\n"
FORMS = [
    {"tokens": ["北", "京", "人"], "tags": ["B-LOC", "I-LOC", "O"]},
    {"text": "北京 人", "entities": [{"start": 0, "end": 2, "label": "LOC"}]},
    {"text": "北京人", "label": {"LOC": {"北京": [[0, 1]]}}},
]


def test_tagged_rows_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(CONLL, encoding="utf-8")
    data = load_tagged("ner", train=path, dev=path, layout="conll")
    assert data.task.labels == ("O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG")
    assert data.train.texts_a == ["EU rejects German", "北京人"]
    assert data.train.words is not None
    assert [row.begins for row in data.train.words] == [(0, 3, 11), (0, 1, 2)]
    assert data.train.words[1].tags == (1, 2, 0)
    path = write_json(tmp_path / "train.jsonl", FORMS)
    data = load_tagged("ner", train=path, dev=path, layout="json")
    assert data.train.texts_a == ["北京人"] * 3
    assert data.train.words is not None
    assert [row.tags for row in data.train.words] == [(1, 2, 0)] * 3


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("北 B-LOC\n京 LOC\n", "train.txt:2:2", "not a tag"),
        ("北 B-LOC\n京\n", "train.txt:2:1", "a word and its tag"),
        ("", "train.txt:1:1", "no rows"),
        ("北 O\n", "train.txt:1:2", "no training row has an entity"),
    ],
)
def test_wrong_conll_is_named(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TaskDataError) as caught:
        load_tagged("ner", train=path, dev=path, layout="conll")
    assert str(caught.value).startswith(f"{tmp_path / place}: ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ({"text": "北京", "entities": [{"start": 1, "end": 3, "label": "LOC"}]}, "entities", "outside of its text"),
        (
            {"text": "北京", "entities": [{"start": 0, "end": 2, "label": "A"}, {"start": 1, "end": 2, "label": "B"}]},
            "entities",
            "overlap",
        ),
        ({"text": "北京", "label": {"LOC": {"北京": [[0]]}}}, "label", "[first, last]"),
        ({"text": "北京"}, "label", "an object of types"),
        ({"tokens": ["北", "京"], "tags": ["O"]}, "tags", "expected 2, got 1"),
        ({"tokens": [], "tags": []}, "tokens", "list of words"),
        ({"sentence": "北京"}, "text", "no row of a tagging task"),
    ],
)
def test_wrong_tagged_json_is_named(tmp_path: Path, row: dict[str, Any], key: str, words: str) -> None:
    path = write_json(tmp_path / "train.jsonl", [FORMS[0], row])
    with pytest.raises(TaskDataError) as caught:
        load_tagged("ner", train=path, dev=path, layout="json")
    assert str(caught.value).startswith(f"{path}:2:{key}: ") and words in str(caught.value)


def test_an_entity_type_that_training_rows_lack_is_named(tmp_path: Path) -> None:
    train, dev = (tmp_path / name for name in ("train.txt", "dev.txt"))
    train.write_text("北 B-LOC\n", encoding="utf-8")
    dev.write_text("北 B-LOC\n\n他 B-PER\n", encoding="utf-8")
    with pytest.raises(TaskDataError, match=r"dev\.txt:3:2: an unknown type of entity .*LOC.*PER.*--labels"):
        load_tagged("ner", train=train, dev=dev, layout="conll")
    with pytest.raises(TaskDataError, match=r"dev\.txt:3:2: the types .* differ: no dev row has 'PER'.*--labels"):
        load_tagged("ner", train=dev, dev=train, layout="conll")
    named = load_tagged("ner", train=dev, dev=train, layout="conll", kinds=("ORG", "PER", "LOC"))
    assert named.task.labels == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")


def test_a_task_that_contradicts_itself_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="score range"):
        Task(name="x", texts=("a",), kind="score")
    with pytest.raises(ValueError, match="text columns"):
        Task(name="x", texts=("a",), kind="choice")
