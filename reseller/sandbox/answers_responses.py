"""Frames and bodies of the responses interface."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from reseller.sandbox.answers import (
    DONE,
    ID_MARK,
    NOW_MARK,
    TOOL_ARGUMENTS,
    Frames,
    Generation,
    joined,
    money_fields,
    text_of,
)

_ITEM = "item_sandbox0001"


def responses_usage(generation: Generation) -> str:
    """The usage object of this interface."""
    c = generation.counts
    money = money_fields(
        generation, "upstream_inference_input_cost", "upstream_inference_output_cost"
    )
    return (
        f'{{"input_tokens":{c.prompt},"input_tokens_details":{{"cached_tokens":{c.cached},'
        f'"cache_write_tokens":{c.cache_write}}},"output_tokens":{c.completion},'
        f'"output_tokens_details":{{"reasoning_tokens":{c.reasoning}}},'
        f'"total_tokens":{c.prompt + c.completion}{money}}}'
    )


@lru_cache(maxsize=64)
def _output(tokens: int, tool: str, status: str) -> bytes:
    item: dict[str, Any]
    if tool:
        item = {
            "type": "function_call",
            "id": _ITEM,
            "call_id": "call_sandbox0001",
            "name": tool,
            "arguments": TOOL_ARGUMENTS,
            "status": status,
        }
    else:
        text = {"type": "output_text", "text": text_of(tokens), "annotations": [], "logprobs": []}
        item = {
            "type": "message",
            "id": _ITEM,
            "role": "assistant",
            "status": status,
            "content": [text],
        }
    return msgspec.json.encode(item)


def _response(
    model: str,
    status: str,
    output: bytes,
    usage: bytes,
    finish: str = "stop",
    error: bytes = b"null",
) -> bytes:
    """A response object, with marks for its id and its time."""
    reason = b'{"reason":"max_output_tokens"}' if finish == "length" else b"null"
    done = b"null" if status == "in_progress" else NOW_MARK
    return (
        b'{"id":"%b","object":"response","created_at":%b,"completed_at":%b,"model":%b,'
        b'"status":"%b",'
        b'"output":[%b],"error":%b,"incomplete_details":%b,"instructions":null,"metadata":null,'
        b'"temperature":1,"top_p":1,"presence_penalty":0,"frequency_penalty":0,"tools":[],'
        b'"tool_choice":"auto","parallel_tool_calls":true,"max_output_tokens":null,'
        b'"previous_response_id":null,"store":false,"service_tier":"default"%b}'
        % (
            ID_MARK,
            NOW_MARK,
            done,
            msgspec.json.encode(model),
            status.encode(),
            output,
            error,
            reason,
            usage,
        )
    )


def _final(generation: Generation) -> bytes:
    finish = generation.finish
    if finish == "error":
        error = b'{"code":"server_error","message":"The provider broke off"}'
        return _response(generation.model, "failed", b"", _usage(generation), error=error)
    status = "incomplete" if finish == "length" else "completed"
    output = _output(generation.spoken_tokens, generation.tool, status)
    return _response(generation.model, status, output, _usage(generation), finish)


def _usage(generation: Generation) -> bytes:
    shape = generation.fault.usage
    if shape == "absent":
        return b""
    return b',"usage":' + (b"null" if shape == "null" else responses_usage(generation).encode())


def responses_body(generation: Generation) -> bytes:
    """A whole answer as JSON."""
    body = _final(generation)
    body = body.replace(NOW_MARK, b"%d" % generation.created)
    if generation.fault.ids in ("null", "none"):
        return body.replace(b'"%b"' % ID_MARK, b"null")
    return body.replace(ID_MARK, generation.id.encode())


def responses_end(generation: Generation) -> list[bytes]:
    """The frame that carries the usage."""
    name = {"length": "incomplete", "error": "failed"}.get(generation.finish, "completed")
    frames = frames_of(generation)
    place = len(frames.opening) + len(frames.pieces) + len(frames.closing)
    frame = b'data: {"type":"response.%b","sequence_number":%d,"response":%b}\n\n'
    return [frame % (name.encode(), place, _final(generation))]


def frames_of(generation: Generation) -> Frames:
    """All frames of this generation but the last event and `[DONE]`."""
    return responses_frames(
        generation.model,
        generation.spoken_tokens,
        generation.chunk_tokens,
        generation.finish,
        generation.tool,
    )


@lru_cache(maxsize=64)
def responses_frames(model: str, tokens: int, chunk_tokens: int, finish: str, tool: str) -> Frames:
    """All frames but the last event and `[DONE]`."""
    numbers = iter(range(100_000))
    frames = Frames()

    def event(kind: str, rest: bytes) -> bytes:
        text = b'data: {"type":"response.%b","sequence_number":%d,%b}\n\n'
        return text % (kind.encode(), next(numbers), rest)

    start = _response(model, "in_progress", b"", b"")
    place = b'"item_id":"%b","output_index":0' % _ITEM.encode()
    status = "incomplete" if finish == "length" else "completed"
    empty = _output(0, tool, "in_progress").replace(
        TOOL_ARGUMENTS.replace('"', '\\"').encode(), b""
    )
    if not tool:
        empty = empty.partition(b'"content":[')[0] + b'"content":[]}'
    frames.opening = [
        event("created", b'"response":%b' % start),
        event("in_progress", b'"response":%b' % start),
        event("output_item.added", b'"output_index":0,"item":%b' % empty),
    ]
    if tool:
        arguments = msgspec.json.encode(TOOL_ARGUMENTS)
        frames.pieces = [
            (event("function_call_arguments.delta", b'%b,"delta":%b' % (place, arguments)), tokens)
        ]
        closing = b'%b,"name":"%b","arguments":%b' % (place, tool.encode(), arguments)
        frames.closing = [event("function_call_arguments.done", closing)]
    else:
        place += b',"content_index":0'
        _text_frames(frames, event, place, tokens, chunk_tokens)
    item = _output(tokens, tool, status)
    frames.closing.append(event("output_item.done", b'"output_index":0,"item":%b' % item))
    frames.joined = joined([*frames.opening, *(f for f, _ in frames.pieces), *frames.closing])
    return frames


def _text_frames(frames: Frames, event: Any, place: bytes, tokens: int, chunk_tokens: int) -> None:
    part = b'%b,"part":{"type":"output_text","text":%b,"annotations":[]}'
    frames.opening.append(event("content_part.added", part % (place, b'""')))
    for start in range(0, tokens, chunk_tokens):
        count = min(chunk_tokens, tokens - start)
        delta = msgspec.json.encode(text_of(count, start))
        rest = b'%b,"delta":%b,"logprobs":[]' % (place, delta)
        frames.pieces.append((event("output_text.delta", rest), count))
    whole = msgspec.json.encode(text_of(tokens))
    frames.closing = [
        event("output_text.done", b'%b,"text":%b,"logprobs":[]' % (place, whole)),
        event("content_part.done", part % (place, whole)),
    ]


def responses_done() -> list[bytes]:
    """What ends the stream."""
    return [DONE]
