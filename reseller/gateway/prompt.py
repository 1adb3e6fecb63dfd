"""What a prompt can cost at most: text by its bytes, pictures and sound by allowance.

Base64 is never counted by its length. Most prompts are text only and are not taken apart at all.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.config_schema import Holds
from reseller.errors import BadRequest
from reseller.gateway.ask import Fields, decode_field, prompt_bound

MAX_MESSAGES = 10_000
_PER_MESSAGE_TOKENS = 4
_MEDIA_MARKS = (b"image_url", b"input_image", b"input_audio", b"input_file", b'"file', b"video_url")
_MEDIA_KEYS = frozenset(
    {"image_url", "input_image", "image", "input_audio", "file", "input_file", "video_url"}
)


class _Message(msgspec.Struct):
    role: str


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.encode


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
        # An escaped ASCII character could spell a media key that the marks would miss.
        if b"\\u00" not in raw and not any(mark in raw for mark in _MEDIA_MARKS):
            self.add_text(raw)
            return
        self.add_text(_encode(self._without_media(_decode_any(raw), holds)))

    def _without_media(self, value: Any, holds: Holds) -> Any:
        """The value with every media part counted by allowance and cut out."""
        if isinstance(value, list):
            return [self._without_media(item, holds) for item in value]
        if not isinstance(value, dict):
            return value
        found = _MEDIA_KEYS & value.keys()
        if not found:
            return {key: self._without_media(item, holds) for key, item in value.items()}
        for key in found:
            self._allow(key, value[key], holds)
        return {k: self._without_media(v, holds) for k, v in value.items() if k not in found}

    def _allow(self, key: str, part: Any, holds: Holds) -> None:
        if key in ("image_url", "input_image", "image"):
            self.media.add("image")
            self.tokens += holds.image_tokens
        elif key == "input_audio":
            self.media.add("audio")
            self.tokens += holds.audio_tokens
        elif key in ("file", "input_file") and holds.file_flat_nanos is not None:
            self.media.add("file")
            self.extra_nanos += holds.file_flat_nanos
        else:
            kind = "Video" if key == "video_url" else "Files"
            raise BadRequest(
                f"{kind} in a prompt cannot be priced in advance and are not offered here. "
                f"Send the text itself.",
                code="media_not_offered",
                param="messages",
            )
