"""Everything that can go wrong upstream, by name, and the queue of what is to go wrong next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One deviation. Empty fields mean the ordinary course; names joined by `+` are merged."""

    name: str = ""
    about: str = ""
    scope: str = "inference"
    # Refusals.
    status: int = 0
    message: str = ""
    error_type: str = ""
    metadata: str = ""
    availability: str = ""
    retry_after: int = 0
    shows_user: bool = False
    limit_headers: bool = False
    # Where the answer is held until released, where it is cut off.
    hold_at: str = ""
    cut_at: str = ""
    # Errors told under status 200.
    error_at: str = ""
    is_bare: bool = False
    # The reported usage and cost.
    cost_text: str = ""
    usage: str = ""
    finish: str = ""
    is_free: bool = False
    is_byok: bool = False
    extra_tokens: int = 0
    cached_percent: int = 0
    cache_write_percent: int = 0
    other_model: str = ""
    # Ids, bodies and frames.
    ids: str = ""
    body: str = ""
    frames: str = ""
    omits_done: bool = False
    # The generation record.
    record: str = ""


ORDINARY = Fault()


def _refusal(name: str, status: int, error_type: str, message: str, **more: Any) -> Fault:
    about = f"refused with {status}: {message}"
    return Fault(name, about, status=status, error_type=error_type, message=message, **more)


_REFUSALS = (
    _refusal("400", 400, "invalid_request", "A field of the request is not valid"),
    _refusal(
        "400-context", 400, "context_length_exceeded", "The prompt is longer than the context"
    ),
    _refusal("401", 401, "authentication", "This key is disabled or has expired"),
    _refusal(
        "402-credits",
        402,
        "payment_required",
        "Out of credits: you requested up to 16384 tokens, but can only afford 231. "
        "Buy more at https://upstream.invalid/settings/credits or lower max_tokens",
        shows_user=True,
    ),
    _refusal(
        "402-prompt",
        402,
        "payment_required",
        "Prompt tokens limit exceeded: 5104 > 731. Raise the limit of this key at "
        "https://upstream.invalid/settings/keys",
        shows_user=True,
    ),
    _refusal(
        "403-moderation",
        403,
        "content_policy_violation",
        "The input was flagged by moderation",
        metadata='{"reasons":["violence"],"flagged_input":"a flagged sentence",'
        '"provider_name":"OpenAI","model_slug":"sandbox/large"}',
    ),
    _refusal(
        "403-budget", 403, "permission_denied", "The workspace budget is spent", shows_user=True
    ),
    _refusal(
        "404-constraint",
        404,
        "not_found",
        "No endpoint is within the given constraints",
        availability="constraint_filtered",
    ),
    _refusal(
        "404-model", 404, "not_found", "No endpoint serves this model", availability="no_endpoints"
    ),
    _refusal("408", 408, "timeout", "The request timed out"),
    _refusal("413", 413, "payload_too_large", "The request is too large"),
    _refusal("422", 422, "unprocessable", "The request cannot be processed"),
    _refusal("429", 429, "rate_limit_exceeded", "All providers are at capacity"),
    _refusal(
        "429-retry-after",
        429,
        "rate_limit_exceeded",
        "All providers are at capacity for a moment",
        retry_after=7,
        availability="capacity_exhausted",
    ),
    _refusal(
        "429-limit", 429, "rate_limit_exceeded", "Rate limit of the account", limit_headers=True
    ),
    _refusal("500", 500, "server", "Internal fault"),
    _refusal("502", 502, "provider_unavailable", "The provider answered badly"),
    _refusal("503", 503, "provider_unavailable", "No provider is available"),
    _refusal(
        "503-retry-after",
        503,
        "provider_unavailable",
        "No provider is available for a moment",
        retry_after=3,
        availability="temporarily_unavailable",
    ),
    _refusal("504", 504, "timeout", "The provider took too long"),
    _refusal("524", 524, "timeout", "The edge gave up waiting"),
    _refusal("529", 529, "provider_overloaded", "The provider is overloaded"),
)


def _breaks() -> Iterable[Fault]:
    hold, cut = "held until released", "connection broken"
    yield Fault("hang-before-headers", f"{hold} before any work", hold_at="start")
    yield Fault("hang-after-headers", f"{hold} after the headers", hold_at="headers")
    yield Fault("close-before-headers", f"{cut} before any work", cut_at="start")
    yield Fault("bill-then-wait-before-headers", f"billed, then {hold}", hold_at="billed")
    yield Fault("bill-then-close-before-headers", f"billed, then {cut}", cut_at="billed")
    yield Fault("headers-then-drop", f"{cut} after the headers", cut_at="headers")
    yield Fault("drop-mid-stream", f"{cut} between two frames", cut_at="middle")
    yield Fault("drop-mid-frame", f"{cut} within a frame", cut_at="frame")
    yield Fault("drop-before-usage", f"{cut} before the usage", cut_at="usage")
    yield Fault("end-before-usage", "a proper end, but no usage and no [DONE]", cut_at="end")
    yield Fault("wait-mid-stream", f"{hold} between two frames", hold_at="middle")
    yield Fault("wait-before-usage", f"{hold} before the usage", hold_at="usage")
    yield Fault("wait-before-done", f"{hold} before [DONE]", hold_at="done")


def _errors() -> Iterable[Fault]:
    for where, place in (("error-first-frame", "first"), ("error-mid-stream", "middle")):
        for bare in (False, True):
            for done in (True, False):
                name = where + ("-bare" if bare else "") + ("" if done else "-no-done")
                yield Fault(
                    name,
                    f"an error as a frame under status 200 ({place})",
                    error_at=place,
                    is_bare=bare,
                    omits_done=not done,
                    is_free=place == "first",
                )
    yield Fault(
        "provider-failure",
        "finish_reason error in a whole answer, with usage and cost 0",
        finish="error",
        is_free=True,
    )


def _costs() -> Iterable[Fault]:
    for name, text in (
        ("cost-null", "null"),
        ("cost-absent", "absent"),
        ("cost-negative", "-0.0005"),
        ("cost-minus-one", "-1"),
        ("cost-huge-exponent", "1e999000"),
        ("cost-tiny-exponent", "1e-999000"),
        ("cost-billion", "1e9"),
        ("cost-nan", '"NaN"'),
        ("cost-infinity", '"Infinity"'),
        ("cost-true", "true"),
    ):
        yield Fault(name, f"reported cost {text}, true cost in the record", cost_text=text)
    yield Fault("cost-text", "the true cost, as a string", cost_text="text")
    yield Fault("cost-exponent", "the true cost in exponent form", cost_text="exponent")
    yield Fault("cost-zero", "tokens, but billed nothing", is_free=True)
    yield Fault("byok", "cost 0, the provider bills its own account", is_byok=True)
    yield Fault("cached-tokens", "half of the prompt read from cache", cached_percent=50)
    yield Fault("cache-write-tokens", "most of the prompt cached", cache_write_percent=90)
    yield Fault("other-model", "a fallback model answers", other_model="sandbox/large")
    yield Fault("overrun", "4000 tokens more than the cap", extra_tokens=4000)
    yield Fault("usage-absent", "no usage anywhere, but a proper end", usage="absent")
    yield Fault("usage-null", "usage is null", usage="null")
    yield Fault("usage-twice", "the usage frame comes twice", usage="twice")
    yield Fault("usage-empty-choices", "usage chunk without choices", usage="empty_choices")
    yield Fault("usage-null-finish", "usage chunk with a null finish", usage="null_finish")
    yield Fault("usage-repeated-finish", "usage repeats the finish", usage="repeated_finish")


def _shapes() -> Iterable[Fault]:
    yield Fault("no-generation-id", "no X-Generation-Id header", ids="no_header")
    yield Fault("null-id", "body id null", ids="null")
    yield Fault("no-id-anywhere", "neither header nor body id", ids="none")
    yield Fault("huge-frame", "one frame, or answer, of 8 MB", body="huge")
    yield Fault("leading-whitespace", "white space before the JSON", body="whitespace")
    yield Fault("metadata", "operator's details in the answer", body="metadata")
    yield Fault("gzip", "compressed, asked or not", body="gzip")
    yield Fault("not-json", "HTML under status 200", body="html")
    yield Fault("wrong-content-type", "the right body as text/plain", body="text/plain")
    yield Fault("no-done", "no [DONE]", omits_done=True)
    yield Fault("slow-drip", "byte by byte", frames="drip")
    yield Fault("crlf", "frames end lines with CR LF", frames="crlf")
    yield Fault("comments-everywhere", "comments around every frame", frames="comments")
    yield Fault("no-final-newline", "the last frame has no newline", frames="no_final_newline")


def _reads() -> Iterable[Fault]:
    lost = "usage lost, and the generation record "
    yield Fault("record-never", lost + "never appears", cut_at="usage", record="never")
    yield Fault("record-late", lost + "a minute late", cut_at="usage", record="late")
    yield Fault("record-null-cost", lost + "without a cost", cut_at="usage", record="null_cost")
    for scope in ("catalogue", "credits", "generation", "key", "activity"):
        yield Fault(f"{scope}-500", f"GET {scope} fails", scope=scope, status=500)
    yield Fault("generation-429", "GET generation refused", scope="generation", status=429)
    yield Fault("generation-hang", "GET generation hangs", scope="generation", hold_at="start")
    yield Fault("catalogue-not-json", "GET catalogue is HTML", scope="catalogue", body="html")


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for group in (_REFUSALS, _breaks(), _errors(), _costs(), _shapes(), _reads())
    for fault in group
}


@lru_cache(maxsize=256)
def fault_named(name: str) -> Fault | None:
    """The fault of this name, or several merged with `+`; None if one is unknown."""
    merged: dict[str, Any] = {}
    for part in name.split("+"):
        fault = FAULTS.get(part.strip())
        if fault is None:
            return None
        for spec in fields(Fault):
            value = getattr(fault, spec.name)
            if value != spec.default:
                merged[spec.name] = value
    merged["name"] = name
    return replace(ORDINARY, **merged)


@dataclass(slots=True)
class Queued:
    """A fault waiting for the next requests that match."""

    fault: Fault
    left: int
    model: str = ""
    marker: bytes = b""


class FaultQueue:
    """What is to go wrong next, in the order it was asked for."""

    def __init__(self) -> None:
        self.waiting: list[Queued] = []

    def add(self, name: str, *, count: int = 1, model: str = "", marker: str = "") -> bool:
        """Let the next `count` matching requests show this fault; False if it is unknown."""
        fault = fault_named(name)
        if fault is None:
            return False
        self.waiting.append(Queued(fault, count, model, marker.encode()))
        return True

    def take(self, scope: str, model: str = "", body: bytes = b"") -> Fault | None:
        """The first waiting fault that fits, counted down."""
        for queued in self.waiting:
            if queued.fault.scope != scope or (queued.model and queued.model != model):
                continue
            if queued.marker and queued.marker not in body:
                continue
            queued.left -= 1
            if queued.left <= 0:
                self.waiting.remove(queued)
            return queued.fault
        return None

    def clear(self) -> None:
        """Nothing waits any more."""
        self.waiting.clear()
