"""A search of everything that is kept: all columns of all tables, all keys and values of Redis."""

import json
from collections.abc import AsyncIterator, Collection
from typing import Any

import sqlalchemy
from redis.asyncio import Redis
from sqlmodel import SQLModel

from tests.service import Service


async def find_leaks(service: Service, words: Collection[str]) -> set[tuple[str, str]]:
    """Where any of these words is: the table and column, or the key in Redis; and the word."""
    spelled = {spelling: word for word in words for spelling in (word, json.dumps(word)[1:-1])}
    found = set()
    async for place, text in _everything(service):
        found |= {(place, word) for spelling, word in spelled.items() if spelling in text}
    return found


async def _everything(service: Service) -> AsyncIterator[tuple[str, str]]:
    async with service.state.database.snapshot() as session:
        connection = await session.connection()
        for table in SQLModel.metadata.sorted_tables:
            for row in (await connection.execute(sqlalchemy.select(table))).all():
                for column, value in zip(table.columns, row, strict=True):
                    yield f"{table.name}.{column.name}", _text(value)
    async with Redis.from_url(str(service.state.settings.redis_url)) as redis:
        async for key in redis.scan_iter(count=1000):
            name = _text(key)
            yield name, name
            yield name, _text(await _read(redis, key))


async def _read(redis: Redis, key: bytes) -> Any:
    match await redis.type(key):
        case b"string":
            return await redis.get(key)
        case b"hash":
            return await redis.hgetall(key)
        case b"set":
            return await redis.smembers(key)
        case b"zset":
            return await redis.zrange(key, 0, -1)
        case b"list":
            return await redis.lrange(key, 0, -1)
        case b"stream" | b"none":  # none: its time was over between being listed and being read
            return await redis.xrange(key)
        case other:
            raise AssertionError(f"{key!r} is a {other!r}")


def _text(value: Any) -> str:
    match value:
        case bytes():
            return value.decode(errors="replace")
        case dict():
            return " ".join(_text(part) for item in value.items() for part in item)
        case list() | set() | tuple():
            return " ".join(map(_text, value))
        case _:
            return str(value)
