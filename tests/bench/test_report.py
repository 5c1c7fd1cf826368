"""What a run prints: last, one line of JSON."""

import json

import pytest

from bench.report import Report


def test_the_last_line_is_json_with_the_medians(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(facts={"machine": "two cores"})
    report.add("claim_vs_empty", [1.5, 0.5, 1.0006], goal="≥ 1.0", note="claims ÷ requests")
    report.add("fsync_us", [24.0], "µs")
    report.print()
    shown = capsys.readouterr().out
    assert json.loads(shown.splitlines()[-1]) == {"claim_vs_empty": 1.001, "fsync_us": 24.0}
    assert all(part in shown for part in ("two cores", "0.50 … 1.50", "24.00 µs", "≥ 1.0", "claims ÷ requests"))


def test_what_failed_is_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.fail("live", "nobody came")
    report.print()
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1]) == {"failures": {"live": "nobody came"}}
    assert "No figures of live: nobody came" in shown.out
    assert "live: nobody came" in shown.err
