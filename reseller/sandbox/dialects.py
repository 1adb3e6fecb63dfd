"""One table over the interfaces: how each puts a generation into frames, and into a body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reseller.sandbox.answers import (
    DONE,
    Frames,
    Generation,
    chat_body,
    chat_frames,
    chat_usage_frame,
)
from reseller.sandbox.answers_messages import (
    messages_body,
    messages_done,
    messages_end,
    messages_frames,
    messages_opening,
)
from reseller.sandbox.answers_other import images_done, images_end, images_frames
from reseller.sandbox.answers_responses import (
    frames_of,
    responses_body,
    responses_done,
    responses_end,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """`start` differs between requests, `frames` may be shared, `end` carries the usage."""

    frames: Callable[[Generation], Frames]
    end: Callable[[Generation], list[bytes]]
    done: Callable[[], list[bytes]]
    body: Callable[[Generation], bytes]
    start: Callable[[Generation], bytes] = lambda generation: b""


def _chat_frames(generation: Generation) -> Frames:
    return chat_frames(
        generation.api,
        generation.model,
        generation.provider,
        generation.spoken_tokens,
        generation.thought_tokens,
        generation.chunk_tokens,
        generation.finish,
        generation.tool,
        generation.choices,
    )


def _chat_end(generation: Generation) -> list[bytes]:
    if generation.fault.usage == "absent":
        return []
    return [chat_usage_frame(generation)]


def _chat_done() -> list[bytes]:
    return [DONE]


def _messages_frames(generation: Generation) -> Frames:
    return messages_frames(generation.spoken_tokens, generation.chunk_tokens, generation.tool)


def _no_body(generation: Generation) -> bytes:
    raise AssertionError("this interface builds its body from the request")


_CHAT = Dialect(_chat_frames, _chat_end, _chat_done, chat_body)
DIALECTS = {
    "chat": _CHAT,
    "completions": _CHAT,
    "responses": Dialect(frames_of, responses_end, responses_done, responses_body),
    "messages": Dialect(
        _messages_frames, messages_end, messages_done, messages_body, messages_opening
    ),
    "images": Dialect(images_frames, images_end, images_done, _no_body),
}
