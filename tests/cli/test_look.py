"""Tables that line up, with and without colour."""

from __future__ import annotations

import click

from reseller.cli import look


def test_numbers_go_right_and_points_line_up() -> None:
    """Money of a column has equally many decimals; colour does not count as width."""
    rows = [["a", look.state("active"), "10.00", 5], ["bbb", "x", "0.000168", None]]
    text = click.unstyle(look.table(("name", "state", "usd$", "n>"), rows, nothing="None."))
    assert text.splitlines() == [
        "name  state         usd  n",
        "a     active  10.000000  5",
        "bbb   x        0.000168",
    ]


def test_no_rows_are_said() -> None:
    """An empty table says so."""
    assert click.unstyle(look.table(("a",), [], nothing="None.")) == "None."


def test_pairs_and_values() -> None:
    """Labels are aligned; what is not there is a dash; debts carry the sign outside."""
    text = click.unstyle(look.pairs([("a", 1), ("long", None)]))
    assert text == "a     1\nlong  -"
    assert (look.usd("-1.50"), look.usd("2.00"), look.usd(None)) == ("-$1.50", "$2.00", "-")
    assert look.time(1_772_357_400_000) == "2026-03-01 09:30"
    assert look.number(1_234_567) == "1,234,567"
