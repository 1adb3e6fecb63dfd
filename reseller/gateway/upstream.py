"""The relay's way to the upstream: one aiohttp session, and what its failures mean for money.

NotSent      provably nothing reached the upstream: the hold is released at once
MaybeBilled  the request may have been received: the hold stays pending
CutOff       the answer began and broke: its cost is asked for by the generation id
"""

from __future__ import annotations

import aiohttp
import yarl

from reseller.config_schema import Upstream as UpstreamConfig
from reseller.errors import UpstreamFault

# An answer is never retried by us: the upstream falls back before the first token itself.
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
READ_BYTES = 16_384


class NotSent(UpstreamFault):
    """No connection: nothing was sent, nothing is billed."""

    default_code = "upstream_unreachable"
    default_retry = True


class MaybeBilled(UpstreamFault):
    """The connection broke before an answer: nobody knows whether the upstream billed."""

    default_code = "upstream_lost"


class CutOff(UpstreamFault):
    """The answer broke off."""

    default_code = "upstream_cut_off"


class Upstream:
    """A session without cookies, limits or decompression."""

    def __init__(self, config: UpstreamConfig, base_url: str) -> None:
        self._config = config
        self._base = base_url.rstrip("/")
        self._urls: dict[str, yarl.URL] = {}
        headers = {
            "authorization": f"Bearer {config.api_key}",
            "content-type": "application/json",
            "accept-encoding": "identity",
        }
        if config.app_url:
            headers["http-referer"] = config.app_url
        if config.app_title:
            headers["x-title"] = config.app_title
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(
                limit=config.max_connections, keepalive_timeout=15, ttl_dns_cache=60
            ),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=None,
                # `connect` would also time the wait for a free connection, of which there are
                # always enough, and would cost every request a timer.
                connect=None,
                sock_connect=config.connect_timeout_s,
                sock_read=config.read_timeout_s,
            ),
            auto_decompress=False,
            read_bufsize=READ_BYTES,
            skip_auto_headers=("user-agent",),
            trust_env=False,
        )

    async def open(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of the answer. Raises NotSent, MaybeBilled."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = yarl.URL(self._base + path, encoded=True)
        try:
            return await self._session.post(url, data=body, allow_redirects=False)
        except _NOT_SENT as error:
            raise NotSent(
                "The provider cannot be reached. Nothing was charged; try again."
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MaybeBilled(
                "The connection to the provider broke before it answered. If it billed the "
                "request, the charge appears in your usage."
            ) from error

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()


async def read_all(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises CutOff."""
    try:
        return await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise cut_off() from error


async def read_some(response: aiohttp.ClientResponse) -> bytes:
    """What is there of the body, at least a byte; empty at its end. Raises CutOff."""
    content = response.content
    try:
        return await content.readany()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # What came before the break is the customer's, and may hold the usage. aiohttp no longer
        # gives it out, but still has it.
        left = b"".join(content._buffer)
        content._buffer.clear()
        if left:
            return left
        raise cut_off() from error


def cut_off() -> CutOff:
    """The error a customer sees when an answer broke off."""
    return CutOff(
        "The provider's answer broke off. What it billed is charged once it is known; "
        "see your usage."
    )


def stopping() -> MaybeBilled:
    """The error a customer sees when the server stops before the answer is whole."""
    return MaybeBilled(
        "The service is restarting. If the provider billed the request, the charge appears in "
        "your usage.",
        code="service_stopping",
        status=503,
    )
