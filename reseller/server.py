"""The web server: Hypercorn or Granian, chosen and configured here alone.

HTTP/1.1 only; HTTP/2 and HTTP/3 belong to a front proxy. Both run in our event loop, in this
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.asyncio.run as hypercorn_run
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as Granian
from hypercorn.asyncio import serve as serve_hypercorn
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config as HypercornConfig

from reseller.config import Config
from reseller.errors import ResellerError

App = Callable[..., Awaitable[None]]
Announce = Callable[[str], None]

_BACKLOG = 2048
_IDLE_S = 75
# Linux's number, for where the standard library does not name it.
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
_MOST_HEADER_BYTES = 65_536
# How long a client may take for what is left of its answer once nothing runs any more.
_PARTING_S = 5

log = logging.getLogger("reseller.server")


class AddressInUse(ResellerError):
    """The configured address cannot be listened on."""

    default_code = "address_in_use"


class _Connection(TCPServer):
    """One of Hypercorn's connections, kept in sight so that a stop can break it off."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        _connections.add(self)

    async def _close(self) -> None:
        # The system may have ended it (a client that took nothing): that is an end, too.
        with contextlib.suppress(OSError):
            await super()._close()


_connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
# Hypercorn itself waits without end for a client that does not read.
hypercorn_run.TCPServer = _Connection  # type: ignore[assignment, attr-defined]


def _break_off(hypercorn: HypercornConfig) -> None:
    """End this server's connections, whatever they still have to send: nobody takes it."""
    for connection in list(_connections):
        if connection.config is hypercorn:
            connection.writer.transport.abort()


async def run_server(
    app: App, config: Config, stop: asyncio.Event, listening: Announce = lambda _: None
) -> None:
    """Serve until `stop` is set; `listening` gets the base URL once connections are taken.

    Raises AddressInUse.
    """
    server = config.server
    with bound_socket(server.host, server.port, server.send_timeout_s) as bound:
        host, port = bound.getsockname()[:2]
        scheme = "https" if config.tls.cert else "http"
        shown = f"[{host}]" if ":" in host else host
        if config.server.engine == "granian":
            # Granian opens its own socket: ours only proved that the address is free.
            bound.close()
            await _run_granian(app, config, host, port, stop, listening, f"{scheme}://{shown}")
        else:
            listening(f"{scheme}://{shown}:{port}")
            await _run_hypercorn(app, config, bound, stop)


@contextlib.contextmanager
def bound_socket(host: str, port: int, stall_s: float) -> Any:
    """A socket bound to the address, port 0 for a free one. Raises AddressInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise AddressInUse(
                f"Cannot listen on {host}:{port}: {error.strerror or error}. "
                f"Choose another with --listen or server.listen."
            ) from None
        # Connections inherit it: one that takes nothing for so long is ended by the system, after
        # the request behind it has been given up.
        bound.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, round(2_000 * stall_s))
        bound.listen(_BACKLOG)
        bound.setblocking(False)
        yield bound
    finally:
        bound.close()


async def _run_hypercorn(
    app: App, config: Config, bound: socket.socket, stop: asyncio.Event
) -> None:
    hypercorn = HypercornConfig()
    hypercorn.bind = [f"fd://{os.dup(bound.fileno())}"]
    hypercorn.backlog = _BACKLOG
    hypercorn.errorlog = None
    hypercorn.accesslog = None
    hypercorn.include_server_header = False
    hypercorn.keep_alive_timeout = _IDLE_S
    hypercorn.keep_alive_max_requests = 1_000_000_000
    hypercorn.h11_max_incomplete_size = _MOST_HEADER_BYTES
    hypercorn.read_timeout = None
    hypercorn.graceful_timeout = config.server.drain_s
    hypercorn.alpn_protocols = ["http/1.1"]
    if config.tls.cert and config.tls.key:
        hypercorn.certfile, hypercorn.keyfile = str(config.tls.cert), str(config.tls.key)

    parting: list[asyncio.TimerHandle] = []

    async def wait() -> None:
        await stop.wait()
        loop = asyncio.get_running_loop()
        parting.append(loop.call_later(_parting_s(config), _break_off, hypercorn))

    await serve_hypercorn(app, hypercorn, shutdown_trigger=wait, mode="asgi")
    for timer in parting:
        timer.cancel()


async def _run_granian(
    app: App,
    config: Config,
    host: str,
    port: int,
    stop: asyncio.Event,
    listening: Announce,
    prefix: str,
) -> None:
    server = Granian(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=max(1, config.server.max_connections),
        http1_settings=HTTP1Settings(
            header_read_timeout=30_000, max_buffer_size=max(_MOST_HEADER_BYTES, 8_192 + 4_096 * 100)
        ),
        log_enabled=False,
        ssl_cert=config.tls.cert,
        ssl_key=config.tls.key,
    )

    async def wait() -> None:
        await _accepting(host, port)
        listening(f"{prefix}:{port}")
        await stop.wait()
        server.interrupt_signal = True
        server.main_loop_interrupt.set()

    server.workers_kill_timeout = _parting_s(config)
    waiting = asyncio.get_running_loop().create_task(wait())
    try:
        await server.serve()
    except TimeoutError:
        log.info("a client took nothing more of its answer; its connection is broken off")
    finally:
        waiting.cancel()


def _parting_s(config: Config) -> int:
    return min(_PARTING_S, 1 + math.ceil(config.server.drain_s))


async def _accepting(host: str, port: int) -> None:
    """Return once the port takes connections. Granian's own thread opens it a moment later."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise AddressInUse(f"The server does not take connections on {host}:{port}.")
