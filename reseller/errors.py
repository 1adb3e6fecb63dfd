"""Every error the product raises on purpose, and how each one answers.

    ResellerError                500  api_error
    ├── BadRequest               400  invalid_request_error   the caller can mend it
    │   ├── TimedOut             408
    │   ├── TooLarge             413
    │   └── Unprocessable        422
    ├── Unauthenticated          401  authentication_error
    ├── InsufficientCredit       402  insufficient_quota
    ├── Forbidden                403  permission_error
    ├── NotFound                 404  not_found_error
    ├── Conflict                 409  conflict_error
    ├── RateLimited              429  rate_limit_error        says when to come back
    ├── UpstreamFault            502  upstream_error          the provider failed
    └── Unavailable              503  service_unavailable     nothing was charged, come back

`gateway/asgi.py`, `web/app.py`, the admin socket and the command line turn them into answers;
nothing else does. `code` is stable and listed in docs/API.md.
"""

from __future__ import annotations

from typing import ClassVar


class ResellerError(Exception):
    """An error with an answer: `status`, `kind` (OpenAI's `type`), `code`, and what to do."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "api_error"
    default_code: ClassVar[str] = "internal_error"
    # Whether a client may send the same request again without paying twice (`x-should-retry`).
    default_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry: bool | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.http_status = status or self.status
        self.should_retry = self.default_retry if retry is None else retry
        self.retry_after_ms = retry_after_ms


class BadRequest(ResellerError):
    """The request itself is wrong."""

    status = 400
    kind = "invalid_request_error"
    default_code = "invalid_request"


class TimedOut(BadRequest):
    """The request's body came too slowly."""

    status = 408
    default_code = "request_timeout"


class TooLarge(BadRequest):
    """A body, header or list beyond its bound."""

    status = 413
    default_code = "request_too_large"


class Unprocessable(BadRequest):
    """Well-formed, but a value in it cannot be used."""

    status = 422
    default_code = "unprocessable"


class Unauthenticated(ResellerError):
    """No API key, or not one that may be used."""

    status = 401
    kind = "authentication_error"
    default_code = "invalid_api_key"


class InsufficientCredit(ResellerError):
    """The balance or a spend limit cannot cover the request."""

    status = 402
    kind = "insufficient_quota"
    default_code = "insufficient_credits"


class Forbidden(ResellerError):
    """The key is known and may not do this."""

    status = 403
    kind = "permission_error"
    default_code = "forbidden"


class NotFound(ResellerError):
    """No such model, path, customer or object."""

    status = 404
    kind = "not_found_error"
    default_code = "not_found"


class Conflict(ResellerError):
    """The change clashes with what is there."""

    status = 409
    kind = "conflict_error"
    default_code = "conflict"


class RateLimited(ResellerError):
    """A limit was reached; `retry_after_ms` says when there is room."""

    status = 429
    kind = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    default_retry = True


class UpstreamFault(ResellerError):
    """The provider failed; what it billed, if anything, is settled separately."""

    status = 502
    kind = "upstream_error"
    default_code = "upstream_error"


class Unavailable(ResellerError):
    """The shop cannot take the request now; nothing was sent or charged."""

    status = 503
    kind = "service_unavailable"
    default_code = "service_unavailable"
    default_retry = True
