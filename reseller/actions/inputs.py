"""What people type, made into what can be stored; everything else is refused in clear words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from reseller.errors import Unprocessable
from reseller.units import BadAmount, Bps, Nanos, bps_from_percent, nanos_from_text, usd_text

_EMAIL = re.compile(r"[^@\s<>,;:\"'\\]+@[^@\s<>,;:\"'\\]+")
_REF = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_NUMBER_MOST = 10**12


def email_address(text: str) -> str:
    """A bare e-mail address."""
    bare = text.strip()
    if len(bare) > 254 or not bare.isprintable() or not _EMAIL.fullmatch(bare):
        raise _refused("email", f"email: {text!r:.80} is not an e-mail address")
    return bare


def line(text: str, what: str, *, most: int = 100, may_be_empty: bool = False) -> str:
    """One line of printable text."""
    bare = text.strip()
    if not bare and not may_be_empty:
        raise _refused(what, f"{what}: is empty")
    if len(bare) > most or not bare.isprintable():
        raise _refused(what, f"{what}: must be one line of at most {most} printable characters")
    return bare


def usd(text: str, what: str = "usd") -> Nanos:
    """An amount of money above zero."""
    nanos = usd_or_zero(text, what)
    if nanos == 0:
        raise _refused(what, f"{what}: must be more than 0")
    return nanos


def usd_or_zero(text: str, what: str = "usd") -> Nanos:
    """An amount of money, 0 included."""
    try:
        return nanos_from_text(text)
    except BadAmount as bad:
        raise _refused(what, f"{what}: {bad}") from bad


def percent(text: str, what: str = "markup") -> Bps:
    """A percentage such as `20%`."""
    try:
        return bps_from_percent(text)
    except BadAmount as bad:
        raise _refused(what, f"{what}: {bad}") from bad


def count(number: int, what: str, *, least: int = 1, most: int = _NUMBER_MOST) -> int:
    """A whole number within bounds."""
    if not least <= number <= most:
        raise _refused(what, f"{what}: {number} is not between {least:,} and {most:,}")
    return number


def reference(text: str) -> str:
    """A name for a command that must not happen twice."""
    if not _REF.fullmatch(text):
        raise _refused("ref", "ref: 1 to 100 letters, digits, dots, colons, dashes")
    return text


def moment(text: str, what: str, now_ms: int) -> int:
    """A time to come, unix ms: `30d`, `12h`, `2027-01-31` or `2027-01-31T12:00` (UTC)."""
    at = _after(text.strip(), now_ms)
    if at is None:
        raise _refused(what, f"{what}: {text!r:.40} is not a time such as 30d, 12h or 2027-01-31")
    if not now_ms < at < now_ms + 100 * 366 * 86_400_000:
        raise _refused(what, f"{what}: {text!r:.40} is not within the next hundred years")
    return at


def _after(text: str, now_ms: int) -> int | None:
    if spell := re.fullmatch(r"([0-9]{1,5})([dh])", text):
        unit = timedelta(days=1) if spell[2] == "d" else timedelta(hours=1)
        return now_ms + int(spell[1]) * (unit // timedelta(milliseconds=1))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def optional_usd(nanos: Nanos | None) -> str | None:
    """An amount for an answer; None stays None."""
    return None if nanos is None else usd_text(nanos)


def _refused(param: str, message: str) -> Unprocessable:
    return Unprocessable(f"{message}.", param=param)
