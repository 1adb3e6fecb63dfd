"""Price rules: listed, set and removed. What the configuration file says about `*` wins."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, change, customer_row, whole
from reseller.config import Config
from reseller.core import Core
from reseller.db import prices as rows
from reseller.errors import Conflict, NotFound, Unprocessable
from reseller.loading import DEFAULT_KEYS, load_rules, locking_key
from reseller.units import percent_text, usd_text

_PRIORITY_MOST = 1_000_000


async def list_prices(core: Core) -> Answer:
    """All rules, the strongest first; the default comes last and says where it stands."""
    found = [_shown(row) for row in await rows.list_rules(core.reader)]
    locked_by = locking_key(core.config)
    if locked_by is not None:
        found = [each | {"overruled": _is_default(each)} for each in found]
    rule = core.live.default_rule()
    default = {
        "pattern": "*",
        "email": None,
        "markup": percent_text(rule.markup_bps),
        "markup_bps": rule.markup_bps,
        "fixed_usd": usd_text(rule.fixed_nanos),
        "minimum_usd": usd_text(rule.minimum_nanos),
        "priority": 0,
        "block": False,
        "origin": place(core.config, locked_by or DEFAULT_KEYS[0]),
        "locked": locked_by is not None,
    }
    return {"rules": found, "default": default}


@whole
async def set_price(
    core: Core,
    *,
    pattern: str,
    markup: str | None = None,
    fixed_usd: str | None = None,
    minimum_usd: str | None = None,
    priority: int | None = None,
    block: bool | None = None,
    email: str | None = None,
    actor: str = CONSOLE,
) -> Answer:
    """Make or change the rule of a pattern, for everyone or one customer; open holds keep theirs.

    What is not given stays as it was; a new rule that does not block needs a markup.
    """
    pattern = _pattern(pattern)
    account = None if email is None else (await customer_row(core, email))["account"]
    _must_be_open(core.config, pattern, account)
    before = await rows.find_rule(core.reader, pattern, account)
    row: dict[str, Any] = (
        dict(before)
        if before is not None
        else {"markup_bps": None, "fixed_nanos": 0, "minimum_nanos": 0, "priority": 0}
        | {"is_block": 0}
    )
    if markup is not None:
        row["markup_bps"] = inputs.percent(markup)
    if fixed_usd is not None:
        row["fixed_nanos"] = inputs.usd_or_zero(fixed_usd, "fixed_usd")
    if minimum_usd is not None:
        row["minimum_nanos"] = inputs.usd_or_zero(minimum_usd, "minimum_usd")
    if priority is not None:
        row["priority"] = inputs.count(
            priority, "priority", least=-_PRIORITY_MOST, most=_PRIORITY_MOST
        )
    if block is not None:
        row["is_block"] = int(block)
    if row["markup_bps"] is None:
        if not row["is_block"]:
            raise Unprocessable("markup: a new rule needs one, such as 40%.", param="markup")
        row["markup_bps"] = core.live.default_rule().markup_bps
    row |= {"pattern": pattern, "account": account, "created_at": core.clock.now_ms()}
    detail = _words(row)
    await change(
        core,
        actor,
        "pricing.set",
        _subject(pattern, email),
        detail,
        lambda db: rows.save_rule(db, row),
    )
    await load_rules(core.live, core.reader)
    return _shown(row | {"email": email}) | {"models": _matching(core, pattern)}


@whole
async def remove_price(
    core: Core, *, pattern: str, email: str | None = None, actor: str = CONSOLE
) -> Answer:
    """Remove the rule of exactly this pattern; whatever it priced falls to the next one."""
    account = None if email is None else (await customer_row(core, email))["account"]
    subject = _subject(pattern, email)
    if await rows.find_rule(core.reader, pattern, account) is None:
        raise NotFound(f"There is no price rule {subject}.", code="no_such_rule")
    await change(
        core,
        actor,
        "pricing.remove",
        subject,
        "",
        lambda db: rows.delete_rule(db, pattern, account),
    )
    await load_rules(core.live, core.reader)
    return {"pattern": pattern, "email": email, "removed": True}


def place(config: Config, key: str) -> str:
    """Where a configuration value stands, for people: `reseller.toml line 12`."""
    line = config.locked_line(key)
    return f"{config.path} line {line}" if line is not None else config.origin(key)


def _must_be_open(config: Config, pattern: str, account: int | None) -> None:
    locked_by = locking_key(config)
    if pattern == "*" and account is None and locked_by is not None:
        raise Conflict(
            f"The default price is set by {locked_by} ({place(config, locked_by)}), which wins. "
            f"Change it there, or take it out to set it here.",
            code="locked_by_config",
            param="pattern",
        )


def _is_default(rule: dict[str, Any]) -> bool:
    return rule["pattern"] == "*" and rule["email"] is None


def _pattern(text: str) -> str:
    pattern = text.strip()
    if not pattern.isprintable() or not 0 < len(pattern) <= 200 or set(pattern) & set(", "):
        raise Unprocessable(
            f"pattern: {text!r:.80} is not a model or pattern such as openai/*.", param="pattern"
        )
    if ":" in pattern or "@" in pattern:
        raise Unprocessable(
            f"pattern: {text!r:.80} has a variant; rules see a model's name without it, so that "
            f"none can go around them. Write {pattern.partition(':')[0].partition('@')[0]!r:.80}.",
            param="pattern",
        )
    return pattern


def _matching(core: Core, pattern: str) -> int:
    """How many models on sale the pattern speaks of now."""
    on_sale = core.live.catalogue.on_sale()
    return sum(fnmatchcase(model.canonical_id, pattern) for model in on_sale)


def _subject(pattern: str, email: str | None) -> str:
    return pattern if email is None else f"{pattern} for {email}"


def _words(row: dict[str, Any]) -> str:
    if row["is_block"]:
        return f"blocked, priority {row['priority']}"
    return (
        f"markup {percent_text(row['markup_bps'])}, fixed {usd_text(row['fixed_nanos'])}, "
        f"minimum {usd_text(row['minimum_nanos'])}, priority {row['priority']}"
    )


def _shown(row: Any) -> dict[str, Any]:
    return {
        "pattern": row["pattern"],
        "email": row["email"],
        "markup": percent_text(row["markup_bps"]),
        "markup_bps": row["markup_bps"],
        "fixed_usd": usd_text(row["fixed_nanos"]),
        "minimum_usd": usd_text(row["minimum_nanos"]),
        "priority": row["priority"],
        "block": bool(row["is_block"]),
    }
