"""Deduplication: what is found among planted copies and near copies, which one stays, and that nothing else decides the result."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connected import lowest_of_components
from pipeline.dedup import DeduplicationSettings, deduplication_settings, find_duplicates
from pipeline.dedup_near import candidate_pairs
from pipeline.documents import Document, Drop, Ledger
from pipeline.drop_list import DropList, Listed, write_drop_list
from pipeline.external_sort import ExternalSort, Records, sort_records, write_run
from pipeline.local_engine import LocalEngine
from pipeline.minhash import bands_and_rows, shingle_hashes, signatures
from pipeline.stages import default_stages, run_stages
from pipeline.units import Unit
from shards.errors import FormatError, NotFoundError, UsageError
from tests.helpers.units_of import write_units

SAMPLE = Path(__file__).parents[2] / "pipeline" / "sample"
STAGES = tuple(stage.description for stage in default_stages())
TINY = 1 << 16


def found(
    units: list[Unit], folder: Path, kind: str = "near", *, memory: int = 512 << 20, threshold: float = 0.8
) -> list[tuple[int, int, str]]:
    settings = DeduplicationSettings(kind=kind, threshold=threshold, max_memory_bytes=memory)
    return list(find_duplicates(units, STAGES, folder, LocalEngine(), settings))


def writer(lang: str, seed: int) -> tuple[random.Random, list[str], str]:
    """Return a generator, the words of a vocabulary wide enough that texts of random words have little in common, and a space."""
    rng = random.Random(seed)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLE.glob(f"{lang}*.txt")))
    if lang == "zh":
        return rng, list(text.replace("\n", "")), ""
    words = text.split()
    return rng, [rng.choice(words)[:4] + rng.choice(words)[-4:] for _ in range(4000)], " "


def jaccard(a: str, b: str, width: int = 5) -> float:
    left, right = ({text[i : i + width] for i in range(len(text) - width + 1)} for text in (a, b))
    return len(left & right) / len(left | right)


def planted_pairs(lang: str, low: float, high: float, count: int, seed: int) -> list[tuple[str, str]]:
    """Return `count` pairs of texts whose Jaccard similarity lies between `low` and `high`."""
    rng, words, space = writer(lang, seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        original = rng.choices(words, k=rng.randint(150, 600))
        changed = list(original)
        for _ in range(rng.randint(0, len(changed) // (40 if low > 0.8 else 2))):
            changed[rng.randrange(len(changed))] = rng.choice(words)
        pair = space.join(original), space.join(changed)
        if pair[0] != pair[1] and low <= jaccard(*pair) <= high:
            pairs.append(pair)
    return pairs


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_planted_near_duplicates(tmp_path: Path, lang: str) -> None:
    near = planted_pairs(lang, 0.9, 0.999, 400, 1)
    far = planted_pairs(lang, 0.2, 0.5, 400, 2)
    texts = [text for pair in near + far for text in pair]
    order = list(range(len(texts)))
    random.Random(3).shuffle(order)
    row_of = {number: row for row, number in enumerate(order, 1)}
    dropped = {row for _, row, _ in found(write_units(tmp_path, [[texts[n] for n in order]], 300, lang), tmp_path)}
    late = [max(row_of[2 * i], row_of[2 * i + 1]) for i in range(len(near))]
    early = [min(row_of[2 * i], row_of[2 * i + 1]) for i in range(len(near))]
    rest = {row_of[n] for n in range(2 * len(near), len(texts))}
    assert sum(row in dropped for row in late) >= 0.95 * len(near)
    assert not dropped & set(early)
    assert len(dropped & rest) <= 0.01 * len(far)


def test_survivor_is_the_lowest_and_reasons_are_told_apart(tmp_path: Path) -> None:
    (a, near_a), (b, near_b) = planted_pairs("zh", 0.93, 0.99, 2, 5)
    files = [[b, a, "短", "另一篇短文。"], [near_a, a, "短", "\u200b短", near_b, near_b, b + "\n参考文献"]]
    expected = [
        (1, 1, "near_duplicate"), (1, 2, "duplicate"), (1, 3, "duplicate"), (1, 4, "duplicate"), (1, 5, "near_duplicate"),
        (1, 6, "duplicate"), (1, 7, "duplicate"),
    ]  # fmt: skip
    units = write_units(tmp_path, files, 2)
    assert found(units, tmp_path) == expected
    exact = [(1, 2), (1, 3), (1, 4), (1, 6), (1, 7)]
    assert found(units, tmp_path, "exact") == [(file, row, "duplicate") for file, row in exact]


def test_clusters_are_joined_through_their_members(tmp_path: Path) -> None:
    rng, words, _ = writer("zh", 7)
    text = rng.choices(words, k=500)
    chain = ["".join(text)]
    for step in range(12):
        text[step * 40 : step * 40 + 6] = rng.choices(words, k=6)
        chain.append("".join(text))
    assert jaccard(chain[0], chain[-1]) < 0.8
    assert found(write_units(tmp_path, [chain[::-1]], 4), tmp_path) == [(0, row, "near_duplicate") for row in range(2, 14)]


def test_nothing_but_texts_and_settings_decides(tmp_path: Path) -> None:
    pairs = planted_pairs("zh", 0.7, 0.99, 150, 11)
    texts = [text for pair in pairs for text in pair] * 2
    random.Random(1).shuffle(texts)
    files = [texts[:250], texts[250:]]
    once = found(write_units(tmp_path, files, 1000), tmp_path)
    assert len(once) > 300
    (tmp_path / "deduplication").mkdir()
    (tmp_path / "deduplication" / "unit-000000-0000.near").write_bytes(b"left by a killed run")
    assert found(write_units(tmp_path, files, 7), tmp_path) == once
    assert found(write_units(tmp_path, files, 64), tmp_path, memory=TINY) == once
    assert not (tmp_path / "deduplication").exists()


def test_same_list_from_ray_workers(tmp_path: Path) -> None:
    from pipeline.ray_engine import RayEngine

    texts = [text for pair in planted_pairs("zh", 0.9, 0.99, 40, 13) for text in pair]
    units = write_units(tmp_path, [texts], 9)
    expected = found(units, tmp_path)
    engine = RayEngine(workers=2)
    try:
        assert list(find_duplicates(units, STAGES, tmp_path, engine, DeduplicationSettings(kind="near"))) == expected
    finally:
        engine.close()


def test_large_buckets_of_one_page_are_thinned_to_one(tmp_path: Path) -> None:
    rng, words, _ = writer("zh", 17)
    page = "".join(rng.choices(words, k=400))
    texts = [f"{page}第{number}页" for number in range(600)]
    dropped = found(write_units(tmp_path, [texts], 100), tmp_path, memory=TINY)
    assert [row for _, row, _ in dropped] == list(range(2, 601))


def test_documents_that_a_stage_drops_are_no_candidates(tmp_path: Path) -> None:
    assert found(write_units(tmp_path, [["参考文献", "参考文献", "甲", "甲"]], 10), tmp_path) == [(0, 4, "duplicate")]


def test_documents_of_one_row_stay_or_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoARow:
        """A format whose rows hold two documents each, parted by a slash."""

        def documents(self, data: bytes, first_row: int, ledger: Ledger) -> Iterator[Document]:
            for row, line in enumerate(data.decode().splitlines(), first_row):
                for text in json.loads(line)["text"].split("/"):
                    yield Document.of([text], (row,))

    monkeypatch.setattr("pipeline.dedup_fingerprints.unit_format", lambda unit: TwoARow())
    texts = ["甲/乙", "甲/丙", "甲/乙", "丙"]
    assert found(write_units(tmp_path, [texts], 10), tmp_path, "exact") == [(0, 3, "duplicate")]


def test_listed_documents_are_counted(tmp_path: Path) -> None:
    units = write_units(tmp_path, [["甲乙丙", "甲乙丙", "丁"]], 10)
    drop_list = find_duplicates(units, STAGES, tmp_path, LocalEngine(), DeduplicationSettings(kind="exact"))
    ledger = Ledger()
    documents = [Document.of([text], (row,)) for row, text in enumerate(["甲乙丙", "甲乙丙", "丁"], 1)]
    assert [d.rows for d in run_stages(documents, (Listed(drop_list, 0),), ledger)] == [(1,), (3,)]
    assert ledger.documents_dropped == {"duplicate": 1} == ledger.rows_dropped
    assert ledger.rejects == {"duplicate": [2]}
    assert drop_list.counts() == {"duplicate": 1, "near_duplicate": 0}
    assert isinstance(Listed(drop_list, 0)(documents[1]), Drop) and Listed(drop_list, 1)(documents[1]) is documents[1]


def test_broken_lists_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list"
    with pytest.raises(NotFoundError, match="list"):
        DropList.open(path)
    numbers = [np.array([3, 9], np.uint64), np.array([7, 1], np.uint64), np.array([2, 1], np.uint64)]
    whole = write_drop_list(path, [(numbers[0], numbers[1], numbers[2])])
    assert list(whole) == [(3, 7, "near_duplicate"), (9, 1, "duplicate")]
    assert [whole.reason(3, 7), whole.reason(3, 6), whole.reason(9, 1), whole.reason(10, 1)] == [
        "near_duplicate",
        None,
        "duplicate",
        None,
    ]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="list"):
        DropList.open(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(FormatError):
        DropList.open(path)
    assert len(write_drop_list(path, [])) == 0 and DropList.open(path).reason(0, 1) is None


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"kind": "fuzzy"}, "fuzzy"),
        ({"threshold": 1.5}, "1.5"),
        ({"permutations": 0}, "0"),
        ({"shingle_characters": 0}, "0"),
        ({"max_memory_bytes": 5}, "5"),
    ],
)
def test_settings_name_the_offending_value(changes: dict[str, object], value: str) -> None:
    with pytest.raises(UsageError, match=value):
        DeduplicationSettings(**({"kind": "near"} | changes))  # type: ignore[arg-type]


def test_description_holds_what_can_change_the_outcome() -> None:
    assert deduplication_settings("none") is None
    exact, near = deduplication_settings("exact"), deduplication_settings("near", 0.7)
    assert exact is not None and near is not None
    assert exact.description == {"kind": "exact", "version": 1}
    assert near.description["threshold"] == 0.7 and "max_memory_bytes" not in near.description
    assert bands_and_rows(128, 0.8) == (16, 8)


def test_signatures_estimate_jaccard_without_bias() -> None:
    pairs = planted_pairs("en", 0.3, 0.95, 150, 23)
    left, right = (signatures([pair[side] for pair in pairs], 128, 5) for side in (0, 1))
    errors = (left == right).mean(axis=1) - np.array([jaccard(*pair) for pair in pairs])
    assert abs(errors.mean()) < 0.01 and errors.std() < 0.06
    assert len(shingle_hashes("短", 5)) == 1 and signatures([""], 16, 5).shape == (1, 16)


@given(st.lists(st.text(max_size=30), max_size=12))
def test_signature_of_a_text_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = signatures(texts, 16, 5)
    for text, signature in zip(texts, together, strict=True):
        assert (signatures([text], 16, 5)[0] == signature).all()


RECORDS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, (1 << 64) - 1)), max_size=400)


@given(RECORDS, st.integers(1, 5))
def test_external_sort_sorts_whatever_comes_with_any_memory(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], runs: int
) -> None:
    folder = tmp_path_factory.mktemp("sort")
    records = np.array(rows, np.uint64).reshape(-1, 3)
    merge = ExternalSort(folder, "test", 3, 1)
    for number, part in enumerate(np.array_split(records, runs)):
        if number % 2 and len(part):
            write_run(folder / f"given-{number}", sort_records(part))
            merge.add_run(folder / f"given-{number}")
        else:
            merge.add(part)
    chunks = list(merge.chunks())
    assert [tuple(row) for chunk in chunks for row in chunk.tolist()] == sorted(rows)
    assert not list(folder.iterdir())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60))
def test_components_are_those_of_a_plain_union_find(
    tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[int, int]]
) -> None:
    edges = [(a, b) for a, b in edges if a != b]
    parent = list(range(41))
    for a, b in edges:
        low, high = sorted((parent[a], parent[b]))
        parent = [low if p == high else p for p in parent]
    records = np.array(edges, np.uint64).reshape(-1, 2)
    got = [tuple(row) for chunk in lowest_of_components([records], tmp_path_factory.mktemp("graph"), 1) for row in chunk.tolist()]
    assert got == [(node, low) for node, low in enumerate(parent) if node != low]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 99)), min_size=1, max_size=80), st.integers(1, 9))
def test_candidates_do_not_depend_on_chunks(rows: list[tuple[int, int, int]], size: int) -> None:
    def pairs(chunks: list[Records]) -> set[tuple[int, ...]]:
        return {tuple(pair) for part in candidate_pairs(chunks) for pair in part.tolist()}

    records = np.array(sorted(set(rows)), np.uint64)
    assert pairs([records[i : i + size] for i in range(0, len(records), size)]) == pairs([records])


def test_sorting_process_keeps_to_its_memory(tmp_path: Path) -> None:
    """48 MB of records, eight times the limit: what the process holds grows by far less than they take."""
    code = f"""
from collections.abc import Iterator
from pathlib import Path
import numpy as np
from pipeline.external_sort import ExternalSort
from shards.peak_memory import peak_resident_bytes
rng = np.random.default_rng(1)
sort = ExternalSort(Path({str(tmp_path)!r}), "big", 3, 6 << 20)
before = peak_resident_bytes()
for _ in range(200):
    sort.add(rng.integers(0, 1 << 62, (10_000, 3)).astype(np.uint64))
count, last = 0, -1
for chunk in sort.chunks():
    assert last <= int(chunk[0, 0])
    count, last = count + len(chunk), int(chunk[-1, 0])
assert count == 2_000_000
print(peak_resident_bytes() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SAMPLE.parents[1])
    assert int(run.stdout) < 16 << 20
