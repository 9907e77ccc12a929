"""Progress of a long step on stderr: a bar with the time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    """Counts bytes done of a total. Prints nothing for steps of under two seconds when there is no terminal."""

    def __init__(self, what: str, total_bytes: int) -> None:
        from tqdm import tqdm

        self._terminal = sys.stderr.isatty()
        self._what, self._total, self._done = what, max(total_bytes, 1), 0
        self._begun = self._said = time.monotonic()
        self._bar = tqdm(total=total_bytes, desc=what, unit="B", unit_scale=True, leave=False, disable=not self._terminal)

    def add(self, count: int) -> None:
        """Count `count` more bytes as done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if not self._terminal and now - self._said > 10.0:
            self._said = now
            rate = self._done / (now - self._begun)
            left_s = (self._total - self._done) / max(rate, 1.0)
            share = 100 * self._done / self._total
            print(f"{self._what}: {share:.0f} %, {rate / 1e6:.1f} MB/s, about {left_s:.0f} s left", file=sys.stderr, flush=True)

    def close(self) -> None:
        self._bar.close()
