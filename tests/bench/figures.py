"""Figures beside their bars, as a table and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `bar` None where it only informs, `at_most` says which side is good.

    `is_unsure` where the yardstick itself was so disturbed that nothing can be said.
    """

    name: str
    engine: str
    value: float
    unit: str
    bar: float | None = None
    at_most: bool = True
    note: str = ""
    is_unsure: bool = False

    @property
    def is_kept(self) -> bool | None:
        """Whether the bar is kept; None without one, or where that is not known."""
        if self.bar is None or self.is_unsure:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def shown(value: float) -> str:
    """Three significant digits, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(figures: Iterable[Figure]) -> str:
    """All figures, a line each: value, bar, verdict."""
    verdicts = {True: "pass", False: "SHORT", None: ""}
    rows = [("measure", "engine", "value", "bar", "", "")]
    for figure in figures:
        bar = ""
        if figure.bar is not None:
            bar = f"{'≤' if figure.at_most else '≥'} {shown(figure.bar)}"
        value = f"{shown(figure.value)} {figure.unit}".strip()
        verdict = "unsure" if figure.is_unsure else verdicts[figure.is_kept]
        rows.append((figure.name, figure.engine, value, bar, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [
            row[column].rjust(widths[column])
            if column in (2, 3)
            else row[column].ljust(widths[column])
            for column in range(5)
        ]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def save(figures: Iterable[Figure], name: str, folder: Path = OUT) -> Path:
    """The figures as JSON, with what they were measured on."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "figures": [asdict(figure) | {"is_kept": figure.is_kept} for figure in figures],
    }
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return path
