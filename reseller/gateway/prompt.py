"""What a prompt can cost at most: text by its bytes, pictures and sound by allowance.

Base64 is never counted by its length. Most prompts are text only and are not taken apart at all.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from reseller.config_schema import Holds
from reseller.errors import BadRequest, TooLarge
from reseller.gateway.ask import Fields, decode_field, prompt_bound

MAX_MESSAGES = 10_000
MAX_PIECES = 100_000
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_PER_MESSAGE_TOKENS = 4
# What each kind of part is named, as a key or as a type, here and in the upstream's other APIs.
_KINDS = {
    **dict.fromkeys(("image_url", "input_image", "image"), "image"),
    **dict.fromkeys(("input_audio", "audio"), "audio"),
    **dict.fromkeys(("file", "input_file", "document"), "file"),
    **dict.fromkeys(("video_url", "input_video", "video"), "video"),
}
_MEDIA_KEYS = _KINDS.keys() - {"audio", "document"}
_MEDIA_MARKS = (
    *(b"image_url", b"input_image", b"input_audio", b"input_file", b"input_video", b'"file'),
    *(b"video_url", b'"image"', b'"audio"', b'"document"', b'"video"'),
)


class _Message(msgspec.Struct):
    role: str


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.encode


def _check_pieces(raw: bytes) -> None:
    """Refuse what would take long to take apart: no prompt has so many parts.

    Text does not count, however long and whatever is in it. Raises TooLarge.
    """
    if len(raw) <= MAX_PIECES:
        return
    bare = _STRING.sub(b"", raw)
    if sum(map(bare.count, (b",", b"[", b"{"))) > MAX_PIECES:
        raise TooLarge(
            f"The messages have more than {MAX_PIECES} parts. Send fewer, longer ones.",
            param="messages",
        )


def _may_hold_media(raw: bytes) -> bool:
    # An escaped ASCII character could spell a media key that the marks would miss.
    if b"\\u00" in raw:
        return True
    for mark in _MEDIA_MARKS:  # noqa: SIM110 - a generator here would cost as much as the search
        if mark in raw:
            return True
    return False


class Prompt:
    """The bound of a prompt: tokens, flat holds in nanos, and the kinds of media in it."""

    __slots__ = ("extra_nanos", "media", "tokens")

    def __init__(self) -> None:
        self.tokens = 0
        self.extra_nanos = 0
        self.media: set[str] = set()

    def add_text(self, raw: bytes) -> None:
        """Count JSON that holds no media."""
        self.tokens += prompt_bound(raw)

    def add_messages(self, fields: Fields, holds: Holds) -> None:
        """Count the `messages` of a chat. Raises BadRequest where they cannot be."""
        messages = decode_field(fields, "messages", _decode_messages, "a list of messages")
        if not messages:
            raise BadRequest(
                "The field 'messages' is missing or empty. Send at least one message.",
                code="missing_field",
                param="messages",
            )
        if len(messages) > MAX_MESSAGES:
            raise BadRequest(
                f"{len(messages)} messages are more than {MAX_MESSAGES}.", param="messages"
            )
        self.tokens += _PER_MESSAGE_TOKENS * len(messages)
        self.add_parts(bytes(fields["messages"]), holds)

    def add_parts(self, raw: bytes, holds: Holds) -> None:
        """Count JSON that may hold media parts."""
        if not _may_hold_media(raw):
            self.add_text(raw)
            return
        _check_pieces(raw)
        try:
            self.add_text(_encode(self._without_media(_decode_any(raw), holds)))
        except RecursionError:
            raise BadRequest("The request body is nested too deeply.", code="too_deep") from None
        except (msgspec.MsgspecError, OverflowError) as error:
            raise BadRequest(
                f"The field 'messages' cannot be read: {error}.", code="invalid_value"
            ) from None

    def _without_media(self, value: Any, holds: Holds) -> Any:
        """The value with every media part counted by allowance and cut out."""
        if isinstance(value, list):
            return [self._without_media(item, holds) for item in value]
        if not isinstance(value, dict):
            return value
        found = _MEDIA_KEYS & value.keys()
        for key in found:
            self._allow(_KINDS[key], holds)
        kind = value.get("type")
        if not found and isinstance(kind, str) and kind in _KINDS:
            self._allow(_KINDS[kind], holds)
            found = {"source"}
        return {k: self._without_media(v, holds) for k, v in value.items() if k not in found}

    def _allow(self, kind: str, holds: Holds) -> None:
        if kind == "image":
            self.tokens += holds.image_tokens
        elif kind == "audio":
            self.tokens += holds.audio_tokens
        elif kind == "file" and holds.file_flat_nanos is not None:
            self.extra_nanos += holds.file_flat_nanos
        else:
            name = "Video" if kind == "video" else "Files"
            raise BadRequest(
                f"{name} in a prompt cannot be priced in advance and are not offered here. "
                f"Send the text itself.",
                code="media_not_offered",
                param="messages",
            )
        self.media.add(kind)
