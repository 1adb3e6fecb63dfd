"""Reads request bodies: what was asked for, whichever of the upstream's interfaces it came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from reseller.sandbox.catalogue import PriceCap

_IMAGE_TOKENS = 258
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


class Part(msgspec.Struct):
    """One piece of a message's content; only text and the kind are looked at."""

    type: str = "text"
    text: str | None = None


Content: TypeAlias = str | list[Part] | None


class Message(msgspec.Struct):
    """A message of any interface; an entry without content weighs only its place."""

    role: str = ""
    content: Content = None


class Function(msgspec.Struct):
    """What the chat interface wraps a tool's name in."""

    name: str = ""


class Tool(msgspec.Struct):
    """A tool in the chat shape (`function`) or in the flat shape of the other interfaces."""

    name: str = ""
    function: Function | None = None


class Preferences(msgspec.Struct):
    """The part of `provider` that the simulator heeds."""

    max_price: PriceCap | None = None
    only: list[str] | None = None
    order: list[str] | None = None
    ignore: list[str] | None = None


class _Common(msgspec.Struct, kw_only=True):
    """What every interface may carry."""

    model: str | None = None
    models: list[str] | None = None
    stream: bool | None = None
    provider: Preferences | None = None
    user: str | None = None
    service_tier: str | None = None
    tools: list[Tool] | None = None
    tool_choice: msgspec.Raw = msgspec.Raw(b"null")


class ChatBody(_Common, kw_only=True):
    """Chat and completions."""

    messages: list[Message] | None = None
    prompt: str | list[Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


class ResponsesBody(_Common, kw_only=True):
    """Responses; nothing is stored, so `store` is refused."""

    input: str | list[Message] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    safety_identifier: str | None = None


class MessagesBody(_Common, kw_only=True):
    """Messages; `max_tokens` must be there."""

    system: Content = None
    messages: list[Message]
    max_tokens: int


class OtherBody(_Common, kw_only=True):
    """Embeddings, rerank, images and speech."""

    input: str | list[Any] | None = None
    prompt: str | None = None
    query: str | None = None
    documents: list[Any] | None = None
    top_n: int | None = None
    n: int | None = None
    dimensions: int | None = None
    encoding_format: str | None = None
    response_format: Any = None
    input_audio: dict[str, Any] | None = None


@dataclass(slots=True)
class Asked:
    """One inference request in the simulator's own terms."""

    api: str
    model: str
    models: list[str]
    is_stream: bool
    cap: int | None
    prompt_tokens: int
    last_text: str = ""
    user: str | None = None
    tier: str | None = None
    count: int = 1
    tool: str = ""
    tool_is_forced: bool = False
    provider: Preferences | None = None
    other: OtherBody | None = None


class Unreadable(ValueError):
    """The body is not a request of its interface; the text says what is wrong."""


_chat = msgspec.json.Decoder(ChatBody)
_responses = msgspec.json.Decoder(ResponsesBody)
_messages = msgspec.json.Decoder(MessagesBody)
_other = msgspec.json.Decoder(OtherBody)


def read_asked(api: str, body: bytes) -> Asked:
    """The request in `body`. Raises Unreadable."""
    reader = _READERS.get(api, _read_other)
    try:
        asked = reader(api, body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Unreadable(f"The body cannot be read: {error}") from None
    if not asked.model:
        raise Unreadable("The field model is missing")
    return asked


def _read_chat(api: str, body: bytes) -> Asked:
    read = _chat.decode(body)
    if read.messages:
        tokens, last_text = _weigh(read.messages)
    elif read.prompt is not None:
        tokens, last_text = text_tokens(read.prompt), _text_of(read.prompt)
    else:
        raise Unreadable("Either messages or prompt must be given")
    cap = read.max_completion_tokens if read.max_tokens is None else read.max_tokens
    return _asked(api, read, cap, tokens, last_text, read.user, count=read.n or 1)


def _read_responses(api: str, body: bytes) -> Asked:
    read = _responses.decode(body)
    if read.store or read.previous_response_id is not None:
        raise Unreadable("Responses are not stored: store and previous_response_id are refused")
    if read.input is None:
        raise Unreadable("The field input is missing")
    entries = [Message("user", read.input)] if isinstance(read.input, str) else read.input
    tokens, last_text = _weigh(entries)
    tokens += text_tokens(read.instructions or "")
    user = read.safety_identifier or read.user
    return _asked(api, read, read.max_output_tokens, tokens, last_text, user)


def _read_messages(api: str, body: bytes) -> Asked:
    read = _messages.decode(body)
    tokens, last_text = _weigh(read.messages)
    tokens += _weigh([Message("system", read.system)])[0] if read.system else 0
    return _asked(api, read, read.max_tokens, tokens, last_text, read.user)


def _read_other(api: str, body: bytes) -> Asked:
    read = _other.decode(body)
    text = read.input if read.input is not None else read.prompt
    if text is None:
        text = read.query
    if text is None and read.input_audio is None:
        raise Unreadable("There is nothing to work on: input, prompt, query or input_audio")
    tokens = max(1, text_tokens(text if text is not None else ""))
    asked = _asked(api, read, None, tokens, _text_of(text), read.user, count=read.n or 1)
    asked.other = read
    return asked


_READERS = {
    "chat": _read_chat,
    "completions": _read_chat,
    "responses": _read_responses,
    "messages": _read_messages,
}


def _asked(
    api: str,
    read: _Common,
    cap: int | None,
    tokens: int,
    last_text: str,
    user: str | None,
    count: int = 1,
) -> Asked:
    if cap is not None and cap < 1:
        raise Unreadable("The cap on tokens must be at least 1")
    if not 1 <= count <= 128:
        raise Unreadable("n must be between 1 and 128")
    asked = Asked(
        api=api,
        model=read.model or "",
        models=read.models or [],
        is_stream=bool(read.stream),
        cap=cap,
        prompt_tokens=tokens,
        last_text=last_text,
        user=user,
        tier=read.service_tier,
        count=count,
        provider=read.provider,
    )
    if read.tools:
        _choose_tool(asked, read.tools, bytes(read.tool_choice))
    return asked


def _choose_tool(asked: Asked, tools: list[Tool], choice: bytes) -> None:
    names = [tool.function.name if tool.function else tool.name for tool in tools]
    asked.prompt_tokens += 8 * len(names)
    if choice == b'"none"':
        return
    asked.tool = next((name for name in names if b'"%b"' % name.encode() in choice), names[0])
    asked.tool_is_forced = choice[:1] == b"{" or choice in (b'"required"', b'"any"')


def _weigh(messages: list[Message]) -> tuple[int, str]:
    """Prompt tokens of messages, and the text of the last one by the user."""
    tokens, last = 0, ""
    for message in messages:
        content = message.content
        if isinstance(content, str):
            text = content
        else:
            parts = content or []
            text = "".join([part.text or "" for part in parts])
            tokens += _IMAGE_TOKENS * sum(part.type in _IMAGE_PARTS for part in parts)
        tokens += 3 + (len(text) + 3) // 4
        if message.role == "user":
            last = text
    return tokens, last


def text_tokens(text: str | list[Any]) -> int:
    """Tokens of a text, a list of texts, or lists of token numbers."""
    if isinstance(text, str):
        return (len(text) + 3) // 4
    return sum(1 if isinstance(entry, int) else max(1, _entry_tokens(entry)) for entry in text)


def _entry_tokens(entry: Any) -> int:
    return text_tokens(entry) if isinstance(entry, str | list) else _IMAGE_TOKENS


def _text_of(text: str | list[Any] | None) -> str:
    if isinstance(text, list):
        text = text[-1] if text else ""
    return text if isinstance(text, str) else ""
