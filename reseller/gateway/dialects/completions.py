"""POST /v1/completions, the older text endpoint."""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.config_schema import Holds
from reseller.errors import BadRequest
from reseller.gateway.ask import Fields, decode_field
from reseller.gateway.dialects.fields import COMPLETIONS
from reseller.gateway.dialects.openai import OpenAIDialect, take_texts
from reseller.gateway.prompt import Prompt

MAX_PROMPTS = 64

_decode_prompt = msgspec.json.Decoder(str | list[str | int | list[int]]).decode


class Completions(OpenAIDialect):
    """Text completions, whole or streamed."""

    name = "completions"
    path = "/completions"
    table = COMPLETIONS

    def prompt(self, handled: Fields, passed: dict[str, Any], prompt: Prompt, holds: Holds) -> int:
        """A text, a list of texts, a list of tokens, or a list of such lists."""
        found = decode_field(handled, "prompt", _decode_prompt, "a text or a list of texts")
        if not found:
            raise BadRequest(
                "The field 'prompt' is missing or empty.", code="missing_field", param="prompt"
            )
        prompt.add_text(bytes(handled["prompt"]))
        passed["prompt"] = handled["prompt"]
        take_texts(handled, passed, "session_id")
        return _prompts(found)


def _prompts(found: str | list[str | int | list[int]]) -> int:
    """How many prompts there are; a list of token numbers is one."""
    if isinstance(found, str) or all(isinstance(item, int) for item in found):
        return 1
    if len(found) > MAX_PROMPTS:
        raise BadRequest(f"{len(found)} prompts are more than {MAX_PROMPTS}.", param="prompt")
    return len(found)
