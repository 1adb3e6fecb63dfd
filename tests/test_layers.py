"""The house of docs/ARCHITECTURE.md: who may import whom.

A module imports only what stands lower, or its own package. A new top-level module has no place
until it is given one here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "reseller"

# From the ground up: (level, what stands on it). Those on one line do not see each other. A module
# `config_kinds` lives with `config`.
HOUSE: tuple[tuple[str, frozenset[str]], ...] = (
    ("0 words", frozenset({"units", "errors"})),
    ("0 time and chance", frozenset({"clock", "ids"})),
    ("0 configuration", frozenset({"config"})),
    ("0 log", frozenset({"log"})),
    ("1 pure", frozenset({"money", "limits", "admission", "alarms"})),
    ("1 what is on sale", frozenset({"catalogue"})),
    ("2 database", frozenset({"db"})),
    ("3 memory", frozenset({"live"})),
    ("3 from disk to memory", frozenset({"loading"})),
    ("3 the shop without a door", frozenset({"core"})),
    ("4 edges", frozenset({"gateway", "actions", "stripe", "sandbox"})),
    ("4 small ends", frozenset({"upstream_api", "admin_client"})),
    ("5 pages and chores", frozenset({"web", "jobs", "rollup", "sync", "upstream_guard"})),
    ("5 what to try first", frozenset({"demo"})),
    ("5 list of chores", frozenset({"chores"})),
    ("6 doors", frozenset({"server", "admin_socket"})),
    ("6 composition", frozenset({"app"})),
    ("7 commands", frozenset({"cli"})),
    ("7 python -m", frozenset({"__main__"})),
)
LEVEL = {name: number for number, (_, names) in enumerate(HOUSE) for name in names}
GROUND = {name for label, names in HOUSE if label.startswith("0") for name in names}

# Pure code needs little of the standard library, and none of it does I/O.
PURE = {"money", "limits"}
PURE_IMPORTS = {
    *("__future__", "bisect", "collections", "dataclasses", "decimal", "enum", "fnmatch"),
    *("functools", "itertools", "math", "re", "typing"),
}
# Packages that one place alone knows.
KNOWN_BY = {
    "aiosqlite": {"db"},
    "sqlite_utils": {"db"},
    "hypercorn": {"server"},
    "granian": {"server"},
    "stripe": {"stripe"},
}
NEVER = {
    ("web", "gateway"): "pages and API share actions and memory, not code",
}


def family(module: str) -> str:
    """The top-level name that stands in the house: `config` for `reseller.config_kinds`."""
    top = module.split(".")[1] if "." in module else ""
    if top not in LEVEL and top.partition("_")[0] in LEVEL:
        return top.partition("_")[0]
    return top


def imports_of(
    module: str, tree: ast.Module, *, types_too: bool = True
) -> Iterator[tuple[int, str]]:
    """Every name a module imports, wherever in it; perhaps without those for types only."""
    ignored: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            ignored |= set() if types_too else set(ast.walk(node))
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text("utf-8"))
    return found


def edges(*, types_too: bool = True) -> Iterator[tuple[str, int, str]]:
    """Imports within the package: importer, line, imported module."""
    for module, tree in modules().items():
        for line, name in imports_of(module, tree, types_too=types_too):
            if name.split(".")[0] == PACKAGE:
                yield module, line, name if name in modules() else name.rpartition(".")[0]


def fault(importer: str, wanted: str) -> str | None:
    """Why a module may not import another of the package; None where it may."""
    above, below = family(importer), family(wanted)
    if below in ("", above):
        return None
    if above not in LEVEL or below not in LEVEL:
        return "it has no place in the house"
    if (above, below) in NEVER:
        return NEVER[above, below]
    if above == "sandbox" and below not in GROUND:
        return "a simulator must not share code with what it tests"
    if LEVEL[above] <= LEVEL[below]:
        return f"{below} does not stand below {above}"
    return None


def test_every_module_has_its_place() -> None:
    """A new top-level module fails here until the table names its level."""
    homeless = {module for module in modules() if module != PACKAGE and family(module) not in LEVEL}
    assert homeless == set()


def test_modules_import_only_what_stands_lower() -> None:
    """The house stands: no import upwards or sideways."""
    faults = [
        f"{importer}:{line} imports {wanted}: {why}"
        for importer, line, wanted in edges()
        if (why := fault(importer, wanted))
    ]
    assert faults == []


def test_no_import_goes_in_a_circle() -> None:
    """Within a package too, there is an order in which modules can be read."""
    wanted_by: dict[str, set[str]] = {module: set() for module in modules()}
    for importer, _, wanted in edges(types_too=False):
        if wanted != importer:
            wanted_by[importer].add(wanted)
    while True:
        leaves = {module for module, wanted in wanted_by.items() if not wanted}
        if not leaves:
            break
        wanted_by = {m: w - leaves for m, w in wanted_by.items() if m not in leaves}
    assert wanted_by == {}


def test_the_pure_modules_are_pure() -> None:
    """Money and limits import no I/O and nothing foreign, and never await."""
    for module, tree in modules().items():
        if family(module) not in PURE:
            continue
        foreign = {name.split(".")[0] for _, name in imports_of(module, tree)} - {PACKAGE}
        assert foreign <= PURE_IMPORTS, module
        asyncs = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        assert not any(isinstance(node, asyncs) for node in ast.walk(tree)), module


@pytest.mark.parametrize("name", sorted(GROUND - {"config", "log"}))
def test_the_ground_needs_the_standard_library_only(name: str) -> None:
    """Level 0 stands on nothing that must be installed."""
    tree = modules()[f"{PACKAGE}.{name}"]
    roots = {imported.split(".")[0] for _, imported in imports_of(name, tree)}
    assert roots <= sys.stdlib_module_names | {PACKAGE}


@pytest.mark.parametrize("package", sorted(KNOWN_BY))
def test_a_foreign_package_is_known_in_one_place(package: str) -> None:
    """The database driver, the server and Stripe can be exchanged in one place each."""
    knowing = {
        module
        for module, tree in modules().items()
        for _, name in imports_of(module, tree)
        if name.split(".")[0] == package
    }
    assert {module for module in knowing if family(module) not in KNOWN_BY[package]} == set()


def test_the_database_is_opened_in_one_place() -> None:
    """Others get a connection handed; only db/ makes one."""
    opening = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sqlite3.connect"
    }
    assert {module for module in opening if family(module) != "db"} == set()


@pytest.mark.parametrize(
    ("importer", "wanted", "may"),
    [
        ("reseller.money.wallet", "reseller.units", True),
        ("reseller.money.wallet", "reseller.money.pricing", True),
        ("reseller.units", "reseller.errors", False),
        ("reseller.money.wallet", "reseller.limits", False),
        ("reseller.money.wallet", "reseller.db.journal", False),
        ("reseller.config_kinds", "reseller.config", True),
        ("reseller.log", "reseller.config_schema", True),
        ("reseller.config", "reseller.log", False),
        ("reseller.web.billing", "reseller.actions.credits", True),
        ("reseller.web.billing", "reseller.gateway.serve", False),
        ("reseller.gateway.serve", "reseller.web.app", False),
        ("reseller.sandbox.upstream", "reseller.clock", True),
        ("reseller.sandbox.upstream", "reseller.money.pricing", False),
        ("reseller.app", "reseller.server", True),
        ("reseller.server", "reseller.cli", False),
        ("reseller.cli.main", "reseller.app", True),
        ("reseller.cli.main", "reseller", True),
        ("reseller", "reseller.units", False),
    ],
)
def test_the_rule_is_awake(importer: str, wanted: str, may: bool) -> None:
    """What the house allows, and what it does not."""
    assert (fault(importer, wanted) is None) is may
