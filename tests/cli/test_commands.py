"""Every command of the operator's contract, typed in an empty folder without a server."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from reseller import __version__
from reseller.cli import main
from tests.cli.conftest import ADA, Ask, Type


@pytest.fixture
def ada(asked: Ask) -> str:
    """A customer's e-mail."""
    asked("customer", "create", "--email", ADA, "--name", "Ada")
    return ADA


def test_a_first_shop_from_nothing(asked: Ask, typed: Type, tmp_path: Path) -> None:
    """Operator, customer, credit, key, price, limits: all before any server ran."""
    asked("admin", "create", "--email", "op@example.com")
    asked("customer", "create", "--email", ADA)
    asked("credit", "grant", "--email", ADA, "--usd", "10", "--reason", "welcome")
    made = asked("key", "create", "--email", ADA, "--name", "laptop", "--limit-usd", "5")
    assert made["key"].startswith("sk-rs-")
    asked("pricing", "set", "--pattern", "openai/*", "--markup", "40%", "--priority", "2")
    asked("limits", "set", "--email", ADA, "--rpm", "5", "--rph", "50", "--rpd", "500")
    shown = asked("customer", "show", "--email", ADA)
    assert (shown["balance_usd"], shown["held_usd"]) == ("10.00", "0.00")
    assert shown["limits"]["requests_per_minute"] == 5
    assert asked("ledger", "verify")["ok"]
    assert asked("usage", "list", "--email", ADA)["requests"] == []
    assert asked("stats")["liability_usd"] == "10.00"
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "reseller.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("customer", "list"), "ada@example.com"),
        (("customer", "show", "--email", ADA), "balance"),
        (("key", "list", "--email", ADA), "No keys."),
        (("credit", "list", "--email", ADA), "Nothing moved."),
        (("limits", "show", "--email", ADA), "requests per minute"),
        (("pricing", "list"), "cost + 20 %"),
        (("usage", "list", "--email", ADA), "No requests."),
        (("stats",), "owed to customers"),
        (("ledger", "verify"), "The books are right."),
        (("admission", "show"), "open"),
        (("terms", "show"), "Not accepted"),
        (("migrate", "--status"), "0001_start"),
        (("key", "create", "--email", ADA, "--name", "k"), "Authorization: Bearer sk-rs-"),
        (("credit", "grant", "--email", ADA, "--usd", "1", "--reason", "x"), "granted to"),
        (("customer", "suspend", "--email", ADA), "is suspended"),
        (("customer", "unsuspend", "--email", ADA), "(as before)"),
        (("customer", "unfreeze", "--email", ADA), "is not frozen"),
        (("limits", "set", "--email", ADA, "--rpm", "1,000".replace(",", "")), "1,000"),
        (("pricing", "set", "--pattern", "a/*", "--block"), "blocked"),
        (("admission", "off", "--reason", "fire"), "closed (operator: fire)"),
        (("terms", "accept", "--yes"), "accepted"),
        (("audit",), "customer.create"),
        (("version",), __version__),
    ],
)
def test_answers_are_readable(typed: Type, ada: str, words: tuple[str, ...], expected: str) -> None:
    """Each command says what people want to know, without escapes where no terminal is."""
    result = typed(*words)
    assert result.exit_code == 0, result.output
    assert expected in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 160


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("customer", "create", "--email", "nobody"), "e-mail"),
        (("credit", "grant", "--email", ADA, "--usd", "-5", "--reason", "x"), "usd"),
        (("credit", "grant", "--email", ADA, "--usd", "1e9", "--reason", "x"), "usd"),
        (("credit", "grant", "--email", ADA, "--usd", "5", "--reason", ""), "reason"),
        (("credit", "debit", "--email", ADA, "--usd", "0", "--reason", "x"), "usd"),
        (("key", "create", "--email", ADA, "--name", "k", "--limit-usd", "x"), "limit_usd"),
        (("key", "create", "--email", ADA, "--name", "k", "--rpm", "0"), "requests_per_minute"),
        (("limits", "set", "--email", ADA, "--rpm", "-1"), "requests_per_minute"),
        (("limits", "set", "--email", ADA, "--rpm", "many"), "many"),
        (("limits", "set", "--email", ADA), "Nothing to change"),
        (("pricing", "set", "--pattern", "*", "--markup", "-40%"), "markup"),
        (("pricing", "set", "--pattern", "a:free", "--markup", "40%"), "variant"),
        (("usage", "list", "--email", ADA, "--limit", "0"), "limit"),
        (
            (
                "admin",
                "create",
            ),
            "--email",
        ),
        (("key", "revoke"), "ID"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_input_is_a_usage_error(
    typed: Type, asked: Ask, ada: str, words: tuple[str, ...], named: str
) -> None:
    """Exit 2, the fault named on standard error, and nothing changed."""
    before = asked("customer", "show", "--email", ADA)
    result = typed(*words)
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert result.stdout == ""
    assert asked("customer", "show", "--email", ADA) == before
    assert asked("customer", "list")["total"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("customer", "show", "--email", "nobody@example.com"),
        ("customer", "create", "--email", ADA),
        ("credit", "debit", "--email", ADA, "--usd", "1", "--reason", "x"),
        ("credit", "refund", "req_nothing", "--reason", "x"),
        ("key", "revoke", "key_nothing"),
        ("pricing", "remove", "--pattern", "nothing/*"),
    ],
)
def test_what_cannot_be_done_fails(
    typed: Type, asked: Ask, ada: str, words: tuple[str, ...]
) -> None:
    """Exit 1; with --json one object that says why."""
    result = typed(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    failed = asked(*words, status=1)
    assert failed["ok"] is False
    assert failed["error"]["message"] in result.stderr


def test_a_key_lives_its_life(asked: Ask, ada: str) -> None:
    """Made, changed, disabled, enabled, revoked."""
    made = asked("key", "create", "--email", ADA, "--name", "bot", "--model", "openai/*")
    changed = asked(
        *("key", "set", made["id"], "--limit-usd", "3", "--period", "daily"),
        *("--model", "none", "--address", "10.0.0.0/8", "--rpm", "9", "--expires", "30d"),
    )
    assert (changed["models"], changed["addresses"]) == ([], ["10.0.0.0/8"])
    assert (changed["limit_usd"], changed["period"]) == ("3.00", "daily")
    assert asked("key", "disable", made["id"])["state"] == "disabled"
    assert asked("key", "enable", made["id"])["state"] == "active"
    assert asked("key", "revoke", made["id"])["changed"]
    assert asked("key", "list", "--email", ADA)["keys"] == []
    (kept,) = asked("key", "list", "--email", ADA, "--all")["keys"]
    assert (kept["id"], kept["state"]) == (made["id"], "revoked")


def test_a_repeated_grant_grants_once(asked: Ask, ada: str) -> None:
    """A script may run the same command again."""
    words = ("credit", "grant", "--email", ADA, "--usd", "5", "--reason", "x", "--ref", "r1")
    assert asked(*words)["is_new"]
    assert not asked(*words)["is_new"]
    assert asked("customer", "show", "--email", ADA)["balance_usd"] == "5.00"


def test_the_switch_outlives_the_command(asked: Ask, ada: str) -> None:
    """Off is off for the next process, until on."""
    asked("admission", "off")
    assert not asked("admission", "show")["open"]
    assert asked("admission", "on")["open"]
    assert asked("admission", "show")["open"]


def test_passwords_come_by_stdin_or_variable_never_as_words(asked: Ask, typed: Type) -> None:
    """Where neither is given one is made and printed once."""
    words = ("admin", "create", "--email")
    secret = "correct horse battery"
    assert "password" not in asked(*words, "a@example.com", "--password-stdin", stdin=f"{secret}\n")
    assert "password" not in asked(*words, "b@example.com", env={"RESELLER_PASSWORD": secret})
    made = asked(*words, "c@example.com")
    assert len(made["password"]) == 24
    again = asked("admin", "reset-password", "--email", "c@example.com")
    assert again["password"] != made["password"]
    weak = typed(*words, "d@example.com", "--password-stdin", stdin="short\n")
    assert (weak.exit_code, "short" in weak.stderr) == (2, False)
    for command in main.commands["admin"].commands.values():  # type: ignore[attr-defined]
        assert "--password" not in {name for each in command.params for name in each.opts}


def test_the_configuration_says_where(typed: Type, asked: Ask, tmp_path: Path, ada: str) -> None:
    """--config counts before and after the command's name; --data-dir beats it."""
    other = tmp_path / "other.toml"
    other.write_text('[data]\ndir = "elsewhere"\nballast_mb = 0\n')
    words = ("customer", "create", "--email", "eve@example.com")
    assert typed("--config", str(other), *words).exit_code == 0
    for where in (("--config", str(other)), ("--data-dir", "elsewhere")):
        assert asked("customer", "list", *where)["customers"][0]["email"] == "eve@example.com"
    assert asked("customer", "list")["customers"][0]["email"] == ADA
    assert asked("--config", str(other), "config", "show")["file"] == str(other)


def test_a_wrong_configuration_is_exit_2(typed: Type, asked: Ask, tmp_path: Path) -> None:
    """Every mistake with its line, for any command; one object with --json."""
    wrong = tmp_path / "reseller.toml"
    wrong.write_text('[server]\nlisten = 5\n[pricing]\nmarkap = "5%"\n')
    for words in (("customer", "list"), ("serve",), ("migrate", "--status")):
        result = typed(*words)
        assert result.exit_code == 2
        assert "reseller.toml:2" in result.stderr
        assert "reseller.toml:4" in result.stderr
    assert asked("stats", status=2)["error"]["code"] == "bad_config"


def test_a_locked_price_names_its_line(typed: Type, tmp_path: Path) -> None:
    """The command that would set what the file says tells where that is."""
    (tmp_path / "reseller.toml").write_text('[pricing]\nmarkup = "25%"\n')
    result = typed("pricing", "set", "--pattern", "*", "--markup", "50%")
    assert result.exit_code == 1
    assert "reseller.toml line 2" in result.stderr
    assert "25 %" in typed("pricing", "list").stdout


def test_no_folder_is_made_by_a_question(typed: Type, tmp_path: Path) -> None:
    """In the wrong directory a command says so and leaves nothing behind."""
    for words in (("customer", "list"), ("ledger", "verify"), ("stats",)):
        result = typed(*words)
        assert result.exit_code == 1
        assert "no database" in result.stderr
    assert not (tmp_path / "data").exists()
    assert "0001_start  pending" in typed("migrate", "--status").stdout
    assert typed("migrate").exit_code == 0
    assert "0001_start  applied" in typed("migrate", "--status").stdout


def test_a_folder_of_the_other_mode_is_refused(typed: Type, ada: str, tmp_path: Path) -> None:
    """Sandbox money and live money never share a folder."""
    (tmp_path / "reseller.toml").write_text(f'[upstream]\napi_key = "sk-or-v1-{"a1" * 16}"\n')
    result = typed("customer", "list")
    assert result.exit_code == 1
    assert "sandbox data" in result.stderr


def test_every_command_has_help() -> None:
    """A command or option without a word of help is a mistake."""
    left = [("reseller", main)]
    while left:
        name, command = left.pop()
        assert command.help, name
        left += [(f"{name} {sub}", each) for sub, each in getattr(command, "commands", {}).items()]
    for group in ("serve", "admin", "customer", "key", "credit", "limits", "pricing", "usage"):
        assert group in main.commands


def test_terms_are_not_accepted_by_nobody(tmp_path: Path) -> None:
    """Where no person is at a terminal, only `--yes` is a word."""
    words = ["--data-dir", str(tmp_path), "terms", "accept"]
    refused = CliRunner().invoke(main, words, input="no\n")
    assert refused.exit_code == 2
    assert "--yes" in refused.output
