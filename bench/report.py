"""What was measured: a table for people, and one line of JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.load import Run
from bench.progress import Progress

DIGITS = 3
MIN_WIDTH = 130
LARGE = 100
"""From here on a figure is shown without decimals."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, as often as it was measured."""

    name: str
    values: list[float]
    unit: str
    goal: str
    note: str

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(slots=True)
class Report(Progress):
    """Collects figures, and tells how far a run is."""

    facts: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    """Whether the figures mean nothing, because it was only seen whether everything works."""

    def fail(self, name: str, reason: str) -> None:
        """There are no figures, or not all, of this measurement."""
        self.failures[name] = reason
        self.say(f"{name}: {reason}", style="red")

    def say_run(self, name: str, run: Run) -> None:
        """Tell what one run came to."""
        spent = ", ".join(f"{who} {run.cpu_us(who):.0f}" for who in run.cpu_seconds)
        busy = f"its core {run.server_busy:.0%} busy, the other {run.others_busy:.0%}"
        self.say(f"  {name:<18} {run.rate:>9,.0f}/s   CPU µs per request: {spent}; {busy}")

    def add(self, name: str, values: Sequence[float], unit: str = "", *, goal: str = "", note: str = "") -> None:
        """A figure with its value of every round."""
        self.figures.append(Figure(name, list(values), unit, goal, note))

    def print(self) -> None:
        """The facts of the machine, the table, what failed, and last the JSON with the median of every figure."""
        console = Console(highlight=False)
        console.width = max(console.width, MIN_WIDTH)
        for name, fact in self.facts.items():
            console.print(f"{name:>12}  {fact}", markup=False, soft_wrap=True)
        title = "make bench --quick: it works; the figures mean nothing" if self.quick else "make bench"
        table = Table("figure", "median", "range", "goal", "what it is", title=title)
        for column in table.columns[:3]:
            column.no_wrap = True
        for column in table.columns[1:3]:
            column.justify = "right"
        for figure in sorted(self.figures, key=lambda figure: not figure.goal):
            low, high = min(figure.values), max(figure.values)
            spread = f"{_shown(low)} … {_shown(high)}" if len(figure.values) > 1 else ""
            goal = "" if self.quick else figure.goal
            table.add_row(figure.name, f"{_shown(figure.median)} {figure.unit}".strip(), spread, goal, figure.note)
        console.print(table)
        for name, reason in self.failures.items():
            console.print(f"No figures of {name}: {reason}", style="red", markup=False, soft_wrap=True)
        told: dict[str, object] = {figure.name: round(figure.median, DIGITS) for figure in self.figures}
        if self.quick:
            told["quick"] = True
        if self.failures:
            told["failures"] = self.failures
        console.file.write(json.dumps(told, ensure_ascii=False) + "\n")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.2f}"
