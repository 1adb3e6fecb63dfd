"""The docs say what is there: nothing undocumented, no dead reference, and every example runs."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import click
import pytest

from reseller import admission, errors
from reseller.cli import main
from reseller.gateway.ask import Field
from reseller.gateway.dialects.fields import CHAT, COMPLETIONS, EMBEDDINGS
from reseller.gateway.faults import _BAD_REQUEST_TEXTS
from reseller.sandbox.control import ROUTES
from tests.test_layers import HOUSE

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CHANGELOG.md", "docs/API.md", "docs/ARCHITECTURE.md", "docs/OPERATIONS.md")
# Where the API's errors are raised. Nothing there raises Conflict.
RAISING = ("gateway", "money", "limits.py", "live.py", "catalogue.py", "admission.py")
ADDRESS, KEY = "http://127.0.0.1:8080", "sk-rs-…"


@cache
def page(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text("utf-8")


@cache
def trees(*names: str) -> tuple[ast.Module, ...]:
    """Modules of the package, parsed."""
    found: list[Path] = []
    for name in names:
        path = ROOT / "reseller" / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return tuple(ast.parse(path.read_text("utf-8")) for path in found)


def nodes(*names: str) -> Iterator[ast.AST]:
    """Every node of these modules."""
    for tree in trees(*names):
        yield from ast.walk(tree)


def texts(node: ast.AST) -> set[str]:
    """The string constants in an expression."""
    return {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def rows(name: str, first: str) -> dict[str, list[str]]:
    """A page's table whose head begins with `first`: its rows by the name in their first cell."""
    lines = iter(page(name).splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        found[cells[0].strip("`")] = cells[1:]
    return found


# Nothing is undocumented.


def commands() -> list[str]:
    """Every command, as it is typed."""

    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                yield from walk(below, (*path, name))
        else:
            yield " ".join(path)

    return list(walk(main, ()))


@pytest.mark.parametrize("command", commands())
def test_a_command_is_documented(command: str) -> None:
    """It is shown in use in OPERATIONS.md, and stands in the README's table."""
    assert re.search(rf"(?:reseller |`){re.escape(command)}\b", page("docs/OPERATIONS.md"))
    group, _, name = command.partition(" ")
    line = next(line for line in page("README.md").splitlines() if f"| `reseller {group}" in line)
    assert re.search(rf"\b{re.escape(name)}\b", line)


def error_codes() -> set[str]:
    """Every code that the API may answer with."""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    found = {each.default_code for each in classes if issubclass(each, errors.ResellerError)}
    found -= {errors.Conflict.default_code}
    for node in nodes(*RAISING):
        is_code = isinstance(node, ast.keyword) and node.arg == "code"
        if is_code or (isinstance(node, ast.Assign) and _is_default_code(node)):
            found |= texts(node.value) or _named(node.value)
    return found | set(_BAD_REQUEST_TEXTS)


def _named(node: ast.expr) -> set[str]:
    """The text of a constant such as BALANCE_HELD; none for a variable."""
    name = ast.unparse(node).rpartition(".")[2]
    found: set[str] = set()
    for each in nodes(*RAISING):
        if name.isupper() and isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == name:
            found |= texts(each.value)
    return found


def _is_default_code(node: ast.Assign) -> bool:
    return ast.unparse(node.targets[0]) == "default_code"


def test_every_error_code_is_listed() -> None:
    """The table of errors in API.md is complete, and lists nothing that nobody raises."""
    assert set(rows("docs/API.md", "code")) == error_codes()


def test_the_table_of_errors_tells_the_status_and_the_retry() -> None:
    """For the errors with a class of their own, status and retry are what the class says."""
    listed = rows("docs/API.md", "code")
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, errors.ResellerError):
            if each in (errors.Conflict, errors.UpstreamFault):
                continue
            status, *_, retry = listed[each.default_code]
            assert (status, retry) == (str(each.status), "yes" if each.default_retry else "no")


def test_every_request_field_is_listed() -> None:
    """The table of fields says of each field and endpoint what the firewall does with it."""
    found = {}
    for name in {*CHAT, *COMPLETIONS, *EMBEDDINGS}:
        found[name] = [_fate(table.get(name)) for table in (CHAT, COMPLETIONS, EMBEDDINGS)]
    assert {name: cells[:3] for name, cells in rows("docs/API.md", "field").items()} == found


def _fate(rule: Field | None) -> str:
    if rule is None:
        return "unknown"
    fates = {"passed": rule.passes, "read": rule.handled, "ignored": rule.dropped}
    return next((fate for fate, is_it in fates.items() if is_it), "refused")


def alarm_kinds() -> set[str]:
    """Every kind of alarm: what `tell` is called with, and what refusals of the upstream raise."""
    found: set[str] = set()
    for node in nodes("."):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("alarms.tell"):
            kind = node.args[0]
            if isinstance(kind, ast.JoinedStr):
                found.add("job_NAME")
            else:
                found |= texts(kind) or {_constant(kind)}
        elif isinstance(node, ast.keyword) and node.arg == "alarm":
            found |= {text.partition(":")[0] for text in texts(node.value)}
    return found - {""}


def _constant(node: ast.expr) -> str:
    """The text behind a name such as `admission.BOOKS`; none for a variable."""
    name = ast.unparse(node).rpartition(".")[2]
    return {"ALARM": "books"}.get(name) or str(getattr(admission, name, ""))


def test_every_alarm_is_listed() -> None:
    """The table of alarms is complete, and lists none that nobody raises."""
    assert set(rows("docs/OPERATIONS.md", "kind")) == alarm_kinds()


def test_every_reason_of_a_closed_gate_is_listed() -> None:
    """The table of admission names what may close it and nothing else."""
    closing = {
        _constant(node.args[0])
        for node in nodes(".")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("admission.close")
    }
    assert set(rows("docs/OPERATIONS.md", "reason")) == closing


def test_every_job_is_listed() -> None:
    """The table of jobs is complete."""
    named = {
        node.args[0].value
        for node in nodes(".")
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Job"
        and isinstance(node.args[0], ast.Constant)
    }
    assert set(rows("docs/OPERATIONS.md", "job")) == named


@pytest.mark.parametrize(("method", "path"), list(ROUTES))
def test_a_control_route_is_listed(method: str, path: str) -> None:
    """The simulator's routes stand in OPERATIONS.md."""
    assert re.search(rf"`{method} {re.escape(path)}[?`]", page("docs/OPERATIONS.md"))


def test_every_dependency_has_its_reason() -> None:
    """What pyproject.toml asks for stands in ARCHITECTURE.md, and nothing else does."""
    listed = page("pyproject.toml").partition("dependencies = [")[2].partition("]")[0]
    wanted = set(re.findall(r'"([a-z0-9-]+)[><=]', listed))
    assert set(rows("docs/ARCHITECTURE.md", "package")) == wanted


def test_every_module_has_its_floor() -> None:
    """The house in ARCHITECTURE.md is the one that is tested, floor by floor."""
    floors: dict[str, set[str]] = {}
    for label, names in HOUSE:
        floors.setdefault(label[0], set()).update(names)
    shown = {
        floor: {name.strip("` ") for name in cells[0].split(",")}
        for floor, cells in rows("docs/ARCHITECTURE.md", "floor").items()
    }
    package = ROOT / "reseller"
    there = {path.stem for path in package.iterdir() if path.suffix in ("", ".py")}
    assert shown == {floor: names & there for floor, names in floors.items()}


# No reference is dead.


def anchors(name: str) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page(name), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    """Relative links name a file that is there and a heading that it has."""
    here = (ROOT / name).parent
    plain = re.sub(r"```.*?```", "", page(name), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (here / path).resolve() if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT).as_posix()), link


def test_the_code_refers_to_sections_that_are_there() -> None:
    """`docs/PAGE.md "Section"` in the code names a heading of that page."""
    found = []
    for folder in ("reseller", "tests", "packaging"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = re.sub(r"\s+", " ", path.read_text("utf-8"))
            for name, section in re.findall(r'(docs/\w+\.md)(?: "([^"]+)")?', text):
                if path != Path(__file__):
                    assert (ROOT / name).exists(), path
                    assert not section or f"\n## {section}\n" in page(name), (path, section)
                    found.append(section)
    assert {"Money", "Quote", "Prices", "A request's money"} <= set(found)


@pytest.mark.parametrize("name", [*PAGES, "docs/first-minute.svg", "reseller.toml.example"])
def test_no_page_names_a_machine(name: str) -> None:
    """No path of whoever wrote it: what a page shows is there for everybody."""
    strange = r"(?<![\w.])/(?:home|root|work|tmp|Users|private|mnt)/"
    assert not re.search(strange, page(name))


def test_the_readme_ends_with_the_glossary() -> None:
    """It is the last section, in the order of the alphabet."""
    heads = re.findall(r"^## (.+)$", page("README.md"), re.M)
    assert heads[-1] == "Glossary"
    words = re.findall(r"^- \*\*(.+?)\*\*", page("README.md").partition("## Glossary")[2], re.M)
    assert words == sorted(words, key=str.lower)
    assert len(words) > 20


# The examples run.


@dataclass
class Block:
    """A fenced block marked `test`: its language, text and place."""

    language: str
    text: str
    place: str


def blocks() -> list[Block]:
    """The runnable blocks of all pages, in order."""
    found = []
    for name in PAGES:
        for match in re.finditer(r"^```(sh|python) test\n(.*?)^```$", page(name), re.S | re.M):
            line = page(name).count("\n", 0, match.start()) + 1
            found.append(Block(match[1], match[2], f"{name}:{line}"))
    return found


@dataclass
class Sandbox:
    """`reseller serve` in a process of its own, on an empty folder."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    folder: Path
    address: str = ""
    key: str = ""
    printed: list[str] = field(default_factory=list)

    def wait(self) -> None:
        """Read what it prints until it takes requests."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if "Ctrl-C stops it" in line:
                break
        text = "".join(self.printed)
        found = re.search(r"http://127\.0\.0\.1:\d+(?=/v1)", text)
        assert found, text
        self.address = found[0]
        self.key = (self.folder / "demo-key").read_text("ascii")

    def fitted(self, text: str) -> str:
        """An example with this sandbox's address and key."""
        return text.replace(ADDRESS, self.address).replace(KEY, self.key)

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run commands as a person would; the first that fails ends them."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.fitted(text)],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=30,
            check=False,
        )


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One server for all examples."""
    folder = tmp_path_factory.mktemp("docs") / "data"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "RESELLER__DATA__DIR": str(folder),
        "RESELLER__SERVER__LISTEN": "127.0.0.1:0",
        "RESELLER__SANDBOX__LATENCY_MS": "0",
        "RESELLER__SANDBOX__PACE_MS": "0",
        "RESELLER__DATA__BALLAST_MB": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "reseller", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
    )
    found = Sandbox(process, environment, folder)
    try:
        found.wait()
        found.environment["KEY"] = found.key
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


def run_python(text: str) -> str:
    """What a program prints. The SDK closes its connections at the end of the process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names: dict[str, object] = {"__name__": "__main__"}
        exec(compile(text, "example", "exec"), names)
        for name in ("client", "stream"):
            if hasattr(names.get(name), "close"):
                names[name].close()  # type: ignore[attr-defined]
    return printed.getvalue()


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_an_example_runs(sandbox: Sandbox, block: Block) -> None:
    """It does what it shows, without an error."""
    if block.language == "python":
        printed = run_python(sandbox.fitted(block.text))
    else:
        done = sandbox.shell(block.text)
        assert done.returncode == 0, done.stderr
        printed = done.stdout
        assert '"error"' not in printed
    assert printed.strip()


def test_what_serve_prints_can_be_pasted(sandbox: Sandbox) -> None:
    """The curl, the SDK's program and the two commands of the first screen all work."""
    text = "".join(sandbox.printed)
    _, curl, program, proof, _ = re.split(r"\n\n(?=Stream|The same|What it|No money)", text)
    streamed = sandbox.shell(curl.partition("\n\n")[2].replace("curl -N", "curl -sN")).stdout
    assert streamed.endswith("data: [DONE]\n\n")
    assert '"cost":0.0' in streamed
    told = sandbox.shell(program.partition("\n\n")[2])
    assert "This answer cost 0.000318 USD." in told.stdout, told.stderr
    listed, proved = proof.partition("\n\n")[2].strip().split("\n")
    assert "sandbox/large" in sandbox.shell(_by_module(listed)).stdout
    assert "The books are right." in sandbox.shell(_by_module(proved)).stdout


def _by_module(command: str) -> str:
    """A printed command, by `python -m`: here the program was not called by its name."""
    return re.sub(r"^\S+", "python -m reseller", command)


def test_the_blocks_are_found() -> None:
    """The examples are where they are thought to be."""
    assert len(blocks()) > 12
    assert {block.language for block in blocks()} == {"sh", "python"}
