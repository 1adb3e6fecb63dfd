"""The program as a process: quick where it can be, whole on a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from reseller import __version__

_HEAVY = ("quart", "aiohttp", "httpx", "msgspec", "aiosqlite", "argon2", "stripe", "asyncio")


def _run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RESELLER")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "reseller", *words],
        cwd=folder,
        env=environment | {"RESELLER__DATA__BALLAST_MB": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_and_help_load_nothing_heavy() -> None:
    """What answers without a shop answers at once."""
    code = (
        "import sys; from reseller.cli import main\n"
        "main(['--help'], standalone_mode=False); main(['version'], standalone_mode=False)\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert __version__ in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_process_does_what_it_is_told(tmp_path: Path) -> None:
    """One object on standard output, nothing else anywhere, warnings being errors."""
    done = _run("customer", "create", "--email", "ada@example.com", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["email"] == "ada@example.com"


def test_a_person_is_asked_before_it_is_too_late(tmp_path: Path) -> None:
    """On a terminal a destructive command asks; no is no."""
    assert _run("customer", "create", "--email", "a@example.com", folder=tmp_path).returncode == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "reseller", "customer", "suspend", "--email", "a@example.com"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as asking:
        os.close(theirs)
        os.write(ours, b"n\n")
        said, _ = asking.communicate(timeout=60)
    os.close(ours)
    assert asking.returncode == 1
    assert "Suspend a@example.com?" in said
    shown = _run("customer", "show", "--email", "a@example.com", "--json", folder=tmp_path)
    assert json.loads(shown.stdout)["state"] == "active"
