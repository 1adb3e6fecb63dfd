"""The command line's end of the admin socket. Standard library only, so that it starts at once."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reseller.errors import ResellerError

SOCKET_NAME = "admin.sock"
MOST_LINE = 1_048_576


class Silent(Exception):
    """Nobody answers at the socket."""


class Refused(ResellerError):
    """What the server answered instead of a result."""

    def __init__(self, message: str, code: str, status: int) -> None:
        super().__init__(message, code=code, status=status)


class Lost(ResellerError):
    """The server was asked and then went away: it may have done it or not."""

    default_code = "server_lost"


@contextlib.contextmanager
def socket_name(folder: Path) -> Iterator[str]:
    """The socket's name as the system takes it: about 100 bytes, however deep the folder is."""
    name = str(folder / SOCKET_NAME)
    if len(os.fsencode(name)) <= 100:
        yield name
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET_NAME}"
    finally:
        os.close(handle)


def ask(folder: Path, action: str, arguments: dict[str, Any], patience_s: float) -> dict[str, Any]:
    """Have the running server perform an action. Raises Silent if none answers in time, Refused,
    Lost.

    The server must answer a ping in time; what is asked then may take as long as it takes.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.05, patience_s))
        try:
            with socket_name(folder) as name:
                connection.connect(name)
            lines = connection.makefile("rwb")
            _exchange(lines, "ping", {})
        except OSError as gone:
            raise Silent(str(gone)) from gone
        with lines:
            connection.settimeout(None)
            try:
                return _exchange(lines, action, arguments)
            except OSError as gone:
                raise Lost(
                    f"The server went away before it answered ({gone}). Look whether {action} was "
                    f"done before you repeat it."
                ) from gone


def _exchange(lines: Any, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
    lines.write(json.dumps({"action": action, "args": arguments}).encode() + b"\n")
    lines.flush()
    line = lines.readline()
    if not line:
        raise ConnectionResetError("the server closed the connection")
    answer = json.loads(line)
    if not answer["ok"]:
        error = answer["error"]
        raise Refused(error["message"], error["code"], error["status"])
    result: dict[str, Any] = answer["result"]
    return result
