"""`make bench` as it is run: it measures, prints, and leaves nothing behind."""

import json
import os
import subprocess
import sys

import pytest

from bench.__main__ import attempt
from bench.load import Unexpected
from bench.report import Report
from tests.commands import ROOT, run_and_leave_nothing

PARTS = ("claim", "naive", "refusal", "read", "latency", "live", "community")
RATIOS = {"claim_vs_empty", "claim_vs_naive", "refusal_vs_empty", "read_vs_empty", "live_vs_fastapi_sse"} | {
    "community_health"
}
ROWS, DAYS = 2_600, 100
"""Rows of members, posts, comments, reactions and events in a small community; days that are read."""
OTHERS = {"claim_cpu_us", "empty_cpu_us", "p50_ms", "p99_ms", "fsync_us"}


def test_a_quick_run_measures_and_leaves_nothing_behind() -> None:
    """Every reply had its status and every claim its order, or there would be no figure."""
    only = [word for part in PARTS for word in ("--only", part)]
    printed = run_and_leave_nothing("bench", "--quick", *only)
    told = json.loads(printed.splitlines()[-1])
    assert told["quick"] is True, "nobody takes these for figures"
    assert "mean nothing" in printed
    assert told.keys() >= RATIOS | OTHERS
    assert [name for name in RATIOS if not told[name] > 0] == []
    assert 0 < told["community_feed_rows"] < ROWS
    assert told["community_health_rows"] < DAYS
    assert "fsync on, synchronous_commit on" in printed


def test_what_there_is_to_measure_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "everything"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"there are claim, naive, refusal, read, latency, live, growth, community, settle" in done.stderr


@pytest.mark.parametrize("error", [Unexpected("a 500"), OSError("no files left")])
async def test_a_measurement_that_fails_is_not_reported(error: Exception) -> None:
    async def measure() -> None:
        raise error

    report = Report()
    await attempt(report, "claim", measure())
    assert str(error) in report.failures["claim"]
