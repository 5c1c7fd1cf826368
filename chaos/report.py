"""What came of it: a table for people, and one line of JSON for programs."""

import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.progress import Progress

DIGITS = 2
SHOWN = 5


@dataclass(slots=True)
class Report(Progress):
    """Collects what was done and seen, and tells how far it is."""

    kills: Counter[str] = field(default_factory=Counter)
    crashed_at: list[str] = field(default_factory=list)
    restarted: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds from a kill until the process served again, by what was killed."""
    outages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds from a kill until the next claim was acknowledged."""
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Something is not as it should be."""
        self.failures.append(reason)
        self.say(reason, style="red")

    def judge(self, found: dict[str, list[str]]) -> None:
        """Take over what the checker found."""
        for name, cases in found.items():
            self.figures[name] = len(cases)
            if cases:
                self.fail(f"{name}: {len(cases)}, such as {cases[:SHOWN]}")

    def print(self) -> None:
        """The table, what failed, and last the JSON."""
        self.figures |= {
            "kills": dict(self.kills),
            "crash_points": len(set(self.crashed_at)),
            "restart_seconds": {name: _spread(values) for name, values in self.restarted.items()},
            "recovery_seconds": {name: _spread(values) for name, values in self.outages.items()},
            "seconds": round(self.seconds),
            "failures": self.failures,
        }
        table = Table("figure", "value", title="make chaos")
        for name, value in self.figures.items():
            table.add_row(
                name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
            )
        Console(highlight=False).print(table)
        sys.stdout.write(json.dumps(self.figures, ensure_ascii=False) + "\n")


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(median(values), DIGITS), "most": round(max(values), DIGITS)}
