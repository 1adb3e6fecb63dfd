"""Mixed load: several customers, every kind of request, upstream trouble, clients that leave."""

from __future__ import annotations

import asyncio
import random

from tests.crash.clients import Seen, ask_for
from tests.crash.processes import Stage

KINDS = ("json", "stream", "stream", "completion", "embedding")
# Most requests go well; the others meet these, by themselves or together with a lost header.
FAULTS = (
    *("drop-mid-stream", "drop-before-usage", "end-before-usage", "drop-mid-frame"),
    *("headers-then-drop", "bill-then-close-before-headers", "close-before-headers"),
    *("error-first-frame", "error-mid-stream", "cost-null", "usage-absent", "record-late"),
    *("429", "500", "502", "no-generation-id", "byok", "overrun", "usage-twice", "cost-zero"),
    *("no-generation-id+drop-mid-stream", "huge-frame", "404-constraint"),
)


class Load:
    """Requests of all customers until `stop`; `seen` holds what each client saw."""

    def __init__(self, stage: Stage, keys: dict[str, str], chance: random.Random) -> None:
        self.seen: list[Seen] = []
        self._stage = stage
        self._keys = keys
        self._chance = chance
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    def start(self, clients_each: int = 4) -> None:
        """Begin: so many programs of each customer."""
        for email in self._keys:
            for number in range(clients_each):
                chance = random.Random(self._chance.random())
                program = self._program(email, f"{email[:3]}{number}", chance)
                self._tasks.append(asyncio.create_task(program))

    async def stop(self) -> None:
        """No new requests; returns when the running ones are over, at once if the server died."""
        self._is_over = True
        async with asyncio.timeout(10):
            await asyncio.gather(*self._tasks)

    async def _program(self, email: str, name: str, chance: random.Random) -> None:
        count = 0
        while not self._is_over:
            count += 1
            seen = Seen(f"{name}-{count}", email)
            self.seen.append(seen)
            kind = chance.choice(KINDS)
            wishes = (
                f"[[latency={chance.choice((0, 0, 5, 40))}]][[pace={chance.choice((0, 2, 8))}]]"
            )
            wishes += f"[[tokens={chance.randint(1, 40)}]]"
            if chance.random() < 0.3:
                wishes += f"[[fault={chance.choice(FAULTS)}]]"
            leaves_after_s = chance.uniform(0.005, 0.15) if chance.random() < 0.15 else None
            await ask_for(
                self._stage, self._keys[email], seen, kind, wishes, leaves_after_s=leaves_after_s
            )
            if seen.error or seen.status >= 400:
                await asyncio.sleep(0.01)
