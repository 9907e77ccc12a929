"""What tests run in place of a command of finetune: ``python -m tests.helpers.stand_in_probe MODE --model M --out O --json``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    mode, model, out = sys.argv[1], Path(sys.argv[3]), sys.argv[5]
    found = {"files": sorted(p.name for p in model.iterdir()), "out": out, "ranks": os.environ.get("PADDLE_TRAINERS_NUM")}
    if mode == "slow":
        (model.parent.parent / "begun").touch()
        time.sleep(60)
    if mode == "crash":
        print("Traceback: it broke", file=sys.stderr)
        sys.exit(1)
    if mode == "refuse":
        print(json.dumps({"ok": False, "error": "error: no such task"}))
        sys.exit(5)
    print("noise")
    print(json.dumps({"ok": True, "figures": found}))
