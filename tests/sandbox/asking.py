"""What the simulator's tests send, and how they read what comes back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import msgspec

PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "messages": "/messages",
}


def body(
    model: str = "sandbox/large", text: str = "Hello there", *, api: str = "chat", **more: Any
) -> dict[str, Any]:
    """A request of one user message, in the shape of the interface."""
    asked: dict[str, Any] = {"model": model}
    if api == "responses":
        asked["input"] = text
    elif api == "completions":
        asked["prompt"] = text
    else:
        asked["messages"] = [{"role": "user", "content": text}]
    if api == "messages":
        asked["max_tokens"] = 100
    return asked | more


async def ask(
    client: httpx.AsyncClient, *args: str, api: str = "chat", **more: Any
) -> httpx.Response:
    """Send such a request."""
    return await client.post(PATHS[api], json=body(*args, api=api, **more))


class Usage(msgspec.Struct):
    """The money of a usage object."""

    cost: Decimal | None = None
    is_byok: bool | None = None
    cost_details: dict[str, Decimal | None] | None = None


class Costed(msgspec.Struct):
    """An answer, or the frame of one, with its usage read exactly."""

    usage: Usage = msgspec.field(default_factory=Usage)
    id: str | None = None
    model: str = ""


def exact(text: bytes | str) -> Costed:
    """An answer with its costs as decimals."""
    return msgspec.json.decode(text, type=Costed)


def frames(text: str) -> list[str]:
    """The data of every frame, `[DONE]` among them; comments left out."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def parsed(text: str) -> list[dict[str, Any]]:
    """Every frame that is JSON."""
    return [msgspec.json.decode(frame) for frame in frames(text) if frame != "[DONE]"]


def said(chunks: list[dict[str, Any]]) -> str:
    """The text of a chat stream."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
