"""Logging: one line per request and per event; text on a terminal, JSON otherwise; never a key.

Fields travel beside the message (`log_event("key made", account=…)`), so that both forms come
from one record. Standard library underneath: what other packages log goes the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from reseller.clock import Clock
from reseller.config_schema import Log
from reseller.units import Nanos, usd_text

logger = logging.getLogger("reseller")

# The visible beginning of our own keys (six characters after the prefix) may be logged.
_KEYS = re.compile(
    r"(sk-(?:rs|or)-)[\w-]{7,}|([sr]k_(?:live|test)_|whsec_)[\w-]+|(sk-)[\w-]{20,}", re.ASCII
)
# These announce every request of ours to others; log_request says what matters.
_TALKATIVE = ("httpx", "httpcore", "stripe", "aiohttp.access", "hypercorn.access", "asyncio")
_PLAIN = re.compile(r"[^\s\"'=\\]+")
_FIELDS = "fields"
_LINES_WAIT_S = 0.05
_as_json = json.JSONEncoder(separators=(",", ":")).encode


def redact(text: str) -> str:
    """The text with everything that looks like an API key or signing secret cut to its prefix."""
    # Nearly every text has none of these, and looking for them is ten times cheaper.
    if not ("sk-" in text or "sk_" in text or "rk_" in text or "whsec_" in text):
        return text
    return _KEYS.sub(lambda found: f"{found[1] or found[2] or found[3]}[redacted]", text)


class Redaction(logging.Filter):
    """Takes keys out of a whole record: message, arguments, fields, exception and stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, LookupError):
            # A wrong format string costs the line its look, not the caller its request.
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _TRACEBACK.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        if fields := _fields(record):
            record.__dict__[_FIELDS] = {name: _safe(value) for name, value in fields.items()}
        return True


class TextFormatter(logging.Formatter):
    """`2026-03-01T09:30:00.125Z info request id=req_… status=200`, tracebacks below."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self._stamp = _Stamp(clock)

    def format(self, record: logging.LogRecord) -> str:
        words = [self._stamp.text(record), record.levelname.lower(), _one_line(str(record.msg))]
        words += (f"{name}={_word(value)}" for name, value in _fields(record).items())
        line = " ".join(words)
        below = (record.exc_text, record.stack_info)
        return "\n".join((line, *(text for text in below if text)))


class JsonFormatter(logging.Formatter):
    """One JSON object on one line: `at`, `level`, `event`, then the fields."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self._stamp = _Stamp(clock)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self._stamp.text(record),
            "level": record.levelname.lower(),
            "event": record.msg,
        }
        if record.name != logger.name:
            line["logger"] = record.name
        line |= _fields(record)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return _as_json(line)


class _Stamp:
    """UTC time with milliseconds; the part down to the second is made once a second."""

    def __init__(self, clock: Clock | None) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def text(self, record: logging.LogRecord) -> str:
        return self.at(self._clock.now_ms() if self._clock else int(record.created * 1000))

    def at(self, now_ms: int) -> str:
        second, ms = divmod(now_ms, 1000)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        return f"{self._text}.{ms:03d}Z"


class _RequestLines:
    """The lines of requests in JSON, built and written past the machinery of `logging`, several
    at a time: at a thousand requests a second that machinery would be a twentieth of the work."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._stamp = _Stamp(clock)
        self._waiting: list[str] = []

    def add(
        self, request_id: str, account: str, model: str, status: int, usage: str, ms: int
    ) -> None:
        """One more line; written within a moment, or at once where no event loop runs."""
        at = self._stamp.at(self._clock.now_ms())
        self._waiting.append(
            f'{{"at":"{at}","level":"info","event":"request","id":"{request_id}",'
            f'"account":{_quoted(account)},"model":{_quoted(model)},"status":{status},'
            f'{usage},"ms":{ms}}}\n'
        )
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(_LINES_WAIT_S, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        lines, self._waiting = self._waiting, []
        if lines and not self._stream.closed:
            self._stream.write("".join(lines))
            self._stream.flush()


_request_lines: _RequestLines | None = None


def flush_requests() -> None:
    """Write the lines of requests that wait, before the program ends."""
    if _request_lines is not None:
        _request_lines.flush()


def configure_logging(log: Log, stream: TextIO, clock: Clock | None = None) -> None:
    """Send all logging to `stream` as `log` says, keys taken out. May be called again."""
    is_text = log.format == "text" or (log.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.set_name(logger.name)
    handler.addFilter(Redaction())
    handler.setFormatter(TextFormatter(clock) if is_text else JsonFormatter(clock))
    global _request_lines
    flush_requests()
    _request_lines = None if is_text else _RequestLines(stream, clock or Clock())
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.get_name() == logger.name]:
        root.removeHandler(old)
    root.addHandler(handler)
    # Neither form prints them, and each record would ask the system for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root.setLevel(log.level.upper())
    for name in _TALKATIVE:
        quiet = logging.NOTSET if log.level == "debug" else logging.WARNING
        logging.getLogger(name).setLevel(quiet)


def log_event(event: str, level: int = logging.INFO, **fields: object) -> None:
    """One line about something that happened, its details as fields."""
    if logger.isEnabledFor(level):
        _emit(level, event, fields)


def log_request(
    request_id: str,
    *,
    account: str,
    model: str,
    status: int,
    tokens: int,
    charge_nanos: Nanos,
    ms: float,
) -> None:
    """The one line of a finished request. Never what was asked or answered."""
    if not logger.isEnabledFor(logging.INFO):
        return
    charge = usd_text(charge_nanos)
    if _request_lines is not None:
        usage = f'"tokens":{tokens},"charge_usd":"{charge}"'
        _request_lines.add(request_id, account, model, status, usage, round(ms))
        return
    fields: dict[str, object] = {
        "id": request_id,
        "account": account,
        "model": model,
        "status": status,
        "tokens": tokens,
        "charge_usd": charge,
        "ms": round(ms),
    }
    _emit(logging.INFO, "request", fields)


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return _as_json(redact(text))


def _emit(level: int, event: str, fields: dict[str, object]) -> None:
    # Past `logger.info`, which would walk the stack for a file and line that nobody prints.
    extra = {_FIELDS: fields}
    logger.handle(logger.makeRecord(logger.name, level, "", 0, event, (), None, extra=extra))


_TRACEBACK = logging.Formatter()


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = record.__dict__.get(_FIELDS)
    return fields if isinstance(fields, dict) else {}


def _safe(value: object) -> object:
    """A field as JSON can hold it and without keys; numbers cannot hide one."""
    return value if value is None or isinstance(value, int | float) else redact(str(value))


def _one_line(text: str) -> str:
    """No line break or other control character from outside may look like a line of ours."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _word(value: object) -> str:
    text = "" if value is None else str(value)
    is_plain = _PLAIN.fullmatch(text) and text.isprintable()
    return text if is_plain else json.dumps(text)
