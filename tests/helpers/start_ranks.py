"""A process that joins its group, adds up the ranks, and ends: ``python -m tests.helpers.start_ranks``."""

from __future__ import annotations

import numpy as np

from pretrain import environment
from pretrain.distributed import start_fleet, world_of_environment

if __name__ == "__main__":
    world = world_of_environment()
    environment.start("cpu", local_ranks=world.size, local_rank=world.local_rank)
    start_fleet(world, "cpu")
    assert world.sum(np.array([world.rank])).tolist() == [world.size * (world.size - 1) // 2]
    world.sum(np.zeros(1))  # nobody leaves before all have their sum
