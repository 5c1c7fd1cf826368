"""Migrations are the only way tables come to be, so they must make exactly the tables the models describe."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from app.gateways.database import _alembic, open_database
from tests.databases import create_database


@pytest.fixture
async def empty_database(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    return await create_database(request.getfixturevalue("postgresql"), migrated=False)


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))


def constraints(connection: Connection) -> set[str]:
    """Names of every CHECK there is; autogenerate does not compare them."""
    inspector = inspect(connection)
    return {
        str(check["name"]) for table in SQLModel.metadata.tables for check in inspector.get_check_constraints(table)
    }


async def test_migrations_make_the_tables_of_the_models_and_can_be_undone(empty_database: str) -> None:
    async with open_database(empty_database, 1) as database:
        await database.migrate()
        async with database.engine.connect() as connection:
            assert await connection.run_sync(differences) == []
            found = await connection.run_sync(constraints)
        declared = {
            database.engine.dialect.identifier_preparer.format_constraint(constraint)
            for table in SQLModel.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }
        assert len(declared) > 30
        assert found == declared
        await asyncio.to_thread(command.downgrade, _alembic(database.url), "base")
        async with database.engine.connect() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert tables == ["alembic_version"]


WRONG = [
    ("units", "INSERT INTO units VALUES ('off', 4, 3, 'ord')"),
    ("units", "INSERT INTO units VALUES ('off', 0, 3, 'ord')"),
    ("seats", "INSERT INTO seats VALUES ('grp', 4, 3, 'mem', 'ord')"),
    ("purchases", "INSERT INTO purchases VALUES ('sal', 'mem', 3, 2, 'ord')"),
]


@pytest.mark.parametrize(("table", "statement"), WRONG)
async def test_a_place_that_does_not_exist_cannot_be_taken(empty_database: str, table: str, statement: str) -> None:
    async with open_database(empty_database, 1) as database:
        await database.migrate()
        with pytest.raises(IntegrityError, match=f"ck_{table}_number"):
            async with database.engine.begin() as connection:
                await connection.execute(text(statement))


FIRST_ROWS = """
INSERT INTO communities (id, name, purpose, audience, created_at) VALUES ('com', '茶友', '', '', '2026-01-01');
INSERT INTO products (id, title, description, created_at) VALUES ('prd', '龙井', '', '2026-01-01');
INSERT INTO skus (id, product_id, name) VALUES ('sku', 'prd', '罐');
INSERT INTO sales (id, community_id, kind, title, description, state, currency, opens_at, closes_at, group_size,
                   group_ttl_seconds, hold_ttl_seconds, order_limit, member_limit, created_at, changed_at)
VALUES ('sal', 'com', 'group', '三人团', '', 'live', 'CNY', '2026-01-01', '2026-01-02', 3,
        60, 60, 1, 1, '2026-01-01', '2026-01-01');
INSERT INTO offers (id, sale_id, product_id, sku_id, price, stock) VALUES ('off', 'sal', 'prd', 'sku', 4900, 3)
"""


async def test_rows_outlive_the_migrations(empty_database: str) -> None:
    async with open_database(empty_database, 1) as database:
        await asyncio.to_thread(command.upgrade, _alembic(database.url), "0001")
        async with database.engine.begin() as connection:
            for statement in FIRST_ROWS.split(";"):
                await connection.execute(text(statement))
        await database.migrate()
        async with database.engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT kind, group_size, price FROM sales JOIN offers ON offers.sale_id = sales.id"),
            )
            assert [tuple(row) for row in rows] == [("group", 3, 4900)]
            if connection.dialect.name == "sqlite":
                assert (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all() == []
        await asyncio.to_thread(command.downgrade, _alembic(database.url), "0001")
