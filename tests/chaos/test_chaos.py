"""`make chaos` in its short form: everything that is done to the service, once; and nothing is left behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from chaos.crashes import CRASH_POINTS

ROOT = Path(__file__).parents[2]
ZERO = (
    *("lost_acknowledgements", "double_effects", "effects_of_refusals", "leaked_places"),
    *("oversold", "undersold", "money_astray", "violations"),
)


def test_nothing_is_lost_when_things_die() -> None:
    with tempfile.TemporaryDirectory(prefix="kaituan-test-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "chaos", "--short"],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert {name: told[name] for name in ZERO} == dict.fromkeys(ZERO, 0)
        assert told["failures"] == []
        assert told["crash_points"] == len(CRASH_POINTS)
        assert told["checker_sees_a_removed_guard"] is True
        assert told["postgresql_away"]["acknowledged"] == 0
        assert told["rolling_restart"]["unanswered"] == 0
        assert told["acknowledged"] > 1000
        assert list(Path(folder).iterdir()) == []
        assert [one.pid for one in psutil.process_iter() if folder in " ".join(_command(one))] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
