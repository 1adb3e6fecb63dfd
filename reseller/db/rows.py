"""The rows the journal writes, in the column order of its statements.

Array-like, so that a list of them is one JSON array for one statement.
"""

from __future__ import annotations

import msgspec


class HoldRow(msgspec.Struct, array_like=True):
    """A hold as it is opened: what was promised, by which rule it will be charged."""

    request_id: str
    account: int
    api_key: int
    model: int
    opened_at: int
    held_nanos: int
    markup_bps: int
    fixed_nanos: int
    minimum_nanos: int
    prompt_nanos: int
    is_stream: int


class ParkRow(msgspec.Struct, array_like=True):
    """A hold that waits for its true cost, and what it would cost by the Meter's count."""

    request_id: str
    reason: str
    estimate_nanos: int
    client_left: int
    parked_at: int
    generation_id: str | None


class UsageRow(msgspec.Struct, array_like=True):
    """One finished request. Counts in tokens, cost in picos (None: unknown), charge in nanos."""

    request_id: str
    account: int
    api_key: int
    model: int
    at: int
    generation_id: str | None
    status: int
    outcome: str | None
    is_stream: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_picos: int | None
    charge_nanos: int
    written_off_nanos: int
    markup_bps: int
    fixed_nanos: int
    first_byte_ms: int | None
    duration_ms: int


class ExposureRow(msgspec.Struct, array_like=True):
    """A request perhaps billed upstream whose id was never seen."""

    request_id: str
    account: int
    api_key: int
    model: int
    opened_at: int
    written_at: int
    held_nanos: int
    charge_nanos: int
    reason: str


class StoredHold(msgspec.Struct, array_like=True):
    """A hold as it is found on disk after a restart, or by the pending queue."""

    request_id: str
    account: int
    api_key: int
    model: int
    opened_at: int
    held_nanos: int
    markup_bps: int
    fixed_nanos: int
    minimum_nanos: int
    prompt_nanos: int
    is_stream: int
    generation_id: str | None
    state: str
    reason: str | None
    estimate_nanos: int | None
    client_left: int
    parked_at: int | None
    polls: int
