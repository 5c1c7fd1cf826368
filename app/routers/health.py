from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LimitQuery, MemberDep, StateDep, require_scope
from app.domain.errors import CommunityNotFound, InvalidTerms, MemberBlocked, NotAllowed
from app.domain.health import COUNTS, LEFT, SHARES
from app.domain.memberships import LeaveReason
from app.domain.operators import Scope
from app.routers.problems import problems
from app.routers.tables import AS_CSV, AcceptHeader, FormatQuery, as_csv, wants_csv
from app.schemas.fields import CommunityId, Day
from app.schemas.health import DayPublic, DaysPublic, HealthPublic, RankingPublic
from app.services import health

router = APIRouter(
    prefix="/v1/communities/{community_id}/health",
    tags=["communities"],
    responses=problems(*MEMBER_ERRORS, CommunityNotFound, MemberBlocked, NotAllowed, InvalidTerms),
)
operator_router = APIRouter(
    prefix="/v1/ops/communities",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS),
)
FromQuery = Annotated[Day | None, Query(alias="from", description="The first day; four weeks before `to` 起")]
ToQuery = Annotated[Day | None, Query(alias="to", description="The day after the last; today 止（不含）")]
ranking_router = APIRouter(
    prefix="/v1/ops/community-health",
    tags=["operators: communities"],
    dependencies=[Depends(require_scope(Scope.COMMUNITIES))],
    responses=problems(*OPERATOR_ERRORS),
)
DayQuery = Annotated[Day | None, Query(description="Yesterday unless another is named 日期")]
NAMES = (*COUNTS, *SHARES, *(f"{LEFT}{reason}" for reason in LeaveReason))
PARTS = ("part", "name", "value", "score", "weight", "lost", "en", "zh")


@router.get("", summary="Is it alive 社群健康度")
async def get_own_health(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, since: FromQuery = None, until: ToQuery = None
) -> HealthPublic:
    """For those who lead it: a score of 0 to 100 with its reasons, what would help, and the figures behind it. The
    formulas are in docs/metrics.md.
    """
    return await health.show_own_health(state, member_id, community_id, since, until)


@router.get("/days", summary="Day by day 社群每日指标")
async def list_own_days(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, since: FromQuery = None, until: ToQuery = None
) -> DaysPublic:
    return await health.list_own_days(state, member_id, community_id, since, until)


@ranking_router.get("", summary="Communities by their health 社群健康排行")
async def rank_communities(
    state: StateDep, day: DayQuery = None, after: CommunityId | None = None, limit: LimitQuery = 20
) -> RankingPublic:
    """Those that need help most come first; those of which too little is known are left out."""
    return await health.rank_communities(state, day, after, limit)


@operator_router.get(
    "/{community_id}/health",
    response_model=HealthPublic,
    responses=AS_CSV | problems(CommunityNotFound, InvalidTerms),
    summary="Is it alive 社群健康度",
)
async def get_health(
    state: StateDep,
    community_id: CommunityId,
    since: FromQuery = None,
    until: ToQuery = None,
    as_: FormatQuery = None,
    accept: AcceptHeader = "",
) -> HealthPublic | Response:
    """A score of 0 to 100 with its reasons, what would help, and the figures behind it. The formulas are in
    docs/metrics.md.
    """
    found = await health.show_health(state, community_id, since, until)
    return as_csv(PARTS, _lines(found)) if wants_csv(as_, accept) else found


@operator_router.get(
    "/{community_id}/health/days",
    response_model=DaysPublic,
    responses=AS_CSV | problems(CommunityNotFound, InvalidTerms),
    summary="Day by day 社群每日指标",
)
async def list_days(
    state: StateDep,
    community_id: CommunityId,
    since: FromQuery = None,
    until: ToQuery = None,
    as_: FormatQuery = None,
    accept: AcceptHeader = "",
) -> DaysPublic | Response:
    found = await health.list_days(state, community_id, since, until)
    if not wants_csv(as_, accept):
        return found
    return as_csv(("day", "whole", "score", "value", *NAMES), map(_line, found.items))


def _lines(found: HealthPublic) -> Iterator[dict[str, Any]]:
    words = found.words.model_dump()
    yield {"part": "total", "name": "score", "value": found.score, "score": found.score} | words
    yield {"part": "total", "name": "before", "value": found.before}
    for one in found.components:
        shown = one.model_dump(include={"score", "weight", "lost"}) | one.reason.model_dump()
        yield {"part": "component", "name": one.part.value} | shown
    for advice in found.advice:
        yield {"part": "advice", "name": advice.part.value, "lost": advice.lost} | advice.advice.model_dump()
    for name in ("conversion", "repurchase", "spread"):
        yield {"part": "triad", "name": name, "value": getattr(found.triad, name).value}
    for cohort in found.triad.cohorts:
        yield {"part": "cohort", "name": cohort.week.isoformat(), "value": cohort.again.value}
    yield {"part": "balance", "name": "ratio", "value": found.balance.ratio.value}
    shares = found.shares.model_dump() if found.shares else {}
    answers: dict[str, Any] = found.answers.model_dump(include={"seconds"})
    for part, values in (
        ("given", found.balance.given),
        ("taken", found.balance.taken),
        ("shares", shares),
        ("leave_reasons", found.leave_reasons),
        ("answers", answers),
        ("figures", found.figures),
    ):
        yield from ({"part": part, "name": name, "value": value} for name, value in values.items())


def _line(day: DayPublic) -> dict[str, Any]:
    kept = {name: day.figures[name] for name in NAMES if name in day.figures}
    shown: dict[str, date | int | None] = {"day": day.day, "whole": int(day.whole), "score": day.score}
    return shown | {"value": day.value} | kept
