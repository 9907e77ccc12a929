"""The losses of 100 steps of a tiny network, to the last digit: ``python -m tests.golden.losses --write`` makes losses.json anew.

Do that when a change of numbers is meant, and say in the commit why they changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from pretrain.log_line import read_metrics
from tests.helpers.tiny_data import write_tiny_data
from tests.helpers.tiny_training import new_trainer, start_paddle, tiny_config, tiny_plan

STEPS = 100
FILE = Path(__file__).with_name("losses.json")
TOLERANCE = 1e-4  # on a machine, a build of paddle or a number of threads other than the file's
_VARIABLES = ("MKL_", "OMP_", "FLAGS_")


def key() -> dict[str, Any]:
    """Return what the last digits depend on beside the code."""
    start_paddle()
    import paddle

    # A virtual machine may call processors of several generations by one name: their instructions tell them apart.
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines() if Path("/proc/cpuinfo").exists() else []
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    cpu = {name: found.get(name, "unknown") for name in ("model name", "cpu family", "model", "stepping")}
    cpu["flags"] = hashlib.sha256(found.get("flags", "").encode()).hexdigest()[:16]
    variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)}
    return {"cpu": cpu, "paddle": paddle.__version__, "variables": variables}


def losses(work: Path) -> list[str]:
    """Train in `work`, which is empty; return each step's loss, as text that reads back to the same number."""
    shards = write_tiny_data(work / "tiny", rows=200)
    config = tiny_config(shards, work, max_steps=STEPS, logging_steps=1, eval_steps=STEPS, save_steps=STEPS, micro_batch=8)
    new_trainer(tiny_plan(config)).run()
    return [repr(record["loss"]) for record in read_metrics(work / "run") if "loss" in record]


def main() -> None:
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python -m tests.golden.losses --write")
    with tempfile.TemporaryDirectory() as work:
        found = losses(Path(work))
    FILE.write_text(json.dumps({"key": key(), "losses": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
