"""Task files: read to the letter, and refused at the very row and column that is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.errors import TaskDataError
from finetune.lines import MAX_LINE_BYTES
from finetune.read import read_examples
from finetune.sample import sample_folder
from finetune.task import Task
from finetune.tasks import GLUE, TASKS, find_task
from finetune.tsv import Table, read_table
from shards.errors import NotFoundError, UsageError


def write(folder: Path, data: bytes) -> Path:
    path = folder / "train.tsv"
    path.write_bytes(data)
    return path


def sentences(path: Path) -> Table:
    return read_table(path, wanted=("sentence", "label"))


def test_plain_file(tmp_path: Path) -> None:
    data = b"sentence\tlabel\na b\t1\nc\t0\n"
    table = sentences(write(tmp_path, data))
    assert table.columns == (["a b", "c"], ["1", "0"])
    assert table.rows == [2, 3]
    assert table.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfsentence\tlabel\na\t1\nb\t0\n",
        b"sentence\tlabel\r\na\t1\r\nb\t0\r\n",
        b"sentence\tlabel\na\t1\nb\t0",
        b"sentence\tlabel\na\t1\nb\t0\n\n\r\n",
        b"label\tsentence\n1\ta\n0\tb\n",
        b"id\tsentence\tlabel\n0\ta\t1\n1\tb\t0\n",
    ],
    ids=["byte order mark", "CRLF", "no last line end", "blank lines at the end", "columns swapped", "a column more"],
)
def test_variants_read_alike(tmp_path: Path, data: bytes) -> None:
    assert sentences(write(tmp_path, data)).columns == (["a", "b"], ["1", "0"])


def test_quotation_marks_are_plain_characters(tmp_path: Path) -> None:
    table = sentences(write(tmp_path, b'sentence\tlabel\n"she said\t1\nit\'s "good"\t0\n""\t1\n'))
    assert table.columns[0] == ['"she said', 'it\'s "good"', '""']


def test_only_a_line_feed_ends_a_row(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three\x0bfour\x0cfive\x1csix\rseven"
    table = sentences(write(tmp_path, f"sentence\tlabel\n{text}\t1\n".encode()))
    assert table.columns[0] == [text]


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (b"", "train.tsv:1:1", "empty"),
        (b"sentence\tlabel\n", "train.tsv:1:1", "no rows"),
        (b"text\tlabel\na\t1\n", "train.tsv:1:1", "no column 'sentence'"),
        (b"sentence\tlabel\tlabel\na\t1\t1\n", "train.tsv:1:3", "'label' twice"),
        (b"sentence\tlabel\na\t1\nb\n", "train.tsv:3:2", "expected 2, got 1"),
        (b"sentence\tlabel\na\t1\t1\n", "train.tsv:2:3", "expected 2, got 3"),
        (b"sentence\tlabel\na\t1\n\t0\n", "train.tsv:3:1", "nothing in column 'sentence'"),
        (b"sentence\tlabel\na\t\n", "train.tsv:2:2", "nothing in column 'label'"),
        (b"sentence\tlabel\na\t1\n\nb\t0\n", "train.tsv:3:1", "blank line"),
        (b"sentence\tlabel\na\t1\nb\t\xff\n", "train.tsv:3:2", "byte 0xff at byte 3"),
        ("sentence\tlabel\n好\t1\n".encode("gb18030"), "train.tsv:2:1", "not UTF-8"),
        ("sentence\tlabel\na\t1\n".encode("utf-16"), "train.tsv:1:1", "not UTF-8"),
        (b"sentence\tlabel\n" + b"x" * (MAX_LINE_BYTES + 1), "train.tsv:2:1", "too long"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, data: bytes, place: str, words: str) -> None:
    with pytest.raises(TaskDataError) as caught:
        sentences(write(tmp_path, data))
    assert str(caught.value).startswith(f"{tmp_path / place}: ")
    assert words in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"dev\.tsv"):
        sentences(tmp_path / "dev.tsv")
    with pytest.raises(TaskDataError, match="a folder"):
        sentences(tmp_path)


def test_allowed_defects_are_left_out_counted_and_placed(tmp_path: Path) -> None:
    path = write(tmp_path, b"sentence\tlabel\na\t1\nbroken\n\t1\nb\t0\n")
    table = read_table(path, wanted=("sentence", "label"), max_defects=2)
    assert table.columns[0] == ["a", "b"]
    assert table.rows == [2, 5]
    assert table.defects == (f"{path}:3:2", f"{path}:4:1")
    with pytest.raises(TaskDataError, match=r":4:1"):
        read_table(path, wanted=("sentence", "label"), max_defects=1)


TEXT = st.text(st.characters(exclude_characters="\t\n\r\ufeff", exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(TEXT.filter(str.strip), st.sampled_from("01")), min_size=1, max_size=8), crlf=st.booleans())
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], crlf: bool) -> None:
    end = "\r\n" if crlf else "\n"
    data = end.join(["sentence\tlabel", *("\t".join(row) for row in rows)]).encode()
    table = sentences(write(tmp_path_factory.mktemp("rows"), data))
    assert list(zip(*table.columns, strict=True)) == rows


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_give_rows_or_a_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.mktemp("bytes"), b"sentence\tlabel\n" + data)
    try:
        table = sentences(path)
    except TaskDataError as error:
        assert str(path) in str(error)
    else:
        assert len(table.columns[0]) == len(table.columns[1]) == len(table.rows) > 0


# The first bytes of each task's official layout.
LAYOUTS: dict[str, tuple[str, list[tuple[list[str], float]]]] = {
    "CoLA": ("gj04\t1\t\tThe dog ran.\ngj04\t0\t*\tDog the ran.\n", [(["The dog ran."], 1), (["Dog the ran."], 0)]),
    "SST-2": ("sentence\tlabel\nfine \t1\nbad \t0\n", [(["fine "], 1), (["bad "], 0)]),
    "MRPC": (
        '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\tHe "left.\tHe went.\r\n0\t9\t10\tA\tB\r\n',
        [(['He "left.', "He went."], 1), (["A", "B"], 0)],
    ),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tg\tf\t2012\t1\tn\tn\tA plane.\tA plane flies.\t4.750\n1\tg\tf\t2012\t2\tn\tn\tA\tB\t0\n",
        [(["A plane.", "A plane flies."], 4.75), (["A", "B"], 0.0)],
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t0\t1\tWho?\tWhy?\t0\n1\t2\t3\tHow\n\tmuch?\t1\n2\t4\t5\tA?\tB?\t1\n",
        [(["Who?", "Why?"], 0), (["A?", "B?"], 1)],
    ),
    "MNLI": (
        "index\tgenre\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n"
        "0\tg\tA\tB\tneutral\tneutral\tcontradiction\n1\tg\tC\tD\tentailment\tneutral\tentailment\n",
        [(["A", "B"], 2), (["C", "D"], 0)],
    ),
    "QNLI": ("index\tquestion\tsentence\tlabel\n0\tQ?\tS.\tnot_entailment\n", [(["Q?", "S."], 1)]),
    "WNLI": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\t0\n1\tC\tD\t1\n", [(["A", "B"], 0), (["C", "D"], 1)]),
    "RTE": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n", [(["A", "B"], 0)]),
}


@pytest.mark.parametrize("name", [task.name for task in GLUE if task.name != "AX"])  # AX trains on MNLI's file
def test_official_layout_of_every_task(tmp_path: Path, name: str) -> None:
    text, rows = LAYOUTS[name]
    examples, _ = read_examples(TASKS[name], write(tmp_path, text.encode()))
    halves = [examples.texts_a] if examples.texts_b is None else [examples.texts_a, examples.texts_b]
    assert [([half[i] for half in halves], examples.labels[i]) for i in range(len(examples))] == rows


@pytest.mark.parametrize(
    ("task", "data", "place"),
    [
        (TASKS["SST-2"], b"sentence\tlabel\na\t1\nb\t2\n", ":3:2"),
        (TASKS["SST-2"], b"sentence\tlabel\na\tpositive\n", ":2:2"),
        (TASKS["CoLA"], b"source\tlabel\tannotation\tsentence\n", ":1:2"),
        (TASKS["STS-B"], b"sentence1\tsentence2\tscore\na\tb\t5.1\n", ":2:3"),
        (TASKS["STS-B"], b"sentence1\tsentence2\tscore\na\tb\tnan\n", ":2:3"),
        (TASKS["RTE"], b"sentence1\tsentence2\tlabel\na\tb\t-\n", ":2:3"),
    ],
)
def test_unknown_labels_are_named_with_their_place(tmp_path: Path, task: Task, data: bytes, place: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(TaskDataError, match=f"{path}{place}: .*does not hold a label.*expected"):
        read_examples(task, path)


def test_an_unknown_task_gets_the_nearest_name() -> None:
    assert find_task("sst-2").name == "SST-2"
    with pytest.raises(UsageError, match="Did you mean 'SST-2'"):
        find_task("SST2")


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
def test_the_embedded_sample_reads_as_sst2_and_is_balanced(name: str) -> None:
    examples, table = read_examples(TASKS["SST-2"], sample_folder() / name)
    assert not table.defects
    assert len(examples) >= 100
    assert 0.35 < sum(examples.labels) / len(examples) < 0.65
