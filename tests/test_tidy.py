"""Style that a machine can check: sizes, floats, clocks, chance, words, docstrings, handlers.

The rules about code are in `tidy_rules.py`. The tables at the end show what each of them must find,
so that a rule that has fallen asleep is red.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tidy_rules import (
    Rule,
    asserting_tests,
    docstrings,
    file_size,
    function_size,
    handlers_speak,
    imports_on_top,
    line_width,
    no_floats,
    one_clock,
    one_source_of_chance,
    plain_words,
)

ROOT = Path(__file__).parent.parent
# Spelled apart so that this file does not hold what it looks for.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
REGISTRY_HOSTS = re.compile(
    r"files\.python" + r"hosted\.org|\bpy" + r"pi\.org|registry\.npm" + r"js|"
    r"artifact" + r"ory\.|\bdevpi\.|\bnexus\.[a-z]|/simple/?(?=\s|$)",
    re.IGNORECASE,
)
INDEX_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
TEXT_ENDINGS = {
    *("", ".py", ".md", ".toml", ".txt", ".lock", ".sql", ".html", ".css", ".js", ".json"),
    *(".yml", ".yaml", ".sh", ".spec", ".svg", ".cfg", ".ini", ".service", ".in"),
}


PACKAGE_RULES: tuple[Rule, ...] = (
    *(file_size, function_size, line_width, no_floats, imports_on_top, one_clock),
    *(one_source_of_chance, plain_words, docstrings, handlers_speak),
)
TEST_RULES: tuple[Rule, ...] = (function_size, line_width, asserting_tests)


@cache
def sources(folder: str) -> tuple[tuple[str, ast.Module, str], ...]:
    """Every Python file below a folder of the repository, parsed."""
    parsed = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        text = file.read_text("utf-8")
        parsed.append((file.relative_to(ROOT).as_posix(), ast.parse(text), text))
    return tuple(parsed)


@cache
def tracked_texts() -> tuple[tuple[str, str], ...]:
    """Text files of the repository, by name; only tracked ones, for others are not ours."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listing.stdout.decode().split("\0")
    return tuple(
        (name, (ROOT / name).read_text("utf-8", "replace"))
        for name in names
        if Path(name).suffix in TEXT_ENDINGS and (ROOT / name).is_file()
    )


def index_hosts() -> set[str]:
    """Names of the hosts from which whoever runs this installs packages."""
    settings = (os.environ.get(name, "") for name in INDEX_SETTINGS)
    hosts = {urlsplit(url).hostname or "" for value in settings for url in value.split()}
    return {host for host in hosts if "." in host}


def broken(rule: Rule, folder: str) -> list[str]:
    """Where a rule is broken below a folder."""
    return [
        f"{path}:{line}: {why}"
        for path, tree, text in sources(folder)
        for line, why in rule(path, tree, text)
    ]


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule: Rule) -> None:
    """No file of the package breaks the rule."""
    assert broken(rule, "reseller") == []


@pytest.mark.parametrize("rule", TEST_RULES, ids=lambda rule: rule.__name__)
def test_the_tests_keep(rule: Rule) -> None:
    """No test file breaks the rule."""
    assert broken(rule, "tests") == []


def test_nothing_is_left_unfinished() -> None:
    """No notes to oneself in tracked files."""
    notes = [name for name, text in tracked_texts() if UNFINISHED.search(text)]
    assert notes == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of whoever installs them."""
    hosts = index_hosts()
    naming = [
        name
        for name, text in tracked_texts()
        if REGISTRY_HOSTS.search(text) or any(host in text for host in hosts)
    ]
    assert naming == []


def test_locks_hold_versions_and_hashes_only() -> None:
    """No lock names an index or an address; everything in it is pinned and hashed."""
    locks = {name: text for name, text in tracked_texts() if name.endswith(".lock")}
    assert locks
    for name, text in locks.items():
        assert not re.search(r"https?:|--(?:extra-)?index|--find-links|--trusted-host", text), name
        pins = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins), name
        assert text.count("--hash=sha256:") >= len(pins)


LONG = "\n".join(["def f():", '    """Say."""', *["    pass"] * 59])
BASE = "'M.'\nclass A:\n    'A.'\n    def f(self):\n        'F.'\n"
MUST_FIND: list[tuple[Rule, str, str]] = [
    (file_size, "reseller/a.py", "\n" * 401),
    (function_size, "reseller/a.py", LONG),
    (function_size, "reseller/a.py", "class A:\n " + LONG.replace("\n", "\n ")),
    (line_width, "reseller/a.py", "#" * 101),
    (no_floats, "reseller/money/a.py", "def f(x: float) -> None: ..."),
    (no_floats, "reseller/db/a.py", "x = 1e9"),
    (no_floats, "reseller/db/a.py", "x: 'float' = 1"),
    (no_floats, "reseller/money/a.py", "x = 3 / 4"),
    (no_floats, "reseller/money/a.py", "x /= 4"),
    (imports_on_top, "reseller/a.py", "def f():\n    import os"),
    (imports_on_top, "reseller/a.py", "class A:\n  async def f(self):\n    from a import b"),
    (one_clock, "reseller/a.py", "import time"),
    (one_clock, "reseller/a.py", "from time import monotonic as now"),
    (one_clock, "reseller/a.py", "from datetime import datetime\nx = datetime.now()"),
    (one_clock, "reseller/a.py", "import datetime\nx = datetime.datetime.utcnow"),
    (one_source_of_chance, "reseller/a.py", "import secrets"),
    (one_source_of_chance, "reseller/a.py", "from uuid import uuid4"),
    (one_source_of_chance, "reseller/a.py", "import os\nx = os.urandom(3)"),
    (one_source_of_chance, "reseller/a.py", "from os import urandom"),
    (plain_words, "reseller/helpers.py", ""),
    (plain_words, "reseller/a.py", "class KeyManager: ..."),
    (plain_words, "reseller/a.py", "def f(quota_left): ..."),
    (plain_words, "reseller/a.py", "self.hit_ratio = 1"),
    (plain_words, "reseller/a.py", "import a.tools as string_utils"),
    (docstrings, "reseller/a.py", "x = 1"),
    (docstrings, "reseller/a.py", '"""A."""\nclass A: ...'),
    (docstrings, "reseller/a.py", '"""A."""\nclass A:\n    """A."""\n    def f(self): ...'),
    (docstrings, "reseller/a.py", BASE + "class B(A):\n    'B.'\n    def g(self): ..."),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept Exception: pass"),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept: x = 1"),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept (ValueError, BaseException): math.log(2)"),
    (handlers_speak, "reseller/a.py", "with contextlib.suppress(Exception): f()"),
    (asserting_tests, "tests/test_a.py", "def test_a():\n    print(1)"),
    (asserting_tests, "tests/test_a.py", "def f(): print()\nasync def test_a():\n    f()"),
]
MUST_PASS: list[tuple[Rule, str, str]] = [
    (file_size, "reseller/a.py", "\n" * 400),
    (function_size, "reseller/a.py", LONG.removesuffix("\n    pass")),
    (no_floats, "reseller/limits.py", "x: float = 1.5 / 2"),
    (no_floats, "reseller/db/a.py", "x = folder / 'shop.db'"),
    (no_floats, "reseller/db/a.py", "RETRY_S = 0.05\ndef f(wait_s: float) -> None: ..."),
    (imports_on_top, "reseller/cli/a.py", "def f():\n    import os"),
    (imports_on_top, "reseller/a.py", "if x:\n    import os"),
    (one_clock, "reseller/clock.py", "import time"),
    (one_clock, "reseller/a.py", "from datetime import datetime\nx = datetime.fromtimestamp(1)"),
    (one_clock, "reseller/a.py", "x = clock.now_ms()"),
    (one_source_of_chance, "reseller/ids.py", "import os\nx = os.urandom(3)"),
    (plain_words, "reseller/a.py", "kind = 'insufficient_quota'"),
    (plain_words, "reseller/a.py", "from contextlib import asynccontextmanager"),
    (plain_words, "reseller/generation.py", "migration = operations = utility = None"),
    (docstrings, "reseller/a/__init__.py", ""),
    (docstrings, "reseller/a.py", '"""A."""\ndef _f(): ...\nclass _A:\n    def f(self): ...'),
    (docstrings, "reseller/a.py", BASE + "class B(A):\n    'B.'\n    def f(self): ..."),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept Exception: log.exception('f failed')"),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept BaseException:\n    g()\n    raise"),
    (handlers_speak, "reseller/a.py", "try: f()\nexcept ValueError: pass"),
    (asserting_tests, "tests/test_a.py", "def f(): assert 1\ndef g(): f()\ndef test_a():\n    g()"),
    (asserting_tests, "tests/test_a.py", "def test_a():\n    with pytest.raises(E): f()"),
]


@pytest.mark.parametrize(("rule", "path", "text"), MUST_FIND)
def test_a_rule_finds_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    """Each snippet breaks its rule."""
    assert list(rule(path, ast.parse(text), text))


@pytest.mark.parametrize(("rule", "path", "text"), MUST_PASS)
def test_a_rule_lets_good_code_be(rule: Rule, path: str, text: str) -> None:
    """Each snippet keeps its rule."""
    assert not list(rule(path, ast.parse(text), text))


def test_the_registry_pattern_is_awake() -> None:
    """Addresses of indexes are found, ordinary words are not."""
    hosted = "https://files.python" + "hosted.org/packages/a"
    project = "https://py" + "pi.org/project/reseller"
    for line in (
        hosted,
        project,
        "https://mirror.example/simple/",
        "https://mirror.example/simple",
    ):
        assert REGISTRY_HOSTS.search(line)
    for line in ("a simple page", "/simple-page"):
        assert not REGISTRY_HOSTS.search(line)
