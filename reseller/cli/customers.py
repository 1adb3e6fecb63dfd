"""`reseller admin`, `customer` and `key`: people, and what they may use."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from reseller.cli import look
from reseller.cli.shell import Shell, offered

_EMAIL = click.option("--email", required=True, metavar="EMAIL", help="The customer's e-mail.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_PASSWORD_VARIABLE = "RESELLER_PASSWORD"  # noqa: S105 - a variable's name
_PASSWORD_STDIN = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help=f"Read the password from standard input; else ${_PASSWORD_VARIABLE}, else a question.",
)


@click.group()
def admin() -> None:
    """Those who run the shop."""


@admin.command("create")
@_EMAIL
@click.option("--name", default="", help="Their name.")
@_PASSWORD_STDIN
@offered
def create_admin(shell: Shell, email: str, name: str, from_stdin: bool) -> None:
    """Make an operator. Without a password one is made and printed, once."""
    arguments = {"email": email, "name": name, "password": _password(shell, from_stdin)}
    shell.do("admin.create", arguments, lambda made: _password_lines("Made operator", made))


@admin.command("reset-password")
@_EMAIL
@_PASSWORD_STDIN
@offered
def reset_password(shell: Shell, email: str, from_stdin: bool) -> None:
    """Give an operator a new password."""
    arguments = {"email": email, "password": _password(shell, from_stdin)}
    shell.do("admin.reset_password", arguments, lambda set_: _password_lines("New password", set_))


@click.group()
def customer() -> None:
    """Customers and their accounts."""


@customer.command("create")
@_EMAIL
@click.option("--name", default="", help="Their name.")
@offered
def create_customer(shell: Shell, email: str, name: str) -> None:
    """Make a customer with an account."""

    def show(made: dict[str, Any]) -> str:
        return look.pairs(
            [("customer", made["id"]), ("email", made["email"]), ("account", made["account"])]
        )

    shell.do("customer.create", {"email": email, "name": name}, show)


@customer.command("list")
@click.option("--search", default="", help="Part of an e-mail or name.")
@click.option("--limit", type=int, default=100, show_default=True)
@click.option("--skip", type=int, default=0, help="Leave out the newest so many.")
@offered
def list_customers(shell: Shell, search: str, limit: int, skip: int) -> None:
    """List customers, the newest first."""

    def show(found: dict[str, Any]) -> str:
        rows = [
            [
                each["email"],
                look.state(each["state"]) + (" operator" if each["is_operator"] else ""),
                each["balance_usd"],
                each["held_usd"],
                each["used_usd"],
                each["keys"],
                look.time(each["created_at"]),
            ]
            for each in found["customers"]
        ]
        heads = ("email", "state", "balance$", "held$", "used$", "keys>", "since")
        text = look.table(heads, rows, nothing="No customers.")
        left = found["total"] - skip - len(rows)
        return text + (f"\n{look.faint(f'{left} more')}" if rows and left > 0 else "")

    shell.do("customer.list", {"search": search, "limit": limit, "skip": skip}, show)


@customer.command("show")
@_EMAIL
@offered
def show_customer(shell: Shell, email: str) -> None:
    """Show a customer's balance, holds and limits."""

    def show(found: dict[str, Any]) -> str:
        limits = found["limits"]
        return look.pairs(
            [
                ("customer", found["id"]),
                ("email", look.strong(found["email"])),
                ("name", found["name"]),
                ("account", found["account"]),
                ("state", look.state(found["state"])),
                ("since", look.time(found["created_at"])),
                ("balance", look.strong(look.usd(found["balance_usd"]))),
                ("held", f"{look.usd(found['held_usd'])} by {found['holds']} requests"),
                ("free", look.usd(found["free_usd"])),
                ("used", look.usd(found["used_usd"])),
                ("daily cap", look.usd(found["daily_limit_usd"])),
                *((name.replace("_", " "), look.number(limits[name])) for name in limits),
            ]
        )

    shell.do("customer.show", {"email": email}, show)


@customer.command("suspend")
@_EMAIL
@click.option("--reason", default="", help="Kept in the audit log.")
@_YES
@offered
def suspend(shell: Shell, email: str, reason: str, yes: bool) -> None:
    """Refuse a customer's requests and end their streams."""
    shell.confirm(f"Suspend {email}? Running streams are cut off.", yes)
    shell.do("customer.suspend", {"email": email, "reason": reason}, _outcome("is suspended"))


@customer.command("unsuspend")
@_EMAIL
@offered
def unsuspend(shell: Shell, email: str) -> None:
    """Let a customer's requests through again."""
    shell.do("customer.unsuspend", {"email": email}, _outcome("is active"))


@customer.command("unfreeze")
@_EMAIL
@offered
def unfreeze(shell: Shell, email: str) -> None:
    """Lift the freeze that a mismatch left, once the account's books agree."""
    shell.do("customer.unfreeze", {"email": email}, _outcome("is not frozen"))


def _outcome(words: str) -> Any:
    def show(done: dict[str, Any]) -> str:
        return f"{done['email']} {words}" + ("" if done["changed"] else " (as before)")

    return show


def _password(shell: Shell, from_stdin: bool) -> str | None:
    """A password from where it was put, or from a person; None has one made."""
    if from_stdin:
        return sys.stdin.readline(2_000).rstrip("\r\n")
    if given := os.environ.get(_PASSWORD_VARIABLE):
        return given
    if not sys.stdin.isatty() or shell.as_json:
        return None
    typed: str = click.prompt(
        "Password (empty: one is made)",
        default="",
        hide_input=True,
        show_default=False,
        err=True,
    )
    if typed and click.prompt("Again", hide_input=True, err=True) != typed:
        shell.leave("The two passwords differ.", status=2)
    return typed or None


def _password_lines(done: str, answer: dict[str, Any]) -> str:
    lines = [
        f"{done}: {answer['email']}" if "account" in answer else f"{done} for {answer['email']}"
    ]
    if "password" in answer:
        lines += [f"Password: {look.strong(answer['password'])}", "It is not shown again."]
    return "\n".join(lines)
