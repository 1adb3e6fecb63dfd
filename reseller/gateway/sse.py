"""Server-sent events: cutting a byte stream into frames, and rewriting them on their way.

Every chat frame carries the upstream's id and provider. The first frame is parsed; what stands
before `"choices"` is the same in nearly all that follow, so it is replaced as bytes. Frames that
hold usage, an error or anything that must not be seen are parsed and encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from reseller.gateway.meter import Meter, Usage, read_usage

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_CHOICES = b'"choices":'
_DATA = b"data: "
# A chunk from its choices on without a word in it; what is beyond is text.
_SKELETON_BYTES = 105
# From longer chunks the shape of the next ones is not learnt: they are none of the usual.
_LEARNT_BYTES = 4_096
# Names that may not pass unparsed; a frame that holds one (or text that quotes one) is parsed.
_MARKS = re.compile(
    rb'"(?:usage|error|provider|openrouter_metadata|cost_details|is_byok|user_id|gen-)|cost"'
)
# One choice with one piece of text: what stands before and behind it hardly ever changes.
_TEXT_CHUNK = re.compile(
    rb'(\[\{"index":0,"delta":\{(?:"role":"assistant",)?"content":")[^"\\]*+(?:\\.[^"\\]*+)*+'
    rb'("(?:,"role":"assistant")?\},[^\n]*\}\]\})'
)
_SHOWN_FIELDS = (
    "object",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
    "choices",
)

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class FrameScanner:
    """Cuts bytes into frames at blank lines: LF, CRLF or CR, at any split, of any size."""

    __slots__ = ("_held", "_parts", "_tail")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = b""
        self._held = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that are complete now, without their blank line."""
        if self._held or b"\r" in chunk:
            chunk = self._normalise(chunk)
        elif (
            not self._tail
            and chunk.endswith(b"\n\n")
            and not chunk.startswith(b"\n")
            and b"\n\n\n" not in chunk
        ):
            # Nearly always: whole frames and nothing left over.
            return chunk[:-2].split(b"\n\n")
        joint = self._tail + chunk
        if b"\n\n" not in joint:
            # Only the end can join with what comes: large frames are not copied again and again.
            self._parts.append(joint[:-1])
            self._tail = joint[-1:]
            return []
        whole = b"".join(self._parts) + joint if self._parts else joint
        frames = whole.split(b"\n\n")
        rest = frames.pop()
        self._parts = [rest[:-1]]
        self._tail = rest[-1:]
        return [stripped for frame in frames if (stripped := frame.strip(b"\n"))]

    def end(self) -> list[bytes]:
        """The last frame, if its blank line never came."""
        rest = b"".join(self._parts) + self._tail + self._held.replace(b"\r", b"\n")
        self._parts, self._tail, self._held = [], b"", b""
        return [rest.strip(b"\n")] if rest.strip(b"\n") else []

    def _normalise(self, chunk: bytes) -> bytes:
        chunk = self._held + chunk
        self._held = b""
        if chunk.endswith(b"\r"):
            # It may be the first half of CRLF.
            chunk, self._held = chunk[:-1], b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def frame_data(frame: bytes) -> bytes | None:
    """The data of a frame, its lines joined; None for a comment or an empty frame."""
    if frame.startswith(_DATA) and b"\n" not in frame:
        return frame[6:]
    lines = [
        line[6:] if line.startswith(_DATA) else line[5:]
        for line in frame.split(b"\n")
        if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None


class ChunkRewriter:
    """Turns the upstream's chunks into ours: own id, no provider, charge for cost.

    `on_usage` is called with each usage seen and returns what the customer is shown for it.
    """

    def __init__(
        self,
        request_id: str,
        meter: Meter,
        on_usage: Callable[[Usage], dict[str, Any]],
        *,
        show_provider: bool = False,
    ) -> None:
        self._id = request_id
        self._meter = meter
        self._on_usage = on_usage
        self._show_provider = show_provider
        # What stands before the list of choices, upstream's and ours.
        self._head = b""
        self._own_head = b""
        # What stands before and behind the text of a chunk with one choice.
        self._before = b"\0"
        self._behind = b""
        self.provider: str | None = None
        self.generation_id: str | None = None
        self.is_done = False
        # The upstream's own error object, once a frame brought one; what follows it is void.
        self.error: msgspec.Raw | None = None

    def rewrite(self, frames: list[bytes]) -> bytes:
        """The bytes to send for these frames, up to an error if there is one.

        Raises msgspec.DecodeError for a frame that is not JSON.
        """
        out: list[bytes] = []
        meter = self._meter
        for frame in frames:
            if frame.startswith(self._before) and frame.endswith(self._behind):
                text = frame[len(self._before) : -len(self._behind)]
                # Without a quote it is text alone: no name can stand in it.
                if b'"' not in text and b"\n" not in text:
                    meter.frames += 1
                    meter.text_bytes += len(text)
                    out.append(self._own_head + frame[len(self._head) :])
                    continue
            rewritten = self._splice(frame) or self._parse(frame)
            if self.error is not None:
                break
            if rewritten:
                out.append(rewritten)
        return b"\n\n".join([*out, b""]) if out else b""

    def _splice(self, frame: bytes) -> bytes:
        """The frame with our head for the upstream's; empty where it has to be parsed."""
        head = self._head
        if not head or not frame.startswith(head):
            return b""
        rest = frame[len(head) :]
        # The choices must be all that is left: nothing may stand behind their list.
        if not rest.endswith(b"}]}") or b"]," in rest:
            return b""
        if _MARKS.search(rest) is not None or b"\n" in rest:
            return b""
        self._meter.frames += 1
        self._meter.text_bytes += max(0, len(rest) - _SKELETON_BYTES)
        if len(rest) < _LEARNT_BYTES and (found := _TEXT_CHUNK.fullmatch(rest)) is not None:
            self._before, self._behind = head + found[1], found[2]
        return self._own_head + rest

    def _parse(self, frame: bytes) -> bytes:
        data = frame_data(frame)
        if data is None:
            return KEEP_ALIVE[:-2]
        if data.strip() == b"[DONE]":
            self.is_done = True
            return DONE[:-2]
        fields = _decode(data)
        if self.provider is None:
            self._learn(fields)
        if (error := fields.get("error")) is not None and bytes(error) != b"null":
            self.error = error
            return b""
        shown = self._shown(fields)
        self._remember_head(frame, fields)
        self._meter.frames += 1
        return _DATA + _encode(shown)

    def _shown(self, fields: dict[str, msgspec.Raw]) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self._id}
        for name in _SHOWN_FIELDS:
            if name in fields:
                shown[name] = fields[name]
        if self._show_provider and "provider" in fields:
            shown["provider"] = fields["provider"]
        if "choices" in shown:
            shown["choices"] = clean_choices(shown["choices"])
        usage = fields.get("usage")
        if usage is not None:
            is_null = bytes(usage) == b"null"
            shown["usage"] = None if is_null else self._on_usage(read_usage(usage))
        return shown

    def _learn(self, fields: dict[str, msgspec.Raw]) -> None:
        self.provider = _text(fields.get("provider"))
        found = _text(fields.get("id"))
        self.generation_id = found if found and len(found) <= 128 else None

    def _remember_head(self, frame: bytes, fields: dict[str, msgspec.Raw]) -> None:
        """Keep what stands before the choices, if that is all there is before them."""
        at = frame.find(_CHOICES)
        if self._head or at < 0 or not frame.startswith(_DATA + b"{"):
            return
        try:
            before = _decode(frame[6:at].rstrip(b" ,") + b"}")
        except msgspec.DecodeError:
            return
        known = {"id", "object", "created", "model", "provider"}
        if before.keys() <= known and "id" in before:
            own = self._shown({name: fields[name] for name in before})
            self._head = frame[: at + len(_CHOICES)]
            self._own_head = _DATA + _encode(own)[:-1] + b"," + _CHOICES


def clean_choices(choices: msgspec.Raw) -> Any:
    """Choices without the provider's own error texts."""
    raw = bytes(choices)
    if b'"error"' not in raw:
        return choices
    parsed = msgspec.json.decode(raw)
    if not isinstance(parsed, list):
        return parsed
    return [
        {k: v for k, v in c.items() if k != "error"} if isinstance(c, dict) else c for c in parsed
    ]


def _text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
