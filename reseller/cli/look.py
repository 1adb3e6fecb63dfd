"""How answers look in a terminal: aligned tables and pairs, colour only where it is seen."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_GAP = "  "
_COLOURS = {
    **dict.fromkeys(("active", "open", "ok", "accepted"), "green"),
    **dict.fromkeys(("suspended", "disabled", "pending", "overruled"), "yellow"),
    **dict.fromkeys(("frozen", "revoked", "closed", "WRONG", "failed", "blocked"), "red"),
}


def say(text: str, *, err: bool = False) -> None:
    """Print text; colour goes where a terminal shows it and NO_COLOR is not set."""
    click.echo(text, err=err, color=False if os.environ.get("NO_COLOR") else None)


def say_json(answer: object) -> None:
    """Print one JSON object, indented for people, on one line for programs."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(answer, ensure_ascii=False, indent=indent))


def state(word: str) -> str:
    """A state in its colour."""
    return click.style(word, fg=_COLOURS[word]) if word in _COLOURS else word


def faint(text: str) -> str:
    """Text that matters less."""
    return click.style(text, dim=True)


def strong(text: str) -> str:
    """Text that matters more."""
    return click.style(text, bold=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, nothing: str) -> str:
    """Rows below their heads. A head that ends in `>` is a number, in `$` money: both go right.

    Money of one column gets equally many decimals. Without rows, the words of `nothing`.
    """
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not cells:
        return faint(nothing)
    columns = [list(column) for column in zip(*cells, strict=True)]
    lines: list[list[str]] = [[] for _ in range(len(cells) + 1)]
    for head, column in zip(heads, columns, strict=True):
        shown = _even(column) if head.endswith("$") else column
        is_right = head.endswith((">", "$"))
        title = head.rstrip(">$")
        width = max(len(title), *(len(click.unstyle(cell)) for cell in shown))
        for line, cell in zip(lines, [faint(title), *shown], strict=True):
            line.append(_padded(cell, width, is_right))
    return "\n".join(_GAP.join(line).rstrip() for line in lines)


def pairs(values: Iterable[tuple[str, object]]) -> str:
    """Labels and what they stand for, aligned."""
    known = [(label, "-" if value in (None, "") else str(value)) for label, value in values]
    width = max(len(label) for label, _ in known)
    return "\n".join(f"{faint(label.ljust(width))}{_GAP}{value}" for label, value in known)


def time(at: int | None) -> str:
    """A time as `2026-03-01 09:30` (UTC)."""
    return "-" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M}"


def usd(text: str | None) -> str:
    """An amount with its sign of currency."""
    return "-" if text is None else f"-${text[1:]}" if text.startswith("-") else f"${text}"


def number(value: int | None) -> str:
    """A count with thousands apart."""
    return "-" if value is None else f"{value:,}"


def words(values: Iterable[Any]) -> str:
    """A list in a line."""
    return ", ".join(map(str, values)) or "-"


def _padded(cell: str, width: int, is_right: bool) -> str:
    room = " " * (width - len(click.unstyle(cell)))
    return room + cell if is_right else cell + room


def _even(column: list[str]) -> list[str]:
    """Amounts with as many decimals as the longest of them, so that their points line up."""
    decimals = [len(cell.partition(".")[2]) for cell in column if "." in cell]
    most = max(decimals, default=0)
    return [
        cell + "0" * (most - len(cell.partition(".")[2])) if "." in cell else cell
        for cell in column
    ]
