"""Running a module of ours as a command, which has to clean up after itself."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.planted import hear

ROOT = Path(__file__).parents[1]


def run_and_leave_nothing(module: str, *arguments: str) -> str:
    """What a command prints that ends well and leaves neither file nor process behind."""
    with tempfile.TemporaryDirectory(prefix="kaituan-test-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        hear(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(Path(folder).iterdir()) == []
        assert [one.pid for one in psutil.process_iter() if folder in " ".join(_command(one))] == []
        return done.stdout


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
