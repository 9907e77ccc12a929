"""Arrays that grow at their end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MIN_ROOM = 1 << 10


class Growing:
    """An array that grows at its end; a view taken of it stays as it was."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._room, self._size = np.zeros(_MIN_ROOM, dtype), 0

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Any]:
        return self._room[: self._size]

    def extend(self, values: ArrayLike) -> None:
        added = np.asarray(values, self._room.dtype)
        end = self._size + len(added)
        if end > len(self._room):
            self._room = np.concatenate([self.values, np.zeros(end, self._room.dtype)])
        self._room[self._size : end] = added
        self._size = end
