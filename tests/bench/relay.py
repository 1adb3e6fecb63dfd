"""The yardstick: the least a relay of this stack can do, as a process of its own.

The same server, settings and HTTP client as the product; the body goes up and the answer comes
back as they are. No keys, no limits, no money, no database, no log.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from reseller.config import load
from reseller.server import run_server

_HEADERS = {
    "authorization": "Bearer sk-or-sandbox",
    "content-type": "application/json",
    "accept-encoding": "identity",
}


class Relay:
    """An ASGI application that passes everything on."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/chat/completions"
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15, ttl_dns_cache=60),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600),
            auto_decompress=False,
            read_bufsize=16_384,
            skip_auto_headers=("user-agent",),
        )

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        async with self._session.post(self._url, data=body, allow_redirects=False) as answer:
            await self._answer(answer, send)

    async def _answer(self, answer: aiohttp.ClientResponse, send: Any) -> None:
        headers = [(b"content-type", answer.headers["content-type"].encode())]
        if answer.content_length is not None:
            # A whole answer: in one piece, as anyone would.
            headers.append((b"content-length", b"%d" % answer.content_length))
            body = await answer.read()
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while chunk := await answer.content.readany():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def close(self) -> None:
        """End the session."""
        await self._session.close()


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def serve(engine: str, upstream: str) -> None:
    """Serve until SIGTERM; prints one line of JSON once it listens."""
    config = load(Path("/dev/null"), {}, {"server.listen": "127.0.0.1:0", "server.engine": engine})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    relay = Relay(upstream)

    def listening(url: str) -> None:
        gc.collect()
        gc.freeze()
        print(json.dumps({"url": url, "keys": ["none"]}), flush=True)

    try:
        await run_server(relay, config, stop, listening)
    finally:
        await relay.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.engine, options.upstream))


if __name__ == "__main__":
    main()
