"""Many want what few can have. Exactly as many get it as there are places, on both databases.

Each race is run again with its guard taken away, to show that the test would notice.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.attacks.forgetful import ForgetfulDealer
from tests.service import Sale, Service, gather_limited

UNIT_KEY = "units"
SEAT_KEY = "seats"


async def insist(call: Callable[..., Awaitable[httpx.Response]], *about: Any, **body: Any) -> httpx.Response:
    """Repeat a call with the same key while its outcome is unknown, as clients do."""
    for _ in range(100):
        reply = await call(*about, **body)
        if reply.status_code != 503:
            return reply
        assert reply.headers["retry-after"]
    raise AssertionError("no definite answer in 100 tries")


async def race_for_units(service: Service, sale: Sale, count: int) -> list[httpx.Response]:
    """So many members open a group each, at the same time."""
    members = await service.members(count)
    return await gather_limited(insist(member.open, sale, key="race") for member in members)


async def race_for_seats(service: Service, sale: Sale, count: int) -> tuple[str, list[httpx.Response]]:
    """So many members join one group, at the same time."""
    leader, *others = await service.members(count + 1)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    replies = await gather_limited(insist(member.join, sale, group_id, key="race") for member in others)
    return group_id, replies


def outcomes(replies: list[httpx.Response]) -> dict[str, int]:
    """How many got a place, and how many were refused with which code."""
    counts: dict[str, int] = {}
    for reply in replies:
        outcome = "taken" if reply.status_code == 201 else str(reply.json()["code"])
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


async def test_sixty_race_for_the_last_three_seats(service: Service) -> None:
    sale = await service.sale(group_size=4)
    group_id, replies = await race_for_seats(service, sale, 60)
    assert outcomes(replies) == {"taken": 3, "group_full": 57}
    group = await service.group(group_id)
    assert (group["state"], group["held"], group["left"]) == ("filled", 4, 0)
    assert sorted(seat["number"] for seat in group["members"]) == [1, 2, 3, 4]
    assert await service.left(sale) == [96]
    assert await service.violations() == []


async def test_five_hundred_race_for_a_hundred_units(service: Service) -> None:
    sale = await service.sale(stocks=[100])
    replies = await race_for_units(service, sale, 500)
    assert outcomes(replies) == {"taken": 100, "sold_out": 400}
    assert await service.left(sale) == [0]
    assert await service.violations() == []


async def test_one_member_races_past_the_limit(service: Service) -> None:
    sale = await service.sale(member_limit=2)
    member = await service.member()
    replies = await gather_limited(insist(member.open, sale, key=f"k{k}") for k in range(30))
    assert outcomes(replies) == {"taken": 2, "member_limit": 28}
    assert await service.violations() == []


async def test_one_member_joins_a_group_thirty_times(service: Service) -> None:
    sale = await service.sale(group_size=10, member_limit=20)
    leader, member = await service.members(2)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    replies = await gather_limited(insist(member.join, sale, group_id, key=f"k{k}") for k in range(30))
    assert outcomes(replies) == {"taken": 1, "already_in_group": 29}
    assert await service.violations() == []


async def test_the_same_key_thirty_times_is_one_order(service: Service) -> None:
    sale = await service.sale()
    member = await service.member()
    replies = await gather_limited(insist(member.open, sale, key="once") for _ in range(30))
    assert outcomes(replies) == {"taken": 30}
    assert len({reply.text for reply in replies}) == 1
    assert await service.left(sale) == [99]
    assert await service.violations() == []


async def test_a_key_used_for_something_else_is_refused(service: Service) -> None:
    sale = await service.sale(stocks=[5, 5])
    member = await service.member()
    first = await member.open(sale, key="mine")
    other = await member.open(sale, key="mine", offer_id=sale.offers[1])
    assert (first.status_code, other.status_code) == (201, 422)
    assert other.json()["code"] == "idempotency_key_reused"
    assert await service.left(sale) == [4, 5]


async def remove_key(service: Service, table: str) -> None:
    """Take away the primary key that makes a place a place."""
    async with service.state.database.engine.begin() as connection:
        if service.state.database.is_sqlite:
            await connection.execute(text(f"CREATE TABLE kept AS SELECT * FROM {table}"))
            await connection.execute(text(f"DROP TABLE {table}"))
            await connection.execute(text(f"ALTER TABLE kept RENAME TO {table}"))
        else:
            await connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT pk_{table}"))


@pytest.mark.parametrize("has_key", [True, False], ids=["with key", "negative control: without key"])
async def test_a_forgetful_dealer_cannot_sell_a_unit_twice(own_service: Service, *, has_key: bool) -> None:
    sale = await own_service.sale(stocks=[40])
    own_service.state.dealer = ForgetfulDealer(own_service.state.dealer, UNIT_KEY, every=7)
    if not has_key:
        await remove_key(own_service, UNIT_KEY)
    sold = outcomes(await race_for_units(own_service, sale, 120))
    broken = {violation.invariant for violation in await own_service.violations()}
    if has_key:
        assert sold == {"taken": 40, "sold_out": 80}
        assert broken == set()
    else:
        assert sold["taken"] > 40
        assert "I1" in broken


@pytest.mark.parametrize("has_key", [True, False], ids=["with key", "negative control: without key"])
async def test_a_forgetful_dealer_cannot_seat_two_in_one_seat(own_service: Service, *, has_key: bool) -> None:
    sale = await own_service.sale(group_size=6)
    own_service.state.dealer = ForgetfulDealer(own_service.state.dealer, SEAT_KEY)
    if not has_key:
        await remove_key(own_service, SEAT_KEY)
    _, replies = await race_for_seats(own_service, sale, 40)
    broken = {violation.invariant for violation in await own_service.violations()}
    if has_key:
        assert outcomes(replies) == {"taken": 5, "group_full": 35}
        assert broken == set()
    else:
        assert outcomes(replies)["taken"] > 5
        assert "I4" in broken
