"""`pretrain.compare --against hf`, as a user types it."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.commands import run


def test_every_head_is_compared_and_equal(tmp_path: Path) -> None:
    ran = run("pretrain.compare", "--model", "roformer-tiny", "--against", "hf", "--json", cwd=tmp_path)
    assert ran.code == 0 and ran.json["ok"], ran
    figures = ran.json["figures"]
    assert figures["over"] == 0 and figures["max"] <= 1e-5 and figures["mean"] <= 1e-6
    heads = {"hidden", "pooler", "mlm", "sop", "sequence", "token", "generator", "discriminator"}
    found = {(row["head"], row["case"], row["what"]) for row in figures["rows"]}
    assert found >= {(h, c, w) for h in heads for c in ("no padding", "padding") for w in ("forward", "forward after a step")}


def test_roformer_v2_is_refused(tmp_path: Path) -> None:
    ran = run("pretrain.compare", "--model", "roformer-v2-small", cwd=tmp_path)
    assert ran.code == 2 and "transformers has no RoFormerV2" in ran.err and "--against paddlenlp" in ran.err
