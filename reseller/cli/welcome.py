"""What `reseller serve` prints once it takes requests: addresses, and something to paste."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from reseller import __version__
from reseller.app import Running
from reseller.cli import look
from reseller.demo import Demo

_CURL = """\
curl -N {url}/v1/chat/completions \\
  -H 'Authorization: Bearer {key}' \\
  -H 'Content-Type: application/json' \\
  -d '{{"model": "{model}", "stream": true,
       "messages": [{{"role": "user", "content": "Say hello"}}]}}'"""

_PYTHON = """\
{python} - <<'END'
from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="{key}")
stream = client.chat.completions.create(
    model="{model}", stream=True, messages=[{{"role": "user", "content": "Say hello"}}]
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print(f"\\nThis answer cost {{chunk.usage.cost:.6f}} USD.")
END"""


def welcome(running: Running) -> None:
    """Print where the shop is and, in the sandbox, what to try first."""
    rows = [
        ("reseller", f"{__version__}, {running.mode} mode"),
        ("address", look.strong(running.url)),
        ("data", f"{_short(running.folder)}/"),
        ("models", str(running.models)),
    ]
    if running.simulator_url:
        rows.append(("simulator", f"{running.simulator_url}/behaviour"))
    look.say(look.pairs(rows))
    if running.demo is not None:
        _try_it(running, running.demo)
    sys.stdout.flush()


def _try_it(running: Running, demo: Demo) -> None:
    values = {"url": running.url, "key": demo.key, "model": demo.model, "python": _python()}
    command = _command()
    if (folder := running.folder) != Path("data").absolute():
        command += f" --data-dir {shlex.quote(str(folder))}"
    for title, text in (
        ("Stream an answer", _CURL.format(**values)),
        ("The same with OpenAI's SDK", _PYTHON.format(**values)),
        (
            "What it cost, and the proof",
            f"{command} usage list --email {demo.email}\n{command} ledger verify",
        ),
    ):
        look.say(f"\n{look.strong(title)}\n\n{text}")
    look.say("\nNo money moves here: answers and credit are the sandbox's. Ctrl-C stops it.")


def _command() -> str:
    """The program as it was called, so that the next command can be pasted."""
    called = sys.argv[0] or "reseller"
    return shlex.quote(called if "/" in called else "reseller")


def _python() -> str:
    """An interpreter that has the SDK: the one beside the program, else whichever there is."""
    beside = Path(sys.executable)
    return shlex.quote(_short(beside)) if beside.name.startswith("python") else "python3"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
