"""The flags of the commands that exchange models are part of the contract: adding, renaming or removing one is a decision."""

from __future__ import annotations

from pretrain.convert import build_parser as convert_parser
from pretrain.export import build_parser as export_parser
from pretrain.extend_vocab import build_parser as extend_parser
from tests.helpers.commands import flags

COMMON = ["--debug", "--help", "--json"]


def test_the_flags_of_conversion_are_frozen() -> None:
    assert flags(convert_parser()) == sorted([*COMMON, "--from", "--out", "--trust-pickle"])
    assert flags(export_parser()) == sorted([*COMMON, "--to", "--out"])
    assert flags(extend_parser()) == sorted([*COMMON, "--tokens", "--out"])
