"""The tree of errors and what each one answers."""

from __future__ import annotations

import re

import pytest

from reseller import errors
from reseller.errors import InsufficientCredit, RateLimited, ResellerError

TREE = {
    "ResellerError": (500, "api_error", None),
    "BadRequest": (400, "invalid_request_error", "ResellerError"),
    "TimedOut": (408, "invalid_request_error", "BadRequest"),
    "TooLarge": (413, "invalid_request_error", "BadRequest"),
    "Unprocessable": (422, "invalid_request_error", "BadRequest"),
    "Unauthenticated": (401, "authentication_error", "ResellerError"),
    "InsufficientCredit": (402, "insufficient_quota", "ResellerError"),
    "Forbidden": (403, "permission_error", "ResellerError"),
    "NotFound": (404, "not_found_error", "ResellerError"),
    "Conflict": (409, "conflict_error", "ResellerError"),
    "RateLimited": (429, "rate_limit_error", "ResellerError"),
    "UpstreamFault": (502, "upstream_error", "ResellerError"),
    "Unavailable": (503, "service_unavailable", "ResellerError"),
}
CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type)]
# Retrying these is safe and useful: nothing was sent or charged.
RETRY = {"RateLimited", "Unavailable"}


def test_the_tree_is_complete() -> None:
    """Every error of the module is in the table, under its parent."""
    parents = {
        kind.__name__: None if kind is ResellerError else kind.__bases__[0].__name__
        for kind in CLASSES
        if issubclass(kind, ResellerError)
    }
    assert parents == {name: parent for name, (_, _, parent) in TREE.items()}


@pytest.mark.parametrize("name", list(TREE))
def test_what_an_error_answers(name: str) -> None:
    """Status and type are part of the API; only refusals before sending invite a retry."""
    error = getattr(errors, name)("Something is wrong.")
    assert (error.http_status, error.kind) == TREE[name][:2]
    assert error.message == str(error) == "Something is wrong."
    assert re.fullmatch(r"[a-z_]+", error.code)
    assert error.should_retry is (name in RETRY)
    assert (error.param, error.retry_after_ms) == (None, None)


def test_the_drawing_is_the_tree() -> None:
    """The tree at the top of the module shows every error with its status."""
    drawn = re.findall(r"^[ │├└─]*(\w+) +(\d{3})\b", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(status) for name, status in drawn} == {n: t[0] for n, t in TREE.items()}


def test_codes_are_their_own() -> None:
    """No two kinds of error share a default code."""
    codes = [getattr(errors, name).default_code for name in TREE]
    assert len(set(codes)) == len(codes)


def test_an_error_may_say_more() -> None:
    """Code, parameter, status, retry and wait can be given where they are known better."""
    error = InsufficientCredit(
        "No.", code="spend_limit_reached", param="model", status=403, retry=True, retry_after_ms=5
    )
    assert (error.code, error.param, error.http_status) == ("spend_limit_reached", "model", 403)
    assert (error.should_retry, error.retry_after_ms) == (True, 5)
    assert RateLimited("Later.", retry=False).should_retry is False
    assert InsufficientCredit.status == 402
