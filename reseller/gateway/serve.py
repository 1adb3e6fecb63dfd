"""A request, from its key to its settlement: read this first.

 1. identify   digest the key, look it up in memory                                (401)
 2. parse      bounded body, model, stream flag                               (400, 413)
 3. route      price book and the key's allow-list                            (403, 404)
 4. admit      rate limits                                                         (429)
 5. quote      then reserve a hold for the most it may cost                        (402)
 6. the hold's row is on disk                                        `Call._write_hold`
 7. open       call the upstream; its generation id is on disk before a byte leaves (502)
 8. relay      rewrite each frame, count it
 9. usage      from the upstream; none seen: the hold is parked
10. charge     the only place that rounds                               `pricing.charge`
11. settle     capture, release or park the hold exactly once; post the rows

Steps 3 to 5 are `Engine.admit`: memory only, no await; where running requests hold the money it
is tried again as they end, for a moment. From step 6 on a task of the server owns the request
(`call.Call.run`); the connection only reads its bounded queue (`relay`).
"""

from __future__ import annotations

from reseller.errors import RateLimited, ResellerError, TimedOut, Unauthenticated
from reseller.gateway.address import client_address
from reseller.gateway.ask import decode_body
from reseller.gateway.body import Receive, Scope, Send, content_length
from reseller.gateway.dialects.openai import OpenAIDialect
from reseller.gateway.engine import Engine
from reseller.gateway.relay import Headers, relay
from reseller.limits import rate_headers
from reseller.live import ApiKey


async def serve(
    engine: Engine,
    dialect: OpenAIDialect,
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: Headers,
    request_id: str,
) -> None:
    """Serve one paid request. Raises ResellerError before anything was sent, ClientGone."""
    length = content_length(scope["headers"])
    try:
        key = identify(engine, scope)
        account = key.account.id
        engine.check_early(key)
        body = await engine.bodies.read(receive, length, account)
    except ResellerError as error:
        if isinstance(error, RateLimited):
            headers += rate_headers(*key.limiters)
        if not isinstance(error, TimedOut):
            await engine.bodies.pass_over(receive, length)
        raise
    size = len(body)
    try:
        ask = dialect.ask(decode_body(body), engine.core.config.holds)
        del body
        call = await engine.admit_soon(key, dialect, ask, request_id)
    except BaseException as error:
        engine.bodies.release(size, account)
        if isinstance(error, RateLimited):
            headers += rate_headers(*key.limiters)
        raise
    call.body_bytes = size
    engine.start(call)
    headers += rate_headers(*key.limiters)
    if call.is_lowered:
        headers.append((b"x-reseller-max-tokens", b"%d" % call.sending.cap_tokens))
    await relay(engine, call, headers, receive, send)


def identify(engine: Engine, scope: Scope) -> ApiKey:
    """The key of a request, checked. Raises Unauthenticated, Forbidden."""
    presented = presented_key(scope)
    if presented is None:
        raise Unauthenticated(
            "No API key provided. Send it as 'Authorization: Bearer sk-rs-…'; make one in the "
            "dashboard under API keys.",
            code="missing_api_key",
        )
    key = engine.live.find_key(presented)
    key.check(engine.clock.now_ms(), client_address(scope, engine.trusted_proxies))
    return key


def presented_key(scope: Scope) -> str | None:
    """The key as sent: bearer first, then `x-api-key`; None where there is neither."""
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, rest = value.partition(b" ")
            if kind.lower() == b"bearer" and rest.strip():
                return str(rest.strip(), "latin-1")
            found = found or str(value.strip(), "latin-1") or None
        elif name == b"x-api-key" and value.strip():
            found = str(value.strip(), "latin-1")
    return found
