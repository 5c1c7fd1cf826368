from collections.abc import Iterator
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from app.domain.reconciliations import Line
from tests.http.world import World, build_world
from tests.service import Service


@pytest.fixture
def service(shared_service: Service) -> Service:
    """The running service, with its clock right and in it what the tests of the module share."""
    shared_service.clock.offset_seconds = 0
    return shared_service


@pytest.fixture(scope="module")
async def shared_world(shared_service: Service) -> World:
    """One world for tests that change nothing in it, made with the clock right, whatever test came before."""
    shared_service.clock.offset_seconds = 0
    return await build_world(shared_service)


class NoBills:
    """A merchant of whom nothing is on any bill."""

    name = "wechatpay"
    zone = ZoneInfo("Asia/Shanghai")

    async def read_bill(self, _day: date) -> list[Line]:
        return []


@pytest.fixture
def world(service: Service, shared_world: World) -> Iterator[World]:
    """The shared world, seen with a clock that is right."""
    assert shared_world.service is service
    service.state.billers[NoBills.name] = NoBills()
    yield shared_world
    service.state.billers.clear()
