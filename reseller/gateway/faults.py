"""Upstream errors in our own words: what the customer is told, and what the operator hears.

Nothing of the upstream's body is passed on: it may name the operator's account and billing pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from reseller.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    ResellerError,
    TimedOut,
    TooLarge,
    Unavailable,
    Unprocessable,
    UpstreamFault,
)

CONSTRAINT_FILTERED = "constraint_filtered"
_WAIT_CAP_MS = 120_000


@dataclass(frozen=True, slots=True)
class Fault:
    """An upstream refusal: the error for the customer, and an alarm for the operator or none."""

    error: ResellerError
    alarm: str = ""
    constraint: str = ""


_BAD_REQUEST_TEXTS = {
    "context_length_exceeded": "The prompt and the output cap are longer than the model's context.",
    "max_tokens_exceeded": "The output cap is higher than the model allows.",
    "token_limit_exceeded": "The request has more tokens than the model allows.",
    "string_too_long": "A text in the request is longer than the model allows.",
    "content_policy_violation": "The provider refused the content under its policy.",
    "refusal": "The provider refused the request.",
    "invalid_prompt": "The provider could not use the prompt.",
    "invalid_image": "A picture in the request cannot be read.",
    "image_too_large": "A picture in the request is too large.",
    "image_too_small": "A picture in the request is too small.",
    "unsupported_image_format": "A picture in the request has a format the model does not take.",
    "image_not_found": "A picture in the request cannot be found.",
    "image_download_failed": "A picture in the request cannot be downloaded.",
}


def fault_from_answer(status: int, body: bytes, retry_after: str | None) -> Fault:
    """What an error answer means, from its status and its own error code."""
    error = _object(_decode(body).get("error"))
    return _fault(status, error, retry_after)


def fault_from_frame(raw: msgspec.Raw) -> Fault:
    """What an error inside a stream or a 200 means."""
    error = _object(_decode(bytes(raw)))
    code = str(error.get("code"))
    is_status = len(code) == 3 and code.isascii() and code.isdigit() and "400" <= code <= "599"
    status = int(code) if is_status else 502
    return _fault(status, error, None)


def _fault(status: int, error: dict[str, Any], retry_after: str | None) -> Fault:
    metadata = _object(error.get("metadata"))
    availability = _object(error.get("availability"))
    reason = str(metadata.get("error_type") or "")
    constraint = str(availability.get("code") or reason or "")
    if status == 401:
        return Fault(_paused(), alarm="upstream_key: the upstream refuses the API key (401)")
    if status == 402:
        return Fault(_paused(), alarm="upstream_balance: the upstream's balance is short (402)")
    if status == 403:
        return _forbidden(metadata)
    if status == 404:
        return Fault(
            NotFound(
                "No provider serves this model for such a request right now. Try another model.",
                code="model_unavailable",
                param="model",
            ),
            constraint=constraint,
        )
    if status == 429:
        return Fault(
            RateLimited(
                "The providers of this model are at capacity. Nothing was charged; try again.",
                code="upstream_busy",
                retry_after_ms=retry_after_ms(retry_after),
            )
        )
    return Fault(_other(status, reason, retry_after))


def _other(status: int, reason: str, retry_after: str | None) -> ResellerError:
    text = _BAD_REQUEST_TEXTS.get(reason)
    if status == 400:
        return BadRequest(
            text or "The provider cannot use this request. Check its fields and values.",
            code=reason if text else "invalid_request",
        )
    if status == 408:
        return TimedOut("The provider gave up on this request. Nothing was charged; try again.")
    if status == 413:
        return TooLarge("The request is larger than the provider takes.")
    if status == 422:
        return Unprocessable(text or "The provider cannot process this request's content.")
    if status in (503, 529):
        return Unavailable(
            "No provider of this model can take the request now. Nothing was charged; try again.",
            code="upstream_overloaded",
            retry_after_ms=retry_after_ms(retry_after),
        )
    if status in (504, 524):
        return UpstreamFault("The provider did not answer in time.", status=504)
    return UpstreamFault("The provider failed to answer this request.", retry=True)


def _forbidden(metadata: dict[str, Any]) -> Fault:
    if "reasons" in metadata or "flagged_input" in metadata:
        return Fault(
            Forbidden(
                "The content was refused by the model's moderation. Nothing was charged.",
                code="content_moderated",
            )
        )
    return Fault(_paused(), alarm="upstream_key: the upstream refuses the account's request (403)")


def _paused() -> Unavailable:
    """The operator's own trouble, which customers neither caused nor need to know."""
    return Unavailable(
        "The service cannot take this request right now. Nothing was charged; try again shortly.",
        retry_after_ms=30_000,
    )


def retry_after_ms(text: str | None) -> int:
    """A `Retry-After` value (seconds or date) in ms, 1 s where there is none, at most 2 minutes.

    A date cannot be compared without a clock, so it counts as the cap.
    """
    if text is None:
        return 1_000
    try:
        return max(0, min(int(float(text) * 1000), _WAIT_CAP_MS))
    except (ValueError, OverflowError):
        pass
    try:
        parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 1_000
    return _WAIT_CAP_MS


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return _object(msgspec.json.decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
