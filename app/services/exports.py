"""Everything there is of a member, as one JSON document, read and sent in parts: it may be long."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import Table, tuple_
from sqlmodel import SQLModel

from app.domain.errors import TokenInvalid
from app.domain.privacy import DECISIONS
from app.models import Phone
from app.services.erasure import owned_by
from app.services.members import find_member
from app.services.numbers import read_number
from app.state import State

BATCH = 500


async def export(state: State, member_id: str) -> AsyncIterator[bytes]:
    """The parts of an `ExportPublic` in JSON. No connection is held while a part is on its way. Raises
    `TokenInvalid` when there is no such member.
    """
    now = state.clock()
    async with state.database.snapshot() as session:
        if await find_member(session, member_id) is None:
            raise TokenInvalid
    return _parts(state, member_id, orjson.dumps(now, option=orjson.OPT_UTC_Z))


async def _parts(state: State, member_id: str, exported_at: bytes) -> AsyncIterator[bytes]:
    yield b'{"exported_at":' + exported_at + b',"sections":{'
    for number, table in enumerate(exported_tables()):
        yield (b"," if number else b"") + orjson.dumps(table.name) + b":["
        empty = True
        async for rows in _read(state, table, member_id):
            yield (b"" if empty else b",") + b",".join(orjson.dumps(row, option=orjson.OPT_UTC_Z) for row in rows)
            empty = False
        yield b"]"
    yield b"}}"


def exported_tables() -> Iterator[Table]:
    """The tables that an export has sections of."""
    for name, decision in DECISIONS.items():
        if decision.is_of_members and decision.exported:
            yield SQLModel.metadata.tables[name]


async def _read(state: State, table: Table, member_id: str) -> AsyncIterator[list[dict[str, Any]]]:
    """The member's rows of a table, some at a time, without what is hidden."""
    shown = [column for column in table.columns if column.name not in DECISIONS[table.name].hidden]
    key, width = tuple_(*table.primary_key), len(table.primary_key)
    after = None
    while True:
        statement = sqlalchemy.select(*table.primary_key, *shown).where(owned_by(table, member_id))
        if after is not None:
            statement = statement.where(key > after)
        async with state.database.snapshot() as session:
            connection = await session.connection()
            rows = (await connection.execute(statement.order_by(*table.primary_key).limit(BATCH))).all()
        if rows:
            names = [column.name for column in shown]
            found = [dict(zip(names, row[width:], strict=True)) for row in rows]
            yield [_opened(state, row) for row in found] if table.name == Phone.__tablename__ else found
            after = tuple(rows[-1][:width])
        if len(rows) < BATCH:
            break


def _opened(state: State, row: dict[str, Any]) -> dict[str, Any]:
    """A sealed number as its member knows it."""
    return row | {"number": read_number(state, Phone(**row))}
