"""A group: what one commit of the journal writes, and the function that writes it.

`GroupWriter` is the writing connection. `write_group` runs on its thread in one go: a handful of
statements, each over a JSON array of rows. Every count is checked before the commit; whatever is
not exactly as memory believed raises GroupMismatch and nothing of the group is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from reseller.db.rows import ExposureRow, HoldRow, ParkRow, UsageRow
from reseller.db.sql import statement
from reseller.money.ledger import Transfer, TransferKind

_INSERT_HOLDS = statement("insert_holds")
_IDENTIFY_HOLDS = statement("identify_holds")
_PARK_HOLDS = statement("park_holds")
_DELETE_HOLDS = statement("delete_holds")
_INSERT_USAGE = statement("insert_usage_records")
_INSERT_TRANSFERS = statement("insert_transfers")
_UPDATE_BALANCES = statement("update_balances")
_UPDATE_KEYS = statement("update_key_spend")
_INSERT_EXPOSURES = statement("insert_exposures")
_INSERT_ONCE = statement("insert_transfer_once")
_UPDATE_BALANCE = statement("update_balance")

_encode = msgspec.json.Encoder().encode


class GroupMismatch(Exception):
    """Disk is not what memory believed; says which statement and how many rows."""


@dataclass(slots=True)
class Settlement:
    """The end of one request: its rows, and whose spend they count towards."""

    usage: UsageRow | None
    transfers: list[Transfer]
    request_id: str
    account: int
    api_key: int
    paid_nanos: int
    day_start: int = 0
    key_period_start: int = 0
    at: int = 0
    exposure: ExposureRow | None = None


@dataclass(slots=True)
class Group:
    """Everything that one commit writes. Dicts are keyed by request id."""

    opened: dict[str, HoldRow] = field(default_factory=dict)
    identified: dict[str, str] = field(default_factory=dict)
    parked: dict[str, ParkRow] = field(default_factory=dict)
    settled: dict[str, Settlement] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.opened) + len(self.identified) + len(self.parked) + len(self.settled)

    def singles(self) -> Iterable[tuple[str, Group]]:
        """The group taken apart, one request's step each, in an order that keeps each whole."""
        for name, hold in self.opened.items():
            yield name, Group(opened={name: hold})
        for name, generation_id in self.identified.items():
            yield name, Group(identified={name: generation_id})
        for name, park in self.parked.items():
            yield name, Group(parked={name: park})
        for name, settlement in self.settled.items():
            yield name, Group(settled={name: settlement})

    def deltas(self) -> dict[int, list[int]]:
        """Per account: change of balance, change of use, start of the day it is used on."""
        deltas: dict[int, list[int]] = {}
        for settlement in self.settled.values():
            for transfer in settlement.transfers:
                debit = deltas.setdefault(transfer.debit, [0, 0, 0])
                debit[0] -= transfer.amount_nanos
                deltas.setdefault(transfer.credit, [0, 0, 0])[0] += transfer.amount_nanos
                if transfer.kind is TransferKind.USAGE:
                    debit[1] += transfer.amount_nanos
                    debit[2] = max(debit[2], settlement.day_start)
        assert sum(delta[0] for delta in deltas.values()) == 0
        return deltas


class GroupWriter(sqlite3.Connection):
    """The one connection that writes money."""

    def write_group(self, group: Group, balances: dict[int, int]) -> dict[int, int]:
        """Commit the group where every balance is still what `balances` says.

        Returns the new balances of the accounts it touched. Raises GroupMismatch,
        sqlite3.Error; after either nothing of the group is on disk.
        """
        deltas = group.deltas()
        self.execute("begin immediate")
        try:
            self._write_holds(group)
            self._write_settled(list(group.settled.values()))
            self._write_balances(deltas, balances)
            self.execute("commit")
        except BaseException:
            self.undo()
            raise
        return {account: balances[account] + delta[0] for account, delta in deltas.items()}

    def undo(self) -> None:
        """Roll back whatever is open. A full disk may already have ended the transaction."""
        if self.in_transaction:
            self.execute("rollback")

    def _write_holds(self, group: Group) -> None:
        if group.opened:
            self._all(_INSERT_HOLDS, list(group.opened.values()))
        if group.identified:
            self._all(_IDENTIFY_HOLDS, list(group.identified.items()))
        if group.parked:
            self._all(_PARK_HOLDS, list(group.parked.values()))

    def _write_settled(self, settled: list[Settlement]) -> None:
        if not settled:
            return
        self._all(_DELETE_HOLDS, [s.request_id for s in settled])
        if usage := [s.usage for s in settled if s.usage is not None]:
            self._all(_INSERT_USAGE, usage)
        if transfers := [_columns(t) for s in settled for t in s.transfers]:
            self._all(_INSERT_TRANSFERS, transfers)
        if exposures := [s.exposure for s in settled if s.exposure is not None]:
            self._all(_INSERT_EXPOSURES, exposures)
        if keys := _key_spend(settled):
            self._all(_UPDATE_KEYS, keys)

    def _write_balances(self, deltas: dict[int, list[int]], balances: dict[int, int]) -> None:
        rows = [
            (account, balances[account], balances[account] + delta[0], delta[1], delta[2])
            for account, delta in deltas.items()
        ]
        if rows:
            self._all(_UPDATE_BALANCES, rows)

    def _all(self, text: str, rows: Sequence[object]) -> None:
        """Run a statement over the rows; each must change exactly one row."""
        changed = self.execute(text, (_encode(rows).decode(),)).rowcount
        if changed != len(rows):
            raise GroupMismatch(f"{text.split('(')[0].strip():.60}: {changed} of {len(rows)} rows")

    def write_transfers(
        self,
        transfers: Sequence[Transfer],
        balances: dict[int, int],
        work: Callable[[sqlite3.Connection], Any] | None,
    ) -> tuple[list[bool], dict[int, int], Any]:
        """Post transfers, each at most once by its `ref`, together with `work`, in one commit.

        Returns which of them were new, the new balances, and what `work` returned. Raises
        GroupMismatch where a balance is not what memory believed; then nothing was written.
        """
        self.execute("begin immediate")
        try:
            after: dict[int, int] = {}
            posted = []
            for transfer in transfers:
                is_new = self.execute(_INSERT_ONCE, _columns(transfer)).rowcount == 1
                posted.append(is_new)
                if is_new:
                    for account, sign in ((transfer.debit, -1), (transfer.credit, 1)):
                        before = after.get(account, balances[account])
                        after[account] = before + sign * transfer.amount_nanos
            for account, balance in after.items():
                parameters = (balance, account, balances[account])
                if self.execute(_UPDATE_BALANCE, parameters).rowcount != 1:
                    raise GroupMismatch(f"balance of account {account}")
            result = work(self) if work is not None else None
            self.execute("commit")
        except BaseException:
            self.undo()
            raise
        return posted, after, result

    def write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run `work` in one transaction of its own; it moves no money."""
        self.execute("begin immediate")
        try:
            result = work(self)
            self.execute("commit")
        except BaseException:
            self.undo()
            raise
        return result


def _columns(transfer: Transfer) -> tuple[int, int, int, str, str, int, str | None]:
    return (
        int(transfer.debit),
        int(transfer.credit),
        transfer.amount_nanos,
        transfer.kind.value,
        transfer.ref,
        transfer.at,
        transfer.note or None,
    )


def _key_spend(settled: list[Settlement]) -> list[tuple[int, int, int, int]]:
    """Per key: spend added, start of the period it belongs to, time of last use."""
    keys: dict[int, tuple[int, int, int, int]] = {}
    for s in settled:
        known = keys.get(s.api_key)
        if known is None:
            keys[s.api_key] = (s.api_key, s.paid_nanos, s.key_period_start, s.at)
        else:
            keys[s.api_key] = (
                s.api_key,
                known[1] + s.paid_nanos,
                max(known[2], s.key_period_start),
                max(known[3], s.at),
            )
    return list(keys.values())
