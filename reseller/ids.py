"""Ids, API keys and digests: the only place that draws randomness."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_PREFIX = "sk-rs-"
KEY_PATTERN = re.compile(r"sk-rs-[0-9A-Za-z]{43}")
_VISIBLE = 12
# 248 = 4 * 62: bytes above it are thrown away so that every character is equally likely.
_DIGITS = (ALPHABET * 5).encode()[:256]
_THROWN_AWAY = bytes(range(248, 256))
_DRAWN_BYTES = 4096


def base62(number: int, width: int) -> str:
    """`number` in base 62, zero-padded to `width` characters; sorts as the number does."""
    assert number >= 0
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits)).rjust(width, "0")


class Ids:
    """Source of random ids. One per process; tests may pass their own."""

    def __init__(self) -> None:
        self._pool = ""
        self._at = 0
        self._stamp = (-1, "")

    def random_text(self, length: int) -> str:
        """`length` base62 characters from the system's random source."""
        while self._at + length > len(self._pool):
            drawn = os.urandom(_DRAWN_BYTES).translate(_DIGITS, _THROWN_AWAY)
            self._pool, self._at = self._pool[self._at :] + drawn.decode("ascii"), 0
        text = self._pool[self._at : self._at + length]
        self._at += length
        return text

    def new(self, prefix: str) -> str:
        """A random id such as `acc_4fK…` with 95 bits of chance."""
        return f"{prefix}_{self.random_text(16)}"

    def request_id(self, now_ms: int) -> str:
        """`req_` + 8 characters of time + 12 of chance (71 bits).

        Time goes first so that the unique index grows at its end: random ids would dirty a page
        of it for every request. It tells no one how many requests there are.
        """
        if self._stamp[0] != now_ms:
            self._stamp = (now_ms, base62(now_ms, 8))
        return f"req_{self._stamp[1]}{self.random_text(12)}"

    def api_key(self) -> str:
        """A new API key: `sk-rs-` + 43 base62 characters (256 bits); shown once, stored hashed."""
        return KEY_PREFIX + self.random_text(43)

    def secret(self) -> str:
        """256 bits as base62, for links and signing."""
        return self.random_text(43)


def key_digest(key: str) -> bytes:
    """SHA-256 of an API key: 32 bytes, what the database stores."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def visible_prefix(key: str) -> str:
    """The part of a key that may be shown later."""
    return key[:_VISIBLE]


def keyed_hash(secret: bytes, text: str) -> str:
    """HMAC-SHA-256 as 32 hex characters: the same text gives the same value, no way back."""
    return hmac.new(secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]
