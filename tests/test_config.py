"""The service refuses to start wrongly, and says which setting is wrong."""

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.config import DEVELOPMENT_SECRET, Settings
from app.gateways.database import DatabaseNotReady, async_url, is_outage, open_database
from tests.conftest import create_database
from tests.service import free_port

GOOD: dict[str, Any] = {
    "environment": "production",
    "secret_key": "x" * 32,
    "database_url": "postgresql://user@host/name",
    "redis_url": "redis://host",
    "public_url": "https://example.com",
    "workers_inside": False,
}


def test_good_settings_pass() -> None:
    settings = Settings(**GOOD)
    assert not settings.has_sandbox
    assert Settings(**GOOD | {"environment": "staging"}).has_sandbox
    assert Settings().has_sandbox


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"secret_key": DEVELOPMENT_SECRET}, "SECRET_KEY"),
        ({"secret_key": "short"}, "SECRET_KEY"),
        ({"database_url": ""}, "DATABASE_URL"),
        ({"database_url": "sqlite:///x", "processes": 2}, "DATABASE_URL"),
        ({"redis_url": ""}, "REDIS_URL"),
        ({"public_url": "http://example.com"}, "PUBLIC_URL"),
        ({"environment": "development", "database_url": "", "processes": 2}, "PROCESSES"),
        ({"environment": "development", "redis_url": "", "processes": 2}, "PROCESSES"),
        ({"port": 0}, "port"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(**GOOD | change)


def test_keys_for_different_purposes_differ() -> None:
    settings = Settings(**GOOD)
    assert settings.key_for("a") != settings.key_for("b")
    assert settings.key_for("a") != Settings(**GOOD | {"secret_key": "y" * 32}).key_for("a")


@pytest.mark.parametrize("url", ["mysql://x", "x", ""])
def test_an_unknown_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseNotReady, match="DATABASE_URL"):
        async_url(url)


async def test_an_unreachable_or_outdated_database_is_refused(postgresql: str) -> None:
    async with open_database(f"postgresql://127.0.0.1:{free_port()}/nowhere", 1) as database:
        with pytest.raises(DatabaseNotReady, match="DATABASE_URL: the database does not answer"):
            await database.check_ready()
    async with open_database(await create_database(postgresql), 1) as database:
        with pytest.raises(DatabaseNotReady, match="run `python -m app migrate`"):
            await database.check_ready()
        await database.migrate()
        await database.check_ready()


@pytest.mark.parametrize(
    ("code", "outage"),
    [("57P03", True), ("53300", True), ("40P01", True), ("08006", True), ("22012", False), ("42P01", False)],
)
async def test_an_outage_is_told_from_a_wrong_statement(postgresql: str, code: str, outage: bool) -> None:
    async with open_database(postgresql, 1) as database:
        with pytest.raises(DBAPIError) as caught:
            async with database.engine.connect() as connection:
                await connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
    assert is_outage(caught.value) == outage
