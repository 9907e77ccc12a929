"""Going back to the last good checkpoint after a loss spike, leaving out what was learnt since (``--rollback-on-spike N``).

When step s spikes, weights and optimizer become those of the last scheduled checkpoint c < s, and training goes on with step
s + 1: the updates of steps c + 1 … s are given up, and their batches are not trained on again in this epoch. (Chowdhery et al.
2022, PaLM §5.1, restarted about 100 steps before a spike and left out 200 to 500 batches: trained on from other weights, the
same batches made no spikes.) Steps, learning rates and the order of samples go on as if nothing had been given up, so each
batch stays a function of its step.

A checkpoint is scheduled when its step is a multiple of --save-steps, or when a rollback made it: which one is gone back to must
not depend on when a run was interrupted. The newest one is never removed, whatever --keep says, and a rollback saves at once. So
a killed run resumes to the same rollbacks, and the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.checkpoint import Checkpoint, list_checkpoints, step_folder, step_of, verify_checkpoint
from pretrain.distributed import World
from pretrain.errors import CheckpointError
from pretrain.step_records import ROLLBACKS, append_record, read_records
from pretrain.train_state import TrainState


class Rollback:
    """Chooses the checkpoint to go back to, at most `allowed` times in a run; all ranks call it alike."""

    def __init__(self, folder: Path, world: World, *, allowed: int, save_steps: int, settle: Callable[[], object]) -> None:
        """settle: called before checkpoints are looked at; returns when none is being written any more."""
        self._folder, self._world, self._allowed, self._save_steps, self._settle = folder, world, allowed, save_steps, settle
        self.chosen: Checkpoint | None = None

    def choose(self, step: int, state: TrainState) -> Checkpoint | None:
        """Return the checkpoint that a rollback at `step` goes back to, None when there is none or no rollback is left."""
        self.chosen = None
        if state.rollbacks >= self._allowed:
            return None
        self._settle()
        found = self._last_good(step) if self._world.is_first else None
        at = int(self._world.sum(np.array([found.step if found is not None else 0], np.int64))[0])
        if at > 0:
            self.chosen = found or Checkpoint(path=step_folder(self._folder, at), step=at, fingerprint="")
        return self.chosen

    def spared(self) -> frozenset[Path]:
        """Return the checkpoint that a rollback would go back to: it is kept as long as rollbacks are allowed."""
        return frozenset(self._scheduled()[:1]) if self._allowed else frozenset()

    def _scheduled(self) -> list[Path]:
        """Return the scheduled checkpoints of the run, newest first."""
        made = {record["step"] for record in read_records(self._folder / ROLLBACKS)}
        found = [(step_of(folder) or 0, folder) for folder in list_checkpoints(self._folder)]
        return [folder for at, folder in found if at % self._save_steps == 0 or at in made]

    def _last_good(self, step: int) -> Checkpoint | None:
        for folder in self._scheduled():
            if (step_of(folder) or 0) < step:
                with suppress(CheckpointError):
                    return verify_checkpoint(folder)
        return None

    def record(self, step: int, to: Checkpoint, *, positions: tuple[int, int]) -> dict[str, Any]:
        """Write into the ledger what is given up, and return it. positions: [first, end) of the samples left out."""
        entry = {
            "step": step, "to_step": to.step, "steps_left_out": [to.step + 1, step], "positions_left_out": list(positions),
            "samples_left_out": positions[1] - positions[0],
        }  # fmt: skip
        if self._world.is_first:
            append_record(self._folder / ROLLBACKS, entry)
        return entry
