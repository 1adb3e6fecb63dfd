"""Reading what the upstream says about itself: models, prices, balance. Never a paid request.

The relay has a client of its own; this one is for small answers that are read whole.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import httpx

from reseller.config_schema import Upstream
from reseller.errors import UpstreamFault

MOST_BYTES = 64 * 1_048_576
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


class Refused(UpstreamFault):
    """The upstream answered, and said no; `refused_with` is its status."""

    def __init__(self, path: str, status: int) -> None:
        super().__init__(f"The upstream answered {status} to GET {path}.")
        self.refused_with = status


class UpstreamApi:
    """GET requests to the upstream with the operator's key."""

    def __init__(self, http: httpx.AsyncClient, upstream: Upstream) -> None:
        self._http = http
        self._upstream = upstream
        self._base = upstream.base_url.rstrip("/") + "/"

    @property
    def base_url(self) -> str:
        """Where the upstream is, ending in a slash."""
        return self._base

    async def read(
        self, path: str, *, etag: str = "", is_management: bool = False
    ) -> tuple[bytes | None, str]:
        """The answer's body and its ETag; no body where it still is the one with `etag`.

        `path` is relative to the base URL, or an address that the upstream gave for its next
        page. Raises Refused, or UpstreamFault where there was no whole answer.
        """
        headers = {"accept": "application/json"}
        if key := self._key(is_management):
            headers["authorization"] = f"Bearer {key}"
        if etag:
            headers["if-none-match"] = etag
        shown = path.partition("?")[0]
        try:
            async with self._http.stream(
                "GET", self._address(path), headers=headers, timeout=_TIMEOUT
            ) as response:
                if response.status_code == 304 and etag:
                    return None, etag
                if response.status_code != 200:
                    raise Refused(shown, response.status_code)
                body = await _read_bounded(response, shown)
                return body, response.headers.get("etag", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise UpstreamFault(f"GET {shown} from the upstream failed: {reason}") from error

    def _key(self, is_management: bool) -> str:
        if is_management and self._upstream.management_key:
            return self._upstream.management_key
        return self._upstream.api_key

    def _address(self, path: str) -> str:
        """The full address, which never leads to another host: it gets the operator's key."""
        address = urljoin(self._base, path)
        base, there = urlsplit(self._base), urlsplit(address)
        if (there.scheme, there.netloc) != (base.scheme, base.netloc):
            raise UpstreamFault(f"The upstream pointed at another host: {there.netloc!r:.100}")
        return address


async def _read_bounded(response: httpx.Response, shown: str) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise UpstreamFault(f"The upstream's answer to GET {shown} is beyond all bounds.")
        parts.append(part)
    return b"".join(parts)
