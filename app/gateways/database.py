"""The database: PostgreSQL, or one SQLite file."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Insert, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.config import Settings
from app.gateways.bulk import Bulk, Conflict, SqliteBulk, postgres_bulk

log = logging.getLogger(__name__)
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
SQLITE_FILE = "kaituan.sqlite3"
SQLITE_BUSY_SECONDS = 20
POSTGRESQL_SETTINGS = {
    # A plan that was kept since a table was empty reads all of it when it is full; compiling takes longer than
    # any query of ours.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    # A process that stopped, or whose machine is gone, must not keep its locks.
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
STATEMENTS = 500
"""Kept prepared for each connection. There are some 1,500, of which a sale needs a few hundred."""
OUTAGE_CLASSES = {"08", "40", "53", "57"}
"""SQLSTATE classes: connection, rollback (deadlock), out of resources, shutdown and recovery."""


class DatabaseNotReady(Exception):
    """The database cannot be used; the message says which setting or command mends it."""


DRIVERS = {"postgresql": "asyncpg", "postgres": "asyncpg", "sqlite": "aiosqlite"}


def async_url(url: str) -> str:
    """The address with the driver we use, whatever driver it named. Raises `DatabaseNotReady` for others."""
    scheme, _, rest = url.partition("://")
    name = scheme.partition("+")[0]
    if name not in DRIVERS:
        raise DatabaseNotReady("DATABASE_URL: must begin with postgresql:// or sqlite:///")
    return f"{'sqlite' if name == 'sqlite' else 'postgresql'}+{DRIVERS[name]}://{rest}"


def database_url(settings: Settings) -> str:
    """The address of the database the settings mean: `DATABASE_URL`, or a SQLite file in `DATA`."""
    return settings.database_url or f"sqlite:///{settings.data.resolve() / SQLITE_FILE}"


class Database:
    """Connections, transactions and snapshots. Use `open_database`."""

    def __init__(self, url: str, pool_size: int) -> None:
        self.url = async_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": 15}
        options["pool_use_lifo"] = True  # the connection that was used last knows most statements
        options["query_cache_size"] = 4 * STATEMENTS
        options["hide_parameters"] = True  # what a statement was about is not for the text of an error
        if self.is_sqlite:
            options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS, "isolation_level": None}
        else:
            connect = {
                "timeout": 10,
                "command_timeout": 30,
                "prepared_statement_cache_size": STATEMENTS,
                "server_settings": POSTGRESQL_SETTINGS,
            }
            options |= {"pool_pre_ping": True, "connect_args": connect}
        self.engine: AsyncEngine = create_async_engine(self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        # SQLite has one writer. Waiting here is fair and wakes at once; waiting in the file lock is neither.
        self._writer: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.is_sqlite else nullcontext()
        self._kept: list[AsyncConnection] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed on exit and rolled back on an exception."""
        async with self._writer, self.engine.connect() as connection:
            if self.is_sqlite:
                connection = await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")  # noqa: PLW2901
            async with AsyncSession(connection, expire_on_commit=False) as session:
                yield session
                await session.commit()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A session to read from; all its reads see the same moment. Nothing it writes is kept."""
        async with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = await connection.execution_options(  # noqa: PLW2901
                    isolation_level="REPEATABLE READ",
                    postgresql_readonly=True,
                )
            async with AsyncSession(connection, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def bulk(self, *, keep: bool = False) -> AsyncIterator[Bulk]:
        """A transaction for many rows at a time, committed on exit and rolled back on an exception.

        With `keep` its connection is kept for the next one: for callers of whom there are only a few at a time.
        """
        if self.is_sqlite:
            async with self.transaction() as session:
                yield SqliteBulk(await session.connection())
            return
        if not keep:
            async with self.engine.connect() as connection, _raw_bulk(connection) as bulk:
                yield bulk
            return
        connection = await self._connection()
        usable = False
        try:
            async with _raw_bulk(connection) as bulk:
                yield bulk
            usable = True
        except Conflict:
            usable = True
            raise
        finally:
            if usable:
                self._kept.append(connection)
            else:
                await connection.invalidate()
                await connection.close()

    async def _connection(self) -> AsyncConnection:
        """One that was kept and is still open, or a new one."""
        while self._kept:
            kept = self._kept.pop()
            raw: Any = (await kept.get_raw_connection()).driver_connection
            if not raw.is_closed():
                return kept
            await kept.invalidate()
            await kept.close()
        return await self.engine.connect()

    def insert_unless_there(self, model: type[SQLModel], key: list[str] | None = None) -> Insert:
        """An INSERT that does nothing when a row with this unique key, or any, is there; give it its `values`."""
        if self.is_sqlite:
            return sqlite.insert(model).on_conflict_do_nothing(index_elements=key)
        return postgresql.insert(model).on_conflict_do_nothing(index_elements=key)

    async def ping(self) -> None:
        """Ask the database for one row. Raises a SQLAlchemy error when it does not answer."""
        async with self.engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def check_ready(self) -> None:
        """Raise `DatabaseNotReady` unless the database answers and has the newest migration."""
        try:
            async with self.engine.connect() as connection:
                current = await connection.run_sync(_current_revision)
        except (DBAPIError, OSError, TimeoutError) as error:
            raise DatabaseNotReady(f"DATABASE_URL: the database does not answer ({error})") from error
        newest = ScriptDirectory.from_config(_alembic(self.url)).get_current_head()
        if current != newest:
            raise DatabaseNotReady(
                f"DATABASE_URL: the tables are at migration {current}, the code needs {newest};"
                " run `python -m app migrate`",
            )

    async def migrate(self) -> None:
        """Bring the tables to the newest migration. Raises `DatabaseNotReady` when the database is away."""
        try:
            await asyncio.to_thread(command.upgrade, _alembic(self.url), "head")
        except (DBAPIError, OSError, TimeoutError) as error:
            raise DatabaseNotReady(f"DATABASE_URL: the database does not answer ({error})") from error

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._kept:
            await connection.close()
        await self.engine.dispose()


@asynccontextmanager
async def open_database(url: str, pool_size: int) -> AsyncIterator[Database]:
    """A database for the time of the context."""
    database = Database(url, pool_size)
    try:
        yield database
    finally:
        await database.close()


def is_outage(error: BaseException) -> bool:
    """Whether a database error means that the database is away or overloaded, not that the statement is wrong."""
    if isinstance(error, DBAPIError):
        code = str(getattr(error.orig, "sqlstate", None) or "")
        return (
            error.connection_invalidated
            or isinstance(error, OperationalError | InterfaceError)
            or code[:2] in OUTAGE_CLASSES
        )
    if isinstance(error, PoolTimeout | ResourceClosedError | PendingRollbackError | asyncpg.InternalClientError):
        return True  # every connection is busy, or this one was lost under way and cleaning up found it gone
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in OUTAGE_CLASSES
    if isinstance(error, RuntimeError):
        return "closed" in str(error)  # uvloop's word for a connection that was closed under the driver
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError)


@asynccontextmanager
async def _raw_bulk(connection: AsyncConnection) -> AsyncIterator[Bulk]:
    raw = (await connection.get_raw_connection()).driver_connection
    async with postgres_bulk(raw) as bulk:
        yield bulk


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _alembic(url: str) -> Config:
    config = Config(toml_file=PROJECT)
    config.attributes["url"] = url
    return config
