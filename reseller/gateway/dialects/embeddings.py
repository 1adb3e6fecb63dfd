"""POST /v1/embeddings."""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.config_schema import Holds
from reseller.errors import BadRequest
from reseller.gateway.ask import Fields, decode_field
from reseller.gateway.dialects.fields import EMBEDDINGS
from reseller.gateway.dialects.openai import OpenAIDialect, take_texts
from reseller.gateway.prompt import Prompt

MAX_INPUTS = 4_096

_decode_input = msgspec.json.Decoder(str | list[str | int | list[int]]).decode


class Embeddings(OpenAIDialect):
    """Vectors for texts. There is no output to cap: the prompt is all that is billed."""

    name = "embeddings"
    path = "/embeddings"
    table = EMBEDDINGS
    has_output = False
    modality = "embeddings"
    shown = ("object", "data", "model")

    def prompt(self, handled: Fields, passed: dict[str, Any], prompt: Prompt, holds: Holds) -> int:
        """A text, a list of texts, a list of tokens, or a list of such lists."""
        found = decode_field(handled, "input", _decode_input, "a text or a list of texts")
        if not found:
            raise BadRequest(
                "The field 'input' is missing or empty.", code="missing_field", param="input"
            )
        if len(found) > MAX_INPUTS and not isinstance(found, str) and not _is_tokens(found):
            raise BadRequest(f"{len(found)} inputs are more than {MAX_INPUTS}.", param="input")
        prompt.add_text(bytes(handled["input"]))
        passed["input"] = handled["input"]
        take_texts(handled, passed, "session_id")
        return 1


def _is_tokens(found: list[str | int | list[int]]) -> bool:
    return all(isinstance(item, int) for item in found)
