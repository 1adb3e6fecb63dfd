"""Where a request comes from: the peer, or what a configured proxy says of it."""

from __future__ import annotations

import ipaddress
from typing import Any

from reseller.live import Network


def client_address(scope: Any, proxies: tuple[Network, ...]) -> str | None:
    """The client's address. `X-Forwarded-For` counts only behind configured proxies, read from
    its right end: the first address that is no proxy of ours is the client."""
    client = scope.get("client")
    peer: str | None = client[0] if client else None
    if not proxies or peer is None or not _is_in(peer, proxies):
        return peer
    forwarded: list[str] = [
        part.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for part in value.decode("latin-1").split(",")
    ]
    for address in reversed(forwarded):
        if not _is_in(address, proxies):
            return address
    return forwarded[0] if forwarded else peer


def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
