"""Guards of the days of communities: counted once, of their own community, and asked about within bounds."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from app.domain.errors import InvalidTerms
from app.domain.health import COUNTS, SHARES, WINDOW_DAYS, Counted, Part, add_up, judge
from app.models import Community, CommunityDay
from app.services import days, health
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

DAYS, HEALTH, DOMAIN = "app.services.days", "app.services.health", "app.domain.health"
SINCE = date(2026, 3, 2)
CLOSES = Cut(f"{DAYS}.count_day", "col(CommunityDay.closes_at).is_not_distinct_from(row.closes_at)", "True")


async def new_day(world: World) -> CommunityDay:
    """The day, not counted yet, on which a community had its first member."""
    community = await world.service.community(await world.service.member())
    return (await days_of(world, community["id"]))[0]


async def days_of(world: World, community_id: str) -> list[CommunityDay]:
    async with world.database.snapshot() as session:
        rows = select(CommunityDay).where(CommunityDay.community_id == community_id).order_by(col(CommunityDay.day))
        return list((await session.exec(rows)).all())


async def note(world: World, row: CommunityDay) -> None:
    async with world.work() as work:
        await days.note_day(work, await work.session.get_one(Community, row.community_id))


@notices(
    *(
        Cut(f"{DAYS}.note_day", text, "True")
        for text in ("col(CommunityDay.community_id) == community.id", "col(CommunityDay.day) == day")
    )
)
async def what_happens_is_noted_on_its_own_day(world: World) -> None:
    ours, theirs = await new_day(world), await new_day(world)
    yesterday = world.service.clock() - timedelta(days=1)
    async with world.work() as work:
        await days.note_day(work, await work.session.get_one(Community, ours.community_id), yesterday)
    await note(world, ours)
    before, today = await days_of(world, ours.community_id)
    assert (before.version, today.version) == (1, ours.version + 1)
    assert (await days_of(world, theirs.community_id))[0].version == theirs.version


@notices(
    Cut(f"{DAYS}.count_day", "col(CommunityDay.community_id) == row.community_id", "True"),
    Cut(f"{DAYS}.count_day", "col(CommunityDay.day) == row.day", "True", down=(CLOSES,)),
)
async def a_day_is_counted_for_itself(world: World) -> None:
    ours, theirs = await new_day(world), await new_day(world)
    yesterday = world.service.clock() - timedelta(days=1)
    async with world.work() as work:
        await days.note_day(work, await work.session.get_one(Community, ours.community_id), yesterday)
    assert await days.count_day(world.state, ours, world.service.clock())
    assert [row.counted for row in await days_of(world, ours.community_id)] == [0, ours.version]
    assert [row.counted for row in await days_of(world, theirs.community_id)] == [0]


@notices(
    Cut(f"{DAYS}.count_day", "col(CommunityDay.counted) == row.counted", "True"),
    *cuts(f"{DAYS}.count_day", "kept.first() is None"),
)
async def of_two_counts_of_a_day_the_first_is_kept(world: World) -> None:
    row = await new_day(world)
    rival = days.count_day(world.state, row, world.service.clock())
    async with world.meanwhile("UPDATE community_days", rival):
        assert not await days.count_day(world.state, row, world.service.clock())


@notices(CLOSES)
async def a_day_that_was_closed_is_not_opened_again(world: World) -> None:
    row = await new_day(world)
    assert await days.count_day(world.state, row, world.service.clock())
    closing = days.count_day(world.state, row, world.service.clock() + timedelta(days=1))
    async with world.meanwhile("UPDATE community_days", closing):
        assert not await days.count_day(world.state, row, world.service.clock())
    assert (await days_of(world, row.community_id))[0].closes_at is None


@notices(*cuts(f"{HEALTH}._window", "not DAY <= until - since <= MAX_WINDOW_DAYS * DAY"))
async def a_window_is_bounded(world: World) -> None:
    row = await new_day(world)
    for until in (SINCE, SINCE + timedelta(days=181)):
        with pytest.raises(InvalidTerms):
            await health.show_health(world.state, row.community_id, SINCE, until)


@notices(
    *cuts(f"{DOMAIN}._answers", "not questions"),
    *cuts(f"{DOMAIN}._buying", "not sells and (not window.sums['orders'])"),
)
async def what_is_not_known_is_not_held_against_a_community(_: World) -> None:
    figures: dict[str, Any] = dict.fromkeys((*COUNTS, *SHARES), 0) | {"members": 100, "active": 40}
    counted = [Counted(SINCE + timedelta(days=number), True, 0, figures) for number in range(WINDOW_DAYS)]
    window = add_up(counted, SINCE, SINCE + timedelta(days=WINDOW_DAYS))
    found = {one.part for one in judge(window, promises=True, sells=False).components}
    assert found == {Part.BALANCE, Part.ATTENTION, Part.ACTIVITY, Part.STAYING, Part.SPREAD}
