"""Guards of daily slots: their windows, and what may become a series."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from app.domain.errors import InvalidTerms, SaleEnded, SaleNotEditable, SaleWithoutSlots, WrongKind
from app.domain.slots import MAX_SLOTS, Window, find_missing, find_zone, lay_out
from app.schemas.slots import SlotsCreate
from app.services import slots
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import FLASH

SLOTS, DOMAIN = "app.services.slots", "app.domain.slots"
DAY = date(2100, 1, 1)
BODY = SlotsCreate(first_day=DAY, last_day=DAY, times=["10:00"], minutes=60, timezone="Asia/Shanghai")


@notices(*cuts(f"{DOMAIN}.find_zone", "name in OF_THIS_MACHINE"))
async def a_zone_is_the_same_everywhere(_world: World) -> None:
    with pytest.raises(InvalidTerms):
        find_zone("localtime")


@notices(*cuts(f"{SLOTS}.lay_out_slots", "first.allocation == Allocation.DRAW"))
async def a_draw_has_no_slots(world: World) -> None:
    draws_at = (world.service.clock() + timedelta(hours=1)).isoformat()
    sale = await world.service.sale(**FLASH, publish=False, allocation="draw", draws_at=draws_at)
    with pytest.raises(InvalidTerms):
        await slots.lay_out_slots(world.state, sale.id, BODY)


@notices(
    *cuts(f"{DOMAIN}.lay_out", "days < 1", "days * len(times) > MAX_SLOTS"),
    *cuts(f"{DOMAIN}.find_missing", "later.opens_at < earlier.closes_at", "len(together) > MAX_SLOTS"),
)
async def slots_are_some_and_apart(_world: World) -> None:
    zone, at = find_zone("Asia/Shanghai"), [time(10)]
    for wrong in (-1, MAX_SLOTS):
        with pytest.raises(InvalidTerms):
            lay_out(DAY, DAY + timedelta(days=wrong), at, 60, zone)
    most = lay_out(DAY, DAY + timedelta(days=MAX_SLOTS - 1), at, 60, zone)
    other = Window(datetime(2200, 1, 1, tzinfo=UTC), datetime(2200, 1, 2, tzinfo=UTC))
    for there, wanted in (([], lay_out(DAY, DAY, [time(10), time(10, 59)], 60, zone)), ([other], most)):
        with pytest.raises(InvalidTerms):
            find_missing(there, wanted)


@notices(
    *cuts(
        f"{SLOTS}.lay_out_slots",
        "first.series_id not in {None, first.id}",
        "first.series_id is None and first.state != SaleState.DRAFT",
    ),
    Cut(f"{SLOTS}.lay_out_slots", "check_kind(first.terms(), SaleKind.FLASH)", "None"),
    *cuts(f"{SLOTS}.publish_slots", "first.series_id != first.id", "if not await _has_published(work, first.id)"),
)
async def a_series_begins_with_a_draft(world: World) -> None:
    first, second = await world.slots()
    live, group = await world.service.sale(**FLASH), await world.service.sale(publish=False)
    for sale_id, refusal in ((second, SaleWithoutSlots), (live.id, SaleNotEditable), (group.id, WrongKind)):
        with pytest.raises(refusal):
            await slots.lay_out_slots(world.state, sale_id, BODY)
    for sale_id in (second, live.id):
        with pytest.raises(SaleWithoutSlots):
            await slots.publish_slots(world.state, sale_id)
    world.service.clock.advance(3 * 86_400)
    with pytest.raises(SaleEnded):
        await slots.publish_slots(world.state, first)
