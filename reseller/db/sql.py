"""Every statement the product runs, loaded from `queries/*.sql` and checked both ways at import.

A statement that is used but not written, or written but not declared here, stops the program
before it does anything.
"""

from __future__ import annotations

from importlib import resources


def _load() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted(resources.files("reseller.db").joinpath("queries").iterdir(), key=str):
        if not file.name.endswith(".sql"):
            continue
        for name, text in _statements(file.read_text("utf-8")):
            assert name not in found, f"statement {name} is written twice"
            found[name] = text
    return found


def _statements(text: str) -> list[tuple[str, str]]:
    named: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("-- name: "):
            named.append((line.removeprefix("-- name: ").strip(), []))
        elif named and not line.startswith("--"):
            named[-1][1].append(line)
    return [(name, "\n".join(lines).strip()) for name, lines in named]


SQL = _load()
_declared: set[str] = set()


def statement(name: str) -> str:
    """The text of a named statement; declared once by the module that runs it."""
    text = SQL.get(name)
    assert text, f"no statement named {name} in reseller/db/queries"
    _declared.add(name)
    return text


def undeclared() -> set[str]:
    """Statements that are written but that no module runs; a test keeps this empty."""
    return set(SQL) - _declared
