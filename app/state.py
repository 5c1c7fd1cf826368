"""Everything the service keeps open while it runs, opened once and passed to every use case."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from redis.asyncio import Redis

from app.config import Settings
from app.gateways.database import Database, database_url, open_database
from app.gateways.dealer import Dealer, open_client
from app.gateways.live import Live
from app.gateways.payments.provider import PaymentProvider
from app.gateways.payments.sandbox import SandboxProvider
from app.gateways.valkey import embedded_valkey

PROVIDER_TIMEOUT_SECONDS = 10


@dataclass(slots=True)
class State:
    """The service's neighbours, its settings and its clock."""

    settings: Settings
    database: Database
    dealer: Dealer
    live: Live
    http: httpx.AsyncClient
    providers: dict[str, PaymentProvider]
    clock: Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_state(
    settings: Settings, clock: Callable[[], datetime] = utc_now, *, share: bool = False
) -> AsyncIterator[State]:
    """Open everything, in order, and close it again in reverse.

    In development the database is migrated and a Valkey server started if none is named; `share` uses the one of
    a service that is running on the same data. Raises `DatabaseNotReady` when the database does not answer or lacks
    a migration, `FolderInUse` when another service has the data and `share` is not set.
    """
    async with AsyncExitStack() as stack:
        if settings.is_sqlite:
            settings.data.mkdir(parents=True, exist_ok=True)
        database = await stack.enter_async_context(
            open_database(database_url(settings), settings.database_pool_size),
        )
        if settings.is_sqlite:
            await database.migrate()
        await database.check_ready()

        redis_url = settings.redis_url or stack.enter_context(
            embedded_valkey(settings.data / "valkey", share=share)
        )
        client = open_client(redis_url)
        stack.push_async_callback(client.aclose)
        subscriber = Redis.from_url(redis_url, socket_timeout=None, socket_connect_timeout=2)
        stack.push_async_callback(subscriber.aclose)
        live = Live(client, subscriber)
        listening = asyncio.create_task(live.run())
        stack.push_async_callback(_cancel, listening)

        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PROVIDER_TIMEOUT_SECONDS))
        providers: dict[str, PaymentProvider] = {}
        if settings.has_sandbox:
            sandbox = SandboxProvider(settings, http, clock)
            providers[sandbox.name] = sandbox
        yield State(
            settings=settings,
            database=database,
            dealer=Dealer(client),
            live=live,
            http=http,
            providers=providers,
            clock=clock,
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
