"""Ids, keys and digests."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reseller.ids import (
    ALPHABET,
    KEY_PATTERN,
    Ids,
    base62,
    key_digest,
    keyed_hash,
    visible_prefix,
)


def test_the_alphabet_sorts_as_its_digits() -> None:
    """62 characters, in the order of their bytes."""
    assert len(set(ALPHABET)) == 62
    assert "".join(sorted(ALPHABET)) == ALPHABET


@given(st.integers(0, 62**8 - 1), st.integers(0, 62**8 - 1))
def test_base62_sorts_as_the_number(one: int, other: int) -> None:
    """Padded text compares as the numbers do, and no two numbers share a text."""
    texts = (base62(one, 8), base62(other, 8))
    assert [len(text) for text in texts] == [8, 8]
    assert (texts[0] < texts[1]) is (one < other)
    assert (texts[0] == texts[1]) is (one == other)


def test_base62_of_known_numbers() -> None:
    """Nought is all padding; a number too wide keeps its digits; none is negative."""
    assert [base62(number, 2) for number in (0, 61, 62, 62**2)] == ["00", "0z", "10", "100"]
    with pytest.raises(AssertionError):
        base62(-1, 8)


def test_request_ids_sort_by_time(ids: Ids) -> None:
    """The index grows at its end; within a millisecond chance decides."""
    times = [0, 1, 61, 62, 1_772_323_200_000, 1_772_323_200_001, 4_102_444_800_000]
    made = [ids.request_id(now_ms) for now_ms in times]
    assert made == sorted(made)
    assert all(text.startswith("req_") and len(text) == 24 for text in made)
    assert made[4] != ids.request_id(times[4])


def test_ids_do_not_repeat(ids: Ids) -> None:
    """Thousands of ids, across many draws of the pool, and from two sources."""
    made = [ids.new("acc") for _ in range(2000)] + [Ids().new("acc") for _ in range(5)]
    assert len(set(made)) == len(made)
    assert all(text.startswith("acc_") and len(text) == 20 for text in made)


@pytest.mark.parametrize("length", [0, 1, 43, 5000])
def test_random_text_has_its_length(ids: Ids, length: int) -> None:
    """Any length, in the alphabet."""
    text = ids.random_text(length)
    assert len(text) == length
    assert set(text) <= set(ALPHABET)


def test_every_character_is_equally_likely(ids: Ids) -> None:
    """A plain `byte % 62` would give eight characters a quarter more; bounds of 9 sigma."""
    counts = Counter(ids.random_text(31_000))
    assert len(counts) == 62
    assert all(300 < counts[character] < 710 for character in ALPHABET)
    assert 3500 < sum(counts[character] for character in ALPHABET[:8]) < 4500


def test_api_keys_match_their_pattern(ids: Ids) -> None:
    """256 bits behind the prefix; what is shown later is far too short to use."""
    key = ids.api_key()
    assert KEY_PATTERN.fullmatch(key)
    assert len(key) == 49
    assert key.startswith(visible_prefix(key))
    assert len(visible_prefix(key)) == 12
    assert len(ids.secret()) == 43
    assert len({ids.api_key() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["sk-rs-", "sk-rs-" + "a" * 42, "sk-rs-" + "a" * 44, "sk-rs-" + "é" * 43, "sk-or-v1"]
)
def test_other_texts_are_no_keys(text: str) -> None:
    """Too short, too long, other letters, other shops."""
    assert not KEY_PATTERN.fullmatch(text)


def test_a_digest_is_sha256(ids: Ids) -> None:
    """32 bytes that can be checked with any tool."""
    key = ids.api_key()
    assert key_digest(key) == hashlib.sha256(key.encode()).digest()


texts = st.text("abAB01-_ \n\x00é€\N{GRINNING FACE}", max_size=8)


@given(texts, texts)
def test_any_text_has_a_digest(one: str, other: str) -> None:
    """What a client sends in place of a key never raises; different texts differ."""
    assert len(key_digest(one)) == 32
    assert (key_digest(one) == key_digest(other)) is (one == other)


def test_half_a_character_has_a_digest() -> None:
    """JSON can spell lone surrogates."""
    for text in ("\ud800", "\udcff", "a\udfff"):
        assert len(key_digest(text)) == 32
        assert len(keyed_hash(b"secret", text)) == 32


def test_a_keyed_hash_depends_on_both() -> None:
    """The same secret and text give the same 32 characters; another of either does not."""
    value = keyed_hash(b"secret", "acc_1")
    assert value == keyed_hash(b"secret", "acc_1")
    assert len({value, keyed_hash(b"other", "acc_1"), keyed_hash(b"secret", "acc_2")}) == 3
    assert len(value) == 32
    assert set(value) <= set("0123456789abcdef")
