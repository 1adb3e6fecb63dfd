"""Error bodies, in the shape of the interface that was called."""

from __future__ import annotations

from typing import Any

import msgspec

from reseller.sandbox.faults import Fault

_MESSAGES_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    524: "timeout_error",
    529: "overloaded_error",
}
USER_ID = "user_sandbox0operator0account00"


def error_body(
    api: str,
    status: int,
    error_type: str,
    message: str,
    *,
    metadata: dict[str, Any] | None = None,
    availability: dict[str, Any] | None = None,
    shows_user: bool = False,
) -> bytes:
    """The error as this interface words it."""
    if api == "messages":
        kind = _MESSAGES_TYPES.get(status, "api_error")
        inner = {"type": kind, "message": message, "error_type": error_type}
        return msgspec.json.encode({"type": "error", "error": inner, "request_id": None})
    error: dict[str, Any] = {
        "message": message,
        "code": status,
        "metadata": {"error_type": error_type, **(metadata or {})},
    }
    if availability:
        error["availability"] = availability
    body: dict[str, Any] = {"error": error}
    if shows_user:
        body["user_id"] = USER_ID
    return msgspec.json.encode(body)


def fault_refusal(api: str, fault: Fault, model: str) -> tuple[bytes, bytes]:
    """Body and extra headers of a refusal by a fault."""
    extra = b""
    availability: dict[str, Any] | None = None
    if fault.availability:
        availability = {
            "code": fault.availability,
            "retryable": fault.status in (429, 503),
            "requested_models": [model],
        }
    if fault.retry_after:
        extra += b"Retry-After: %d\r\n" % fault.retry_after
        if availability:
            availability["retry_after"] = fault.retry_after
    if fault.limit_headers:
        extra += (
            b"X-RateLimit-Limit: 20\r\nX-RateLimit-Remaining: 0\r\n"
            b"X-RateLimit-Reset: 1999999999000\r\n"
        )
    body = error_body(
        api,
        fault.status,
        fault.error_type or "server",
        fault.message or "Internal fault",
        metadata=msgspec.json.decode(fault.metadata) if fault.metadata else None,
        availability=availability,
        shows_user=fault.shows_user,
    )
    return body, extra


def stream_error(api: str, head: bytes, *, is_bare: bool) -> bytes:
    """An error as a frame; `head` is how this answer's chat frames begin."""
    message = "The provider broke off"
    if api == "messages":
        body = error_body(api, 529, "provider_overloaded", message)
        return b"event: error\ndata: %b\n\n" % body
    error = (
        b'"error":{"code":502,"message":"%b","metadata":'
        b'{"error_type":"provider_unavailable","provider_code":"E77"}}' % message.encode()
    )
    if api == "responses" and not is_bare:
        return b'data: {"type":"response.error",%b}\n\n' % error
    if api == "responses":
        return (
            b'data: {"type":"error","code":"server_error","message":"%b","param":null,'
            b'"sequence_number":99}\n\n' % message.encode()
        )
    if is_bare:
        return b"data: {%b}\n\n" % error
    tail = b'"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}\n\n'
    return b"%b%b,%b" % (head, error, tail)
