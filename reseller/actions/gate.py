"""The kill switch: admission on and off, kept over restarts, and why it is closed.

And where the sandbox is steered.
"""

from __future__ import annotations

import asyncio
import contextlib

from reseller import admission
from reseller.actions import inputs
from reseller.actions.change import CONSOLE, Answer, change, whole
from reseller.core import Core
from reseller.db import settings

_SETTING = "admission"
_SAVE_S = 5.0


async def show_admission(core: Core) -> Answer:
    """Whether new paid requests are let in, and every reason why not."""
    return {"open": core.live.admission.is_open, "reasons": dict(core.live.admission.reasons)}


@whole
async def close_admission(core: Core, *, reason: str = "", actor: str = CONSOLE) -> Answer:
    """Let no new paid request in; running ones go on and settle.

    `saved` is false where the disk fails: the gate is closed, and kept once the disk is well.
    """
    reason = inputs.line(reason, "reason", most=200, may_be_empty=True)
    now = core.clock.now_ms()
    # Shut first: a full disk must not keep the switch from working.
    core.live.admission.close(admission.OPERATOR, reason or "switched off by the operator")
    saved = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SAVE_S):
            await change(
                core,
                actor,
                "admission.off",
                _SETTING,
                reason,
                lambda db: settings.save_setting(db, _SETTING, "off", now),
            )
            saved = True
    return await show_admission(core) | {"saved": saved}


@whole
async def open_admission(core: Core, *, actor: str = CONSOLE) -> Answer:
    """Take the operator's own reason away; others stay until what they name is mended."""
    await change(
        core,
        actor,
        "admission.on",
        _SETTING,
        "",
        lambda db: settings.delete_setting(db, _SETTING),
    )
    core.live.admission.open(admission.OPERATOR)
    return await show_admission(core)


async def show_sandbox(core: Core) -> Answer:
    """Where the running sandbox's upstream is steered; empty without one."""
    return {"url": core.simulator_url}
