"""Rules of style about code: each yields the lines of one file that break it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Found = Iterator[tuple[int, str]]
Rule = Callable[[str, ast.Module, str], Found]

FILE_LINES = 400
FUNCTION_LINES = 60
COLUMNS = 100
FLOATLESS = ("reseller/money/", "reseller/db/")
BANNED_WORDS = {"helper", "util", "manager", "quota", "ratio"}
CLOCK_READS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"),
    *("datetime.date.today", "time.time", "time.monotonic"),
}
CHANCE_MODULES = {"secrets", "random", "uuid"}
EVERYTHING = {"Exception", "BaseException"}
LOG_CALL = re.compile(r"(?i:log\w*)\.(?:debug|info|warning|error|exception|critical|log)$")
ASSERTING_CALLS = {"raises", "warns", "fail", "deprecated_call"}

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def imported(node: ast.AST) -> list[str]:
    """Full names of what an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def words_of(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in the singular."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower().removesuffix("s") for part in parts}


def file_size(path: str, tree: ast.Module, text: str) -> Found:
    """At most 400 lines a file."""
    count = len(text.splitlines())
    if count > FILE_LINES:
        yield count, f"{count} lines, at most {FILE_LINES}"


def function_size(path: str, tree: ast.Module, text: str) -> Found:
    """At most 60 lines a function, its decorators aside."""
    for node in ast.walk(tree):
        if isinstance(node, AnyFunction):
            count = (node.end_lineno or 0) - node.lineno + 1
            if count > FUNCTION_LINES:
                yield node.lineno, f"{node.name}: {count} lines, at most {FUNCTION_LINES}"


def line_width(path: str, tree: ast.Module, text: str) -> Found:
    """At most 100 columns a line."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, at most {COLUMNS}"


def no_floats(path: str, tree: ast.Module, text: str) -> Found:
    """No float where money is, save seconds in a name that ends in _s; in money/ no division."""
    if not path.startswith(FLOATLESS):
        return
    seconds = {part for node in ast.walk(tree) if is_seconds(node) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "float" and node not in seconds:
            yield node.lineno, "float by name"
        elif isinstance(node, ast.Constant) and node not in seconds:
            if isinstance(node.value, float) or node.value == "float":
                yield node.lineno, "float by literal or in a quoted annotation"
        elif divides(node) and path.startswith("reseller/money/"):
            yield node.lineno, "true division makes floats"


def is_seconds(node: ast.AST) -> bool:
    """Whether this assigns or declares a duration: `wait_s`, `RETRY_S`."""
    if isinstance(node, ast.arg):
        return node.arg.endswith("_s")
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    named = isinstance(node, (ast.Assign, ast.AnnAssign))
    return named and all(dotted(target).lower().endswith("_s") for target in targets)


def divides(node: ast.AST) -> bool:
    """Whether this is a `/` or a `/=`."""
    return isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)


def imports_on_top(path: str, tree: ast.Module, text: str) -> Found:
    """No import inside a function, except in the command line, which must start fast."""
    if path.startswith(("reseller/cli/", "reseller/cli.py")):
        return
    for function in ast.walk(tree):
        if isinstance(function, AnyFunction):
            for node in ast.walk(function):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    yield node.lineno, f"import inside {function.name}"


def one_clock(path: str, tree: ast.Module, text: str) -> Found:
    """Only clock.py reads a clock."""
    if path == "reseller/clock.py":
        return
    for node in ast.walk(tree):
        if any(name.split(".")[0] == "time" for name in imported(node)):
            yield node.lineno, "imports time"
        if isinstance(node, ast.Attribute) and dotted(node) in CLOCK_READS:
            yield node.lineno, f"reads the clock by {dotted(node)}"


def one_source_of_chance(path: str, tree: ast.Module, text: str) -> Found:
    """Only ids.py draws randomness."""
    if path == "reseller/ids.py":
        return
    for node in ast.walk(tree):
        for name in imported(node):
            if name.split(".")[0] in CHANCE_MODULES or name == "os.urandom":
                yield node.lineno, f"imports {name}"
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.urandom", "os.getrandom"):
            yield node.lineno, f"draws randomness by {dotted(node)}"


def plain_words(path: str, tree: ast.Module, text: str) -> Found:
    """No names that say nothing, for files, functions, classes, arguments, variables, fields."""
    for part in Path(path).parts:
        if words_of(part.removesuffix(".py")) & BANNED_WORDS:
            yield 1, f"file name {part}"
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, (AnyFunction, ast.ClassDef)):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        elif isinstance(node, ast.alias) and node.asname:
            name = node.asname
        if words_of(name) & BANNED_WORDS:
            yield getattr(node, "lineno", 1), f"the name {name}"


def docstrings(path: str, tree: ast.Module, text: str) -> Found:
    """Every public module, class, function and method says what it promises."""
    if tree.body and not ast.get_docstring(tree):
        yield 1, "module without docstring"
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for place in (tree, *classes.values()):
        for node in place.body:
            if not isinstance(node, (AnyFunction, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if place is not tree and (getattr(place, "name", "_").startswith("_")):
                continue
            if not ast.get_docstring(node) and not is_promised(place, node.name, classes):
                yield node.lineno, f"{node.name} without docstring"


def is_promised(place: ast.AST, name: str, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether a base says what the method promises; foreign bases are taken at their word."""
    for base in place.bases if isinstance(place, ast.ClassDef) else ():
        known = classes.get(dotted(base))
        if known is None or is_promised(known, name, classes):
            return True
        members = (node for node in known.body if isinstance(node, AnyFunction))
        if any(node.name == name and ast.get_docstring(node) for node in members):
            return True
    return False


def handlers_speak(path: str, tree: ast.Module, text: str) -> Found:
    """Whoever catches everything logs it or raises it again; nobody suppresses everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not speaks(node):
            yield node.lineno, "catches everything and says nothing"
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
            for given in node.args:
                if dotted(given) in EVERYTHING:
                    yield node.lineno, "suppresses everything"


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Bare, or Exception, or BaseException, alone or among others."""
    types = ast.walk(handler.type) if handler.type else ()
    return handler.type is None or bool(EVERYTHING & {dotted(kind) for kind in types})


def speaks(handler: ast.ExceptHandler) -> bool:
    """Whether the handler calls a logger or raises."""
    calls = (dotted(node.func) for node in ast.walk(handler) if isinstance(node, ast.Call))
    logs = any(LOG_CALL.search(name) for name in calls)
    return logs or any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def asserting_tests(path: str, tree: ast.Module, text: str) -> Found:
    """Every test function asserts something, itself or through a function of its module."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, AnyFunction)}
    asserting = {name for name, node in functions.items() if asserts_itself(node)}
    while True:
        more = {
            name
            for name, node in functions.items()
            if name not in asserting and called_names(node) & asserting
        }
        if not more:
            break
        asserting |= more
    for name, node in functions.items():
        if name.startswith("test_") and name not in asserting:
            yield node.lineno, f"{name} asserts nothing"


def asserts_itself(function: AnyFunction) -> bool:
    """An assert statement, `pytest.raises` and its like, or a call named assert_… or expect…."""
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    names = called_names(function)
    return bool(names & ASSERTING_CALLS) or any(
        name.startswith(("assert_", "expect", "check_")) for name in names
    )


def called_names(function: AnyFunction) -> set[str]:
    """Last names of everything that is called inside."""
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {call.attr if isinstance(call, ast.Attribute) else dotted(call) for call in calls}
