"""Which errors mean that the database is away: they are answered 503, and the request may be repeated."""

import asyncpg
import pytest
from sqlalchemy.exc import (
    IntegrityError,
    OperationalError,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.gateways.database import is_outage


@pytest.mark.parametrize(
    "error",
    [
        PoolTimeout("every connection is busy"),
        OperationalError("SELECT 1", {}, Exception("the server is shutting down")),
        ResourceClosedError("this connection is closed"),
        PendingRollbackError("the transaction was lost with its connection"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state"),
        ConnectionRefusedError(),
        TimeoutError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_database_is_away(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, Exception("a key refuses it")),
        asyncpg.UniqueViolationError("a key refuses it"),
        asyncpg.UndefinedTableError("the statement is wrong"),
        RuntimeError("a mistake of ours"),
        KeyError("name"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_statement_is_wrong(error: Exception) -> None:
    assert not is_outage(error)
