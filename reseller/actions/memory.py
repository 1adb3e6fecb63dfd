"""Memory against the disk, while both go on changing."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TypeAlias

from reseller.core import Core
from reseller.db import ledger as rows
from reseller.units import usd_text

_LOOKS = 3
_BETWEEN_S = 0.02
# What differs: by check and account, memory's figure and the disk's.
Differences: TypeAlias = dict[tuple[str, int], tuple[int, int]]

JOURNAL, BALANCES, HOLDS = "journal and disk", "balances in memory", "holds in memory"


async def compare_memory(core: Core) -> dict[str, list[str]]:
    """What the journal and the wallet believe, where the disk says otherwise; by check.

    Memory is copied at the moment a write is queued; by the time that write runs, exactly the
    steps queued before it are on disk. A credit on its way may show up in one look and is gone
    in the next; what is wrong stays.
    """
    differing = await _look(core)
    for _ in range(_LOOKS - 1):
        if not differing:
            break
        await asyncio.sleep(_BETWEEN_S)
        again = await _look(core)
        differing = {
            key: again[key]
            for key, (memory, disk) in differing.items()
            if key in again and again[key][0] - again[key][1] == memory - disk
        }
    checks = [JOURNAL, BALANCES, *([HOLDS] if core.is_serving else [])]
    return {
        check: [
            f"account {account}: {usd_text(memory)} USD in memory, {usd_text(disk)} on disk"
            for (name, account), (memory, disk) in sorted(differing.items())
            if name == check
        ]
        for check in checks
    }


async def _look(core: Core) -> Differences:
    wallet = {b.account: (b.balance_nanos, b.held_nanos) for b in core.live.wallet}

    def compare(db: sqlite3.Connection) -> Differences:
        posted, on_disk = dict(core.journal.posted), rows.disk_balances(db)
        holds = rows.disk_holds(db)
        found: Differences = {}
        # An account that is being made is on disk, empty, before the journal knows it.
        for account in posted.keys() | on_disk.keys():
            found[JOURNAL, account] = (posted.get(account, 0), on_disk.get(account, 0))
        for account, (balance, held) in wallet.items():
            found[BALANCES, account] = (balance, on_disk.get(account, 0))
            if core.is_serving:
                found[HOLDS, account] = (held, holds.get(account, 0))
        return {key: pair for key, pair in found.items() if pair[0] != pair[1]}

    return await core.journal.write(compare)
