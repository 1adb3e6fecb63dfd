"""What the OpenAI-shaped endpoints share: asking, building the upstream body, answering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from reseller.catalogue import Model
from reseller.config_schema import Holds
from reseller.errors import BadRequest, ResellerError
from reseller.gateway.ask import Ask, Field, Fields, decode_field, sort_fields
from reseller.gateway.dialects.fields import PROMPT_FIELDS
from reseller.gateway.meter import Meter, Usage, read_usage
from reseller.gateway.prompt import Prompt
from reseller.gateway.sse import ChunkRewriter, clean_choices

MAX_CHOICES = 8
_MOST_TOKENS = 10_000_000
_SHORTEST_MARK = 12
# The letters of `ttl` as escapes, which nobody writes without a purpose.
_SPELLED_TTL = (b"\\u0074", b"\\u006c", b"\\u006C")

decode_text = msgspec.json.Decoder(str, strict=True).decode
decode_flag = msgspec.json.Decoder(bool, strict=True).decode
decode_whole = msgspec.json.Decoder(int, strict=True).decode
_decode_texts = msgspec.json.Decoder(list[str], strict=True).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

OnUsage = Callable[[Usage], dict[str, Any]]


@dataclass(slots=True)
class Answer:
    """A whole JSON answer: its fields as shown, usage and id as the upstream gave them."""

    fields: dict[str, Any]
    usage: Usage | None
    generation_id: str | None
    provider: str | None
    error: msgspec.Raw | None


@dataclass(frozen=True, slots=True)
class Sending:
    """What the gateway adds to a request on its way upstream."""

    model: Model
    cap_tokens: int
    max_price: Mapping[str, Any]
    user: str


class OpenAIDialect:
    """One endpoint of the OpenAI API. Subclasses say which fields, prompt and answer it has."""

    name: ClassVar[str]
    path: ClassVar[str]
    table: ClassVar[Mapping[str, Field]]
    has_output: ClassVar[bool] = True
    modality: ClassVar[str] = "text"
    # Whether all of the prompt must fit into the model's context together.
    has_one_prompt: ClassVar[bool] = False
    shown: ClassVar[tuple[str, ...]] = (
        "object",
        "created",
        "model",
        "system_fingerprint",
        "service_tier",
        "choices",
    )

    def ask(self, fields: Fields, holds: Holds) -> Ask:
        """What the request asks for. Raises BadRequest, naming the field."""
        passed, handled = sort_fields(fields, self.table)
        model = decode_field(handled, "model", decode_text, "the id of a model")
        if not model:
            raise BadRequest(
                "The field 'model' is missing. GET /v1/models lists what is offered.",
                code="missing_field",
                param="model",
            )
        _check_tier(handled)
        prompt = Prompt()
        for name in PROMPT_FIELDS & passed.keys():
            prompt.add_text(bytes(passed[name]))
        choices = self.prompt(handled, passed, prompt, holds)
        n = _choices(handled)
        if n > 1:
            passed["n"] = n
        return Ask(
            model=model,
            is_stream=self._is_stream(handled),
            prompt_tokens=prompt.tokens,
            cap_tokens=_cap(handled) if self.has_output else 0,
            choices=choices * n,
            fields=passed,
            extra_nanos=prompt.extra_nanos,
            has_hour_cache=_has_hour_cache(fields),
            media=frozenset(prompt.media),
        )

    def prompt(self, handled: Fields, passed: dict[str, Any], prompt: Prompt, holds: Holds) -> int:
        """Count the prompt, move its fields into `passed`; returns how many answers it asks for
        by itself."""
        raise AssertionError("every dialect has a prompt")

    def body(self, ask: Ask, sending: Sending) -> bytes:
        """The body that goes upstream: what passed, and what the gateway decides."""
        # A copy: a price that moved sends it once more.
        fields = dict(ask.fields)
        fields["model"] = sending.model.id
        fields["user"] = sending.user
        fields["provider"] = {"max_price": sending.max_price}
        if ask.is_stream:
            fields["stream"] = True
        if self.has_output:
            fields["max_tokens"] = sending.cap_tokens
        for name in ("session_id", "prompt_cache_key"):
            if name in fields:
                fields[name] = f"{sending.user}:{fields[name]}"[:256]
        return _encode(fields)

    def answer(self, raw: bytes, request_id: str, *, show_provider: bool) -> Answer:
        """A JSON answer taken apart. Raises msgspec.DecodeError if it is no JSON object."""
        found = _decode_object(raw)
        shown: dict[str, Any] = {"id": request_id}
        for name in self.shown:
            if name in found:
                shown[name] = found[name]
        error = found.get("error")
        if error is not None and bytes(error) == b"null":
            error = None
        if "choices" in shown:
            if error is None:
                error = _choice_error(found["choices"])
            shown["choices"] = clean_choices(found["choices"])
        provider = _plain_text(found.get("provider"))
        if show_provider and provider:
            shown["provider"] = provider
        usage = found.get("usage")
        generation_id = _plain_text(found.get("id"))
        return Answer(
            fields=shown,
            usage=read_usage(usage) if usage is not None and bytes(usage) != b"null" else None,
            generation_id=generation_id if generation_id and len(generation_id) <= 128 else None,
            provider=provider,
            error=error,
        )

    def encode(self, fields: dict[str, Any]) -> bytes:
        """The JSON answer as sent to the customer."""
        return _encode(fields)

    def rewriter(
        self, request_id: str, meter: Meter, on_usage: OnUsage, *, show_provider: bool
    ) -> ChunkRewriter:
        """Rewrites the frames of a stream."""
        return ChunkRewriter(request_id, meter, on_usage, show_provider=show_provider)

    def error_frame(self, error: ResellerError, request_id: str) -> bytes:
        """An error after the stream began: one frame that SDKs raise as APIError."""
        shown = {
            "id": request_id,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            "error": error_object(error),
        }
        return b"data: " + _encode(shown) + b"\n\n"

    def _is_stream(self, handled: Fields) -> bool:
        wanted = bool(decode_field(handled, "stream", decode_flag, "true or false"))
        if wanted and not self.has_output:
            raise BadRequest("This endpoint does not stream.", param="stream")
        return wanted


def error_object(error: ResellerError) -> dict[str, Any]:
    """OpenAI's error object."""
    return {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }


def error_body(error: ResellerError) -> bytes:
    """OpenAI's error answer."""
    return _encode({"error": error_object(error)})


def take_texts(handled: Fields, passed: dict[str, Any], *names: str) -> None:
    """Move text fields that get a prefix on their way upstream. Raises BadRequest."""
    for name in names:
        text = decode_field(handled, name, decode_text, "a text")
        if text is not None:
            passed[name] = text


def _cap(handled: Fields) -> int | None:
    caps = []
    for name in ("max_completion_tokens", "max_tokens"):
        cap = decode_field(handled, name, decode_whole, "a whole number of tokens")
        if cap is None:
            continue
        if cap < 1:
            raise BadRequest(
                f"The field {name!r} is {cap}; it must be 1 or more.",
                code="invalid_value",
                param=name,
            )
        caps.append(min(cap, _MOST_TOKENS))
    return min(caps) if caps else None


def _choices(handled: Fields) -> int:
    n = decode_field(handled, "n", decode_whole, "a whole number")
    if n is None:
        return 1
    if not 1 <= n <= MAX_CHOICES:
        raise BadRequest(
            f"The field 'n' is {n}; it must be 1 to {MAX_CHOICES}.",
            code="invalid_value",
            param="n",
        )
    return n


def _check_tier(handled: Fields) -> None:
    tier = decode_field(handled, "service_tier", decode_text, "a text")
    if tier not in (None, "auto", "default", "standard"):
        raise BadRequest(
            f"The service tier {tier!r:.40} is not offered here. Leave 'service_tier' out.",
            code="field_not_offered",
            param="service_tier",
        )


def check_modalities(handled: Fields) -> None:
    """Only text is answered. Raises BadRequest."""
    wanted = decode_field(handled, "modalities", _decode_texts, "a list of texts")
    if wanted and set(wanted) != {"text"}:
        raise BadRequest(
            "Only text answers are offered here. Leave 'modalities' out.",
            code="field_not_offered",
            param="modalities",
        )


def _has_hour_cache(fields: Fields) -> bool:
    """Whether a cache mark may ask for the dearer hour: any mention of a lifetime counts."""
    for value in fields.values():
        raw = bytes(value)
        if len(raw) <= _SHORTEST_MARK:
            continue
        if b'"ttl"' in raw or (b"\\u00" in raw and any(mark in raw for mark in _SPELLED_TTL)):
            return True
    return False


def _choice_error(choices: msgspec.Raw) -> msgspec.Raw | None:
    """The error of the first choice, where the provider failed under a 200."""
    raw = bytes(choices)
    if b'"error"' not in raw:
        return None
    try:
        for choice in msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]]):
            error = choice.get("error")
            if error is not None and bytes(error) != b"null":
                return error
    except msgspec.DecodeError:
        pass
    return None


def _plain_text(raw: msgspec.Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return decode_text(raw)
    except msgspec.DecodeError:
        return None
