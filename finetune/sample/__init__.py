"""A few hundred labelled sentences that ship with the package, in the form of SST-2: enough to try the command, no benchmark.

``python -m finetune.glue --task SST-2 --data sample`` trains on them.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_folder() -> Path:
    """Return the folder that holds train.tsv and dev.tsv."""
    return Path(str(files(__name__)))
