"""Clients that leave, accounts that are suspended, and a server that stops: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reseller import admission
from reseller.actions.table import perform
from reseller.clock import ShiftedClock
from reseller.gateway.call import Call
from reseller.gateway.outbox import OUTBOX_BYTES
from reseller.ids import Ids
from reseller.sandbox.upstream import UpstreamSimulator
from tests.gateway.asking import (
    RawConnection,
    chat_bytes,
    connection,
    exposures,
    give_up,
    holds,
    request_bytes,
    stream,
    taken_apart,
    usage_rows,
    waits,
)
from tests.gateway.conftest import SMALL, Stand, running_shop

# Answers from a provider that bills the whole answer whoever left; SMALL's stops.
STEADY = "sandbox/steady"


@pytest.fixture
async def stand(tmp_path: Path, engine: str) -> AsyncIterator[Stand]:
    """A shop on each of the two servers."""
    async with running_shop(tmp_path / "data", server__engine=engine) as found:
        yield found


def running(stand: Stand) -> Call:
    """The one request that runs."""
    (call,) = stand.shop.engine.running.values()
    return call


@contextlib.asynccontextmanager
async def held(
    stand: Stand, fault: str, model: str = SMALL, *, is_stream: bool = True
) -> AsyncIterator[RawConnection]:
    """A request that the upstream holds at a point of its life, on a bare connection."""
    stand.simulator.faults.add(fault)
    async with connection(stand) as wire:
        await wire.send(chat_bytes(next(iter(stand.keys.values())), model, stream=is_stream))
        await stand.simulator.gate.wait_held()
        yield wire


async def leave(stand: Stand, wire: RawConnection) -> Call:
    """Break the connection off, and wait until that was seen."""
    call = running(stand)
    wire.reset()
    await waits(lambda: call.departed)
    return call


async def test_gone_before_the_headers(stand: Stand) -> None:
    """The upstream call is not cancelled before its id is known; then it is, and the part that
    was made is charged."""
    await stand.customer()
    async with held(stand, "hang-before-headers") as wire:
        await leave(stand, wire)
        assert len(await holds(stand)) == 1
        stand.simulator.gate.release()
        await stand.idle()
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert row["charge_nanos"] > 0
    assert not stand.shop.core.live.accounts[row["account"]].departures


async def test_gone_before_the_headers_and_no_id_ever(stand: Stand) -> None:
    """The client itself left and nobody knows the id: the prompt's quote is charged after a day,
    and the request stands as exposure, once."""
    await stand.customer()
    async with held(stand, "hang-before-headers+bill-then-close-before-headers") as wire:
        call = await leave(stand, wire)
        stand.simulator.gate.release()
        await stand.idle()
    await give_up(stand)
    (row,) = await exposures(stand)
    assert row["charge_nanos"] == call.ticket.prompt_nanos > 0
    await stand.verify()
    assert not await holds(stand)
    (moved,) = await stand.rows("select amount_nanos from transfer where kind = 'usage'")
    assert moved["amount_nanos"] == row["charge_nanos"]


async def test_gone_mid_stream_where_that_stops_the_bill(stand: Stand) -> None:
    """The upstream's stream is left at once; the part that was made is charged from its record."""
    await stand.customer()
    async with held(stand, "wait-mid-stream") as wire:
        assert (await wire.head())[0] == 200
        await leave(stand, wire)
        await stand.idle()
        assert stand.simulator.gate.held.total() <= 1
    await waits(lambda: stand.simulator.books.rows)
    await stand.check_books()
    (billed,) = stand.simulator.books.rows
    assert billed.is_cancelled
    assert 0 < billed.completion_tokens < 20
    (row,) = await usage_rows(stand)
    assert row["completion_tokens"] == billed.completion_tokens


async def test_gone_mid_stream_where_all_is_billed(stand: Stand) -> None:
    """The answer is read to its end without a reader; its whole cost is charged at once."""
    await stand.customer()
    async with held(stand, "wait-mid-stream", STEADY) as wire:
        await wire.head()
        await leave(stand, wire)
        await asyncio.sleep(0.02)
        assert stand.shop.engine.running
        stand.simulator.gate.release()
        await stand.idle()
    assert not stand.shop.pending.waiting
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert row["completion_tokens"] == 20
    assert row["outcome"] == "client_left"


@pytest.mark.parametrize("fault", ["wait-before-usage", "wait-before-done"])
async def test_gone_at_the_last_frame(stand: Stand, fault: str) -> None:
    """Around the frame with the usage nothing is charged twice and nothing is forgotten."""
    await stand.customer()
    async with held(stand, fault, STEADY) as wire:
        await wire.head()
        await leave(stand, wire)
        stand.simulator.gate.release()
        await stand.idle()
    await stand.check_books()
    assert len(await usage_rows(stand)) == 1


async def test_a_json_client_that_left_is_charged(stand: Stand) -> None:
    """A whole answer is billed whole, whoever waits for it."""
    await stand.customer()
    async with held(stand, "bill-then-wait-before-headers", is_stream=False) as wire:
        await leave(stand, wire)
        stand.simulator.gate.release()
        await stand.idle()
    assert not stand.shop.pending.waiting
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert (row["outcome"], row["status"]) == ("client_left", 200)


async def test_a_client_that_reads_nothing_has_left(tmp_path: Path, engine: str) -> None:
    """A stalled reader is given up after `send_timeout_s`; meanwhile no more than the outbox
    waits in memory, and the answer is settled."""
    flags = {"server__engine": engine, "server__send_timeout_s": 0.3}
    async with running_shop(tmp_path / "data", **flags) as stand:
        key = await stand.customer()
        async with connection(stand, read_limit=1_024) as wire:
            asked = "[[tokens=32000]] go on"
            await wire.send(chat_bytes(key, "sandbox/reasoner", asked, stream=True))
            await waits(lambda: stand.shop.engine.running)
            call = running(stand)
            most = 0
            while not call.departed:
                most = max(most, call.outbox._size)
                await asyncio.sleep(0.005)
            await stand.idle()
        assert OUTBOX_BYTES < most < 4 * OUTBOX_BYTES
        await stand.check_books()
        (row,) = await usage_rows(stand)
        assert row["outcome"] == "client_left"


async def test_a_large_json_answer_nobody_takes(tmp_path: Path, engine: str) -> None:
    """It does not stay in memory for ever; it was charged before it left."""
    flags = {"server__engine": engine, "server__send_timeout_s": 0.3}
    async with running_shop(tmp_path / "data", **flags) as stand:
        key = await stand.customer()
        asked = {"model": "sandbox/embed", "input": ["text"] * 400, "dimensions": 2_000}
        async with connection(stand, read_limit=1_024) as wire:
            await wire.send(request_bytes(key, json.dumps(asked).encode(), "/v1/embeddings"))
            await waits(lambda: stand.shop.engine.running)
            call = running(stand)
            await waits(lambda: call.departed)
        await stand.check_books()
        (row,) = await usage_rows(stand)
        assert (row["status"], row["outcome"]) == (200, None)


async def test_a_slow_reader_is_no_departure(tmp_path: Path, engine: str) -> None:
    """Whoever takes a byte now and then keeps the stream, however long it takes in all."""
    flags = {"server__engine": engine, "server__send_timeout_s": 0.3}
    async with running_shop(tmp_path / "data", **flags) as stand:
        key = await stand.customer()
        found = await stream(stand, key, SMALL, "[[tokens=20]] [[pace=40]] go on")
        assert found.is_done
        await stand.check_books()


async def test_many_departures_without_an_id_suspend_streaming(stand: Stand) -> None:
    """More than five in an hour: 429 for streams, JSON goes on, and an hour later streams too."""
    key = await stand.customer()
    for _ in range(6):
        async with held(stand, "hang-before-headers+close-before-headers") as wire:
            await leave(stand, wire)
            stand.simulator.gate.release()
            await stand.idle()
    refused = await stand.chat(key, stream=True)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "streaming_suspended"
    assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
    assert (await stand.chat(key)).status_code == 200
    stand.clock.advance(3_700)
    assert (await stream(stand, key)).is_done
    await give_up(stand)
    assert len(await exposures(stand)) == 6
    await stand.verify()


@pytest.mark.parametrize("model", [SMALL, STEADY])
async def test_a_suspended_account_ends_its_streams(stand: Stand, model: str) -> None:
    """Within a second the stream ends with an error frame; what it cost is settled; nothing new
    starts."""
    key = await stand.customer()
    stand.simulator.faults.add("wait-mid-stream")
    asked = asyncio.create_task(stand.chat(key, model, stream=True))
    await stand.simulator.gate.wait_held()
    started = time.monotonic()
    await perform(stand.shop.core, "customer.suspend", {"email": "ada@example.com"})
    found = taken_apart(await asked)
    assert time.monotonic() - started < 1
    assert found.text
    assert found.error is not None
    assert found.error["code"] == "account_suspended"
    stand.simulator.gate.release()
    assert (await stand.chat(key)).status_code == 403
    await stand.check_books()
    (row,) = await usage_rows(stand)
    assert row["charge_nanos"] > 0


async def test_a_revoked_key_lets_its_requests_finish(stand: Stand) -> None:
    """The running stream arrives whole and is charged; the next request is 401."""
    key = await stand.customer()
    stand.simulator.faults.add("wait-mid-stream")
    asked = asyncio.create_task(stand.chat(key, stream=True))
    await stand.simulator.gate.wait_held()
    (known,) = stand.shop.core.live.keys_by_id.values()
    await perform(stand.shop.core, "key.revoke", {"key_id": known.public_id})
    assert (await stand.chat(key)).status_code == 401
    stand.simulator.gate.release()
    assert taken_apart(await asked).is_done
    await stand.check_books()


async def test_a_stop_waits_for_running_streams(stand: Stand) -> None:
    """While the server drains, the running stream goes on and nothing new starts."""
    key = await stand.customer()
    stand.simulator.faults.add("wait-mid-stream")
    asked = asyncio.create_task(stand.chat(key, stream=True))
    await stand.simulator.gate.wait_held()
    stand.shop.core.live.admission.close(admission.STOPPING, "the server stops")
    draining = asyncio.create_task(stand.shop.engine.drain(5))
    refused = await stand.chat(key)
    assert refused.status_code == 503
    assert refused.headers["x-should-retry"] == "true"
    assert "restarting" in refused.json()["error"]["message"]
    assert not draining.done()
    stand.simulator.gate.release()
    assert taken_apart(await asked).is_done
    await draining
    await stand.check_books()


@pytest.mark.parametrize("fault", ["wait-mid-stream", "hang-before-headers"])
async def test_a_stop_that_cannot_wait(tmp_path: Path, engine: str, fault: str) -> None:
    """After `drain_s` requests are cut, whatever they wait for. What had an id is settled after
    the next start; what had none is exposure after a day."""
    upstream = UpstreamSimulator(ShiftedClock(), Ids(), list_fault_models=True)
    await upstream.start()
    flags = {"server__engine": engine, "server__drain_s": 0.05}
    try:
        async with running_shop(tmp_path / "data", upstream=upstream, **flags) as stand:
            key = await stand.customer()
            upstream.faults.add(fault)
            asked = asyncio.create_task(stand.chat(key, stream=True))
            await upstream.gate.wait_held()
            started = time.monotonic()
            stand.shop.core.live.admission.close(admission.STOPPING, "the server stops")
            await stand.shop.engine.drain(0.05)
            assert time.monotonic() - started < 1
            answer = await asked
            if fault == "hang-before-headers":
                assert answer.status_code == 503
                assert answer.headers["x-should-retry"] == "false"
            else:
                assert taken_apart(answer).error is not None
        async with running_shop(tmp_path / "data", upstream=upstream, **flags) as stand:
            assert len(stand.shop.pending.waiting) == 1
            if fault == "hang-before-headers":
                await give_up(stand)
                assert len(await exposures(stand)) == 1
            await stand.check_books()
            assert (await stand.chat(key)).status_code == 200
    finally:
        await upstream.stop()


def established(port: int) -> int:
    """How many of the system's connections are open at this local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def test_the_system_ends_a_connection_that_takes_nothing(tmp_path: Path) -> None:
    """On Hypercorn the connection itself is ended, too, not only the request behind it."""
    async with running_shop(tmp_path / "data", server__send_timeout_s=0.4) as stand:
        key = await stand.customer(credit="100")
        host, port = stand.url.removeprefix("http://").split(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            text = [{"role": "user", "content": "[[tokens=16000]] go"}]
            body = json.dumps({"model": SMALL, "stream": True, "messages": text}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}"
            deaf.sendall(head.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            for _ in range(100):
                await asyncio.sleep(0.1)
                if not established(int(port)):
                    break
            assert not established(int(port)), "the connection is still open"
        await stand.check_books()
