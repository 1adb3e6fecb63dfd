"""The gate in front of every paid request: open, or closed for stated reasons."""

from __future__ import annotations

from reseller.errors import Unavailable

OPERATOR = "operator"
DISK = "disk"
BOOKS = "books"
UPSTREAM_BALANCE = "upstream_balance"
UPSTREAM_KEY = "upstream_key"
CATALOGUE = "catalogue"
STOPPING = "stopping"

_MESSAGES = {
    OPERATOR: "The operator has paused the service. Nothing was charged.",
    STOPPING: "The service is restarting. Nothing was charged; send the request again.",
}
_OTHERWISE = "The service cannot take requests right now. Nothing was charged; try again shortly."


class Admission:
    """Reasons that keep new paid requests out. Running ones go on and settle."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """Whether new paid requests may start."""
        return not self.reasons

    def close(self, reason: str, detail: str) -> None:
        """Keep requests out until `open` names the same reason."""
        self.reasons[reason] = detail

    def open(self, reason: str) -> None:
        """Take one reason away."""
        self.reasons.pop(reason, None)

    def check(self) -> None:
        """Raise Unavailable while any reason stands. Customers do not learn the detail."""
        if self.reasons:
            reason = next(iter(self.reasons))
            raise Unavailable(
                _MESSAGES.get(reason, _OTHERWISE),
                code="admission_closed",
                retry_after_ms=5_000,
            )
