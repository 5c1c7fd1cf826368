"""Guards of what operators are told of growth: of things there are, of times in order, of nobody's own taps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.errors import CommunityNotFound, InvalidTerms, SaleNotFound
from app.domain.growth import Came, Made, Rows, measure
from app.domain.invites import InviteChannel
from app.domain.suspicions import Evidence, Suspicion, suspicions
from app.schemas.growth import GrowthSlice
from app.services import growth
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

SERVICE, DOMAIN, SUSPICIONS = "app.services.growth", "app.domain.growth", "app.domain.suspicions"
NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)


@notices(
    *cuts(
        f"{SERVICE}._slice",
        "asked.sale_id is not None and await session.get(Sale, asked.sale_id) is None",
        "asked.community_id is not None and await session.get(Community, asked.community_id) is None",
        "since >= until",
    )
)
async def growth_is_of_what_there_is(world: World) -> None:
    now = world.service.clock()
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"sale_id": f"sal_{'0' * 32}"}, SaleNotFound),
        ({"community_id": f"com_{'0' * 32}"}, CommunityNotFound),
        ({"since": now, "until": now}, InvalidTerms),
    ]
    for asked, refusal in wrong:
        with pytest.raises(refusal):
            await growth.measure(world.state, GrowthSlice(**asked))


@notices(
    Cut(f"{DOMAIN}._Count.count_visitors", "came.who != invite.member_id", "True"),
    Cut(f"{DOMAIN}._Count.lies_in", "self.since <= at < self.until", "True"),
)
async def a_look_at_ones_own_invite_is_no_visit(_: World) -> None:
    made = [Made("x", "seed", InviteChannel.LINK, NOON)]
    came = [Came("x", "seed", known=True, at=NOON), Came("x", "late", known=True, at=NOON + timedelta(days=1))]
    rows = Rows(made=made, came=came)
    assert measure(rows, NOON, NOON + timedelta(hours=1), None, None).total.visitors == 0


@notices(
    Cut(f"{SUSPICIONS}.is_star", "evidence.is_alike", "True"),
    Cut(f"{SUSPICIONS}.is_star", "evidence.alike >= BURST", "True"),
    Cut(f"{SUSPICIONS}.is_star", "and nearly_all", "and True"),
)
async def a_popular_leader_is_no_star(_: World) -> None:
    for honest in (
        Evidence(day=100, alike=95),
        Evidence(day=29, alike=29, is_alike=True),
        Evidence(day=100, alike=50, is_alike=True),
    ):
        assert Suspicion.STAR not in suspicions(honest)
