"""A request as parsed: what the pipeline needs to know, and the fields that go upstream.

The body is decoded once into its top-level fields, each kept as raw JSON; the fields a dialect
knows are looked up in its table and passed, rewritten or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import msgspec

from reseller.errors import BadRequest, TooLarge

Fields: TypeAlias = dict[str, msgspec.Raw]

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_BLANK = b" \t\r\n"
# Several times what any API knows: more are only there to be walked over.
_MOST_FIELDS = 256

T = TypeVar("T")


@dataclass(slots=True)
class Ask:
    """What one request asks for. Tokens are bounds, not counts."""

    model: str
    is_stream: bool
    prompt_tokens: int
    # The client's own output cap, None where it set none, 0 where there is no output.
    cap_tokens: int | None
    choices: int
    fields: dict[str, Any]
    extra_nanos: int = 0
    has_hour_cache: bool = False
    media: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Field:
    """What happens to one request field; exactly one of the four.

    `passes`: sent as it came. `handle`: rewritten by the dialect. `dropped`: not sent, no error.
    `refused`: the reason, answered with 400 unless the value is null, false or empty.
    """

    passes: bool = False
    handled: bool = False
    dropped: bool = False
    refused: str = ""


PASS = Field(passes=True)
HANDLED = Field(handled=True)
DROP = Field(dropped=True)


def refuse(reason: str) -> Field:
    """A field that may not be used here, and why."""
    return Field(refused=reason)


def decode_body(body: bytes) -> Fields:
    """The top-level fields of a JSON object, values raw.

    Raises BadRequest for anything else: not JSON, not an object, not UTF-8, nested too deeply,
    the same field twice.
    """
    try:
        if not body.isascii():
            body.decode("utf-8")
        fields = _decode_fields(body)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The request body is not valid UTF-8 (byte {error.start}).", code="invalid_utf8"
        ) from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.", code="too_deep") from None
    except msgspec.ValidationError:
        raise BadRequest("The request body must be a JSON object.", code="invalid_json") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not JSON: {error}", code="invalid_json") from None
    if len(fields) > _MOST_FIELDS:
        raise TooLarge(f"{len(fields)} fields in the body are more than {_MOST_FIELDS}.")
    if len(body) != _compact_length(fields) and (twice := _repeated(body, fields)):
        raise BadRequest(
            f"The field {twice!r:.60} stands in the body twice.",
            code="duplicate_field",
            param=twice,
        )
    return fields


def _compact_length(fields: Fields) -> int:
    """Length of the body if it has no white space and no repeated field."""
    length = 1 if fields else 2
    for name, value in fields.items():
        length += len(name) + len(memoryview(value)) + 4
    return length


def _repeated(body: bytes, fields: Fields) -> str | None:
    """The first field name that stands twice at the top level, or None.

    Walks the keys; values are skipped by length, because the decoder kept the last one of each.
    """
    seen: set[str] = set()
    at = _skip(body, 0) + 1
    while True:
        at = _skip(body, at)
        if body[at : at + 1] == b"}":
            return None
        token = _STRING.match(body, at)
        assert token is not None
        name = _decode_text(token[0])
        at = _skip(body, _skip(body, token.end()) + 1)
        raw = bytes(fields[name])
        if name in seen or not body.startswith(raw, at):
            return name
        seen.add(name)
        at = _skip(body, at + len(raw))
        if body[at : at + 1] == b",":
            at += 1
        elif body[at : at + 1] != b"}":
            # The value only began like the last one (`1` of `12`): the field stands again later.
            return name


def _skip(body: bytes, at: int) -> int:
    while body[at] in _BLANK:
        at += 1
    return at


def sort_fields(fields: Fields, table: Mapping[str, Field]) -> tuple[dict[str, Any], Fields]:
    """Fields that pass as they are, and those the dialect handles itself.

    Raises BadRequest for a refused field that is set, and for an unknown one.
    """
    passed: dict[str, Any] = {}
    handled: Fields = {}
    for name, value in fields.items():
        rule = table.get(name)
        if rule is None:
            raise BadRequest(
                f"Unknown field {name!r:.60}. The API reference lists what is accepted.",
                code="unknown_field",
                param=name,
            )
        if rule.passes:
            passed[name] = value
        elif rule.handled:
            handled[name] = value
        elif rule.refused and bytes(value) not in (b"null", b"false", b"[]", b"{}", b'""'):
            raise BadRequest(
                f"The field {name!r} is not offered here: {rule.refused}",
                code="field_not_offered",
                param=name,
            )
    return passed, handled


def decode_field(
    fields: Fields, name: str, decode: Callable[[msgspec.Raw], T], what: str
) -> T | None:
    """One field, decoded strictly; None where it is absent or null. Raises BadRequest."""
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return decode(raw)
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.", code="too_deep") from None
    except msgspec.DecodeError as error:
        raise BadRequest(
            f"The field {name!r} must be {what}: {error}.", code="invalid_value", param=name
        ) from None


_LIGHT = b" \nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def prompt_bound(raw: bytes) -> int:
    """The most tokens this text can be: letters, spaces and newlines half a token each, every
    other byte a whole one (docs/ARCHITECTURE.md "Quote")."""
    heavy = len(raw.translate(None, _LIGHT))
    return heavy + (len(raw) - heavy + 1) // 2
