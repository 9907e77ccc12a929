"""Task files that ``paddlenlp.datasets`` downloads and checks; they are then read like any others, by our own readers.

The download runs in a process of its own: importing paddlenlp takes seconds, imports paddle and changes one of its classes.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.errors import HubError
from finetune.inputs import read_folder
from finetune.task import Task, TaskInput
from shards.reach import unreachable

SERVER = "https://bj.bcebos.com"
# The class of paddlenlp.datasets that has the task, and where its files are below that class's folder.
_DATA_SETS = {"thucnews": ("THUCNews", "thucnews"), "cail2019_scm": ("CAIL2019_SCM", "")}
_PROGRAM = """
import sys
from paddlenlp.datasets import load_dataset
from paddlenlp.utils.env import DATA_HOME
load_dataset(sys.argv[1], splits=["train", "dev", "test"])
print("data home: " + DATA_HOME)
"""


def load_from_paddlenlp(task: Task, looked: list[str]) -> TaskInput:
    """Download a task through ``paddlenlp.datasets`` and read it. Raises HubError, TaskDataError."""
    return read_folder(task, download(task, looked), "paddlenlp.datasets", tests=False)


def download(task: Task, looked: Sequence[str] = ()) -> Path:
    """Return the folder of a task that ``paddlenlp.datasets`` has downloaded, now or before. Raises HubError."""
    name, below = _DATA_SETS[task.name]
    tried = f"No files in {', '.join(looked)} either. " if looked else ""
    hint = f"{tried}Give --data-dir DIR, a folder with {task.train_files[0]}; or set WORDLOOM_DATA"
    if importlib.util.find_spec("paddlenlp") is None:
        raise HubError("paddlenlp is not installed, which downloads this task", hint=f"{hint}; or install wordloom[paddlenlp]")
    problem = unreachable(SERVER)
    done = None
    if problem is None:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, task.name], capture_output=True, text=True, check=False, encoding="utf-8"
        )
    home = next((line[11:] for line in done.stdout.splitlines() if line.startswith("data home: ")), "") if done else ""
    if not home:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1] if done else ""
        reason = last or f"{SERVER} does not answer: {problem}"
        raise HubError(f"cannot load {task.name} through paddlenlp.datasets", got=reason[:300], hint=hint)
    return Path(home) / name / below
