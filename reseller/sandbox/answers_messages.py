"""Frames and bodies of the messages interface."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from reseller.sandbox.answers import (
    ID_MARK,
    TOOL_ARGUMENTS,
    Frames,
    Generation,
    joined,
    money_fields,
    text_of,
)

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "error": "refusal"}


def messages_usage(generation: Generation, *, is_start: bool = False) -> str:
    """The usage object; input tokens leave out what the cache read or wrote."""
    c = generation.counts
    money = ""
    if not is_start:
        money = money_fields(
            generation, "upstream_inference_prompt_cost", "upstream_inference_completions_cost"
        )
    output = 1 if is_start else c.completion
    return (
        f'{{"input_tokens":{c.prompt - c.cached - c.cache_write},"output_tokens":{output},'
        f'"cache_creation_input_tokens":{c.cache_write},"cache_read_input_tokens":{c.cached},'
        f'"cache_creation":{{"ephemeral_5m_input_tokens":{c.cache_write},'
        '"ephemeral_1h_input_tokens":0},"inference_geo":null,"server_tool_use":null,'
        f'"output_tokens_details":{{"thinking_tokens":{c.reasoning}}},'
        f'"service_tier":"standard","speed":"standard"{money}}}'
    )


def _usage(generation: Generation) -> bytes:
    shape = generation.fault.usage
    if shape == "absent":
        return b""
    return b',"usage":' + (b"null" if shape == "null" else messages_usage(generation).encode())


def _stop(finish: str) -> bytes:
    reason = _STOP[finish].encode()
    return b'"container":null,"stop_details":null,"stop_reason":"%b","stop_sequence":null' % reason


def _block(tokens: int, tool: str) -> dict[str, Any]:
    if tool:
        arguments = msgspec.json.decode(TOOL_ARGUMENTS)
        return _tool_block(tool) | {"input": arguments}
    return {"type": "text", "text": text_of(tokens), "citations": None}


def _tool_block(tool: str) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": "toolu_sandbox0001",
        "name": tool,
        "input": {},
        "caller": {"type": "direct"},
    }


def messages_body(generation: Generation) -> bytes:
    """A whole answer as JSON."""
    hides_id = generation.fault.ids in ("null", "none")
    return (
        b'{"id":%b,"type":"message","role":"assistant","model":%b,"provider":%b,'
        b'"content":[%b],%b%b,"context_management":null}'
        % (
            b"null" if hides_id else b'"%b"' % generation.id.encode(),
            msgspec.json.encode(generation.model),
            msgspec.json.encode(generation.provider),
            msgspec.json.encode(_block(generation.spoken_tokens, generation.tool)),
            _stop(generation.finish),
            _usage(generation),
        )
    )


def messages_opening(generation: Generation) -> bytes:
    """The first event: it tells the prompt's tokens, so it differs from request to request."""
    return (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"%b",'
        b'"type":"message","role":"assistant","model":%b,"provider":%b,"content":[],'
        b'"container":null,"stop_details":null,"stop_reason":null,"stop_sequence":null,'
        b'"usage":%b}}\n\n'
        % (
            ID_MARK,
            msgspec.json.encode(generation.model),
            msgspec.json.encode(generation.provider),
            messages_usage(generation, is_start=True).encode(),
        )
    )


@lru_cache(maxsize=64)
def messages_frames(tokens: int, chunk_tokens: int, tool: str) -> Frames:
    """The content block's events."""
    frames = Frames()

    def event(kind: str, rest: bytes) -> bytes:
        name = kind.encode()
        return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, rest)

    block = _tool_block(tool) if tool else _block(0, "")
    frames.opening = [
        event("content_block_start", b',"index":0,"content_block":' + msgspec.json.encode(block)),
        event("ping", b""),
    ]
    delta: dict[str, Any]
    for start in range(0, tokens, chunk_tokens):
        count = min(chunk_tokens, tokens - start)
        if tool:
            count, delta = tokens, {"type": "input_json_delta", "partial_json": TOOL_ARGUMENTS}
        else:
            delta = {"type": "text_delta", "text": text_of(count, start)}
        rest = b',"index":0,"delta":' + msgspec.json.encode(delta)
        frames.pieces.append((event("content_block_delta", rest), count))
        if tool:
            break
    frames.closing = [event("content_block_stop", b',"index":0')]
    frames.joined = joined([*frames.opening, *(f for f, _ in frames.pieces), *frames.closing])
    return frames


def messages_end(generation: Generation) -> list[bytes]:
    """The event with the final usage."""
    return [
        b'event: message_delta\ndata: {"type":"message_delta","delta":{%b}%b,'
        b'"context_management":null}\n\n' % (_stop(generation.finish), _usage(generation))
    ]


def messages_done() -> list[bytes]:
    """What ends the stream: the last event, and the frame that breaks strict clients."""
    return [
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b"event: data\ndata: [DONE]\n\n",
    ]
