"""What every command shares: the configuration, a way to the shop, and how a command ends."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from reseller.cli import look

if TYPE_CHECKING:
    from reseller.config import Config

FAILED, WRONG = 1, 2
_STEP_S = 0.2
# Commands that may start a data folder; any other one was meant for a folder that is there.
_FOUNDING = {
    *("customer.create", "admin.create", "pricing.set"),
    *("terms.show", "terms.accept", "job.run", "job.list"),
}
_OFFERED = (
    click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file.",
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Data folder, over what the configuration says.",
    ),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@dataclass(slots=True)
class Shell:
    """One command's surroundings: what was said on the command line about all of them."""

    config_path: Path | None = None
    data_dir: Path | None = None
    as_json: bool = False
    patience_s: float = 10.0
    flags: dict[str, object] = field(default_factory=dict)

    def config(self) -> Config:
        """The configuration; leaves with 2 and every mistake in it if it cannot be used."""
        from reseller.config import ConfigError, load

        flags = self.flags | {"data.dir": self.data_dir and str(self.data_dir)}
        try:
            return load(self.config_path, os.environ, flags)
        except ConfigError as wrong:
            self.leave(str(wrong), code="bad_config", status=WRONG)

    def do(
        self,
        action: str,
        arguments: dict[str, Any],
        show: Callable[[dict[str, Any]], str],
        *,
        is_failure: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> None:
        """Perform an action, in the running server or here, and print its answer.

        Arguments that are None were not given.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        answer = self.answer(action, given)
        if self.as_json:
            look.say_json(answer)
        else:
            look.say(show(answer))
        if is_failure(answer):
            raise click.exceptions.Exit(FAILED)

    def answer(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """An action's answer; leaves with what went wrong."""
        from reseller.errors import ResellerError

        config = self.config()
        try:
            return _reach(config, action, arguments, self.patience_s)
        except ResellerError as error:
            is_usage = error.http_status in (400, 422)
            self.leave(error.message, code=error.code, status=WRONG if is_usage else FAILED)
        except OSError as error:
            self.leave(f"{config.data.dir}: {error.strerror or error}.", code="no_access")

    def leave(self, message: str, *, code: str = "failed", status: int = FAILED) -> NoReturn:
        """End with what went wrong: one object with --json, else a line on standard error."""
        if self.as_json:
            look.say_json({"ok": False, "error": {"code": code, "message": message}})
        else:
            look.say(click.style("error", fg="red") + f": {message}", err=True)
        raise click.exceptions.Exit(status)

    def confirm(self, question: str, yes: bool) -> None:
        """Have a person at a terminal confirm; a script has said what it wants."""
        if not yes and sys.stdin.isatty() and not self.as_json:
            click.confirm(question, abort=True)


def offered(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `--json`, `--config` and `--data-dir` and gets a Shell first."""
    return _JSON(offered_plainly(function))


def offered_plainly(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `--config` and `--data-dir` and gets a Shell first."""

    def run(
        context: click.Context,
        config_path: Path | None,
        data_dir: Path | None,
        as_json: bool = False,
        **options: Any,
    ) -> None:
        above = context.find_object(Shell) or Shell()
        shell = Shell(
            config_path or above.config_path,
            data_dir or above.data_dir,
            as_json,
            above.patience_s,
        )
        function(shell, **options)

    ran: Callable[..., None] = click.pass_context(functools.wraps(function)(run))
    for option in reversed(_OFFERED):
        ran = option(ran)
    return ran


def _reach(
    config: Config, action: str, arguments: dict[str, Any], patience_s: float
) -> dict[str, Any]:
    """The action's answer from the server that holds the folder, or by opening it ourselves.

    Raises Conflict naming the process that holds the folder and stays silent for so long.
    """
    import threading

    from reseller.admin_client import Silent, ask
    from reseller.clock import Clock

    clock, pause = Clock(), threading.Event()
    deadline = clock.monotonic() + patience_s
    while True:
        try:
            return ask(config.data.dir, action, arguments, deadline - clock.monotonic())
        except Silent:
            found = _alone(config, action, arguments, is_last=clock.monotonic() >= deadline)
        if found is not None:
            return found
        pause.wait(_STEP_S)


def _alone(
    config: Config, action: str, arguments: dict[str, Any], *, is_last: bool
) -> dict[str, Any] | None:
    """The action's answer if the folder is free; None if another process holds it."""
    import asyncio

    from reseller.db.connect import DATABASE_NAME, FolderInUse, locked_folder
    from reseller.errors import Conflict, NotFound

    folder = config.data.dir
    if action not in _FOUNDING and not (folder / DATABASE_NAME).exists():
        raise NotFound(
            f"There is no database in {folder.absolute()}. Start the server once, or say where "
            f"it is with --config or --data-dir.",
            code="no_database",
        )
    try:
        with locked_folder(folder):
            return asyncio.run(_perform(config, action, arguments))
    except FolderInUse as busy:
        if not is_last:
            return None
        raise Conflict(
            f"Process {busy.pid or 'unknown'} holds {folder.absolute()} and does not answer. If it "
            f"hangs, stop it and try again.",
            code="server_silent",
        ) from None


async def _perform(config: Config, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from reseller.actions.table import perform
    from reseller.clock import Clock
    from reseller.core import open_core
    from reseller.ids import Ids

    if action.startswith("job."):
        # Jobs need what only a running shop has: the upstream, what waits for its cost.
        from reseller.admin_socket import register_jobs
        from reseller.app import open_shop

        async with open_shop(config, Clock(), Ids()) as shop:
            register_jobs(shop.chores.scheduler)
            return await perform(shop.core, action, arguments)
    async with open_core(config, Clock(), Ids()) as core:
        return await perform(core, action, arguments)
