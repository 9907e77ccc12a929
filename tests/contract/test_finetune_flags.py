"""The flags of ``finetune.predict``, ``finetune.table`` and ``finetune.training_texts``, frozen: whoever changes one changes this list, and the changelog."""

from __future__ import annotations

from finetune import predict, table, training_texts
from tests.helpers.commands import flags


def test_the_flags_are_these() -> None:
    assert flags(predict._parser()) == [
        "--batch-size", "--columns", "--debug", "--device", "--help", "--input", "--json", "--model", "--output", "--text",
        "--text-b", "--text-c",
    ]  # fmt: skip
    assert flags(table._parser()) == ["--debug", "--help", "--json", "--markdown", "--no-published", "--task"]
    assert flags(training_texts._parser()) == ["--data-dir", "--debug", "--help", "--json", "--out", "--task"]
