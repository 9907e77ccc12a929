"""The power goes: what was never fsynced may be gone, cut short or zero. The data set is then the old one or the new one, whole,
and the same command makes the same bytes.

The disk of the tests keeps a file that was renamed after an fsync of it; a name lasts from the next fsync of its folder on.
Everything else is left to chance, by a seed that a failure prints.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from shards import durable
from shards.errors import WordloomError
from shards.manifest import Manifest
from shards.reader import DataSet
from tests.helpers.builds import build_text, data_files, write_corpus


class PowerCut(BaseException):
    """Ends a build at one operation: no handler of the code under test catches it."""


class Disk:
    """Notes what the durable operations of a build have made safe, and cuts the power before operation number `cut`."""

    def __init__(self, cut: int) -> None:
        self._cut, self.operations = cut, 0
        self._synced: set[Path] = set()
        self._renamed: set[Path] = set()
        self.at_risk: set[Path] = set()

    def __call__(self, kind: str, path: Path) -> None:
        if self.operations == self._cut:
            raise PowerCut
        self.operations += 1
        path = path.absolute()
        if kind == "create":
            self._synced.discard(path)
        elif kind == "fsync":
            self._synced.add(path)
        elif kind in ("rename", "append", "truncate"):
            self._renamed.add(path)
            self.at_risk.add(path)
        elif kind == "fsync_directory":
            self._renamed = {name for name in self._renamed if name.parent != path}
        self.at_risk = {name for name in self.at_risk if name in self._renamed or name not in self._synced}

    def lose(self, random: Random) -> int:
        """Do to the files at risk what a power cut may; return to how many."""
        lost = 0
        for path in sorted(self.at_risk):
            if not path.is_file():
                continue
            data, fate = path.read_bytes(), random.choice(("kept", "gone", "empty", "short", "zeros"))
            lost += fate != "kept"
            if fate == "gone":
                path.unlink()
            elif fate != "kept":
                path.write_bytes({"empty": b"", "short": data[: len(data) // 2], "zeros": bytes(len(data))}[fate])
        return lost


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    durable.fault_hook = None


def check_cuts(tmp_path: Path, seed: int, cuts: int) -> None:
    corpus, random = write_corpus(tmp_path / "corpus", files=2, bytes_each=6000), Random(seed)
    build_text(tmp_path, corpus)
    old = Manifest.read(tmp_path / "shards/set").fingerprint
    shutil.copytree(tmp_path / "shards", (tmp_path / "new") / "shards")
    durable.fault_hook = whole = Disk(-1)
    new = build_text(tmp_path / "new", corpus, "--overwrite", "--seed", "5")["fingerprint"]
    durable.fault_hook = None
    assert not [path for path in whole.at_risk if path.exists()], "at the end nothing is at risk"
    lost = 0
    for number in range(cuts):
        where = f"FAULT_SEED={seed}, cut {number}"
        shutil.copytree(tmp_path / "shards", (cwd := tmp_path / f"cut-{number}") / "shards")
        durable.fault_hook = disk = Disk(random.randrange(whole.operations))
        with pytest.raises(PowerCut):
            build_text(cwd, corpus, "--overwrite", "--seed", "5")
        durable.fault_hook = None
        lost += disk.lose(random)
        try:
            assert Manifest.read(cwd / "shards/set").fingerprint in (old, new), where
            DataSet.open(cwd / "shards/set").verify()
        except WordloomError as error:
            raise AssertionError(where) from error
        assert build_text(cwd, corpus, "--overwrite", "--seed", "5")["fingerprint"] == new, where
        assert data_files(cwd) == data_files(tmp_path / "new"), where
        shutil.rmtree(cwd)
    assert lost > cuts, "files were lost"


def test_a_power_cut_leaves_the_old_set_or_the_new_one(tmp_path: Path) -> None:
    check_cuts(tmp_path, seed=1, cuts=12)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_power_cuts_leave_the_old_set_or_the_new_one(tmp_path: Path) -> None:
    check_cuts(tmp_path, seed=2, cuts=100)
