from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import CommunityNotFound, InvalidTerms, SaleNotFound
from app.domain.growth import Cohort
from app.domain.invites import InviteChannel
from app.domain.operators import Scope
from app.routers.problems import problems
from app.routers.tables import AS_CSV, AcceptHeader, FormatQuery, as_csv, wants_csv
from app.schemas.fields import CommunityId, Currency, Moment, SaleId
from app.schemas.growth import BranchesPublic, BranchPublic, GrowthFigures, GrowthPublic, GrowthSlice
from app.services import growth

LEVELS = 3
"""Levels of the forest that have a column of their own; deeper ones share one."""
operator_router = APIRouter(
    prefix="/v1/ops/growth",
    tags=["operators: growth"],
    dependencies=[Depends(require_scope(Scope.GROWTH))],
)


ERRORS = problems(*OPERATOR_ERRORS, SaleNotFound, CommunityNotFound, InvalidTerms)
SinceQuery = Annotated[Moment | None, Query(alias="from", description="The beginning of the period 起")]
UntilQuery = Annotated[
    Moment | None, Query(alias="to", description="Its end, not included; now if none is named 止")
]


@operator_router.get(
    "", response_model=GrowthPublic, responses=AS_CSV | ERRORS, summary="What growth is made of 增长指标"
)
async def get_growth(
    state: StateDep,
    sale_id: SaleId | None = None,
    community_id: CommunityId | None = None,
    channel: InviteChannel | None = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    cohort: Cohort | None = None,
    currency: Currency = "CNY",
    as_: FormatQuery = None,
    accept: AcceptHeader = "",
) -> GrowthPublic | Response:
    """Invites, visitors, who logged in and paid, K-factor, cycle time, depth, and money that was kept: of all, by
    channel, and with `cohort` by when those who invite came. The formulas are in docs/metrics.md.
    """
    asked = GrowthSlice(
        sale_id=sale_id,
        community_id=community_id,
        channel=channel,
        cohort=cohort,
        currency=currency,
        since=since,
        until=until,
    )
    found = await growth.measure(state, asked)
    if not wants_csv(as_, accept):
        return found
    lines = list(_lines(found))
    return as_csv(lines[0], lines)


@operator_router.get(
    "/branches",
    response_model=BranchesPublic,
    responses=AS_CSV | ERRORS,
    summary="The branches worth most 高价值分支",
)
async def get_branches(
    state: StateDep,
    sale_id: SaleId | None = None,
    community_id: CommunityId | None = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    currency: Currency = "CNY",
    limit: LimitQuery = 20,
    as_: FormatQuery = None,
    accept: AcceptHeader = "",
) -> BranchesPublic | Response:
    """Seeds, by the money that is kept of the orders of all whom they brought, directly or not."""
    asked = GrowthSlice(sale_id=sale_id, community_id=community_id, currency=currency, since=since, until=until)
    found = await growth.rank_branches(state, asked, limit)
    return as_csv(BranchPublic.model_fields, map(dict, found.items)) if wants_csv(as_, accept) else found


def _lines(found: GrowthPublic) -> Iterator[dict[str, Any]]:
    yield {"part": "total", "key": ""} | _line(found.total)
    for channel, figures in found.channels.items():
        yield {"part": "channel", "key": channel.value} | _line(figures)
    for cohort, figures in found.cohorts.items():
        yield {"part": "cohort", "key": cohort} | _line(figures)


def _line(figures: GrowthFigures) -> dict[str, Any]:
    depths = figures.depths + [0] * LEVELS
    levels = {f"level_{number + 1}": depths[number] for number in range(LEVELS)}
    return (
        figures.model_dump(exclude={"ratios", "depths"})
        | levels
        | {f"level_{LEVELS + 1}_on": sum(depths[LEVELS:])}
        | {name: ratio.value for name, ratio in figures.ratios.items()}
    )
