"""Every configuration key: its section, name, kind, default and one line of explanation."""

# ruff: noqa: RUF009 - `_key` only wraps `dataclasses.field`
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from reseller.config_kinds import (
    Choice,
    Colour,
    Duration,
    EmailAddress,
    Factor,
    FilePath,
    Flag,
    Kind,
    Listen,
    Listing,
    Money,
    Network,
    Percent,
    Secret,
    Text,
    Url,
    Whole,
    host_and_port,
)

_DAY_S = 86_400


def _key(default: object, kind: Kind, about: str, name: str = "") -> Any:
    """A dataclass field that is a key; `name` is given where the attribute's unit is another."""
    return field(
        default=default,
        repr=not kind.is_secret,
        metadata={"kind": kind, "about": about, "name": name},
    )


@dataclass(frozen=True, slots=True)
class Server:
    """Where and how the HTTP server listens."""

    listen: str = _key(
        "127.0.0.1:8080", Listen(may_be_empty=False), "Address and port; `:8080` is every address."
    )
    base_url: str = _key("", Url(), "Address customers use, such as https://ai.example.com.")
    engine: str = _key(
        "hypercorn",
        Choice("hypercorn", "granian"),
        "HTTP server: hypercorn, or granian (faster).",
    )
    early_open_s: float = _key(
        10.0, Duration(0, 600), "A silent stream is opened after this many seconds; 0 = never."
    )
    body_limit_mb: int = _key(16, Whole(1, 64), "Largest request body, in megabytes; at most 64.")
    bodies_in_flight_mb: int = _key(
        64, Whole(1, 65_536), "All request bodies being read at one time, in megabytes."
    )
    body_timeout_s: float = _key(
        30.0, Duration(0.1, 3_600), "Longest wait for a whole request body."
    )
    body_min_bytes_per_s: int = _key(
        1_024, Whole(0, 10**9), "Slower request bodies are refused; 0 = any pace."
    )
    send_timeout_s: float = _key(
        30.0, Duration(0.1, 3_600), "A client that takes no byte for this long has left."
    )
    drain_s: float = _key(30.0, Duration(0, 3_600), "Running requests get this long at shutdown.")
    trusted_proxies: tuple[str, ...] = _key(
        (),
        Listing(Network(may_be_empty=False)),
        "Proxies whose X-Forwarded-* is believed.",
    )
    max_connections: int = _key(4_096, Whole(1, 10**6), "Connections open at one time.")

    @property
    def host(self) -> str:
        """The address half of `listen`."""
        return host_and_port(self.listen)[0]

    @property
    def port(self) -> int:
        """The port half of `listen`; 0 lets the system choose."""
        return host_and_port(self.listen)[1]


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate, when no proxy in front does TLS."""

    cert: Path | None = _key(None, FilePath(), "Certificate chain (PEM); needs tls.key.")
    key: Path | None = _key(None, FilePath(), "Its private key (PEM); needs tls.cert.")


@dataclass(frozen=True, slots=True)
class Data:
    """The data folder."""

    dir: Path = _key(
        Path("data"), FilePath(may_be_empty=False), "Folder of the database and generated secrets."
    )
    ballast_mb: int = _key(
        8, Whole(0, 4_096), "Megabytes freed for settlements once the disk is full."
    )
    keep_requests_days: int = _key(
        90, Whole(0, 36_500), "Days until request rows are pruned, the ledger never is; 0 = never."
    )


@dataclass(frozen=True, slots=True)
class Upstream:
    """The account that is resold."""

    base_url: str = _key(
        "https://openrouter.ai/api/v1", Url(may_be_empty=False), "The upstream's API."
    )
    api_key: str = _key("", Secret(), "The upstream's API key; without one the sandbox runs.")
    management_key: str = _key("", Secret(), "Its management key, for matching the books.")
    connect_timeout_s: float = _key(10.0, Duration(0.1, 600), "Longest wait for a connection.")
    read_timeout_s: float = _key(600.0, Duration(0.1, 7_200), "Longest silence of an answer.")
    max_connections: int = _key(0, Whole(0, 10**6), "Connections to it at one time; 0 = no limit.")
    app_url: str = _key("", Url(), "Sent as HTTP-Referer: your site in the upstream's statistics.")
    app_title: str = _key("", Text(), "Sent as X-Title: your name in the upstream's statistics.")
    show_provider: bool = _key(False, Flag(), "Show customers which provider answered.")
    models_refresh_s: float = _key(
        300.0, Duration(1, _DAY_S), "Seconds between two readings of models and prices."
    )
    credits_poll_s: float = _key(
        30.0, Duration(0.1, _DAY_S), "Seconds between two looks at its balance."
    )


@dataclass(frozen=True, slots=True)
class Pending:
    """Requests whose cost was not seen."""

    first_poll_s: float = _key(
        1.0, Duration(0.01, 3_600), "Wait before the first question for a cost; doubled each time."
    )
    give_up_hours: float = _key(
        24.0, Duration(0.001, 720), "Settled by estimate when no answer came for this long."
    )


@dataclass(frozen=True, slots=True)
class Stripe:
    """Payments."""

    secret_key: str = _key("", Secret(), "Secret or restricted key; without one nothing is sold.")
    webhook_secrets: tuple[str, ...] = _key(
        (), Listing(Secret()), "Signing secrets of the webhook endpoint; two while one is replaced."
    )
    api_base: str = _key("https://api.stripe.com", Url(may_be_empty=False), "Stripe's API.")


@dataclass(frozen=True, slots=True)
class Email:
    """Outgoing mail; without it the command line prints the links."""

    smtp_host: str = _key("", Text(), "SMTP server; needs email.from_address.")
    smtp_port: int = _key(587, Whole(1, 65_535), "Its port.")
    smtp_security: str = _key(
        "starttls",
        Choice("starttls", "tls", "none"),
        "starttls, tls, or none (only on loopback).",
    )
    smtp_user: str = _key("", Text(), "User name; needs email.smtp_password.")
    smtp_password: str = _key("", Secret(), "Password; needs email.smtp_user.")
    from_address: str = _key("", EmailAddress(), "Sender, e.g. shop@example.com.")
    timeout_s: float = _key(10.0, Duration(0.1, 600), "Longest wait for sending one message.")


@dataclass(frozen=True, slots=True)
class Auth:
    """Logging in."""

    session_days: int = _key(30, Whole(1, 365), "A login lasts this many days.")


@dataclass(frozen=True, slots=True)
class Signup:
    """Who may become a customer."""

    mode: str = _key(
        "open", Choice("open", "invite", "closed"), "Who may sign up: open, invite or closed."
    )


@dataclass(frozen=True, slots=True)
class Pricing:
    """The rule for every model without one of its own."""

    markup_bps: int = _key(2_000, Percent(), "On top of what the upstream bills.", "markup")
    fixed_nanos: int = _key(0, Money(), "Added to the charge of each request, USD.", "fixed_usd")
    minimum_nanos: int = _key(0, Money(), "Least charge of a request, USD.", "minimum_usd")
    show_free: bool = _key(False, Flag(), "Offer the upstream's `:free` models.")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may do without limits of its own."""

    requests_per_minute: int = _key(60, Whole(1, 10**9), "Requests of an account in a minute.")
    requests_per_hour: int = _key(1_000, Whole(1, 10**9), "Requests of an account in an hour.")
    requests_per_day: int = _key(10_000, Whole(1, 10**9), "Requests of an account in a day.")
    tokens_per_minute: int = _key(1_000_000, Whole(1, 10**12), "Tokens of an account in a minute.")
    concurrent_requests: int = _key(500, Whole(1, 10**6), "Requests of an account at one time.")


@dataclass(frozen=True, slots=True)
class Holds:
    """What is set aside before a request is sent."""

    max_output_tokens: int = _key(
        32_768, Whole(1, 10**7), "Cap on the answer where the client names none."
    )
    price_guard_bps: int = _key(
        15_000, Factor(), "A price may rise by this factor within a request.", "price_guard"
    )
    minimum_tokens: int = _key(64, Whole(1, 10**6), "402 where a balance buys fewer tokens.")
    wait_s: float = _key(
        5.0, Duration(0, 60), "A request waits this long for money that running ones hold."
    )
    image_tokens: int = _key(4_096, Whole(0, 10**7), "Allowance for an image in the prompt.")
    audio_tokens: int = _key(16_384, Whole(0, 10**7), "Allowance for a sound in the prompt.")
    file_flat_nanos: int | None = _key(
        None,
        Money(may_be_empty=True),
        "USD for a file given by URL; empty = no such files.",
        "file_flat_usd",
    )


@dataclass(frozen=True, slots=True)
class Brakes:
    """Limits against abuse and against an empty upstream account."""

    new_account_days: int = _key(3, Whole(0, 365), "An account counts as new for this many days.")
    new_account_daily_nanos: int | None = _key(
        None,
        Money(may_be_empty=True),
        "USD a new account may spend in a day; empty = all it has.",
        "new_account_daily_usd",
    )
    new_account_concurrent: int = _key(
        0, Whole(0, 10**6), "Requests of a new account at one time; 0 = as limits says."
    )
    departures_per_hour: int = _key(
        5, Whole(1, 10**6), "Streams left before their id was seen, until streaming is suspended."
    )
    upstream_headroom_bps: int = _key(
        12_000,
        Factor(),
        "The upstream balance must exceed open holds by this factor.",
        "upstream_headroom",
    )


@dataclass(frozen=True, slots=True)
class Branding:
    """How the shop looks."""

    name: str = _key("reseller", Text(may_be_empty=False, longest=60), "Name of the shop.")
    accent: str = _key("", Colour(), "Its colour, e.g. #2f6f4f; empty = the built-in one.")
    logo: Path | None = _key(None, FilePath(), "Picture (SVG or PNG) shown beside the name.")
    support_email: str = _key("", EmailAddress(), "Where customers ask for help.")


@dataclass(frozen=True, slots=True)
class Backup:
    """Copies of the database."""

    dir: Path | None = _key(None, FilePath(), "Folder; empty = `backups` in data.dir.")
    every_hours: float = _key(24.0, Duration(0, 8_760), "Hours between two backups; 0 = none.")
    keep: int = _key(14, Whole(1, 10_000), "Backups kept; older ones are removed.")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Prometheus metrics; off unless one of the two is set."""

    listen: str = _key("", Listen(), "An address of its own for /metrics.")
    token: str = _key("", Secret(), "Bearer token that opens /metrics on the main address.")


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to standard error."""

    level: str = _key(
        "info", Choice("debug", "info", "warning", "error"), "debug, info, warning or error."
    )
    format: str = _key(
        "auto",
        Choice("auto", "text", "json"),
        "text, json, or auto: text on a terminal, else JSON.",
    )


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator has confirmed."""

    terms_accepted: bool = _key(
        False, Flag(), "You have read what the upstream and Stripe say about resale."
    )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Trying everything out without an upstream account."""

    enabled: bool = _key(False, Flag(), "Run in the sandbox although an upstream key is set.")
    latency_ms: int = _key(200, Whole(0, 600_000), "The simulated upstream thinks this long.")
    pace_ms: int = _key(20, Whole(0, 60_000), "Time between two pieces of a simulated stream.")
    credit_nanos: int = _key(
        10**12, Money(), "USD on the simulated upstream account.", "credit_usd"
    )


SECTIONS: dict[str, type[Any]] = {
    "server": Server,
    "tls": Tls,
    "data": Data,
    "upstream": Upstream,
    "pending": Pending,
    "stripe": Stripe,
    "email": Email,
    "auth": Auth,
    "signup": Signup,
    "pricing": Pricing,
    "limits": Limits,
    "holds": Holds,
    "brakes": Brakes,
    "branding": Branding,
    "backup": Backup,
    "metrics": Metrics,
    "log": Log,
    "operator": Operator,
    "sandbox": Sandbox,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key as the file, the environment and the documentation know it."""

    section: str
    name: str
    attribute: str
    kind: Kind
    default: object
    about: str

    @property
    def path(self) -> str:
        """`section.name`."""
        return f"{self.section}.{self.name}"


@cache
def all_keys() -> dict[str, Key]:
    """Every key by its path, in the order of the sections above."""
    return {key.path: key for section in SECTIONS for key in keys_of(section)}


def keys_of(section: str) -> Iterator[Key]:
    """The keys of one section, in their order."""
    for each in fields(SECTIONS[section]):
        about = each.metadata
        name = about["name"] or each.name
        yield Key(section, name, each.name, about["kind"], each.default, about["about"])
