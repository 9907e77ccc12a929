"""Exported folders load in the installed PaddleNLP: no tensor missing or left over, the same numbers, the same ids."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pretrain.export import main as export
from tests.helpers.commands import ROOT
from tests.helpers.published import small_network, write_model
from tests.helpers.tiny_tokenizers import byte_bpe, roformer_word, wordpiece

NETWORKS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "roformer": ("roformer", wordpiece, {}),
    "roformer-word": ("roformer", roformer_word, {"embedding_size": 8}),
    "roformer-v2": ("roformer_v2", wordpiece, {}),
    "bert": ("bert", wordpiece, {}),
    "roberta": ("roberta", byte_bpe, {}),
    "convbert": ("convbert", wordpiece, {"embedding_size": 8}),
}
TEXT = "研究生研究生命起源 hello"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("paddlenlp") is None, reason="the extra paddlenlp is not installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("exported")
    for name, (architecture, tokenizer, changes) in NETWORKS.items():
        write_model(root / "ours" / name, small_network(architecture, tokenizer(), **changes), tokenizer())
        assert export([str(root / "ours" / name), "--to", "paddlenlp", "--out", str(root / "paddlenlp" / name)]) == 0
    command = [sys.executable, "-W", "ignore", "-m", "tests.parity.paddlenlp_export", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_it_loads_whole_and_computes_the_same(report: dict[str, Any], name: str, tmp_path: Path) -> None:
    assert report[name]["notes"] == []
    assert set(report[name]["apart"]) == ({"mlm", "sop"} if name == "bert" else {"mlm"})
    assert all(apart <= 1e-5 for apart in report[name]["apart"].values())


@pytest.mark.parametrize("name", NETWORKS)
def test_it_reads_text_the_same(report: dict[str, Any], name: str) -> None:
    tokenizer = NETWORKS[name][1]()
    special = tokenizer.special_ids
    assert report[name]["ids"] == [special.cls, *tokenizer.encode(TEXT), special.sep]
