"""`reseller key`: API keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from reseller.cli import look
from reseller.cli.shell import Shell, offered

_NONE = "none"
_PERIODS = ("total", "daily", "weekly", "monthly")


@click.group()
def key() -> None:
    """API keys."""


def _bounds(function: Callable[..., None]) -> Callable[..., None]:
    """The options that bound a key, for `create` and `set`."""
    for option in reversed(
        (
            click.option("--limit-usd", metavar="USD", help="The most it may spend in a period."),
            click.option("--period", type=click.Choice(_PERIODS), help="Starts the limit anew."),
            click.option("--expires", metavar="WHEN", help="30d, 12h, or a date in UTC."),
            click.option(
                "--model", "models", multiple=True, help="A model or pattern it may use; repeat."
            ),
            click.option(
                "--address", "addresses", multiple=True, help="A network it may come from; repeat."
            ),
            click.option("--rpm", "requests_per_minute", type=int, help="Requests a minute."),
            click.option("--rph", "requests_per_hour", type=int, help="Requests an hour."),
            click.option("--rpd", "requests_per_day", type=int, help="Requests a day."),
            click.option("--tpm", "tokens_per_minute", type=int, help="Tokens a minute."),
            click.option("--concurrent", "concurrent_requests", type=int, help="At one time."),
        )
    ):
        function = option(function)
    return function


@key.command("create")
@click.option("--email", required=True, metavar="EMAIL", help="Whose account pays.")
@click.option("--name", required=True, help="What it is for.")
@_bounds
@offered
def create(shell: Shell, **options: Any) -> None:
    """Make a key. It is printed once."""

    def show(made: dict[str, Any]) -> str:
        return "\n\n".join(
            (
                look.pairs([("key", look.strong(made["key"])), ("id", made["id"])]),
                "Copy it now: it is not shown again. Try it:",
                _curl(made["base_url"], made["key"], made["model"]),
            )
        )

    given = {name: value for name, value in options.items() if value not in (None, ())}
    shell.do("key.create", given, show)


@key.command("list")
@click.option("--email", required=True, metavar="EMAIL", help="The customer's e-mail.")
@click.option("--all", "revoked", is_flag=True, help="Revoked ones too.")
@offered
def list_keys(shell: Shell, email: str, revoked: bool) -> None:
    """List a customer's keys."""

    def show(found: dict[str, Any]) -> str:
        heads = ("id", "name", "key", "state", "spent$", "limit$", "period", "expires", "last used")
        rows = [
            [
                each["id"],
                each["name"],
                each["prefix"] + "…",
                look.state(each["state"]),
                each["spent_usd"],
                each["limit_usd"] or "-",
                each["period"],
                look.time(each["expires_at"]),
                look.time(each["last_used_at"]),
            ]
            for each in found["keys"]
        ]
        return look.table(heads, rows, nothing="No keys.")

    shell.do("key.list", {"email": email, "revoked": revoked}, show)


@key.command("revoke")
@click.argument("key_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@offered
def revoke(shell: Shell, key_id: str, yes: bool) -> None:
    """Close a key for good; its running requests finish."""
    shell.confirm(f"Revoke {key_id}? Whoever uses it is locked out.", yes)

    def show(done: dict[str, Any]) -> str:
        before = "" if done["changed"] else " (it was before)"
        return f"{done['id']} ({done['name']}) is revoked{before}"

    shell.do("key.revoke", {"key_id": key_id}, show)


@key.command("disable")
@click.argument("key_id", metavar="ID")
@offered
def disable(shell: Shell, key_id: str) -> None:
    """Refuse a key until it is enabled again."""
    shell.do("key.disable", {"key_id": key_id}, _key)


@key.command("enable")
@click.argument("key_id", metavar="ID")
@offered
def enable(shell: Shell, key_id: str) -> None:
    """Accept a disabled key again."""
    shell.do("key.enable", {"key_id": key_id}, _key)


@key.command("set")
@click.argument("key_id", metavar="ID")
@click.option("--name", help="What it is for.")
@_bounds
@offered
def change(shell: Shell, **options: Any) -> None:
    """Change a key. `none` (for rates 0) takes a bound away; --model and --address replace."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    for name in ("models", "addresses"):
        if given.get(name) == (_NONE,):
            given[name] = []
    shell.do("key.set", given, _key)


def _key(found: dict[str, Any]) -> str:
    limits = found["limits"]
    return look.pairs(
        [
            ("key", f"{found['prefix']}…"),
            ("id", found["id"]),
            ("name", found["name"]),
            ("state", look.state(found["state"])),
            ("spent", f"{look.usd(found['spent_usd'])} ({found['period']})"),
            ("limit", look.usd(found["limit_usd"])),
            ("used", look.usd(found["used_usd"])),
            ("expires", look.time(found["expires_at"])),
            ("last used", look.time(found["last_used_at"])),
            ("models", look.words(found["models"])),
            ("addresses", look.words(found["addresses"])),
            *(
                (name.replace("_", " "), look.number(limits[name]))
                for name in limits
                if limits[name] is not None
            ),
        ]
    )


def _curl(url: str, secret: str, model: str | None) -> str:
    if model is None:
        return f'curl {url}/v1/models -H "Authorization: Bearer {secret}"'
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return (
        f"curl {url}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {secret}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d '{json.dumps(body)}'"
    )
