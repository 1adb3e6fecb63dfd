"""Reading an upstream's usage: exact, and never raising."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.gateway.faults import fault_from_answer, fault_from_frame, retry_after_ms
from reseller.gateway.meter import read_usage


@pytest.mark.parametrize(
    ("cost", "picos"),
    [
        ("0", 0),
        ("0.0", 0),
        ("7.4e-7", 740_000),
        ("0.000126255304", 126_255_304),
        ("0.0000000000001", 1),
        ("1E+2", 100 * 10**12),
        ("100000", 10**17),
        ('"0.5"', 5 * 10**11),
        ("100000.000001", None),
        ("-0.1", None),
        ("1e-31", None),
        ("1e7", None),
        ("1e999000", None),
        ("-1e999000", None),
        ('"NaN"', None),
        ('"-Infinity"', None),
        ('"five"', None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ("9" * 100_000, None),
        ("0." + "3" * 100_000, None),
    ],
)
def test_a_cost_is_exact_or_unknown(cost: str, picos: int | None) -> None:
    """Rounded up once at the twelfth decimal; what no cost can be is unknown, and found out
    quickly."""
    started = time.perf_counter()
    usage = read_usage(b'{"prompt_tokens":3,"completion_tokens":4,"cost":%b}' % cost.encode())
    assert time.perf_counter() - started < 0.5
    assert usage.cost_picos == picos
    assert (usage.doubt == "") == (picos is not None)
    assert len(usage.doubt) < 300


def test_odd_counts_leave_the_cost_alone() -> None:
    """Counts of the wrong kind, negative or absurd count as none; the cost is still the cost."""
    usage = read_usage(
        b'{"prompt_tokens":3.5,"completion_tokens":"4","total_tokens":-1,"cost":0.25,'
        b'"prompt_tokens_details":[],"completion_tokens_details":{"reasoning_tokens":-5}}'
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens) == (0, 0, 0)
    assert usage.cost_picos == 25 * 10**10
    assert read_usage(b'{"prompt_tokens":%d,"cost":1}' % 2**50).prompt_tokens == 0


@pytest.mark.parametrize("more", ['"is_byok":"yes"', '"cost_details":5', '"cost":{}'])
def test_odd_money_is_unknown(more: str) -> None:
    """Where a field that makes up the cost cannot be read, the cost is not believed."""
    usage = read_usage(f'{{"prompt_tokens":3,"cost":0.25,{more}}}'.encode())
    assert usage.cost_picos is None
    assert usage.doubt
    assert usage.prompt_tokens == 3


def test_an_own_key_adds_the_inference() -> None:
    """Fee and inference; without the inference the cost is unknown."""
    fee = '{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":%s}}'
    assert read_usage((fee % "0.2").encode()).cost_picos == 21 * 10**10
    assert read_usage((fee % "null").encode()).cost_picos is None
    assert read_usage(b'{"cost":0.01,"is_byok":true}').cost_picos is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "cost",
        "is_byok",
        "cost_details",
        "prompt_tokens",
        "prompt_tokens_details",
        "code",
        "metadata",
    ]
)


@given(st.dictionaries(NAMES, JSON) | JSON)
def test_nothing_an_upstream_says_raises(said: Any) -> None:
    """Usage, error bodies and error frames of any kind are read without an exception."""
    raw = repr(said).replace("'", '"').replace("None", "null").encode()
    for text in (raw, raw.replace(b"True", b"true").replace(b"False", b"false")):
        usage = read_usage(text)
        assert usage.cost_picos is None or usage.cost_picos >= 0
        assert fault_from_answer(404, b'{"error":%b}' % text, None).error.http_status == 404
        assert 400 <= fault_from_frame(text).error.http_status <= 599


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        *((None, 1_000), ("7", 7_000), ("0", 0), ("1.5", 1_500), ("-3", 0), ("1e99", 120_000)),
        *(("nan", 1_000), ("inf", 1_000), ("soon", 1_000), ("", 1_000), ("9" * 5_000, 1_000)),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 120_000),
    ],
)
def test_retry_after(text: str | None, wait_ms: int) -> None:
    """Seconds, capped; a date counts as the cap, nonsense as none."""
    assert retry_after_ms(text) == wait_ms


@pytest.mark.parametrize("code", ["²²²", "429", 429, "4290", None, [], 10**400, "-29", 200, 601])
def test_codes_of_error_frames(code: object) -> None:
    """A status of three digits is one; anything else is 502."""
    shown = f'"{code}"' if isinstance(code, str) else str(code).replace("None", "null")
    status = fault_from_frame(f'{{"code":{shown}}}'.encode()).error.http_status
    assert status == (429 if str(code) == "429" else 502)
