"""Decontamination: which overlaps with task files drop a document, which do not, and what task files may look like."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decontaminate import DecontaminationSettings, prepare_decontamination
from pipeline.documents import Document, Drop, Ledger
from pipeline.errors import EncodingError, InputError
from pipeline.stages import make_stages, run_stages
from pipeline.task_texts import read_task_file
from shards.errors import FormatError, NotFoundError, UsageError

LONG = "The mayor of the little town by the sea said on Friday that he would open the new bridge to all traffic next spring."
SHORT = "Nobody expected the old lighthouse to survive winter"
ZH = "昨天下午三点钟左右，市中心图书馆门前的广场上聚集了数百名前来参加读书活动的市民和学生。"
ZH_SHORT = "她把那本旧相册重新放回了书架最高的一层"
FILLER = "Something else entirely is written here, at some length, and has nothing to do with it"


@pytest.fixture
def tasks(tmp_path: Path) -> list[Path]:
    tsv, jsonl = tmp_path / "dev.tsv", tmp_path / "test.jsonl"
    tsv.write_text(f"index\tsentence\tlabel\n1\t{LONG}\t0\n2\t{SHORT}\t1\n3\tA great film\t1\n", encoding="utf-8")
    jsonl.write_text(
        "".join(json.dumps({"id": 1, "s": {"text": [t]}, "label": "新闻"}) + "\n" for t in (ZH, ZH_SHORT, "很好看")),
        encoding="utf-8",
    )
    return [tsv, jsonl]


def document(text: str) -> Document:
    lines = text.split("\n")
    return Document.of(lines, tuple(range(1, len(lines) + 1)))


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (f"{FILLER}. {LONG} {FILLER}.", True),
        (f"{FILLER} THE MAYOR of the little -- town by the sea\nsaid on Friday that 'he' {FILLER}", True),
        (f"{FILLER} the mayor of the little town by the sea said on Friday {FILLER}", False),
        (f"{FILLER} nobody expected the old lighthouse to survive winter! {FILLER}", True),
        (f"{FILLER} nobody expected the old lighthouse to survive {FILLER}", False),
        ("A great film. Index, sentence, label.", False),
        (f"前文。{ZH[:36]}后文。", True),
        (f"前文。{ZH[:25]}后文。", False),
        (f"后来{ZH_SHORT}，然后走了。", True),
        ("后来她把那本旧相册重新放回了书架，然后走了。很好看。", False),
        ("", False),
        ("短", False),
    ],
)
def test_overlap(tmp_path: Path, tasks: list[Path], text: str, dropped: bool) -> None:
    stage = prepare_decontamination(tasks, tmp_path)
    assert isinstance(stage(document(text)), Drop) == dropped


def test_a_recipe_and_the_work_folder_rebuild_the_stage(tmp_path: Path, tasks: list[Path]) -> None:
    stage = prepare_decontamination(tasks, tmp_path)
    assert stage.description == {
        "name": "decontaminate", "version": 1, "words": 13, "characters": 32, "min_words": 8, "min_characters": 16,
        "files": sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in tasks),
    }  # fmt: skip
    before = stage.path.read_bytes()
    again = prepare_decontamination([*reversed(tasks), tasks[0]], tmp_path)
    assert again.description == stage.description and again.path.read_bytes() == before
    (rebuilt,) = make_stages(json.loads(json.dumps([stage.description])), tmp_path)
    assert rebuilt == stage == pickle.loads(pickle.dumps(stage))
    ledger = Ledger()
    assert [d.text for d in run_stages([document(LONG), document(FILLER)], (rebuilt,), ledger)] == [FILLER]
    assert ledger.documents_dropped == {"contaminated": 1} == ledger.rows_dropped and ledger.rejects == {"contaminated": [1]}


def test_settings_decide_lengths(tmp_path: Path, tasks: list[Path]) -> None:
    settings = DecontaminationSettings(words=5, min_words=3, characters=6, min_characters=3)
    stage = prepare_decontamination(tasks, tmp_path, settings)
    assert isinstance(stage(document("what a great film")), Drop)
    assert isinstance(stage(document("真的很好看啊")), Drop)
    assert not isinstance(stage(document("the little town sat by the sea")), Drop)
    assert prepare_decontamination(tasks, tmp_path).path != stage.path
    with pytest.raises(UsageError, match="20 and 13"):
        DecontaminationSettings(min_words=20)


def test_every_long_window_of_a_task_text_is_found(tmp_path: Path, tasks: list[Path]) -> None:
    stage = prepare_decontamination(tasks, tmp_path)
    words = LONG.split()
    for begin in range(len(words) - 12):
        assert isinstance(stage(document(f"x {' '.join(words[begin : begin + 13])} y")), Drop)


@given(st.text(max_size=200))
def test_any_text_passes_or_is_dropped(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "dev.txt").write_text(LONG, encoding="utf-8")
    result = prepare_decontamination([folder / "dev.txt"], folder)(document(text))
    assert isinstance(result, Document)


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("a.tsv", '一\t"二\r\n三\t四\n', ["一", '"二', "三", "四", ""]),
        ("a.csv", 'x,"y,\nz"\n', ["x", "y,\nz"]),
        ("a.jsonl", '{"a": "x", "n": 1}\n\n["y"]\n', ["x", "y"]),
        ("a.json", '{\n "a": ["x", {"b": "y"}]\n}', ["y", "x"]),
        ("b.json", '{"a": "x"}\n{"a": "y"}\n', ["x", "y"]),
        ("a.txt", "\ufeffx\ny", ["x", "y"]),
    ],
)
def test_every_string_field_is_read(tmp_path: Path, name: str, data: str, texts: list[str]) -> None:
    (tmp_path / name).write_bytes(data.encode())
    sha256, found = read_task_file(tmp_path / name)
    assert sorted(found) == sorted(texts) and sha256 == hashlib.sha256(data.encode()).hexdigest()


def test_unreadable_task_files_are_named_with_their_row(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.tsv"):
        read_task_file(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="folder"):
        read_task_file(tmp_path)
    (tmp_path / "gb.tsv").write_bytes("好\n".encode() + "中文".encode("gb18030"))
    with pytest.raises(EncodingError, match=r"gb\.tsv:2"):
        read_task_file(tmp_path / "gb.tsv")
    (tmp_path / "bad.jsonl").write_text('{"a": "x"}\n{"a": \n')
    with pytest.raises(InputError, match=r"bad\.jsonl:2"):
        read_task_file(tmp_path / "bad.jsonl")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.jsonl:1"):
        read_task_file(tmp_path / "deep.jsonl")
    (tmp_path / "short.txt").write_text("too short\n")
    with pytest.raises(InputError, match="8 words"):
        prepare_decontamination([tmp_path / "short.txt"], tmp_path)


def test_missing_or_broken_ngrams_are_refused(tmp_path: Path, tasks: list[Path]) -> None:
    stage = prepare_decontamination(tasks, tmp_path)
    with pytest.raises(UsageError, match="work folder"):
        make_stages([stage.description])
    stage.path.write_bytes(stage.path.read_bytes()[:160])
    (broken,) = make_stages([stage.description], tmp_path)
    with pytest.raises(FormatError, match="ngrams"):
        broken(document(LONG))
    (missing,) = make_stages([stage.description], tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="ngrams"):
        missing(document(LONG))
