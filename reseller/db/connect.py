"""Opening the database: one writer, readers that cannot write, and the lock on the folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from reseller.errors import ResellerError

DATABASE_NAME = "reseller.db"
LOCK_NAME = "lock"
_BUSY_MS = 5_000

C = TypeVar("C", bound=sqlite3.Connection)


class FolderInUse(ResellerError):
    """Another process works with this data folder."""

    default_code = "folder_in_use"

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(
            f"{folder} is in use by process {pid or 'unknown'}. "
            f"Stop it, or point data.dir at another folder."
        )
        self.pid = pid


def open_writer(path: Path, factory: type[C]) -> C:
    """The writing connection: WAL, every commit on disk before it returns."""
    connection = sqlite3.connect(
        path,
        factory=factory,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        timeout=_BUSY_MS / 1000,
    )
    with contextlib.suppress(OSError):
        os.chmod(path, 0o600)
    for pragma in (
        "journal_mode = wal",
        "synchronous = full",
        "foreign_keys = on",
        "journal_size_limit = 67108864",
        "wal_autocheckpoint = 2000",
        "cache_size = -32768",
    ):
        connection.execute(f"pragma {pragma}")
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A reading connection: it can never commit or checkpoint."""
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_MS / 1000,
    )
    connection.execute("pragma query_only = on")
    connection.execute("pragma cache_size = -16384")
    connection.row_factory = sqlite3.Row
    return connection


class Reader:
    """Queries off the event loop, on a connection that cannot write."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> Reader:
        """Connect in a thread of its own."""
        return cls(await aiosqlite.Connection(lambda: open_reader(path), iter_chunk_size=256))

    async def rows(self, text: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows of a query, as sqlite3.Row."""
        return list(await self._connection.execute_fetchall(text, parameters))

    async def row(self, text: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """The first row of a query, or None."""
        rows = await self.rows(text, parameters)
        return rows[0] if rows else None

    async def close(self) -> None:
        """End the connection and its thread."""
        await self._connection.close()


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder for this process. Raises FolderInUse naming the other one.

    The kernel drops the lock when the process ends, however it ends.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            raise FolderInUse(folder, pid) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
