"""A service on a PostgreSQL of its own: what is done there with a guard taken out harms nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.databases import create_database
from tests.guards.world import World, open_world, tell_story
from tests.service import running_service


@asynccontextmanager
async def new_world(postgresql: str, valkey: str, data: Path) -> AsyncIterator[World]:
    """A world on a database of its own."""
    url = await asyncio.to_thread(asyncio.run, create_database(postgresql))
    async with running_service(url, valkey, data) as service:
        yield await open_world(service, url)


@pytest.fixture(scope="session")
async def world(postgresql: str, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One for all guards, in which every table has rows."""
    async with new_world(postgresql, valkey, tmp_path_factory.mktemp("guards")) as world:
        await tell_story(world)
        yield world


@pytest.fixture
async def own_world(postgresql: str, valkey: str, tmp_path: Path) -> AsyncIterator[World]:
    """One for a test that leaves the database without its guard."""
    async with new_world(postgresql, valkey, tmp_path) as world:
        yield world
