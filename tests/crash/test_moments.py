"""`kill -9` at each chosen moment of a request, then a start on the same folder.

The upstream holds the requests at the moment, or a lock on the database keeps the server's
commits from happening; so each moment is met every time. All kinds of requests meet it together.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from reseller.admin_client import Lost
from tests.crash.clients import Seen, ask_for, shown_cost
from tests.crash.processes import Server, Stage
from tests.crash.proof import check_books, check_ids_came_first, settle_everything

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ("json", "stream", "embedding", "completion")


class Moment:
    """One customer's requests, all of them at the same moment."""

    def __init__(self, stage: Stage, email: str, key: str) -> None:
        self.stage = stage
        self.email = email
        self.key = key
        self.seen: dict[str, Seen] = {}
        self.tasks: list[asyncio.Task[Seen]] = []

    def begin(self, fault: str = "", *, kinds: tuple[str, ...] = KINDS, wishes: str = "") -> None:
        """Send one request of each kind."""
        wishes += f"[[fault={fault}]]" if fault else ""
        for kind in kinds:
            seen = self.seen[kind] = Seen(f"{self.email}-{kind}", self.email)
            asking = ask_for(self.stage, self.key, seen, kind, wishes)
            self.tasks.append(asyncio.create_task(asking))

    async def held(self) -> None:
        """Return once the upstream holds all of them."""
        await self.stage.simulator.held(len(self.tasks))

    async def done(self) -> None:
        """Return once every client has what it gets."""
        async with asyncio.timeout(5):
            await asyncio.gather(*self.tasks)

    async def kill(self) -> None:
        """Kill the server; whoever saw an answer, its id must be on the dead server's disk."""
        await self.stage.server.kill()
        await self.done()
        check_ids_came_first(self.stage.server, list(self.seen.values()))

    async def start(self) -> None:
        """Start again and settle what has an id; then the books must be right."""
        await self.stage.server.start()
        await settle_everything(self.stage)
        await check_books(self.stage)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """This customer's rows as they are on disk."""
        return self.stage.server.rows(
            f"select t.* from {table} as t join membership as m on m.account = t.account "
            "join customer as c on c.id = m.customer where c.email = ?",
            self.email,
        )

    async def on_disk(self, count: int, *, with_id: bool = False) -> None:
        """Return once so many holds are on disk."""
        async with asyncio.timeout(5):
            while count != len(
                [h for h in self.rows("hold") if h["generation_id"] is not None or not with_id]
            ):
                await asyncio.sleep(0.01)

    def expect(self, *, settled: int = 0, waiting: int = 0, exposed: int = 0) -> None:
        """So many requests are charged at their true cost, wait without an id, are exposed."""
        records = self.rows("usage_record")
        charged = [row for row in records if row["cost_picos"]]
        found = len(charged), len(self.rows("hold")), len(self.rows("exposure"))
        assert found == (settled, waiting, exposed), records
        assert len(records) == settled + exposed


@pytest_asyncio.fixture(loop_scope="module")
async def moment(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Moment]:
    """A customer of this test's own."""
    email = f"c{abs(hash(request.node.name)) % 10**9}@example.com"
    made = Moment(stage, email, await stage.customer(email))
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_before_the_hold_is_on_disk(moment: Moment) -> None:
    """The upstream is not called before the hold is on disk, so nothing can be lost."""
    server, simulator = moment.stage.server, moment.stage.simulator
    with server.no_commits():
        moment.begin()
        await asyncio.sleep(0.3)
        assert await simulator.asked(0) == []
        await moment.kill()
    await moment.start()
    moment.expect()
    assert not any(seen.status for seen in moment.seen.values())


async def test_before_the_upstream_looks(moment: Moment) -> None:
    """Requests lie in the upstream's queue when we die: served and billed to nobody; a day
    later each is one exposure row and costs the customer nothing."""
    simulator = moment.stage.simulator
    before = len(await simulator.books())
    assert simulator.process is not None
    simulator.process.send_signal(signal.SIGSTOP)
    try:
        moment.begin()
        await moment.on_disk(4)
        await asyncio.sleep(0.1)
        await moment.kill()
    finally:
        simulator.process.send_signal(signal.SIGCONT)
    # The stream's reader is gone, which the upstream may notice before it begins.
    await simulator.billed(before + 3)
    await moment.start()
    moment.expect(waiting=4)
    await moment.stage.a_day_later()
    await check_books(moment.stage)
    moment.expect(exposed=4)


async def test_before_any_work(moment: Moment) -> None:
    """Nothing was billed and nobody can know: they wait."""
    moment.begin("hang-before-headers")
    await moment.held()
    await moment.kill()
    await moment.start()
    moment.expect(waiting=4)


async def test_billed_but_no_headers(moment: Moment) -> None:
    """The upstream billed and we never heard of it: they wait, and become exposure."""
    moment.begin("bill-then-wait-before-headers")
    await moment.held()
    await moment.kill()
    assert not any(seen.has_answer for seen in moment.seen.values())
    await moment.start()
    moment.expect(waiting=4)
    await moment.stage.a_day_later()
    await check_books(moment.stage)
    moment.expect(exposed=4)
    assert [row["charge_nanos"] for row in moment.rows("exposure")] == [0] * 4


@pytest.mark.parametrize("fault", ["", "+no-generation-id"])
async def test_between_the_headers_and_the_commit(moment: Moment, fault: str) -> None:
    """Answers have arrived whole and their ids cannot be written: no client gets a byte."""
    moment.begin("bill-then-wait-before-headers" + fault, wishes="[[tokens=4]]")
    await moment.held()
    with moment.stage.server.no_commits():
        await moment.stage.simulator.post("release")
        await asyncio.sleep(0.4)
        assert not any(seen.has_answer for seen in moment.seen.values())
        await moment.kill()
    await moment.start()
    moment.expect(waiting=4)


async def test_after_the_headers(moment: Moment) -> None:
    """The ids are on disk: the true costs are found by them."""
    moment.begin("hang-after-headers")
    await moment.held()
    await moment.on_disk(4, with_id=True)
    await moment.kill()
    await moment.start()
    moment.expect(settled=4)


@pytest.mark.parametrize("point", ["wait-mid-stream", "wait-before-usage", "wait-before-done"])
async def test_within_a_stream(moment: Moment, point: str) -> None:
    """Whatever part of the answer the customer has, its cost is charged once."""
    moment.begin(point, kinds=("stream",))
    moment.begin(point + "+no-generation-id", kinds=("completion",))
    await moment.held()
    await moment.seen["stream"].answered()
    await moment.kill()
    await moment.start()
    # A whole answer without a header for its id shows it only at its end.
    lost = len(moment.rows("hold"))
    moment.expect(settled=2 - lost, waiting=lost)
    assert lost == 1


async def test_between_the_last_frame_and_the_settlement(moment: Moment) -> None:
    """A stream's end may be seen before its settlement is on disk; the charge shown is the charge
    made. A whole answer leaves only when it is settled."""
    moment.begin("wait-before-usage")
    await moment.held()
    await moment.seen["stream"].answered()
    await moment.on_disk(4, with_id=True)
    with moment.stage.server.no_commits():
        await moment.stage.simulator.post("release")
        await asyncio.sleep(0.4)
        assert [kind for kind, seen in moment.seen.items() if seen.has_answer] == ["stream"]
        await moment.kill()
    assert moment.seen["stream"].is_whole
    await moment.start()
    moment.expect(settled=4)
    [streamed] = [row for row in moment.rows("usage_record") if row["is_stream"]]
    assert Decimal(shown_cost(moment.seen["stream"])) * 10**9 == streamed["charge_nanos"]


async def test_after_the_client_left(moment: Moment) -> None:
    """A stream that is read on for its cost alone survives the crash too."""
    moment.begin("wait-mid-stream", kinds=("stream",))
    await moment.held()
    await moment.seen["stream"].answered()
    moment.tasks.pop().cancel()
    await asyncio.sleep(0.1)
    await moment.kill()
    await moment.start()
    moment.expect(settled=1)


async def test_while_a_cost_is_asked_for(moment: Moment) -> None:
    """Killed in the middle of the question, and again after the answer: charged once."""
    server, simulator = moment.stage.server, moment.stage.simulator
    await simulator.post("faults", name="generation-hang", count=1)
    moment.begin("drop-before-usage", kinds=("stream",))
    await moment.done()
    await simulator.held()
    await moment.kill()
    await moment.start()
    moment.expect(settled=1)
    await server.kill()
    await moment.start()
    moment.expect(settled=1)


async def test_a_grant_is_there_once_it_was_confirmed(moment: Moment) -> None:
    """One that was cut off before its commit is not there at all."""
    stage = moment.stage
    await stage.grant(moment.email, 5 * 10**9)
    with stage.server.no_commits():
        cut = asyncio.create_task(stage.grant(moment.email, 7 * 10**9))
        await asyncio.sleep(0.3)
        assert not cut.done()
        await moment.kill()
    with pytest.raises(Lost):
        await cut
    await moment.start()
    moment.expect()


async def test_within_the_first_start(stage: Stage, tmp_path: Path) -> None:
    """However far the making of a folder came, the next start finishes it."""
    server = Server(tmp_path / "data", stage.simulator.base_url)
    try:
        for part in range(1, 6):
            await server.launch()
            await asyncio.sleep(part * 0.12)
            await server.kill()
            (tmp_path / "data").mkdir(exist_ok=True)
            # As a kill between its making and its writing leaves it.
            (tmp_path / "data" / "secret").touch(mode=0o600)
        await server.start()
        assert (await server.act("ledger.verify"))["ok"]
        assert len((tmp_path / "data" / "secret").read_bytes()) >= 32
        assert await server.stop() == 0
    finally:
        await server.end()
