"""The audit log: who changed what, and when."""

from __future__ import annotations

from reseller.actions import inputs
from reseller.actions.change import Answer
from reseller.core import Core
from reseller.db import audit as rows


async def list_audit(core: Core, *, limit: int = 50, before: int = 0) -> Answer:
    """Changes, the newest first; `before` is the `line` of the last one seen."""
    most = inputs.count(limit, "limit", most=1_000)
    found = await rows.list_audit(core.reader, most, inputs.count(before, "before", least=0))
    return {
        "changes": [
            {
                "line": row["id"],
                "at": row["at"],
                "actor": row["actor"],
                "action": row["action"],
                "subject": row["subject"],
                "detail": row["detail"],
            }
            for row in found
        ]
    }
