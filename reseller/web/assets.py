"""Static files: read once from the package, served from memory under names that hold their hash.

Such a name never means anything else, so that browsers keep it for ever.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

FOLDER = "/static/"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
_PACKED = frozenset({"css", "js", "svg"})


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent; `packed` is its gzip where that is smaller."""

    name: str
    body: bytes
    packed: bytes | None
    content_type: str


class Assets:
    """All static files by the name templates use, and by the address browsers ask for."""

    def __init__(self, made: Mapping[str, bytes], logo: Path | None = None) -> None:
        files = dict(made)
        for file in resources.files("reseller.web").joinpath("static").iterdir():
            if file.name.rpartition(".")[2] in _TYPES:
                files[file.name] = file.read_bytes()
        if logo is not None and logo.suffix.lower() in (".svg", ".png"):
            files[f"logo{logo.suffix.lower()}"] = logo.read_bytes()
        self._addresses: dict[str, str] = {}
        self._by_address: dict[str, Asset] = {}
        for name, body in files.items():
            asset = _asset(name, body)
            self._addresses[name] = FOLDER + asset.name
            self._by_address[asset.name] = asset

    def address(self, name: str) -> str:
        """Where a file is found: `site.css` -> `/static/site.3f9c2a71b0.css`."""
        return self._addresses[name]

    @property
    def logo(self) -> str | None:
        """Where the operator's logo is found, if there is one."""
        return self._addresses.get("logo.svg") or self._addresses.get("logo.png")

    def find(self, name: str) -> Asset | None:
        """The file of an address below the folder."""
        return self._by_address.get(name)


def _asset(name: str, body: bytes) -> Asset:
    stem, _, kind = name.rpartition(".")
    digest = hashlib.sha256(body).hexdigest()[:10]
    packed = gzip.compress(body, compresslevel=9, mtime=0) if kind in _PACKED else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Asset(f"{stem}.{digest}.{kind}", body, packed, _TYPES[kind])
