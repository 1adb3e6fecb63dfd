"""What the hot path reads: keys, accounts, balances, prices and models, all in memory.

Built from the database at start and changed by `actions/` and the journal's word; the request
path never queries. Everything here is used from the event loop only.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from reseller import admission
from reseller.admission import Admission
from reseller.alarms import Alarms
from reseller.catalogue import Catalogue
from reseller.clock import Clock
from reseller.config import Config
from reseller.errors import Forbidden, Unauthenticated
from reseller.ids import KEY_PATTERN, key_digest
from reseller.limits import Limiter, Limits
from reseller.money.ledger import FIRST_CUSTOMER_ACCOUNT, Transfer
from reseller.money.pricing import PriceBook, PriceRule
from reseller.money.spend import Period, SpendCap
from reseller.money.wallet import Balance, Wallet

log = logging.getLogger("reseller.live")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_MISMATCHES_PER_MINUTE = 3
_DAY_MS = 86_400_000


@dataclass(slots=True)
class Account:
    """An account in memory: its money, limits and state."""

    id: int
    public_id: str
    name: str
    balance: Balance
    limiter: Limiter
    daily: SpendCap
    created_at: int
    own_limits: Limits = field(default_factory=Limits)
    is_suspended: bool = False
    is_frozen: bool = False
    # Monotonic times at which a client left before any generation id was known.
    departures: deque[float] = field(default_factory=deque)
    # What the upstream is told instead of a name; made at the first request.
    end_user: str = ""


@dataclass(slots=True)
class ApiKey:
    """A key that may be used: whose it is and what it may do."""

    id: int
    public_id: str
    account: Account
    name: str
    digest: bytes
    cap: SpendCap
    limiter: Limiter | None = None
    expires_at: int | None = None
    is_disabled: bool = False
    models: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """The account's limiter, and the key's own if it has one."""
        own = self.limiter
        return (self.account.limiter,) if own is None else (self.account.limiter, own)

    def allows(self, model_id: str) -> bool:
        """Whether the key's allow-list names this model (canonical id)."""
        return not self.models or any(fnmatchcase(model_id, p) for p in self.models)

    def check(self, now_ms: int, address: str | None) -> None:
        """Raise unless the key may be used now and from this address."""
        if self.expires_at is not None and now_ms >= self.expires_at:
            raise Unauthenticated(
                f"The API key {self.name!r:.60} has expired. Make a new one in the dashboard.",
                code="key_expired",
            )
        if self.is_disabled:
            raise Unauthenticated(
                f"The API key {self.name!r:.60} is disabled. Enable it in the dashboard.",
                code="key_disabled",
            )
        if self.networks and not _is_within(address, self.networks):
            raise Forbidden(
                f"The API key {self.name!r:.60} may not be used from this address.",
                code="address_not_allowed",
            )
        account = self.account
        if account.is_suspended:
            raise suspended()


class Live:
    """The state of the shop in memory."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.admission = Admission()
        self.alarms = Alarms(clock)
        self.wallet = Wallet()
        self.accounts: dict[int, Account] = {}
        self.accounts_by_public_id: dict[str, Account] = {}
        self.keys: dict[bytes, ApiKey] = {}
        self.keys_by_id: dict[int, ApiKey] = {}
        self.prices = PriceBook((), self.default_rule())
        self.catalogue = Catalogue((), show_free=config.pricing.show_free)
        self._mismatches: deque[float] = deque()
        # Called when an account is suspended: its streams end within a second.
        self.on_suspend: Callable[[Account], None] = lambda _: None
        self.on_freeze: Callable[[int], None] = lambda _: None
        self.on_disk: Callable[[bool], None] = lambda _: None

    def default_rule(self) -> PriceRule:
        """The rule for whatever no other rule matches, from the configuration."""
        pricing = self.config.pricing
        return PriceRule("*", pricing.markup_bps, pricing.fixed_nanos, pricing.minimum_nanos)

    def default_limits(self) -> Limits:
        """The limits of an account that has none of its own."""
        limits = self.config.limits
        return Limits(
            limits.requests_per_minute,
            limits.requests_per_hour,
            limits.requests_per_day,
            limits.tokens_per_minute,
            limits.concurrent_requests,
        )

    def effective_limits(self, own: Limits, created_at: int) -> Limits:
        """An account's own limits over the defaults, and the brake on new accounts."""
        base = self.default_limits()
        merged = Limits(
            *(
                mine if mine is not None else default
                for mine, default in (
                    (own.requests_per_minute, base.requests_per_minute),
                    (own.requests_per_hour, base.requests_per_hour),
                    (own.requests_per_day, base.requests_per_day),
                    (own.tokens_per_minute, base.tokens_per_minute),
                    (own.concurrent_requests, base.concurrent_requests),
                )
            )
        )
        brake = self.config.brakes.new_account_concurrent
        if own.concurrent_requests is None and brake and self.is_new(created_at):
            running = merged.concurrent_requests
            merged = replace(merged, concurrent_requests=min(brake, running or brake))
        return merged

    def is_new(self, created_at: int) -> bool:
        """Whether an account is within its first days."""
        age_ms = self.clock.now_ms() - created_at
        return age_ms < self.config.brakes.new_account_days * _DAY_MS

    def daily_limit(self, own_nanos: int | None, created_at: int) -> int | None:
        """The most an account may spend in a UTC day: its own limit, or the brake while new."""
        if own_nanos is not None:
            return own_nanos
        return self.config.brakes.new_account_daily_nanos if self.is_new(created_at) else None

    def find_key(self, presented: str) -> ApiKey:
        """The key a request carries. Raises Unauthenticated; never says why in detail."""
        if KEY_PATTERN.fullmatch(presented):
            digest = key_digest(presented)
            key = self.keys.get(digest)
            if key is not None and hmac.compare_digest(key.digest, digest):
                return key
        raise Unauthenticated(
            "Incorrect API key provided. Make one in the dashboard under API keys."
        )

    # Changes by actions.

    def add_account(self, account: Account) -> None:
        """Make a stored account known."""
        self.accounts[account.id] = account
        self.accounts_by_public_id[account.public_id] = account

    def add_key(self, key: ApiKey) -> None:
        """Make a stored key usable."""
        self.keys[key.digest] = key
        self.keys_by_id[key.id] = key

    def drop_key(self, key: ApiKey) -> None:
        """A revoked key opens nothing from now on; its running requests finish."""
        self.keys.pop(key.digest, None)

    def replace_rules(self, rules: Iterable[PriceRule]) -> None:
        """Sell by these rules from now on; open holds keep the rule they were quoted with."""
        self.prices = PriceBook(rules, self.default_rule())

    # The journal's observer.

    def moved(self, transfer: Transfer) -> None:
        """A transfer outside of use is on disk: memory counts it."""
        for account, sign in ((transfer.debit, -1), (transfer.credit, 1)):
            if account >= FIRST_CUSTOMER_ACCOUNT:
                self.wallet.move(account, sign * transfer.amount_nanos)

    def account_mismatch(self, account: int, request_id: str, detail: str) -> None:
        """Freeze the account; after three accounts in a minute stop admission for all."""
        self.alarms.tell("books_mismatch", f"account {account}, request {request_id}: {detail}")
        if (found := self.accounts.get(account)) is not None:
            if found.is_frozen:
                # The account's other running requests follow the first.
                return
            found.is_frozen = True
            self.on_freeze(account)
        now = self.clock.monotonic()
        self._mismatches.append(now)
        while self._mismatches and now - self._mismatches[0] > 60:
            self._mismatches.popleft()
        if len(self._mismatches) >= _MISMATCHES_PER_MINUTE:
            self.admission.close(admission.BOOKS, "three accounts' books mismatched in a minute")

    def disk_failing(self, detail: str) -> None:
        """No new requests until a commit succeeds."""
        self.admission.close(admission.DISK, detail)
        self.alarms.tell("disk", f"commits fail and are tried again: {detail}")
        self.on_disk(False)

    def disk_recovered(self) -> None:
        """Commits succeed again."""
        self.admission.open(admission.DISK)
        self.alarms.clear("disk")
        self.on_disk(True)


def suspended() -> Forbidden:
    """What a suspended account is told."""
    return Forbidden("This account is suspended. Contact support.", code="account_suspended")


def key_cap(
    limit_nanos: int | None, period: str, spent_nanos: int = 0, started_at: int = 0
) -> SpendCap:
    """The spend cap of a key as it is stored."""
    return SpendCap(Period(period), limit_nanos, spent_nanos, started_at=started_at)


def parse_networks(text: str | None) -> tuple[Network, ...]:
    """Address allow-list from its stored form, entries parted by commas. Raises ValueError."""
    if not text:
        return ()
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(","))


def parse_patterns(text: str | None) -> tuple[str, ...]:
    """Model allow-list from its stored form, wildcards parted by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _is_within(address: str | None, networks: tuple[Network, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
