"""What every measurement needs, started once: PostgreSQL, an empty migrated database, cores, options."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from bench import servers
from bench.load import Meters
from bench.report import Report
from bench.rows import World, migrated
from bench.servers import Cores, Postgresql, Process, Valkey


@dataclass(frozen=True, slots=True)
class Options:
    """How much of everything."""

    seconds: float = 5.0
    rounds: int = 3
    warm_up: float = 1.0
    connections: int = 512
    fewer_connections: int = 64
    members: int = 100_000
    orders: int = 1_000_000
    few_orders: int = 1_000
    community_members: int = 100_000
    community_events: int = 1_000_000
    few_members: int = 1_000
    few_events: int = 10_000
    clients: int = 2_000
    groups: int = 10_000


QUICK = Options(
    seconds=0.3,
    rounds=1,
    warm_up=0.1,
    connections=8,
    fewer_connections=4,
    members=2_000,
    orders=2_000,
    few_orders=50,
    community_members=500,
    community_events=2_000,
    few_members=50,
    few_events=200,
    clients=20,
    groups=40,
)
"""To see that everything works. The figures mean nothing."""


@dataclass(slots=True)
class Stage:
    """Where measurements take place."""

    options: Options
    report: Report
    cores: Cores
    folder: Path
    postgresql: Postgresql
    template: str

    @asynccontextmanager
    async def world(self) -> AsyncIterator[tuple[World, Valkey]]:
        """An empty database and an empty Valkey."""
        database_url = await self.postgresql.create(self.template)
        with servers.valkey(self.folder) as valkey:
            data = self.folder / f"data-{token_hex(4)}"
            yield World(self.postgresql, database_url, valkey.url, data), valkey

    @contextmanager
    def service(self, world: World) -> Iterator[Process]:
        """The service, where it is measured."""
        with servers.service(self.folder, self.cores.measured, world.database_url, world.redis_url) as process:
            yield process

    @contextmanager
    def yardstick(self, module: str, **environment: str) -> Iterator[Process]:
        """A yardstick's application, where it is measured."""
        with servers.yardstick(self.folder, self.cores.measured, module, **environment) as process:
            yield process

    def meters(self, server: Process, valkey: Valkey | None = None) -> Meters:
        """Who uses processor time in a run: the server, and its neighbours if it has any, and the client."""
        client = servers.client()
        if valkey is None:
            return {"server": server.cpu_seconds, "client": client.cpu_seconds}
        return {
            "server": server.cpu_seconds,
            "postgresql": self.postgresql.cpu_seconds,
            "valkey": valkey.cpu_seconds,
            "client": client.cpu_seconds,
        }


@asynccontextmanager
async def staged(options: Options, report: Report, folder: Path) -> AsyncIterator[Stage]:
    """A stage with its files in `folder`."""
    cores = servers.pin()
    servers.forget_settings()
    async with servers.postgresql(folder) as postgresql:
        yield Stage(options, report, cores, folder, postgresql, await migrated(postgresql))
