"""Running a module of ours as a command, which has to clean up after itself."""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from app.config import DEVELOPMENT_SECRET
from tests.planted import hear, plant

ROOT = Path(__file__).parents[1]
KEEP_SECONDS = 0.2
"""Servers run for longer."""


def run_and_leave_nothing(module: str, *arguments: str) -> str:
    """What a command prints that ends well and leaves neither file nor process behind. What its servers log is
    heard, too.
    """
    plant(DEVELOPMENT_SECRET)
    with tempfile.TemporaryDirectory(prefix="kaituan-test-") as name:
        folder, logs = Path(name, "files"), Path(name, "logs")
        folder.mkdir()
        logs.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                output, errors = process.communicate(timeout=KEEP_SECONDS)
            _keep(folder, logs)
        hear("\n".join([output, errors, *(log.read_text(errors="replace") for log in logs.iterdir())]))
        assert process.returncode == 0, output + errors
        assert list(logs.iterdir()) != [], "no server logged anything"
        assert list(folder.iterdir()) == []
        assert [one.pid for one in psutil.process_iter() if name in " ".join(_command(one))] == []
        return output


def _keep(folder: Path, logs: Path) -> None:
    """Have logs that a command deletes at its end stay, with what is still to be written to them."""
    for log in folder.glob("*/*.log"):
        with suppress(FileExistsError, FileNotFoundError):
            (logs / log.name).hardlink_to(log)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
