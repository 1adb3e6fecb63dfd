"""The shop without a door: database, journal and memory, opened together.

Both the server and a command that runs without one work on a Core; whoever opens it holds the
lock on the data folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from reseller.clock import Clock
from reseller.config import Config
from reseller.db.connect import DATABASE_NAME, Reader
from reseller.db.journal import Journal
from reseller.db.sql import statement
from reseller.errors import ResellerError
from reseller.ids import Ids
from reseller.live import Live
from reseller.loading import load

log = logging.getLogger("reseller.core")

_FREEZE_ACCOUNT = statement("freeze_account")
_SAVE_SETTING = statement("save_setting")
_LIST_SETTINGS = statement("list_settings")
SECRET_NAME = "secret"  # noqa: S105 - a file name
BALLAST_NAME = "ballast"


class WrongMode(ResellerError):
    """Sandbox money and live money never share a data folder."""

    default_code = "wrong_mode"


@dataclass(slots=True)
class Core:
    """What every action works on."""

    config: Config
    clock: Clock
    ids: Ids
    live: Live
    journal: Journal
    reader: Reader
    secret: bytes
    # Where the sandbox's upstream is steered; empty without one.
    simulator_url: str = ""
    # Set by a server once the holds on disk are in its wallet; a command does not need them.
    is_serving: bool = False


@contextlib.asynccontextmanager
async def open_core(config: Config, clock: Clock, ids: Ids) -> AsyncIterator[Core]:
    """Open, migrate and load the data folder; close it in order. The caller holds the lock.

    Raises WrongMode if the folder was made in the other mode, SchemaTooNew if a newer version
    wrote it.
    """
    folder = config.data.dir
    journal = await Journal.open(folder / DATABASE_NAME, clock)
    try:
        reader = await Reader.open(folder / DATABASE_NAME)
        try:
            await _check_mode(journal, reader, config, clock)
            live = Live(config, clock)
            await load(live, reader)
            _wire(live, journal, Ballast(folder / BALLAST_NAME, config.data.ballast_mb))
            yield Core(config, clock, ids, live, journal, reader, _secret(folder, ids))
        finally:
            await reader.close()
    finally:
        await journal.close()


async def _check_mode(journal: Journal, reader: Reader, config: Config, clock: Clock) -> None:
    settings = {row["name"]: row["value"] for row in await reader.rows(_LIST_SETTINGS)}
    made_in = settings.get("mode")
    if made_in is None:
        row = ("mode", config.mode, clock.now_ms())
        await journal.write(lambda db: db.execute(_SAVE_SETTING, row))
    elif made_in != config.mode:
        raise WrongMode(
            f"{config.data.dir} holds {made_in} data, but this start is {config.mode}. "
            f"Point data.dir at another folder."
        )


def _wire(live: Live, journal: Journal, ballast: Ballast) -> None:
    """Let the journal tell memory, and memory write down what must survive."""
    journal.observer = live
    running: set[asyncio.Task[object]] = set()

    def freeze(account: int) -> None:
        now = live.clock.now_ms()
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(
            journal.write(lambda db: db.execute(_FREEZE_ACCOUNT, (now, account)))
        )
        running.add(task)
        task.add_done_callback(running.discard)

    def disk(is_well: bool) -> None:
        if is_well:
            ballast.fill()
        else:
            ballast.drop()

    live.on_freeze = freeze
    live.on_disk = disk
    ballast.fill()


class Ballast:
    """A file that is given up when the disk is full, so that running requests can settle."""

    def __init__(self, path: Path, megabytes: int) -> None:
        self._path = path
        self._bytes = megabytes * 1_048_576

    def fill(self) -> None:
        """Take the room, really allocated, if the file is not there and the disk has it twice."""
        if not self._bytes or self._path.exists():
            return
        try:
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize < 2 * self._bytes:
                return
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._bytes)
            finally:
                os.close(handle)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            log.warning("no ballast file: %s", error)

    def drop(self) -> None:
        """Give the room back."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _secret(folder: Path, ids: Ids) -> bytes:
    """The folder's own secret, made at first start: 0600 from birth, and whole or not there."""
    path = folder / SECRET_NAME
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_bytes():
            return found
    draft = path.with_name(f"{SECRET_NAME}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, ids.secret().encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(draft, path)
    return path.read_bytes()
