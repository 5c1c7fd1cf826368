"""A transaction whose statements carry many rows each: the cost of a statement is shared by all of them.

On PostgreSQL the rows of all tables travel in one statement, as one JSON text per table, past the ORM; the tables
and columns are those of the models. On SQLite, which nobody runs for speed, they are plain inserts.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Protocol

import asyncpg
import orjson
from sqlalchemy import ARRAY, String, bindparam, insert
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import BindParameter
from sqlmodel import SQLModel

Rows = Mapping[type[SQLModel], Sequence[Mapping[str, Any]]]
ROLLED_BACK_CLASSES = {"23", "40"}
"""SQLSTATE classes: a key or check refuses a row; a deadlock was resolved."""


class Conflict(Exception):
    """The database refuses a row, and nothing of the transaction was done."""


class Bulk(Protocol):
    """What can be done in such a transaction."""

    async def fetch(self, statement: Executable, **ids: Sequence[str] | int) -> Sequence[Any]:
        """The rows a statement finds or returns; `ids` are the lists that its `among` conditions name, and numbers
        for what it binds besides.
        """

    async def insert(self, rows: Rows) -> None:
        """Insert rows of several tables; the rows of a table name the same columns. Raises `Conflict`."""


class among(ColumnElement[bool]):  # noqa: N801 - reads as the SQL it is
    """`column` is one of the list of texts called `name`."""

    inherit_cache = False

    def __init__(self, column: Any, name: str) -> None:
        self.column = column
        self.ids: BindParameter[Any] = bindparam(name, type_=String())


@compiles(among, "postgresql")
def _any(element: among, compiler: Any, **options: Any) -> str:
    ids = bindparam(element.ids.key, type_=ARRAY(String()))
    return f"{compiler.process(element.column, **options)} = ANY ({compiler.process(ids, **options)})"


@compiles(among, "sqlite")
def _each(element: among, compiler: Any, **options: Any) -> str:
    ids = compiler.process(element.ids, **options)
    return f"{compiler.process(element.column, **options)} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - names of ours


class PostgresBulk:
    """By asyncpg itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, statement: Executable, **ids: Sequence[str] | int) -> Sequence[Any]:
        sql, names, constants = _compiled(statement)
        with _conflicts():
            found: Sequence[Any] = await self._connection.fetch(
                sql, *(ids[name] if name in ids else constants[name] for name in names)
            )
        return found

    async def insert(self, rows: Rows) -> None:
        present = {model: found for model, found in rows.items() if found}
        sql = _insert_sql(tuple((model, tuple(found[0])) for model, found in present.items()))
        with _conflicts():
            await self._connection.fetch(sql, *(orjson.dumps(found).decode() for found in present.values()))


class SqliteBulk:
    """By SQLAlchemy, a statement per table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch(self, statement: Executable, **ids: Sequence[str] | int) -> Sequence[Any]:
        values = {
            name: found if isinstance(found, int) else orjson.dumps(list(found)).decode()
            for name, found in ids.items()
        }
        return (await self._connection.execute(statement, values)).all()

    async def insert(self, rows: Rows) -> None:
        try:
            for model, found in rows.items():
                if found:
                    await self._connection.execute(insert(model), list(found))
        except IntegrityError as error:
            raise Conflict(str(error.orig)) from error


@asynccontextmanager
async def postgres_bulk(connection: Any) -> AsyncIterator[Bulk]:
    """A transaction on an asyncpg connection."""
    with _conflicts():
        async with connection.transaction():
            yield PostgresBulk(connection)


class _conflicts:  # noqa: N801
    """Errors of keys and checks as `Conflict`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, asyncpg.PostgresError) and str(error.sqlstate)[:2] in ROLLED_BACK_CLASSES:
            raise Conflict(str(error)) from error


@cache
def _compiled(statement: Executable) -> tuple[str, Sequence[str], Mapping[str, Any]]:
    compiled: Any = statement.compile(dialect=PGDialect_asyncpg())  # type: ignore[attr-defined,no-untyped-call]
    return str(compiled), compiled.positiontup, compiled.params


@cache
def _insert_sql(tables: tuple[tuple[type[SQLModel], tuple[str, ...]], ...]) -> str:
    dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
    inserts = []
    for number, (model, names) in enumerate(tables, 1):
        table = model.__table__  # type: ignore[attr-defined]
        columns = ", ".join(names)
        types = ", ".join(f"{name} {table.c[name].type.compile(dialect=dialect)}" for name in names)
        inserts.append(
            f"i{number} AS (INSERT INTO {table.name} ({columns}) SELECT {columns}"  # noqa: S608 - our own names
            f" FROM json_to_recordset(${number}::json) AS rows({types}))",
        )
    return f"WITH {', '.join(inserts)} SELECT 1"
