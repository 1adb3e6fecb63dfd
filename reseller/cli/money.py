"""`reseller credit`, `limits`, `pricing` and `usage`: money by hand, and what it is spent on."""

from __future__ import annotations

from typing import Any

import click

from reseller.cli import look
from reseller.cli.shell import Shell, offered

_EMAIL = click.option("--email", required=True, metavar="EMAIL", help="The customer's e-mail.")
_REASON = click.option("--reason", required=True, help="Kept in the ledger.")
_REF = click.option("--ref", help="A name of yours for this: the same again changes nothing.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


class Bound(click.ParamType[Any]):
    """A whole number, or `default`."""

    name = "N|default"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        """The number; anything but one and `default` is a usage error."""
        if value == "default":
            return "default"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number or 'default'", param, ctx)


@click.group()
def credit() -> None:
    """Credit by hand."""


@credit.command("grant")
@_EMAIL
@click.option("--usd", required=True, metavar="USD", help="How much.")
@_REASON
@_REF
@offered
def grant(shell: Shell, **options: Any) -> None:
    """Give credit for free."""
    shell.do("credit.grant", options, _receipt("granted to"))


@credit.command("debit")
@_EMAIL
@click.option("--usd", required=True, metavar="USD", help="How much.")
@_REASON
@_REF
@_YES
@offered
def debit(shell: Shell, yes: bool, **options: Any) -> None:
    """Take credit that no running request needs."""
    shell.confirm(f"Take {look.usd(options['usd'])} from {options['email']}?", yes)
    shell.do("credit.debit", options, _receipt("taken from"))


@credit.command("refund")
@click.argument("request_id", metavar="REQUEST_ID")
@click.option("--usd", metavar="USD", help="A part of the charge; else all of it.")
@_REASON
@offered
def refund(shell: Shell, **options: Any) -> None:
    """Give a request's charge back as credit, once."""
    shell.do("credit.refund", options, _receipt("given back for"))


@credit.command("list")
@_EMAIL
@click.option("--limit", type=int, default=50, show_default=True)
@offered
def list_credit(shell: Shell, email: str, limit: int) -> None:
    """List what moved on an account besides use."""

    def show(found: dict[str, Any]) -> str:
        rows = [
            [look.time(t["at"]), t["kind"], t["usd"], t["against"], t["ref"], t["note"]]
            for t in found["transfers"]
        ]
        heads = ("at", "kind", "usd$", "against", "ref", "note")
        return look.table(heads, rows, nothing="Nothing moved.")

    shell.do("credit.list", {"email": email, "limit": limit}, show)


@click.group()
def limits() -> None:
    """What an account may do."""


@limits.command("show")
@_EMAIL
@offered
def show_limits(shell: Shell, email: str) -> None:
    """Show an account's limits."""
    shell.do("limits.show", {"email": email}, _limits)


@limits.command("set")
@_EMAIL
@click.option("--rpm", "requests_per_minute", type=Bound(), help="Requests a minute.")
@click.option("--rph", "requests_per_hour", type=Bound(), help="Requests an hour.")
@click.option("--rpd", "requests_per_day", type=Bound(), help="Requests a day.")
@click.option("--tpm", "tokens_per_minute", type=Bound(), help="Tokens a minute.")
@click.option("--concurrent", "concurrent_requests", type=Bound(), help="At one time.")
@click.option("--daily-usd", metavar="USD|default", help="The most to spend in a UTC day.")
@offered
def set_limits(shell: Shell, **options: Any) -> None:
    """Set an account's limits; `default` gives it back to the defaults. In force at once."""
    shell.do("limits.set", options, _limits)


@click.group()
def pricing() -> None:
    """Price rules.

    A customer's own rule beats a general one, then the higher priority, then the longer pattern.
    """


@pricing.command("list")
@offered
def list_prices(shell: Shell) -> None:
    """List price rules, the strongest first."""
    shell.do("pricing.list", {}, _prices)


@pricing.command("set")
@click.option("--pattern", required=True, help="Models, such as openai/gpt-4* or *.")
@click.option("--markup", metavar="PERCENT", help="On the upstream's cost, such as 40%.")
@click.option("--fixed-usd", metavar="USD", help="Added to each request's charge.")
@click.option("--minimum-usd", metavar="USD", help="The least charge of a request.")
@click.option("--priority", type=int, help="Higher wins.")
@click.option("--email", metavar="EMAIL", help="For this customer only.")
@click.option("--block/--no-block", default=None, help="Do not sell these models.")
@offered
def set_price(shell: Shell, **options: Any) -> None:
    """Make or change a rule; what is not given stays. Running requests keep their price."""

    def show(rule: dict[str, Any]) -> str:
        return look.pairs(
            [
                ("pattern", look.strong(rule["pattern"])),
                ("for", rule["email"] or "everyone"),
                ("price", _price(rule)),
                ("priority", rule["priority"]),
                ("models now", rule["models"]),
            ]
        )

    shell.do("pricing.set", options, show)


@pricing.command("remove")
@click.option("--pattern", required=True, help="Exactly as it is listed.")
@click.option("--email", metavar="EMAIL", help="The rule of this customer.")
@_YES
@offered
def remove_price(shell: Shell, pattern: str, email: str | None, yes: bool) -> None:
    """Remove a rule."""
    shell.confirm(f"Remove the rule for {pattern}?", yes)
    shell.do(
        "pricing.remove",
        {"pattern": pattern, "email": email},
        lambda done: f"The rule for {done['pattern']} is removed",
    )


@click.group()
def usage() -> None:
    """Requests, with cost and charge."""


@usage.command("list")
@_EMAIL
@click.option("--limit", type=int, default=50, show_default=True)
@click.option("--before", metavar="REQUEST_ID", help="Older than this request.")
@offered
def list_usage(shell: Shell, **options: Any) -> None:
    """List a customer's requests, the newest first."""
    shell.do("usage.list", options, _usage)


def _receipt(words: str) -> Any:
    def show(done: dict[str, Any]) -> str:
        whom = done.get("email") or done["request_id"]
        before = "" if done["is_new"] else " (before; nothing changed now)"
        return "\n".join(
            (
                f"{look.strong(look.usd(done['usd']))} {words} {whom}{before}",
                look.pairs([("balance", look.usd(done["balance_usd"])), ("ref", done["ref"])]),
            )
        )

    return show


def _limits(found: dict[str, Any]) -> str:
    rows = [
        [name.replace("_", " "), look.number(each["value"]), "own" if each["own"] else "default"]
        for name, each in found["limits"].items()
    ]
    daily = "own" if found["daily_is_own"] else "default"
    rows.append(["usd per day", found["daily_usd"] or "-", daily])
    return look.table(("limit", "value>", "from"), rows, nothing="")


def _prices(found: dict[str, Any]) -> str:
    default = found["default"]
    rows = [
        [
            rule["pattern"],
            rule["email"] or "everyone",
            _price(rule),
            rule["priority"],
            look.state("overruled") if rule.get("overruled") else "",
        ]
        for rule in found["rules"]
    ]
    rows.append(["*", "everyone", _price(default), 0, look.faint(default["origin"])])
    return look.table(("pattern", "for", "price", "priority>", ""), rows, nothing="")


def _price(rule: dict[str, Any]) -> str:
    if rule["block"]:
        return look.state("blocked")
    parts = [f"cost + {rule['markup']}"]
    parts += [f"+ {look.usd(rule['fixed_usd'])}"] if rule["fixed_usd"] != "0.00" else []
    least = rule["minimum_usd"]
    return " ".join(parts) + (f", at least {look.usd(least)}" if least != "0.00" else "")


def _usage(found: dict[str, Any]) -> str:
    heads = ("at", "request", "model", "key", "status>", "in>", "out>", "cost$", "charge$", "")
    rows = [
        [
            look.time(each["at"]),
            each["request_id"],
            each["model"],
            each["key_name"],
            each["status"],
            look.number(each["prompt_tokens"]),
            look.number(each["completion_tokens"]),
            each["cost_usd"] or "?",
            each["charge_usd"],
            each["outcome"],
        ]
        for each in found["requests"]
    ]
    parts = [look.table(heads, rows, nothing="No requests.")]
    if found["unsettled"]:
        running = [
            [look.time(h["opened_at"]), h["request_id"], h["model"], h["state"], h["held_usd"]]
            for h in found["unsettled"]
        ]
        unsettled = ("since", "unsettled", "model", "state", "held$")
        parts.append(look.table(unsettled, running, nothing=""))
    money = [("balance", look.usd(found["balance_usd"])), ("held", look.usd(found["held_usd"]))]
    return "\n\n".join((*parts, look.pairs(money)))
