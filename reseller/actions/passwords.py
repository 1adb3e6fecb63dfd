"""Passwords: argon2id, in a thread, because one takes 40 ms of a processor."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from reseller.errors import Unprocessable

LEAST, MOST = 12, 1_000
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def checked(password: str) -> str:
    """The password, if it may be one. Never part of an error."""
    if not LEAST <= len(password) <= MOST:
        raise Unprocessable(f"password: {LEAST} to {MOST} characters are needed.", param="password")
    if len(set(password)) < 4:
        raise Unprocessable("password: too few different characters.", param="password")
    return password


async def hash_password(password: str) -> str:
    """The stored form of a password, salted."""
    return await asyncio.to_thread(_hasher.hash, checked(password))


async def matches(password_hash: str, password: str) -> bool:
    """Whether this is the password; False for a hash that cannot be read."""
    try:
        return await asyncio.to_thread(_hasher.verify, password_hash, password[: MOST + 1])
    except (VerificationError, InvalidHashError):
        return False
