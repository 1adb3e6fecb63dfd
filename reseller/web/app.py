"""The pages: public ones now, and what machines ask of a site (health, robots, OpenAPI).

Everything under `/v1` is the gateway's and never comes here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from reseller import admission
from reseller.core import Core
from reseller.db.migrate import SET_NAME, migration_files
from reseller.db.sql import statement
from reseller.errors import NotFound, ResellerError
from reseller.units import usd_text
from reseller.web.openapi import build_openapi
from reseller.web.prices import showcase
from reseller.web.view import View

log = logging.getLogger("reseller.web")

_APPLIED = statement("list_applied_migrations")
_SHOWN_PRICES = 8
_EXAMPLE_PROMPT, _EXAMPLE_COMPLETION = 9, 8
_READY_S = 2.0
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:\d{1,5})?")
_FOR_EVER = "public, max-age=31536000, immutable"
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "form-action 'self' https://checkout.stripe.com; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
_TITLES = {
    404: "There is nothing here",
    405: "This address takes other requests",
    500: "Something broke on our side",
    503: "Not right now",
}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}

Handler: TypeAlias = Callable[..., Awaitable[Response]]


def build_web(core: Core, *, sign_up: str = "") -> Quart:
    """The Quart application; `sign_up` is the address of the page for new customers, if any."""
    app = Quart("reseller.web", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1_048_576
    # An address is right or it is not there; nothing is sent elsewhere.
    app.url_map.merge_slashes = False
    site = Site(core, sign_up)
    table: tuple[tuple[str, Handler], ...] = (
        ("/", site.landing),
        ("/static/<name>", site.static),
        ("/openapi.json", site.openapi),
        ("/robots.txt", site.robots),
        ("/healthz", site.healthz),
        ("/up", site.healthz),
        ("/readyz", site.readyz),
    )
    for path, handler in table:
        app.add_url_rule(path, f"{handler.__name__} {path}", handler, methods=["GET"])
    app.register_error_handler(ResellerError, site.refuse)
    app.register_error_handler(HTTPException, site.refuse_http)
    app.register_error_handler(Exception, site.refuse_fault)
    app.after_request(site.protect)
    return app


class Site:
    """The public pages of one shop."""

    def __init__(self, core: Core, sign_up: str) -> None:
        self._core = core
        self._sign_up = sign_up
        self._view = View(core.config)
        self._openapi = build_openapi("")
        # The page as it was rendered last, with what it was rendered from.
        self._landing: tuple[tuple[object, ...], str] | None = None

    async def landing(self) -> Response:
        """The start page; its prices are those of this moment."""
        live = self._core.live
        base_url = self._base_url()
        made_from = (live.catalogue, live.prices, base_url)
        if self._landing is None or self._landing[0] != made_from:
            self._landing = (made_from, self._render_landing(base_url))
        return _html(self._landing[1])

    def _render_landing(self, base_url: str) -> str:
        live = self._core.live
        prices = showcase(live, _SHOWN_PRICES)
        example = prices[0] if prices else None
        return self._view.render(
            "public/landing.html",
            base_url=base_url,
            sign_up=self._sign_up,
            prices=prices,
            model_count=len(live.catalogue.on_sale()),
            model=example.id if example else "openai/gpt-5.5",
            example_prompt=_EXAMPLE_PROMPT,
            example_completion=_EXAMPLE_COMPLETION,
            example_nanos=example.charge_for(_EXAMPLE_PROMPT, _EXAMPLE_COMPLETION)
            if example
            else 0,
            exact=usd_text,
        )

    async def static(self, name: str) -> Response:
        """A file under its hashed name, for ever; any other name is unknown."""
        asset = self._view.assets.find(name)
        if asset is None:
            raise NotFound("There is no such file.")
        response = Response(asset.body, content_type=asset.content_type)
        if asset.packed is not None:
            response.headers["vary"] = "accept-encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                response.set_data(asset.packed)
                response.headers["content-encoding"] = "gzip"
        response.headers["cache-control"] = _FOR_EVER
        return response

    async def openapi(self) -> Response:
        """The OpenAPI document of the API, its server being this one."""
        servers = [{"url": self._base_url() + path} for path in ("/v1", "/api/v1")]
        response = _json(self._openapi | {"servers": servers}, 200)
        response.headers["access-control-allow-origin"] = "*"
        return response

    async def robots(self) -> Response:
        """Crawlers may read the start page of a live shop, and nothing else."""
        allowed = "" if self._core.config.mode == "sandbox" else "Allow: /$\nAllow: /static/\n"
        return Response(f"User-agent: *\n{allowed}Disallow: /\n", content_type="text/plain")

    async def healthz(self) -> Response:
        """The process answers."""
        return _json({"status": "ok"}, 200)

    async def readyz(self) -> Response:
        """The database can be written, its schema is current, the disk is not full."""
        checks = {
            "database": await self._can_write(),
            "migrations": await self._is_migrated(),
            "disk": admission.DISK not in self._core.live.admission.reasons,
        }
        is_ready = all(checks.values())
        return _json({"ready": is_ready, "checks": checks}, 200 if is_ready else 503)

    async def _can_write(self) -> bool:
        try:
            async with asyncio.timeout(_READY_S):
                await self._core.journal.write(lambda _: None)
        except (sqlite3.Error, TimeoutError) as error:
            log.warning("not ready: %s", error or "the database is too slow")
            return False
        return True

    async def _is_migrated(self) -> bool:
        rows = await self._core.reader.rows(_APPLIED, (SET_NAME,))
        return {row["name"] for row in rows} == set(migration_files())

    def _base_url(self) -> str:
        """The address customers use, without a slash at the end."""
        configured = self._core.config.server.base_url
        if configured:
            return configured.rstrip("/")
        host = request.host if _HOST.fullmatch(request.host) else self._core.config.server.listen
        return f"{'https' if request.scheme == 'https' else 'http'}://{host}"

    # Errors.

    async def refuse(self, error: ResellerError) -> Response:
        """An error with an answer, as a page or for a program."""
        return self._problem(error.http_status, error.message, error.kind, error.code)

    async def refuse_http(self, error: HTTPException) -> Response:
        """What the router refuses: unknown addresses, wrong methods, bodies too large."""
        status = error.code or 500
        message = "This request cannot be served."
        if status == 404:
            message = "Check the address. The API is under /v1."
        code = _CODES.get(status, "invalid_request")
        response = self._problem(status, message, "invalid_request_error", code)
        if allow := dict(error.get_headers()).get("Allow"):
            response.headers["allow"] = allow
        return response

    async def refuse_fault(self, error: Exception) -> Response:
        """A mistake of ours: logged, and nothing of it shown."""
        log.exception("a page failed", exc_info=error)
        message = "It is on record and not your fault. Try again in a moment."
        return self._problem(500, message, "api_error", "internal_error")

    def _problem(self, status: int, message: str, kind: str, code: str) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            title = _TITLES.get(status, "That did not work")
            page = self._view.render(
                "public/problem.html", status=status, title=title, message=message
            )
            response = _html(page)
            response.status_code = status
            return response
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        return _json(body, status)

    async def protect(self, response: Response) -> Response:
        """Headers that every answer carries."""
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if self._core.config.server.base_url.startswith("https://"):
            response.headers.setdefault("strict-transport-security", "max-age=31536000")
        response.headers.setdefault("cache-control", "no-store")
        return response


def _html(page: str) -> Response:
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["cache-control"] = "no-cache"
    response.headers["vary"] = "host"
    return response


def _json(body: object, status: int) -> Response:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return Response(text, status=status, content_type="application/json")
