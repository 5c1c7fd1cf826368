"""What the attacks and the guards came to, told at the end of the run. Counted from this run's own reports."""

from collections import Counter
from collections.abc import Iterator

import pytest

ATTACK, GUARD = "attack", "guard"
REPELLED, SUCCEEDED = "repelled", "succeeded"
NOTICED = "noticed"
UNDECIDED = "undecided"
"""What a test says of itself at its beginning; if it stays so, the test broke before it came to a result."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print `attacks succeeded: 0 / N` and `guards: N/N`, when any of them ran."""
    if attacks := Counter(_results(terminalreporter, ATTACK)):
        undecided = f", {attacks[UNDECIDED]} undecided" if attacks[UNDECIDED] else ""
        terminalreporter.write_line(f"attacks succeeded: {attacks[SUCCEEDED]} / {attacks.total()}{undecided}")
    if guards := Counter(_results(terminalreporter, GUARD)):
        terminalreporter.write_line(f"guards: {guards[NOTICED]}/{guards.total()}")


def _results(reporter: pytest.TerminalReporter, kind: str) -> Iterator[str]:
    """The last thing each test said of itself under this name."""
    for outcome in ("passed", "failed"):
        for report in reporter.stats.get(outcome, []):
            said = dict(report.user_properties)
            if report.when == "call" and kind in said:
                yield str(said[kind])
