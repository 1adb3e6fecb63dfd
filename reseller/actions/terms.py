"""The one thing no program can decide: whether the operator may resell. Asked once, recorded."""

from __future__ import annotations

import json

from reseller.actions.change import CONSOLE, Answer, change, whole
from reseller.core import Core
from reseller.db import settings

_SETTING = "terms_accepted"
_KEY = "operator.terms_accepted"

TERMS = """\
Before real money moves, two sets of terms have to be read by you, the operator.

1. The upstream's. OpenRouter's terms of service, in the text dated 2026-08-31, do not allow
   access to be used for reselling API access to models or for a competing service (section
   7(4)), nor further accounts that get around limits (7(3)). Serving your own customers is
   foreseen where models are built into a product of yours, and you then have to bind those
   customers to the same terms and to the terms of each model (5.1, 5.2); some models are
   restricted to regions (5.7). Selling plain API access by the token needs the upstream's
   written consent, such as a sales or partner contract. Another upstream that speaks the same
   API can be named in upstream.base_url; its terms count then.

2. Stripe's. Credits that are sold ahead are stored value: allowed in principle where only you
   issue and accept them, but open to review and to limits, and a resale that adds nothing of
   its own is on the list of restricted businesses. Describe this business to Stripe as what it
   is. Your own terms must say that credits cannot be transferred, are not redeemed for cash,
   and are good here only; what may expire differs by country, and so do taxes. Disputes near
   one percent bring the card networks' monitoring: refund early.

This is a summary to start from, not legal advice, and terms change: read the originals. This
program is not endorsed by OpenRouter or Stripe.

By accepting you state that you have read both, and that you have the consent that your use of
them needs."""


async def show_terms(core: Core) -> Answer:
    """The text, and whether and when it was accepted."""
    accepted_at, by = await _accepted(core)
    return {
        "text": TERMS,
        "accepted": by is not None,
        "accepted_at": accepted_at,
        "accepted_by": by,
        "mode": core.config.mode,
    }


@whole
async def accept_terms(core: Core, *, actor: str = CONSOLE) -> Answer:
    """Record that the operator read the terms and has the consent they need."""
    now = core.clock.now_ms()
    value = json.dumps({"at": now, "by": actor})
    _, by = await _accepted(core)
    if by is None:
        await change(
            core,
            actor,
            "terms.accept",
            _SETTING,
            "",
            lambda db: settings.save_setting(db, _SETTING, value, now),
        )
    answer = await show_terms(core)
    del answer["text"]
    return answer


async def are_accepted(core: Core) -> bool:
    """Whether live mode may start."""
    _, by = await _accepted(core)
    return by is not None


async def _accepted(core: Core) -> tuple[int | None, str | None]:
    """When and by whom the terms were accepted; by the configuration there is no time."""
    stored = (await settings.all_settings(core.reader)).get(_SETTING)
    if stored is not None:
        record = json.loads(stored)
        return record["at"], record["by"]
    if core.config.operator.terms_accepted:
        return None, f"{_KEY} ({core.config.origin(_KEY)})"
    return None, None
