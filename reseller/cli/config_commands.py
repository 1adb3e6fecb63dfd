"""`reseller config`: write a configuration file, check it, show what is in force."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from reseller.config import Config

_FAILED, _WRONG = 1, 2

_CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file; else $RESELLER_CONFIG, ./reseller.toml, /etc/reseller/reseller.toml.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def config() -> None:
    """Write, check and show the configuration."""


@config.command()
@_CONFIG
def init(path: Path | None) -> None:
    """Write a configuration file with every key in it, for its owner's eyes only."""
    from importlib.resources import files

    target = path or Path(os.environ.get("RESELLER_CONFIG") or "reseller.toml")
    text = files("reseller").joinpath("example.toml").read_text("utf-8")
    try:
        # 0600 from birth, and never over a file that is there: keys will be written into it.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _leave(_FAILED, f"{target} is there already and was left as it is")
    except OSError as failed:
        _leave(_FAILED, f"{target} cannot be written: {(failed.strerror or str(failed)).lower()}")
    click.echo(f"Wrote {target}. Every line is commented out; change what you need.")


@config.command()
@_CONFIG
@_JSON
def check(path: Path | None, as_json: bool) -> None:
    """Name every mistake in the configuration; exit 2 if there is one."""
    from reseller.config import ConfigError, load

    try:
        checked = load(path, os.environ, {})
    except ConfigError as wrong:
        if as_json:
            problems = [problem._asdict() for problem in wrong.problems]
            click.echo(json.dumps({"ok": False, "problems": problems}))
            raise click.exceptions.Exit(_WRONG) from None
        _leave(_WRONG, str(wrong))
    if as_json:
        click.echo(json.dumps({"ok": True, "problems": []} | _where(checked)))
    else:
        click.echo(f"{checked.path or 'No file, defaults only'}: no mistakes ({checked.mode} mode)")


@config.command()
@_CONFIG
@_JSON
def show(path: Path | None, as_json: bool) -> None:
    """Print each value in force and where it comes from; secrets are masked."""
    from reseller.config import ConfigError, load

    try:
        shown = load(path, os.environ, {})
    except ConfigError as wrong:
        _leave(_WRONG, str(wrong))
    settings = list(shown.explain())
    if as_json:
        values = {each.key: {"value": each.shown, "origin": each.origin} for each in settings}
        click.echo(json.dumps(_where(shown) | {"settings": values}, ensure_ascii=False))
        return
    click.echo(f"# {shown.path or 'no file'} ({shown.mode} mode)")
    lines = [f"{each.key} = {json.dumps(each.shown, ensure_ascii=False)}" for each in settings]
    width = max(map(len, lines))
    for line, each in zip(lines, settings, strict=True):
        click.echo(f"{line:<{width}}  # {each.origin}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors that check TOML."""
    from reseller.config import schema as config_schema

    click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


def _where(of: Config) -> dict[str, object]:
    return {"file": str(of.path) if of.path else None, "mode": of.mode}


def _leave(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    raise click.exceptions.Exit(code)
