"""`reseller sandbox set|fault|faults|advance|release|books`: steering the upstream simulator."""

from __future__ import annotations

import os
from typing import Any

import click

from reseller.cli import look
from reseller.cli.shell import Shell, offered

_URL = click.option(
    "--url",
    metavar="URL",
    help="Control address; else $RESELLER_SIMULATOR, else that of the running sandbox.",
)


def _call(shell: Shell, url: str | None, method: str, route: str, body: Any = None) -> Any:
    """A control route's answer; leaves with what went wrong."""
    import httpx

    base = (url or os.environ.get("RESELLER_SIMULATOR") or _running(shell)).rstrip("/")
    try:
        answer = httpx.request(method, f"{base}/{route}", json=body, timeout=10, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        shell.leave(f"The simulator at {base} does not answer: {error}", code="no_simulator")
    if answer.status_code != 200:
        shell.leave(str(found.get("error", found)), code="refused", status=2)
    return found


def _running(shell: Shell) -> str:
    answer = shell.answer("sandbox.show", {})
    if not answer["url"]:
        shell.leave(
            "No sandbox runs on this data folder. Start `reseller serve` without an upstream key, "
            "or give --url.",
            code="no_simulator",
        )
    return str(answer["url"])


def _print(shell: Shell, answer: Any, text: str) -> None:
    if shell.as_json:
        look.say_json(answer)
    else:
        look.say(text)


@click.command("set")
@click.argument("values", nargs=-1, metavar="NAME=VALUE …")
@_URL
@offered
def set_behaviour(shell: Shell, values: tuple[str, ...], url: str | None) -> None:
    """Show or change how the simulator behaves, such as latency_ms=500 pace_ms=50."""
    changes = dict(_parsed(shell, value) for value in values)
    method, body = ("PATCH", changes) if changes else ("GET", None)
    answer = _call(shell, url, method, "behaviour", body)
    _print(shell, answer, look.pairs([(name, value) for name, value in answer.items()]))


def _parsed(shell: Shell, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        shell.leave(f"{text!r} is not NAME=VALUE.", code="usage", status=2)
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.lstrip("-").isdigit() else value


@click.command("fault")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--model", default="", help="Only for requests of this model.")
@click.option("--marker", default="", help="Only for requests whose body holds this text.")
@_URL
@offered
def fault(shell: Shell, name: str, count: int, model: str, marker: str, url: str | None) -> None:
    """Let the next requests go wrong in a named way; `sandbox faults` lists the names."""
    body = {"name": name, "count": count, "model": model, "marker": marker}
    answer = _call(shell, url, "POST", "faults", body)
    _print(shell, answer, f"{name}: the next {count} request(s)")


@click.command("faults")
@click.option("--clear", is_flag=True, help="Forget those that wait.")
@_URL
@offered
def faults(shell: Shell, clear: bool, url: str | None) -> None:
    """List what can go wrong, and what waits to."""
    if clear:
        _call(shell, url, "DELETE", "faults")
    answer = _call(shell, url, "GET", "faults")
    known = look.table(("fault", "what happens"), list(answer["known"].items()), nothing="None.")
    rows = [[each["name"], each["left"], each["model"] or "any"] for each in answer["waiting"]]
    waiting = look.table(("waits", "requests", "model"), rows, nothing="No fault waits.")
    _print(shell, answer, f"{known}\n\n{waiting}")


@click.command("advance")
@click.argument("seconds", type=click.FloatRange(0, 10_000_000))
@_URL
@offered
def advance(shell: Shell, seconds: float, url: str | None) -> None:
    """Move the simulator's own clock: generation records and price windows follow it."""
    answer = _call(shell, url, "POST", "clock", {"advance_s": seconds})
    _print(shell, answer, f"{seconds:g} s later")


@click.command("release")
@_URL
@offered
def release(shell: Shell, url: str | None) -> None:
    """Let go of requests that wait at a kill point."""
    answer = _call(shell, url, "POST", "release")
    _print(shell, answer, look.pairs(list(answer.items())))


@click.command("books")
@click.option("--last", type=click.IntRange(1, 1_000), default=20, show_default=True)
@_URL
@offered
def books(shell: Shell, last: int, url: str | None) -> None:
    """What the simulated upstream billed."""
    answer = _call(shell, url, "GET", f"books?last={last}")
    rows = [
        [r["id"], r["model"], r["prompt_tokens"], r["completion_tokens"], r["cost"]]
        for r in answer["rows"]
    ]
    heads = ("generation", "model", "in", "out", "cost")
    _print(shell, answer, look.table(heads, rows, nothing="Nothing was billed."))
