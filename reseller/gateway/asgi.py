"""The gateway as plain ASGI: paths, methods, CORS, and errors turned into answers.

`/v1` and `/api/v1` are the same. Cookies are never read. HTTP/1.1 only; HTTP/2 is the front
proxy's (docs/ARCHITECTURE.md "Engine").
"""

from __future__ import annotations

import logging

from reseller.errors import BadRequest, NotFound, ResellerError, TooLarge
from reseller.gateway.body import ClientGone, Receive, Scope, Send
from reseller.gateway.dialects.chat import Chat
from reseller.gateway.dialects.completions import Completions
from reseller.gateway.dialects.embeddings import Embeddings
from reseller.gateway.dialects.openai import OpenAIDialect, error_body
from reseller.gateway.engine import Engine
from reseller.gateway.model_list import ModelList
from reseller.gateway.relay import JSON_TYPE, Headers, send_answer
from reseller.gateway.serve import identify, presented_key, serve

log = logging.getLogger("reseller.gateway")

DIALECTS: dict[str, OpenAIDialect] = {
    dialect.path: dialect for dialect in (Chat(), Completions(), Embeddings())
}
_EXPOSED = (
    b"x-request-id, x-should-retry, retry-after, retry-after-ms, x-reseller-max-tokens, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED),
]
_HEADER_BYTES = 32_768


class MethodNotAllowed(BadRequest):
    """The path is there, the method is not."""

    status = 405
    default_code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"Use {allowed} here, not {method!r:.20}.")
        self.allowed = allowed


class HttpVersion(ResellerError):
    """HTTP/2 without the front proxy."""

    status = 505
    default_code = "http_version_not_supported"


def is_gateway_path(path: str) -> bool:
    """Whether a path belongs to the API."""
    return path.startswith(("/v1/", "/api/v1/")) or path in ("/v1", "/api/v1")


class Gateway:
    """The ASGI application of the API."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._models = ModelList(engine.live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors are answered in OpenAI's shape."""
        request_id = self._engine.ids.request_id(self._engine.clock.now_ms())
        headers: Headers = [(b"x-request-id", request_id.encode()), *_CORS]
        try:
            await self._answer(scope, receive, send, headers, request_id)
        except ClientGone:
            return
        except ResellerError as error:
            await _send_error(send, error, headers)
        except Exception:
            log.exception("request %s failed", request_id)
            broken = ResellerError("Something went wrong on our side. Nothing was charged.")
            await _send_error(send, broken, headers)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str
    ) -> None:
        # One of the servers calls 1.0 "1".
        if scope["http_version"] not in ("1.1", "1.0", "1"):
            raise HttpVersion("Use HTTP/1.1; HTTP/2 is offered by the proxy in front.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADER_BYTES:
            raise TooLarge("The request's headers are larger than 32 KB.", status=431)
        path = scope["path"].removeprefix("/api").removeprefix("/v1").rstrip("/")
        method = scope["method"]
        if method == "OPTIONS":
            await _preflight(scope, send, headers)
            return
        dialect = DIALECTS.get(path)
        if dialect is not None:
            _only(method, "POST")
            await serve(self._engine, dialect, scope, receive, send, headers, request_id)
            return
        if path == "/models" or path.startswith("/models/"):
            _only(method, "GET")
            await self._list(scope, send, headers, path.removeprefix("/models").lstrip("/"))
            return
        raise NotFound(
            f"There is no {scope['path']!r:.120}. The API reference lists what is offered.",
            code="unknown_path",
        )

    async def _list(self, scope: Scope, send: Send, headers: Headers, name: str) -> None:
        """Models need no key; with one, the prices are those of its account."""
        key = identify(self._engine, scope) if presented_key(scope) is not None else None
        if not name:
            body: bytes | None = self._models.all(key)
        else:
            body = self._models.one(self._engine.find_model(name), key)
        if body is None:
            raise NotFound(f"The model {name!r:.120} does not exist here.", code="model_not_found")
        await send_answer(send, 200, [JSON_TYPE, *headers], body)


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise MethodNotAllowed(method, allowed)


async def _preflight(scope: Scope, send: Send, headers: Headers) -> None:
    """A browser asks whether it may call: yes, without credentials."""
    asked = b"authorization, content-type"
    for name, value in scope["headers"]:
        if name == b"access-control-request-headers" and len(value) < 4_096:
            asked = value
    headers = [
        *headers,
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"86400"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_error(send: Send, error: ResellerError, headers: Headers) -> None:
    extra: Headers = [
        JSON_TYPE,
        (b"x-should-retry", b"true" if error.should_retry else b"false"),
    ]
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", f"{error.allowed}, OPTIONS".encode()))
    if error.retry_after_ms is not None:
        extra.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1000)))
        extra.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
    await send_answer(send, error.http_status, [*extra, *headers], error_body(error))
