"""Databases with the newest tables and no rows: migrated once, copied for each who wants one, emptied in place."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from sqlmodel import SQLModel

from app.gateways.database import Database, open_database
from app.models import Posting, Transfer

NewDatabase = Callable[[], Awaitable[str]]
"""Makes a database with the newest tables and no rows; returns its address."""
BOOK = [model.__tablename__ for model in (Transfer, Posting)]
"""Tables whose triggers refuse to have rows taken out. They are off in the transaction that empties them."""
EMPTYING = "; ".join(
    [
        *(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in BOOK),
        *(f"DELETE FROM {table.name}" for table in reversed(SQLModel.metadata.sorted_tables)),
        *(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in BOOK),
    ]
)
"""On PostgreSQL. A TRUNCATE of all tables takes a hundred times as long when there are few rows in them."""
_sqlite: sqlite3.Connection | None = None
_templates: dict[str, str] = {}
"""Of each PostgreSQL server the database that is copied."""


async def create_database(server: str, *, migrated: bool = True) -> str:
    """A new database on a PostgreSQL server, with the newest tables unless told otherwise."""
    if migrated and server not in _templates:
        template = await create_database(server, migrated=False)
        async with open_database(template, 1) as database:
            await database.migrate()
        _templates[server] = _name(template)
    name = f"kaituan_test_{token_hex(4)}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {_templates[server]}" if migrated else ""))
    await connection.close()
    base, _, query = server.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


async def create_sqlite(path: Path) -> str:
    """A new SQLite file with the newest tables."""
    global _sqlite  # noqa: PLW0603 - what is made once for all tests
    if _sqlite is None:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "empty.sqlite3"
            async with open_database(f"sqlite:///{file}", 1) as database:
                await database.migrate()
            _sqlite = sqlite3.connect(":memory:")
            with closing(sqlite3.connect(file)) as source:
                source.backup(_sqlite)
    with closing(sqlite3.connect(path)) as target:
        _sqlite.backup(target)
    return f"sqlite:///{path}"


async def empty(database: Database) -> None:
    """Take out every row, also those that may not be taken out."""
    if database.is_sqlite:
        await create_sqlite(Path(str(database.engine.url.database)))
        return
    async with database.engine.connect() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.execute(EMPTYING)


def _name(url: str) -> str:
    return url.partition("?")[0].rsplit("/", 1)[1]
