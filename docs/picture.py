"""Makes docs/first-minute.svg, the picture in the README, from what the program really prints.

`.venv/bin/python docs/picture.py` starts `make serve` in an empty folder, types the commands of
the first minute into a second terminal, and draws what the two terminals show. Needs tmux and a
free port 8080.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "first-minute.svg"
COLUMNS, LINES = 104, 60
LINKED = ("Makefile", "packaging", "pyproject.toml", "reseller", ".venv")
CURL = r"""curl -sN localhost:8080/v1/chat/completions \
    -H "Authorization: Bearer $(cat data/demo-key)" \
    -d '{"model": "sandbox/large", "stream": true, "max_tokens": 5,
         "messages": [{"role": "user", "content": "Say hello"}]}' |
  grep --line-buffered -o '"content":"[^"]\+"\|"usage".*'"""
SURROUNDINGS = r"PS1='\[\e[32;1m\]$\[\e[0m\] ' PS2='  ' PATH=$PATH LANG=C.UTF-8 TERM=xterm"
TYPED = (
    CURL,
    ".venv/bin/reseller usage list --email demo@example.com",
    ".venv/bin/reseller ledger verify | tail -7",
)

# A dark terminal looks right on a light page and on a dark one.
GROUND, BAR, INK, FAINT = "#161b22", "#21262d", "#d6dde5", "#8b949e"
COLOURS = {31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#76e3ea"}
CELL_W, CELL_H, SIZE, MARGIN, BAR_H = 7.8, 18, 13, 18, 30
FONT = "ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SGR = re.compile(r"\x1b\[([0-9;]*)m")


@dataclass(frozen=True)
class Pen:
    """How the next characters look."""

    ink: str = INK
    is_bold: bool = False
    is_faint: bool = False

    def after(self, codes: str) -> Pen:
        """The pen after an escape sequence's numbers."""
        pen = self
        for code in (int(part or 0) for part in codes.split(";")):
            if code == 0:
                pen = Pen()
            elif code == 1:
                pen = replace(pen, is_bold=True)
            elif code == 2:
                pen = replace(pen, is_faint=True)
            elif code == 39:
                pen = replace(pen, ink=INK)
            elif code in COLOURS:
                pen = replace(pen, ink=COLOURS[code])
        return pen


class Terminal:
    """A tmux session of its own server, so that nothing of the user's is touched."""

    def __init__(self, name: str, folder: Path) -> None:
        self._target = name
        shell = "bash --norc --noprofile"
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-s", name, "-c", str(folder)),
            *(
                "-x",
                str(COLUMNS),
                "-y",
                str(LINES),
                f"env -i {SURROUNDINGS} {shell}",
            ),
        )
        self.wait_for("$")

    def type(self, text: str) -> None:
        """Type a command and press Enter."""
        for line in text.split("\n"):
            self._tmux("send-keys", "-t", self._target, "-l", line)
            self._tmux("send-keys", "-t", self._target, "Enter")

    def wait_for(self, text: str, *, last: bool = False) -> None:
        """Return once the screen shows the text, or ends with it."""
        for _ in range(300):
            lines = [SGR.sub("", line) for line in self.screen()]
            if (lines[-1:] == [text.strip()]) if last else any(text in line for line in lines):
                return
            time.sleep(0.1)
        raise SystemExit(f"{text!r} did not appear:\n" + "\n".join(lines))

    def screen(self) -> list[str]:
        """What is shown, with escape sequences, without empty lines at the end."""
        shown = self._tmux("capture-pane", "-e", "-p", "-t", self._target).split("\n")
        while shown and not SGR.sub("", shown[-1]).strip():
            shown.pop()
        return shown

    def close(self) -> None:
        """Stop what runs in it, then the session."""
        self._tmux("send-keys", "-t", self._target, "C-c")
        time.sleep(1)
        self._tmux("kill-session", "-t", self._target)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", "reseller-picture", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return done.stdout


def first_minute(folder: Path) -> list[list[str]]:
    """The two terminals: the server's first lines, and what a new user types beside it."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    server, user = Terminal("server", folder), Terminal("user", folder)
    try:
        server.type("make serve")
        server.wait_for("Ctrl-C stops it")
        for text in TYPED:
            user.type(text)
            time.sleep(0.5)
            user.wait_for("$", last=True)
        above = server.screen()
        blank = next(number for number, line in enumerate(above) if not line.strip())
        return [above[:blank], user.screen()[:-1]]
    finally:
        user.close()
        server.close()


def runs(line: str) -> list[tuple[int, str, Pen]]:
    """A line cut where its look changes: column, text, pen."""
    found, pen, column = [], Pen(), 0
    for number, part in enumerate(SGR.split(line)):
        if number % 2:
            pen = pen.after(part)
        elif part:
            found.append((column, part, pen))
            column += len(part)
    return found


def drawn(line: str, top: float) -> list[str]:
    """A line as SVG: every run has its place and width, whatever font is there."""
    out = []
    for column, text, pen in runs(line):
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x = MARGIN + (column + word.start()) * CELL_W
            look = f' fill="{FAINT if pen.is_faint else pen.ink}"'
            look += ' font-weight="700"' if pen.is_bold else ""
            width = len(word[0]) * CELL_W
            out.append(
                f'<text x="{x:.1f}" y="{top:.1f}" textLength="{width:.1f}"{look}>'
                f"{html.escape(word[0], quote=False)}</text>"
            )
    return out


def picture(screens: list[list[str]]) -> str:
    """Both terminals in one frame, a line between them."""
    width = 2 * MARGIN + COLUMNS * CELL_W
    body, top = [], BAR_H + MARGIN
    for number, screen in enumerate(screens):
        if number:
            body.append(f'<path d="M0 {top + 2:.0f}H{width:.0f}" stroke="{BAR}" stroke-width="2"/>')
            top += MARGIN
        for line in screen:
            top += CELL_H
            body += drawn(line, top - 4)
        top += MARGIN * 0.6
    height = top + MARGIN * 0.4
    dots = "".join(f'<circle cx="{x}" cy="15" r="5" fill="#484f58"/>' for x in (20, 38, 56))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'role="img" aria-label="Two terminals: make serve, and the first requests to it">',
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="{GROUND}"/>',
            f'<path d="M0 {BAR_H}V8a8 8 0 0 1 8-8H{width - 8:.0f}a8 8 0 0 1 8 8V{BAR_H}z" '
            f'fill="{BAR}"/>',
            dots,
            f'<g font-family="{FONT}" font-size="{SIZE}" xml:space="preserve">',
            *body,
            "</g>",
            "</svg>\n",
        )
    )


def main() -> None:
    """Draw the picture anew."""
    # From the folder of links `make serve` must find everything installed.
    if subprocess.run(["make", "-q", ".venv/.demo"], cwd=ROOT).returncode:  # noqa: S607
        raise SystemExit("Run `make serve` here once, so that everything is installed.")
    with tempfile.TemporaryDirectory(prefix="first-minute-") as name:
        screens = first_minute(Path(name))
    TARGET.write_text(picture(screens), "utf-8")
    sys.stdout.write(f"{TARGET.relative_to(ROOT)}: {sum(map(len, screens))} lines\n")


if __name__ == "__main__":
    main()
