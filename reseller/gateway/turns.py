"""Waiting a moment for money that running requests hold.

A burst on a small balance shares it: what does not fit yet is tried again whenever a request of
the account ends, before it is told to come back later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from reseller.errors import RateLimited

# More of one account do not wait: their bodies are in memory meanwhile.
MOST_WAITING = 64

T = TypeVar("T")


class Turns:
    """Who waits, by account, first come first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wait_s: float) -> None:
        self._loop = loop
        self._wait_s = wait_s
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    async def retry(self, admit: Callable[[], T], account: int, refusal: RateLimited) -> T:
        """What `admit` returns once it fits. Raises what its last try raised."""
        deadline = self._loop.time() + self._wait_s
        last = refusal
        while (left_s := deadline - self._loop.time()) > 0:
            if not await self._turn(account, left_s):
                break
            try:
                return admit()
            except RateLimited as again:
                if again.code != refusal.code:
                    raise
                last = again
        raise last

    async def _turn(self, account: int, seconds: float) -> bool:
        """Whether a request of the account ended in time; at once False where many wait."""
        queue = self._waiting.setdefault(account, [])
        if len(queue) >= MOST_WAITING:
            return False
        turn = self._loop.create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            return False
        finally:
            # `wake` takes the whole queue away; another one may stand there by now.
            queue = self._waiting.get(account, [])
            if turn in queue:
                queue.remove(turn)
            if not queue:
                self._waiting.pop(account, None)
        return True

    def wake(self, account: int) -> None:
        """A request of the account ended: everyone who waits tries again, in order."""
        for turn in self._waiting.pop(account, ()):
            if not turn.done():
                turn.set_result(None)

    def wake_all(self) -> None:
        """Nobody waits any longer: the server stops."""
        for account in list(self._waiting):
            self.wake(account)
