"""On which line a TOML file says what: found with tomllib alone, by reading growing pieces."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal

Path = tuple[str, ...]
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_AT_END = " (at end of document)"


class BadSyntax(ValueError):
    """A text that is not TOML, with the line where that shows."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_toml(text: str) -> dict[str, object]:
    """The tables of a TOML text; numbers with a point are Decimal. Raises BadSyntax."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as bad:
        message = str(bad)
        if at := _AT_LINE.search(message):
            raise BadSyntax(int(at[1]), _AT_LINE.sub("", message).strip()) from None
        # Something was opened and never closed: where it began says more than the last line.
        start = max(line for line, _ in _pieces(text))
        what = message.removesuffix(_AT_END)
        raise BadSyntax(start, f"what begins here does not end ({what})") from None
    except ValueError as bad:
        # A number of more digits than Python reads.
        raise BadSyntax(max(line for line, _ in _pieces(text)), str(bad)) from None
    except RecursionError:
        raise BadSyntax(1, "lists too deep to be a configuration") from None


def key_lines(text: str) -> dict[Path, int]:
    """The line of every table and key of a valid TOML text, by its path.

    Each statement is read on its own: lines are added until tomllib accepts the piece, which
    makes the first of them the line of its key, also where a list spans several.
    """
    lines: dict[Path, int] = {}
    header: Path = ()
    for line, piece in _pieces(text):
        tables = tomllib.loads(piece, parse_float=Decimal)
        if piece.lstrip().startswith("["):
            paths = list(_paths(tables, ()))
            header = paths[-1]
        else:
            paths = list(_paths(tables, header))
        for path in paths:
            lines.setdefault(path, line)
    return lines


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The statements of a text with their first lines; what never parses comes as the last."""
    piece, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        piece += line + "\n"
        try:
            tomllib.loads(piece, parse_float=Decimal)
        except ValueError:
            continue
        yield start, piece
        piece, start = "", number + 1
    if piece:
        yield start, piece


def _paths(value: object, path: Path) -> Iterator[Path]:
    """The paths below a value, outer before inner; a list of tables counts as one table."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        value = value[0]
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        yield (*path, str(name))
        yield from _paths(inner, (*path, str(name)))
