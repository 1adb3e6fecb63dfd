"""Commands while the server runs: through its socket, and in words when it does not answer."""

from __future__ import annotations

import os
from pathlib import Path

from reseller.db.connect import locked_folder
from tests.cli.conftest import ADA, Ask, Server, Type


def test_commands_change_the_running_server(server: Server, asked: Ask) -> None:
    """What is typed is in the server's memory when the command ends."""
    asked("customer", "create", "--email", ADA)
    made = asked("key", "create", "--email", ADA, "--name", "k")
    asked("credit", "grant", "--email", ADA, "--usd", "5", "--reason", "x")
    key = server.core.live.find_key(made["key"])
    assert key.account.balance.balance_nanos == 5 * 10**9
    asked("pricing", "set", "--pattern", "openai/*", "--markup", "40%")
    assert server.core.live.prices.rule_for(key.account.id, "openai/x").markup_bps == 4_000
    asked("limits", "set", "--email", ADA, "--rpm", "3")
    assert key.account.limiter.limits.requests_per_minute == 3
    asked("admission", "off")
    assert not server.core.live.admission.is_open
    asked("key", "revoke", made["id"])
    assert not server.core.live.keys
    assert asked("ledger", "verify")["ok"]


def test_wrong_books_fail_the_command_and_close_the_gate(server: Server, typed: Type) -> None:
    """Exit 1, the check and the row named, in tables and in JSON."""
    typed("customer", "create", "--email", ADA)
    server.core.live.accounts[100].balance.balance_nanos += 7
    result = typed("ledger", "verify")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
    assert "account 100" in result.stdout
    assert typed("ledger", "verify", "--json").exit_code == 1
    assert not server.core.live.admission.is_open


def test_errors_come_through(server: Server, typed: Type, asked: Ask) -> None:
    """A refusal over the socket reads like one without."""
    result = typed("customer", "show", "--email", "nobody@example.com")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: There is no customer 'nobody@example.com'.\n",
    )
    asked("customer", "create", "--email", ADA)
    result = typed("credit", "grant", "--email", ADA, "--usd", "-1", "--reason", "x")
    assert result.exit_code == 2


def test_a_silent_holder_is_named(typed: Type, asked: Ask, tmp_path: Path) -> None:
    """Lock held and nobody at the socket: after a while the process is named, exit 1."""
    asked("customer", "create", "--email", ADA)
    with locked_folder(tmp_path / "data"):
        result = typed("customer", "list")
    assert result.exit_code == 1
    assert f"Process {os.getpid()}" in result.stderr
    assert asked("customer", "list")["total"] == 1


def test_serve_beside_a_server_is_exit_2(server: Server, typed: Type) -> None:
    """A second server on the folder names the first one's process."""
    result = typed("serve", "--listen", "127.0.0.1:0")
    assert result.exit_code == 2
    assert str(os.getpid()) in result.stderr
