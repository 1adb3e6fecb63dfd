"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.config_schema import Holds
from reseller.errors import BadRequest
from reseller.gateway.ask import Fields, decode_field
from reseller.gateway.dialects.fields import CHAT
from reseller.gateway.dialects.openai import OpenAIDialect, check_modalities, take_texts
from reseller.gateway.prompt import Prompt

MAX_TOOLS = 512


class _Tool(msgspec.Struct):
    type: str = "function"


_decode_tools = msgspec.json.Decoder(list[_Tool]).decode


class Chat(OpenAIDialect):
    """Chat completions, whole or streamed, with tools and pictures in the prompt."""

    name = "chat"
    path = "/chat/completions"
    table = CHAT
    has_one_prompt = True

    def prompt(self, handled: Fields, passed: dict[str, Any], prompt: Prompt, holds: Holds) -> int:
        """Messages and tools."""
        check_modalities(handled)
        prompt.add_messages(handled, holds)
        passed["messages"] = handled["messages"]
        tools = decode_field(handled, "tools", _decode_tools, "a list of tools")
        if tools:
            _check_tools(tools)
            prompt.add_text(bytes(handled["tools"]))
            passed["tools"] = handled["tools"]
        take_texts(handled, passed, "session_id", "prompt_cache_key")
        return 1


def _check_tools(tools: list[_Tool]) -> None:
    if len(tools) > MAX_TOOLS:
        raise BadRequest(f"{len(tools)} tools are more than {MAX_TOOLS}.", param="tools")
    for tool in tools:
        if tool.type not in ("function", "custom"):
            raise BadRequest(
                f"Tools of type {tool.type!r:.60} run at the provider and are billed apart; "
                f"they are not offered here. Use function tools.",
                code="field_not_offered",
                param="tools",
            )
