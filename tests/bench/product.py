"""The product under measurement: customers with keys and credit, then `serve` in live mode."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from reseller import app
from reseller.actions.table import perform
from reseller.clock import Clock
from reseller.config import Config, load
from reseller.core import open_core
from reseller.db.connect import locked_folder
from reseller.ids import Ids

UPSTREAM_KEY = "sk-or-sandbox"
_PLENTY = 10**9


def make_config(engine: str, upstream: str, folder: Path) -> Config:
    """Live mode with everything on; limits are checked and never reached."""
    values: dict[str, object] = {
        "data.dir": str(folder),
        "server.listen": "127.0.0.1:0",
        "server.engine": engine,
        "upstream.base_url": upstream,
        "upstream.api_key": UPSTREAM_KEY,
        "operator.terms_accepted": True,
        "limits.requests_per_minute": _PLENTY,
        "limits.requests_per_hour": _PLENTY,
        "limits.requests_per_day": _PLENTY,
        "limits.tokens_per_minute": _PLENTY * 1000,
        "limits.concurrent_requests": 10**6,
        "server.drain_s": 1,
    }
    return load(Path("/dev/null"), {}, values)


async def make_customers(config: Config, count: int) -> list[str]:
    """Customers with credit and a key each; returns the keys."""
    keys = []
    async with open_core(config, Clock(), Ids()) as core:
        for number in range(count):
            email = f"customer{number}@example.com"
            await perform(core, "customer.create", {"email": email})
            await perform(
                core, "credit.grant", {"email": email, "usd": "100000", "reason": "bench"}
            )
            made = await perform(core, "key.create", {"email": email, "name": "bench"})
            keys.append(made["key"])
    return keys


def main() -> None:
    """Read the command line, make the shop and serve it; prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--customers", type=int, default=8)
    options = parser.parse_args()
    config = make_config(options.engine, options.upstream, options.folder)
    with locked_folder(config.data.dir):
        keys = asyncio.run(make_customers(config, options.customers))

    def announce(running: app.Running) -> None:
        print(json.dumps({"url": running.url, "keys": keys}), flush=True)

    sys.exit(app.serve(config, announce=announce))


if __name__ == "__main__":
    main()
