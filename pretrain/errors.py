"""What can go wrong in pretraining; each class owns the exit code of the command that meets it.

    WordloomError
    ├── ModelError          20   a network that cannot be built, or fed what it was given
    ├── WeightsError        21   tensors that do not fit the network: missing, unexpected, mis-shaped, unreadable
    ├── CheckpointError     22   a checkpoint that is damaged, or does not hold what is asked of it
    ├── DivergenceError     23   a loss or a gradient that is not finite
    ├── RunStateError       24   a run whose recorded state forbids what is asked
    │   └── RunExistsError  25   a run of this name that is finished, or not to be touched
    ├── DeviceError         26   a device that this machine or this build of paddle does not have
    └── LaunchError         27   a process of a group that could not start, or died

`shards.errors` holds the rest of the tree.
"""

from __future__ import annotations

from shards.errors import WordloomError


class ModelError(WordloomError):
    exit_code = 20


class WeightsError(WordloomError):
    exit_code = 21


class CheckpointError(WordloomError):
    exit_code = 22


class DivergenceError(WordloomError):
    exit_code = 23


class RunStateError(WordloomError):
    exit_code = 24


class RunExistsError(RunStateError):
    exit_code = 25


class DeviceError(WordloomError):
    exit_code = 26


class LaunchError(WordloomError):
    exit_code = 27
