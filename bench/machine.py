"""What the figures were measured on."""

import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil

from bench.servers import Cores, Postgresql, Valkey

PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "sqlalchemy", "asyncpg")
FLUSHES = 200
BLOCK = b"\0" * 8192


def fsync_us(folder: Path) -> float:
    """What one durable write of 8 KB costs on the database's disk: the median, in microseconds."""
    durations = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FLUSHES):
            begun = perf_counter()
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            durations.append(perf_counter() - begun)
    return median(durations) * 1e6


def facts(cores: Cores, postgresql: Postgresql, valkey: Valkey) -> dict[str, str]:
    """The machine and the versions, in words."""
    pinned = (
        f"measured process on core {_names(cores.measured)}, everything else on core {_names(cores.neighbours)}"
        if cores.measured
        else "processes are not pinned here"
    )
    memory = psutil.virtual_memory().total / 2**30
    return {
        "machine": f"{os.cpu_count()} cores, {_processor()}, {memory:.0f} GB, {platform.platform()}; {pinned}",
        "Python": f"{platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "PostgreSQL": ", ".join(f"{name} {value}" for name, value in postgresql.shown),
        "Valkey": f"{valkey.version()}, not persistent",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _names(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
