"""What fine-tuning can refuse, as one tree; each class owns the exit code of the command that meets it.

    WordloomError
    └── FinetuneError         30   anything below
        ├── TaskDataError     31   a task file that is not what its task says, with file:row:column
        ├── HubError          32   the hub cannot be reached, or does not hold the task
        ├── UnknownTextError  33   the task's text is unknown to the checkpoint's vocabulary
        └── EngineError       34   ray does not start, or a job's worker keeps dying

The trees of `shards` and `pretrain` apply as well: a damaged checkpoint or a diverging loss is here what it is there.
"""

from __future__ import annotations

from shards.errors import WordloomError


class FinetuneError(WordloomError):
    exit_code = 30


class TaskDataError(FinetuneError):
    exit_code = 31


class HubError(FinetuneError):
    exit_code = 32


class UnknownTextError(FinetuneError):
    exit_code = 33


class EngineError(FinetuneError):
    exit_code = 34
