"""The upstream simulator as a process of its own: `python -m reseller.sandbox.standalone`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from reseller.clock import Clock
from reseller.ids import Ids
from reseller.sandbox.control import route_list
from reseller.sandbox.upstream import UpstreamSimulator

_DEMO = {"latency_ms": 250, "pace_ms": 40, "answer_tokens": 90, "chunk_tokens": 2}


async def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    api_key: str = "sk-or-sandbox",
    credit_usd: str = "1000",
    is_instant: bool = False,
    keep_books: bool = True,
    list_fault_models: bool = False,
    quiet: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM. Prints the base URL, the key and the control routes."""
    simulator = UpstreamSimulator(
        Clock(),
        Ids(),
        api_key=api_key,
        credit_usd=credit_usd,
        keep_books=keep_books,
        list_fault_models=list_fault_models,
    )
    if not is_instant:
        simulator.behaviour.change(dict(_DEMO))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    base_url = await simulator.start(host, port)
    lines = [base_url]
    if not quiet:
        lines += [f"key: {api_key}", f"control: {simulator.control_url}", *route_list()]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await simulator.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key", default="sk-or-sandbox")
    parser.add_argument("--credit-usd", default="1000")
    parser.add_argument("--instant", action="store_true", help="no latency, no pace")
    parser.add_argument("--no-books", action="store_true", help="keep totals only")
    parser.add_argument("--fault-models", action="store_true", help="list sandbox/fault-… models")
    parser.add_argument("--quiet", action="store_true", help="print the base URL only")
    options = parser.parse_args()
    asyncio.run(
        run(
            options.host,
            options.port,
            api_key=options.api_key,
            credit_usd=options.credit_usd,
            is_instant=options.instant,
            keep_books=not options.no_books,
            list_fault_models=options.fault_models,
            quiet=options.quiet,
        )
    )


if __name__ == "__main__":
    main()
