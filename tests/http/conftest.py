import pytest

from tests.http.world import World, build_world
from tests.service import Service


@pytest.fixture(scope="module")
async def shared_world(shared_service: Service) -> World:
    """One world for tests that change nothing in it."""
    shared_service.clock.offset_seconds = 0
    return await build_world(shared_service)


@pytest.fixture
def world(service: Service, shared_world: World) -> World:
    """The shared world, seen with a clock that is right."""
    assert shared_world.service is service
    return shared_world
