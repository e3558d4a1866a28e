"""Keeping rates: calls a second, messages in a time window, the pause before a retry. Knows no call.

Both measure with the event loop's monotonic clock, so that setting the machine's clock changes nothing.
"""

import asyncio
import random
from collections import deque

_LONGEST_PAUSE = 30.0
_LATENESS_SECONDS = 0.1


async def pause(seconds: float, retries: int) -> None:
    """Waits before a retry: twice as long each time; give or take half, so that not all come at once."""
    await asyncio.sleep(min(seconds * 2**retries, _LONGEST_PAUSE) * random.uniform(0.5, 1.5))


class RateLimiter:
    """Lets so many through a second, in the order in which they asked.

    A bucket of tokens that begins with one: in any window of a second at most ``per_second`` plus ``burst``
    pass. The burst, one and a tenth of a second's worth, makes up for waking up late by a tenth of a second,
    so that the rate is kept on a busy machine too.

    Attributes:
        burst: How many may pass at once after a pause.
    """

    def __init__(self, per_second: float | None) -> None:
        if per_second is not None and per_second <= 0:
            raise ValueError("a rate has to be positive; None lifts the limit")
        self._per_second = per_second
        self.burst = 1 + (per_second or 0) * _LATENESS_SECONDS
        self._tokens = 1.0
        self._counted_at: float | None = None
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Returns when the next one may pass."""
        if self._per_second is None:
            return
        async with self._turn:
            while (missing := self._missing(self._per_second)) > 0:
                await asyncio.sleep(missing / self._per_second)
            self._tokens -= 1

    def _missing(self, per_second: float) -> float:
        now = asyncio.get_running_loop().time()
        passed = 0.0 if self._counted_at is None else now - self._counted_at
        self._counted_at = now
        self._tokens = min(self.burst, self._tokens + passed * per_second)
        return 1 - self._tokens


class Window:
    """At most so many in any window of so many seconds, counted from when each was over."""

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds = seconds
        self._ended: deque[float] = deque(maxlen=count)

    async def wait(self) -> None:
        """Returns when one more fits. Only one caller may wait, and calls :meth:`note` after."""
        loop = asyncio.get_running_loop()
        while len(self._ended) == self._ended.maxlen and (left := self._left(loop.time())) > 0:
            await asyncio.sleep(left)

    def note(self) -> None:
        """One is over."""
        self._ended.append(asyncio.get_running_loop().time())

    def _left(self, now: float) -> float:
        return self._ended[0] + self._seconds - now
