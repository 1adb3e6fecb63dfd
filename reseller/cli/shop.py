"""`reseller stats`, `ledger`, `admission`, `terms`, `audit` and `job`: the shop as a whole."""

from __future__ import annotations

import sys
from typing import Any

import click

from reseller.cli import look
from reseller.cli.shell import WRONG, Shell, offered

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_PERIODS = (("today", "today"), ("days_30", "30 days"), ("ever", "ever"))


@click.command()
@offered
def stats(shell: Shell) -> None:
    """Show the shop in figures: revenue, cost and margin, what is owed and what is uncertain."""
    shell.do("stats.show", {}, _stats)


@click.group()
def ledger() -> None:
    """The books."""


@ledger.command("verify")
@offered
def verify(shell: Shell) -> None:
    """Prove the books; exit 1 if anything is wrong, naming it."""
    shell.do("ledger.verify", {}, _proof, is_failure=lambda proof: not proof["ok"])


@click.group()
def admission() -> None:
    """The gate in front of paid requests."""


@admission.command("show")
@offered
def show_admission(shell: Shell) -> None:
    """Show whether requests are let in, and why not."""
    shell.do("admission.show", {}, _gate)


@admission.command("on")
@offered
def open_admission(shell: Shell) -> None:
    """Let requests in again."""
    shell.do("admission.on", {}, _gate)


@admission.command("off")
@click.option("--reason", default="", help="For yourself; customers do not see it.")
@offered
def close_admission(shell: Shell, reason: str) -> None:
    """Let no new request in, also after a restart. Running ones finish."""
    shell.do("admission.off", {"reason": reason}, _gate)


@click.group()
def terms() -> None:
    """The upstream's and Stripe's terms on resale."""


@terms.command("show")
@offered
def show_terms(shell: Shell) -> None:
    """Show what has to be read and whether it was accepted."""
    shell.do("terms.show", {}, lambda found: f"{found['text']}\n\n{_accepted(found)}")


@terms.command("accept")
@_YES
@offered
def accept_terms(shell: Shell, yes: bool) -> None:
    """Record that you have read the terms and have the consent they ask for."""
    if not yes and not sys.stdin.isatty():
        shell.leave("Say --yes: this is your word, and nobody is here to ask.", status=WRONG)
    shell.confirm("Have you read both sets of terms (terms show), and do you have consent?", yes)
    shell.do("terms.accept", {}, _accepted)


@click.command()
@click.option("--limit", type=int, default=50, show_default=True)
@offered
def audit(shell: Shell, limit: int) -> None:
    """List who changed what, the newest first."""

    def show(found: dict[str, Any]) -> str:
        rows = [
            [look.time(c["at"]), c["actor"], c["action"], c["subject"], c["detail"]]
            for c in found["changes"]
        ]
        return look.table(("at", "who", "what", "of", "detail"), rows, nothing="Nothing changed.")

    shell.do("audit.list", {"limit": limit}, show)


@click.command()
@click.argument("name", required=False)
@offered
def job(shell: Shell, name: str | None) -> None:
    """Run a scheduled job now, or list them."""
    if name is None:
        shell.do("job.list", {}, _jobs)
    else:
        shell.do(
            "job.run",
            {"name": name},
            lambda run: (
                f"{run['name']}: {look.state('ok' if run['ok'] else 'failed')}, "
                f"{run['detail']} ({run['ended_at'] - run['started_at']} ms)"
            ),
            is_failure=lambda run: not run["ok"],
        )


def _stats(found: dict[str, Any]) -> str:
    heads = ("", "requests>", "errors>", "revenue$", "cost$", "written off$", "margin$")
    rows = [
        [
            label,
            look.number(of["requests"]),
            look.number(of["errors"]),
            of["revenue_usd"],
            of["cost_usd"],
            of["written_off_usd"],
            of["margin_usd"],
        ]
        for label, of in ((label, found[name]) for name, label in _PERIODS)
    ]
    exposure, running, pending = found["exposure"], found["running"], found["pending"]
    now = [
        ("customers", _customers(found)),
        ("owed to customers", look.usd(found["liability_usd"])),
        ("running", f"{running['requests']} requests, {look.usd(running['held_usd'])} held"),
        ("pending", f"{pending['requests']} requests, {look.usd(pending['held_usd'])} held"),
        ("exposure", f"{exposure['requests']} requests, {look.usd(exposure['held_usd'])} held"),
        ("admission", _gate(found["admission"])),
    ]
    if found["debt_usd"] != "0.00":
        now.insert(2, ("owed by customers", look.usd(found["debt_usd"])))
    house = [(name.replace("_", "-"), amount) for name, amount in found["house"].items()]
    parts = [
        look.table(heads, rows, nothing=""),
        look.pairs(now),
        look.table(("house account", "balance$"), house, nothing=""),
    ]
    if found["alarms"]:
        alarms = [
            [click.style(a["kind"], fg="red"), a["times"], a["detail"]] for a in found["alarms"]
        ]
        parts.append(look.table(("alarm", "times>", "detail"), alarms, nothing=""))
    return "\n\n".join(parts)


def _customers(found: dict[str, Any]) -> str:
    parts = [str(found["customers"])]
    parts += [f"{found[name]} {name}" for name in ("suspended", "frozen") if found[name]]
    return ", ".join(parts)


def _proof(proof: dict[str, Any]) -> str:
    rows = [
        [look.state("ok" if check["ok"] else "WRONG"), check["name"], check["detail"]]
        for check in proof["checks"]
    ]
    figures = [
        ("customers' accounts", look.number(proof["accounts"])),
        ("transfers", look.number(proof["transfers"])),
        ("usage records", look.number(proof["usage_records"])),
        ("open holds", look.number(proof["holds"])),
        ("owed to customers", look.usd(proof["liability_usd"])),
    ]
    verdict = "The books are right." if proof["ok"] else "The books are WRONG; admission is closed."
    table = look.table(("", "check", "detail"), rows, nothing="")
    return "\n\n".join((table, look.pairs(figures), look.strong(verdict)))


def _gate(found: dict[str, Any]) -> str:
    if found["open"]:
        return look.state("open")
    reasons = "; ".join(f"{name}: {detail}" for name, detail in found["reasons"].items())
    return f"{look.state('closed')} ({reasons})"


def _accepted(found: dict[str, Any]) -> str:
    if not found["accepted"]:
        return f"Not accepted. {look.faint('reseller terms accept')}"
    when = f" {look.time(found['accepted_at'])} UTC" if found["accepted_at"] is not None else ""
    return f"{look.state('accepted')}{when} by {found['accepted_by']}"


def _jobs(found: dict[str, Any]) -> str:
    rows = [
        [
            each["name"],
            "" if each["ok"] is None else look.state("ok" if each["ok"] else "failed"),
            look.time(each["ran_at"]),
            each["detail"],
        ]
        for each in found["jobs"]
    ]
    return look.table(("job", "", "last run", "detail"), rows, nothing="No jobs.")
