"""`reseller serve`, `sandbox`, `migrate` and `version`: the program itself."""

from __future__ import annotations

import sys
from typing import Any

import click

from reseller import __version__
from reseller.cli import look
from reseller.cli.shell import WRONG, Shell, offered, offered_plainly
from reseller.cli.steer import advance, books, fault, faults, release, set_behaviour


@click.command()
@click.option("--listen", metavar="ADDRESS", help="Address and port, such as 127.0.0.1:8080.")
@offered_plainly
def serve(shell: Shell, listen: str | None) -> None:
    """Run the shop.

    Without a configuration it is a sandbox in ./data.
    """
    shell.flags["server.listen"] = listen
    config = shell.config()
    from reseller.app import serve as run_shop
    from reseller.cli.welcome import welcome
    from reseller.errors import ResellerError

    try:
        status = run_shop(config, announce=welcome)
    except ResellerError as error:
        shell.leave(error.message, code=error.code, status=WRONG)
    raise click.exceptions.Exit(status)


@click.group()
def sandbox() -> None:
    """Simulators, for trying things out."""


@sandbox.command("upstream")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0 chooses a free one.")
@click.option("--credit-usd", default="1000", show_default=True, help="On the simulated account.")
@click.option("--instant", is_flag=True, help="Answer at once, without latency and pace.")
@click.option("--fault-models", is_flag=True, help="List the models that misbehave, too.")
@click.option("--quiet", is_flag=True, help="Print the base URL only.")
def sandbox_upstream(
    host: str, port: int, credit_usd: str, instant: bool, fault_models: bool, quiet: bool
) -> None:
    """Serve the upstream simulator until it is stopped."""
    import asyncio

    from reseller.sandbox.standalone import run

    asyncio.run(
        run(
            host,
            port,
            credit_usd=credit_usd,
            is_instant=instant,
            list_fault_models=fault_models,
            quiet=quiet,
        )
    )


for _steering in (set_behaviour, fault, faults, advance, release, books):
    sandbox.add_command(_steering)


@click.command()
@click.option("--status", "is_status", is_flag=True, help="Only say what is applied and pending.")
@offered
def migrate(shell: Shell, is_status: bool) -> None:
    """Bring the database up to date.

    The server does so at its start, too.
    """
    config = shell.config()
    answer = _status(config.data.dir) if is_status else _migrate(shell, config.data.dir)
    if shell.as_json:
        look.say_json(answer)
    else:
        rows = [[name, look.faint("applied")] for name in answer["applied"]]
        rows += [[name, look.strong("pending")] for name in answer["pending"]]
        look.say(look.table(("migration", ""), rows, nothing="None."))


def _status(folder: Any) -> dict[str, list[str]]:
    from reseller.db.connect import DATABASE_NAME, open_reader
    from reseller.db.migrate import migration_files, status

    path = folder / DATABASE_NAME
    if not path.exists():
        return {"applied": [], "pending": list(migration_files())}
    connection = open_reader(path)
    try:
        return status(connection)
    finally:
        connection.close()


def _migrate(shell: Shell, folder: Any) -> dict[str, list[str]]:
    from reseller.db.connect import DATABASE_NAME, locked_folder, open_writer
    from reseller.db.group import GroupWriter
    from reseller.db.migrate import migrate as apply
    from reseller.errors import ResellerError

    try:
        with locked_folder(folder):
            connection = open_writer(folder / DATABASE_NAME, GroupWriter)
            try:
                apply(connection)
            finally:
                connection.close()
    except ResellerError as error:
        shell.leave(error.message, code=error.code)
    return _status(folder)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    python = ".".join(map(str, sys.version_info[:3]))
    if as_json:
        look.say_json({"version": __version__, "python": python})
    else:
        look.say(f"reseller {__version__} (Python {python})")
