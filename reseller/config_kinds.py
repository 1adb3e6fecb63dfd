"""What a configuration value can be: each kind reads, checks, shows and describes its values.

A kind gets what TOML or a caller holds (`read`) or what an environment variable says
(`from_text`), and gives what the dataclasses keep. Numbers with a point arrive as `Decimal`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from reseller.units import (
    BPS_ONE,
    BadAmount,
    bps_from_percent,
    is_sane_amount,
    nanos_from_text,
    percent_text,
    usd_text,
)

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_POINT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")


class BadValue(ValueError):
    """A value that its key cannot take; the text says what was expected, and never a secret."""


def found(value: object) -> str:
    """What a wrong value is, in words a person can act on."""
    match value:
        case bool():
            return f"found {str(value).lower()}"
        case int() if abs(value) > 10**18:
            # Python refuses to write out the longest of these.
            return "found a number of very many digits"
        case int() | float() | Decimal():
            return f"found {value!s:.40}"
        case str():
            return f'found "{value:.40}"'
        case Mapping():
            return "found a table"
        case list() | tuple():
            return "found a list"
        case _:
            return f"found a {type(value).__name__}"


class Kind:
    """One kind of value. Subclasses raise BadValue from `read` and `from_text`."""

    is_secret = False
    is_list = False

    def read(self, value: object) -> object:
        """The value to keep, from what TOML or a caller holds."""
        raise AssertionError("every kind reads")

    def from_text(self, text: str) -> object:
        """The value to keep, from an environment variable or a command-line flag."""
        return self.read(text)

    def show(self, value: object) -> object:
        """The kept value as TOML and JSON would hold it."""
        return "" if value is None else value

    def json_schema(self) -> dict[str, object]:
        """What JSON Schema says about values of this kind."""
        raise AssertionError("every kind has a schema")


class Flag(Kind):
    """True or false."""

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise BadValue(f"expected true or false, {found(value)}")
        return value

    def from_text(self, text: str) -> bool:
        word = text.strip().lower()
        if word not in _TRUE + _FALSE:
            raise BadValue(f"expected true or false, {found(text)}")
        return word in _TRUE

    def json_schema(self) -> dict[str, object]:
        return {"type": "boolean"}


class Whole(Kind):
    """A whole number between two bounds."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def read(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadValue(f"expected a whole number, {found(value)}")
        if not self.low <= value <= self.high:
            raise BadValue(f"expected {self.low:,} to {self.high:,}, {found(value)}")
        return value

    def from_text(self, text: str) -> int:
        if not _WHOLE.fullmatch(text.strip()):
            raise BadValue(f"expected a whole number, {found(text)}")
        return self.read(int(text))

    def json_schema(self) -> dict[str, object]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Duration(Kind):
    """A stretch of time as a number, with a point where wanted; kept as float, it is no money."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def read(self, value: object) -> float:
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
            raise BadValue(f"expected a number, {found(value)}")
        if isinstance(value, Decimal) and not value.is_finite():
            raise BadValue(f"expected a number, {found(value)}")
        # As a float first: the bounds are floats, and 0.001 as Decimal is less than as float.
        number = float(value) if isinstance(value, Decimal) else value
        if not self.low <= number <= self.high:
            raise BadValue(f"expected {self.low:g} to {self.high:g}, {found(value)}")
        return float(number)

    def from_text(self, text: str) -> float:
        if not _POINT.fullmatch(text.strip()):
            raise BadValue(f"expected a number, {found(text)}")
        return self.read(Decimal(text.strip()))

    def show(self, value: object) -> object:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def json_schema(self) -> dict[str, object]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


class Text(Kind):
    """Text on one line; empty means *not set* where that is allowed."""

    wanted = "text"
    pattern: re.Pattern[str] | None = None

    def __init__(self, *, may_be_empty: bool = True, longest: int = 300) -> None:
        self.may_be_empty, self.longest = may_be_empty, longest

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise BadValue(f"expected {self.wanted}, {found(value)}")
        text = value.strip()
        if not text and not self.may_be_empty:
            raise BadValue(f"expected {self.wanted}, found nothing")
        if len(text) > self.longest or not text.isprintable():
            raise BadValue(f"expected one line of at most {self.longest} characters")
        if text and self.pattern and not self.pattern.fullmatch(text):
            raise BadValue(f"expected {self.wanted}, {found(value)}")
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "maxLength": self.longest}


class Colour(Text):
    """A colour as CSS writes it, six hexadecimal digits."""

    wanted, pattern = "a colour such as #2f6f4f", _COLOUR


class EmailAddress(Text):
    """A bare e-mail address."""

    wanted, pattern = "an e-mail address", _EMAIL


class Choice(Kind):
    """One word out of a few."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def read(self, value: object) -> str:
        if value not in self.words:
            raise BadValue(f"expected {' or '.join(self.words)}, {found(value)}")
        return str(value)

    def json_schema(self) -> dict[str, object]:
        return {"enum": list(self.words)}


class Secret(Kind):
    """A key or password. Never part of an error message; shown by its ends only."""

    is_secret = True

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise BadValue("expected text")
        secret = value.strip()
        if not secret.isprintable() or " " in secret:
            raise BadValue("holds a space or a line break, which no key does")
        return secret

    def show(self, value: object) -> object:
        text = str(value)
        # The ends tell one key from another; a short one would be given away by them.
        return f"{text[:6]}…{text[-4:]}" if len(text) >= 24 else "…" if text else ""

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}


class Url(Text):
    """An absolute http or https address, kept without the slash at its end."""

    wanted = "an address such as https://example.com"

    def read(self, value: object) -> str:
        text = super().read(value)
        if not text:
            return text
        if "@" in text:
            raise BadValue(f"expected {self.wanted}, without user name or password")
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_plain = not (parts.query or parts.fragment or " " in text)
            _ = parts.port
        except ValueError:
            is_address = False
        if not (is_address and is_plain):
            raise BadValue(f"expected {self.wanted}, {found(value)}")
        return text.rstrip("/")


class Listen(Text):
    """`host:port`, `[v6]:port` or `:port`."""

    wanted = "host:port such as 127.0.0.1:8080"

    def read(self, value: object) -> str:
        text = super().read(value)
        match = _LISTEN.fullmatch(text)
        if text and (not match or int(match[2]) > 65_535):
            raise BadValue(f"expected {self.wanted}, {found(value)}")
        return text


def host_and_port(listen: str) -> tuple[str, int]:
    """The two halves of a checked `listen` value; no host means every address."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:8080` asks for just that


class FilePath(Kind):
    """A path; relative ones count from the working directory. Empty means *not set*."""

    def __init__(self, *, may_be_empty: bool = True) -> None:
        self.may_be_empty = may_be_empty

    def read(self, value: object) -> Path | None:
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or "\0" in value:
            raise BadValue(f"expected a path, {found(value)}")
        if not value and not self.may_be_empty:
            raise BadValue("expected a path, found nothing")
        try:
            return Path(value).expanduser() if value else None
        except RuntimeError:
            raise BadValue(f"expected a path, {found(value)}: there is no such home") from None

    def show(self, value: object) -> object:
        return "" if value is None else str(value)

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}


class Money(Kind):
    """An amount in USD, as text or as a TOML number, kept as nanos; exact or refused."""

    def __init__(self, *, may_be_empty: bool = False) -> None:
        self.may_be_empty = may_be_empty

    def read(self, value: object) -> int | None:
        if value == "" and self.may_be_empty:
            return None
        try:
            return nanos_from_text(_decimal_text(value, "an amount in USD such as 0.002"))
        except BadAmount as bad:
            raise BadValue(str(bad)) from None

    def show(self, value: object) -> object:
        return usd_text(value) if isinstance(value, int) else ""

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "number"], "minimum": 0}


class Percent(Kind):
    """A percentage (`"20%"`, `20`, `12.5`), kept as basis points."""

    def read(self, value: object) -> int:
        try:
            return bps_from_percent(_decimal_text(value, 'a percentage such as "20%"'))
        except BadAmount as bad:
            raise BadValue(str(bad)) from None

    def show(self, value: object) -> object:
        return percent_text(value).replace(" ", "") if isinstance(value, int) else ""

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "number"], "minimum": 0, "maximum": 10_000}


class Factor(Kind):
    """A factor of 1 to 100 (`"1.5"`), kept in basis points: 15,000."""

    def read(self, value: object) -> int:
        text = _decimal_text(value, 'a factor such as "1.5"').strip()
        bps = Decimal(text) * BPS_ONE if _POINT.fullmatch(text) else Decimal(0)
        if bps != bps.to_integral_value() or not BPS_ONE <= bps <= 100 * BPS_ONE:
            raise BadValue(f"expected a factor of 1 to 100 such as 1.5, {found(value)}")
        return int(bps)

    def show(self, value: object) -> object:
        return f"{Decimal(str(value)) / BPS_ONE:f}"

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "number"], "minimum": 1, "maximum": 100}


def _decimal_text(value: object, wanted: str) -> str:
    match value:
        case str():
            return value
        case bool():
            raise BadValue(f"expected {wanted}, {found(value)}")
        # Looked at before it is written out: 1e999000 would be a megabyte of zeros.
        case int() | Decimal() if is_sane_amount(Decimal(value)):
            return f"{Decimal(value):f}"
        case _:
            raise BadValue(f"expected {wanted}, {found(value)}")


class Network(Text):
    """An address range such as 10.0.0.0/8, or one address."""

    wanted = "an address range such as 10.0.0.0/8"

    def read(self, value: object) -> str:
        text = super().read(value)
        try:
            return str(ipaddress.ip_network(text))
        except ValueError as bad:
            raise BadValue(f"expected {self.wanted}: {bad}") from None


class Listing(Kind):
    """A list of one kind, kept as a tuple; separated by commas in an environment variable."""

    is_list = True

    def __init__(self, item: Kind) -> None:
        self.item = item
        self.is_secret = item.is_secret

    def read(self, value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise BadValue('expected a list such as ["…", "…"]')
        return tuple(self.item.read(entry) for entry in value)

    def from_text(self, text: str) -> tuple[object, ...]:
        return self.read([part.strip() for part in text.split(",") if part.strip()])

    def show(self, value: object) -> object:
        assert isinstance(value, tuple)
        return [self.item.show(entry) for entry in value]

    def json_schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.item.json_schema()}
