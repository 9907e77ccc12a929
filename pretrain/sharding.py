"""Sharding, stage 1: each rank keeps the moments of its own weights only, and updates those (ZeRO, Rajbhandari et al. 2020).

Gradients are summed over all ranks as without sharding; then every rank updates what it owns and broadcasts the result. An update
looks at one weight at a time, so the weights come out with the same bytes as without sharding. For a checkpoint the
moments of all ranks are brought together: it is the same file, and a run may go on with another number of ranks, or unsharded.

paddle's own `DygraphShardingOptimizer` divides gradients by the number of ranks, where ours are shares of one mean already,
and saves under names that hold a counter of the process: see docs/adr/0015.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from pretrain.distributed import World
from pretrain.optimizer import STATE_KINDS

State = dict[str, npt.NDArray[Any]]


def owners(sizes: Mapping[str, int], ranks: int) -> dict[str, int]:
    """Return the rank that owns each weight: the largest first, to the rank with the fewest elements so far."""
    load = [0] * ranks
    owner: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        owner[name] = load.index(min(load))
        load[owner[name]] += sizes[name]
    return owner


class Sharding:
    """Who owns which weights of a network. Over a world of one process that owns all, nothing is ever exchanged."""

    def __init__(self, network: paddle.nn.Layer, world: World) -> None:
        self._world = world
        self._weights = {name: p for name, p in network.named_parameters() if not p.stop_gradient}
        self._owner = owners({name: int(p.size) for name, p in self._weights.items()}, world.size)
        self.owned = frozenset(name for name, rank in self._owner.items() if rank == world.rank)

    def _names_by_owner(self) -> Iterator[tuple[int, list[str]]]:
        for rank in range(self._world.size):
            yield rank, sorted(name for name, owner in self._owner.items() if owner == rank)

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def share_weights(self) -> None:
        """Bring every rank's weights up to date with their owners', after an update. A collective operation."""
        if self._world.size == 1:
            return
        for rank, names in self._names_by_owner():
            tensors = [self._weights[name] for name in names]
            if not tensors:
                continue
            flat = paddle.concat([t.flatten() for t in tensors])
            paddle.distributed.broadcast(flat, src=rank)
            if rank != self._world.rank:
                for tensor, part in zip(tensors, paddle.split(flat, [int(t.size) for t in tensors]), strict=True):
                    paddle.assign(part.reshape(tensor.shape), tensor)

    def gather(self, state: State) -> State:
        """Return the optimizer state of all ranks on the first one; others get back their own. A collective operation."""
        if self._world.size == 1:
            return state
        everything = dict(state)
        held = self._held_anywhere(state)
        for rank, names in self._names_by_owner():
            keys = [(f"{name}::{kind}", self._shape(name, kind)) for name in names if held[name] for kind in STATE_KINDS]
            if not keys:
                continue
            mine = rank == self._world.rank
            flat = paddle.to_tensor(
                np.concatenate([state[key].ravel() if mine else np.zeros(shape, np.float32).ravel() for key, shape in keys])
            )
            paddle.distributed.broadcast(flat, src=rank)
            if self._world.is_first and not mine:
                parts = np.split(flat.numpy(), np.cumsum([int(np.prod(shape)) for _, shape in keys])[:-1])
                everything |= {key: part.reshape(shape) for (key, shape), part in zip(keys, parts, strict=True)}
        return everything

    def _held_anywhere(self, state: State) -> dict[str, bool]:
        """Return for each weight whether its owner has moments of it: one that no loss reaches has none."""
        names = sorted(self._owner)
        kind = STATE_KINDS[0]
        held = self._world.sum(np.array([f"{name}::{kind}" in state for name in names], np.int64))
        return dict(zip(names, held.astype(bool).tolist(), strict=True))

    def _shape(self, name: str, kind: str) -> tuple[int, ...]:
        return tuple(self._weights[name].shape) if kind.startswith("moment") else (1,)
