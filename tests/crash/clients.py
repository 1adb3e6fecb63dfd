"""Customers' programs: what they ask for, and exactly what they got to see."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.crash.processes import EMBED, LARGE, SMALL, Stage


@dataclass(slots=True)
class Seen:
    """One request as its client saw it. `answer` is what came under status 200."""

    mark: str
    email: str
    request_id: str = ""
    status: int = 0
    answer: bytes = b""
    is_whole: bool = False
    has_left: bool = False
    error: str = ""
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_answer(self) -> bool:
        """Whether a byte of the answer itself arrived, comments aside."""
        lines = self.answer.split(b"\n")
        return any(line and not line.startswith(b":") for line in lines)

    async def answered(self) -> None:
        """Return once some of the answer is there."""
        async with asyncio.timeout(5):
            while not self.has_answer:
                self.grown.clear()
                await self.grown.wait()


def body_of(kind: str, text: str, **more: object) -> tuple[str, dict[str, Any]]:
    """Path and body of a request: `json`, `stream`, `completion` or `embedding`."""
    if kind == "embedding":
        return "/v1/embeddings", {"model": EMBED, "input": text, **more}
    if kind == "completion":
        return "/v1/completions", {"model": LARGE, "prompt": text, "max_tokens": 400, **more}
    body = {"model": SMALL, "max_tokens": 400, "messages": [{"role": "user", "content": text}]}
    return "/v1/chat/completions", {**body, "stream": kind == "stream", **more}


async def ask_for(
    stage: Stage,
    key: str,
    seen: Seen,
    kind: str,
    wishes: str = "",
    *,
    leaves_after_s: float | None = None,
    **more: object,
) -> Seen:
    """One request; a connection that breaks is noted, not raised. Fills `seen` as it goes."""
    path, body = body_of(kind, f"[[mark={seen.mark}]]{wishes} tell me", **more)
    headers = {"authorization": f"Bearer {key}"}
    try:
        async with asyncio.timeout(leaves_after_s):
            async with stage.http.stream(
                "POST", stage.server.url + path, json=body, headers=headers
            ) as got:
                seen.request_id = got.headers.get("x-request-id", "")
                async for chunk in got.aiter_raw():
                    if got.status_code == 200:
                        seen.answer += chunk
                        seen.grown.set()
                seen.status = got.status_code
                seen.is_whole = True
    except TimeoutError:
        seen.has_left = True
    except httpx.HTTPError as error:
        seen.error = type(error).__name__
    return seen


def shown_cost(seen: Seen) -> str:
    """The charge in USD that the answer's usage showed."""
    text = seen.answer.decode()
    for line in reversed(text.split("\n")):
        line = line.removeprefix("data: ")
        if line.startswith("{") and '"usage"' in line:
            return str(json.loads(line, parse_float=str)["usage"]["cost"])
    raise AssertionError(f"no usage in {text[-400:]}")
