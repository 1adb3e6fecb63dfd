"""Logging: one line per event in two forms, and no key in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from reseller.clock import Clock
from reseller.config_schema import Log
from reseller.log import configure_logging, log_event, log_request, logger, redact

OURS = "sk-rs-" + "aB3" * 14 + "x"
UPSTREAM = "sk-or-v1-" + "0f" * 32
KEYS = [OURS, UPSTREAM, "sk_live_51AbCdEf", "rk_live_51AbCdEf", "whsec_abc123", "sk_test_4eC39"]
Start = Callable[[str, str], io.StringIO]


class FixedClock(Clock):
    """A clock that stands still."""

    def now_ms(self) -> int:
        return 1_772_357_400_125


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def start() -> Iterator[Start]:
    """Start logging into a stream; afterwards logging is as it was."""
    root = logging.getLogger()
    level = root.level
    names = ("httpx", "httpcore", "stripe", "aiohttp.access", "hypercorn.access", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    switches = (logging.logThreads, logging.logProcesses, logging.logMultiprocessing)

    def start(form: str, least: str = "info") -> io.StringIO:
        stream = io.StringIO()
        configure_logging(Log(level=least, format=form), stream, FixedClock())
        return stream

    yield start
    root.setLevel(level)
    for handler in [each for each in root.handlers if each.get_name() == "reseller"]:
        root.removeHandler(handler)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = switches


def finish_a_request() -> None:
    """Log the end of a request."""
    log_request(
        "req_1",
        account="acc_1",
        model="openai/gpt-4o",
        status=200,
        tokens=46,
        charge_nanos=168_000,
        ms=531.7,
    )


def test_a_request_is_one_json_line(start: Start) -> None:
    """All that is known of a finished request stands on one line, the charge as exact text."""
    stream = start("json", "info")
    finish_a_request()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line) == {
        "at": "2026-03-01T09:30:00.125Z",
        "level": "info",
        "event": "request",
        "id": "req_1",
        "account": "acc_1",
        "model": "openai/gpt-4o",
        "status": 200,
        "tokens": 46,
        "charge_usd": "0.000168",
        "ms": 532,
    }


def test_a_request_is_one_text_line(start: Start) -> None:
    """The same line for people."""
    stream = start("text", "info")
    finish_a_request()
    assert stream.getvalue() == (
        "2026-03-01T09:30:00.125Z info request id=req_1 account=acc_1 model=openai/gpt-4o"
        " status=200 tokens=46 charge_usd=0.000168 ms=532\n"
    )


def test_auto_is_text_on_a_terminal_and_json_elsewhere(start: Start) -> None:
    """People get text and collectors JSON without a setting."""
    elsewhere = start("auto", "info")
    log_event("started")
    assert json.loads(elsewhere.getvalue())["event"] == "started"
    terminal = Terminal()
    configure_logging(Log(), terminal, FixedClock())
    log_event("started")
    assert terminal.getvalue() == "2026-03-01T09:30:00.125Z info started\n"
    assert len(elsewhere.getvalue().splitlines()) == 1, "the older stream is let go"


def test_levels_are_kept(start: Start) -> None:
    """Below the level nothing is written; warnings stay when requests are silenced."""
    stream = start("text", "warning")
    finish_a_request()
    log_event("admission off", logging.WARNING, reason="disk full")
    assert stream.getvalue() == (
        '2026-03-01T09:30:00.125Z warning admission off reason="disk full"\n'
    )


def test_other_packages_use_the_same_form(start: Start) -> None:
    """Their lines carry their name; announcements of every call are left out unless debugging."""
    stream = start("json", "info")
    logging.getLogger("hypercorn.error").info("listening on %s", "127.0.0.1")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert (said["event"], said["logger"]) == ("listening on 127.0.0.1", "hypercorn.error")
    stream = start("json", "debug")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com")
    assert "GET" in stream.getvalue()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_key_never_reaches_the_log(start: Start, form: str, key: str) -> None:
    """Not by message, argument, field, exception, its cause or a stack; its prefix stays."""
    stream = start(form, "debug")
    logger.info(f"got {key}")
    logger.warning("got %s from %r", key, {"authorization": f"Bearer {key}"})
    log_event("key made", key=key, inside={"list": [key]}, error=ValueError(key))
    log_request("req_1", account="a", model=key, status=404, tokens=0, charge_nanos=0, ms=1)
    logging.getLogger("stripe").info("key=%s", key)
    try:
        try:
            raise KeyError(key)
        except KeyError as cause:
            raise RuntimeError(f"refused {key}") from cause
    except RuntimeError:
        logger.exception("call failed")
    logger.info("where", stack_info=True)
    written = stream.getvalue()
    assert key not in written
    assert key[-8:] not in written
    assert written.count("[redacted]") >= 10
    assert "RuntimeError: refused" in written


def test_a_wrong_format_string_costs_neither_the_line_nor_the_caller(start: Start) -> None:
    """A mistake in a log call is no reason to fail a request, or to write a key."""
    stream = start("text", "info")
    (ours,) = [each for each in logging.getLogger().handlers if each.get_name() == "reseller"]
    ours.handle(logging.LogRecord("reseller", logging.INFO, "", 0, "at %d %s", (OURS,), None))
    assert stream.getvalue() == ("2026-03-01T09:30:00.125Z info at %d %s ('sk-rs-[redacted]',)\n")


def test_redact_leaves_what_is_no_key() -> None:
    """The visible beginning of a key may be logged, and words that only look similar."""
    for text in (
        "sk-rs-abC123",
        "task_life",
        "risk-or-not",
        "sk-or-…",
        "disk-rs",
        "acc_sk_1",
        "",
    ):
        assert redact(text) == text
    assert redact(f"a {OURS}, b {UPSTREAM}.") == "a sk-rs-[redacted], b sk-or-[redacted]."
    assert redact(f"Bearer {OURS}") == "Bearer sk-rs-[redacted]"
    assert redact("sk-ant-api03-" + "x" * 40) == "sk-[redacted]"


def test_no_one_outside_can_write_a_line(start: Start) -> None:
    """A line break in a value does not become a line of its own."""
    stream = start("text", "info")
    log_event(
        "odd\nname", model="a\n2026-03-01T09:30:00.125Z info request", who='x" y=1', none=None
    )
    assert stream.getvalue() == (
        r"2026-03-01T09:30:00.125Z info odd\nname"
        r' model="a\n2026-03-01T09:30:00.125Z info request" who="x\" y=1" none=""'
        "\n"
    )
    stream = start("json", "info")
    log_event("odd", model="a\nb\ud800")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["model"] == "a\nb\ud800"


def test_an_exception_is_one_json_line(start: Start) -> None:
    """A traceback stays in the line it belongs to."""
    stream = start("json", "info")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("job failed")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said["level"] == "error"
    assert said["exception"].startswith("Traceback")
    assert said["exception"].endswith("ValueError: why")
