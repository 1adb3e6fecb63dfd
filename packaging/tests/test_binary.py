"""The packed file on its own: it starts the sandbox, sells a request, proves the books, stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

BINARY = Path(os.environ.get("RESELLER_BINARY", "dist/reseller")).resolve()
SIZE_LIMIT_MB = 30


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """`reseller serve` from an empty folder, with an empty environment."""
    command = [str(BINARY), "serve", "--listen", "127.0.0.1:0"]
    with (
        open(tmp_path / "err", "wb") as errors,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={"HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            address = ""
            for line in process.stdout:
                if line.startswith(b"address"):
                    address = line.split()[1].decode()
                if b"Ctrl-C" in line:
                    break
            assert address, (tmp_path / "err").read_text()
            yield address, tmp_path
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(timeout=20)
    assert status == 0


def run(folder: Path, *arguments: str) -> dict[str, object]:
    """A command of the packed file, its one JSON object."""
    command = [str(BINARY), *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_it_sells_a_request(shop: tuple[str, Path]) -> None:
    """From an empty folder to a charged stream and a clean ledger."""
    address, folder = shop
    key = (folder / "data" / "demo-key").read_text()
    with httpx.Client(base_url=address, trust_env=False, timeout=20) as http:
        assert http.get("/").status_code == 200
        assert http.get("/openapi.json").json()["openapi"].startswith("3.1")
        body = {
            "model": "sandbox/large",
            "stream": True,
            "messages": [{"role": "user", "content": "hello"}],
        }
        headers = {"authorization": f"Bearer {key}"}
        answer = http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    time.sleep(0.2)
    usage = run(folder, "usage", "list", "--email", "demo@example.com")
    assert "req_" in json.dumps(usage)
    assert run(folder, "ledger", "verify")["ok"] is True


def test_it_is_small_enough() -> None:
    """The size budget of a download."""
    assert BINARY.stat().st_size <= SIZE_LIMIT_MB * 1_000_000
