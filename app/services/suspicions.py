"""What speaks against a referral, from the rows. Each look is bounded: so many rows by an index, and no more."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.sqltypes import UTCDateTime

from app.domain.referrals import LASTING
from app.domain.suspicions import (
    MEANINGS,
    RING_LEVELS,
    WEIGHTS,
    Assessment,
    Child,
    Evidence,
    around,
    assess,
    suspicions,
)
from app.models import Member, Referral, Refusal
from app.schemas.suspicions import EvidencePublic, LookedAt, ReasonPublic, SuspectPublic, SuspicionsPublic
from app.services.marks import shared
from app.state import State

CARRIERS = 200
"""Others with a mark of the member's who are looked at."""
CHILDREN = 100
"""Members of a day who are looked at."""
TOUCHES, PARENTS = 500, 200
"""Touches and inviters that are looked at on each level of a possible ring."""
SCOPES = 3
"""The newest referrals between two members that are looked at."""
RECENT, INVITERS, EACH = 2000, 50, 3
"""For a list: referrals, inviters, and members of each inviter."""

SIBLINGS = text(
    f"""SELECT count(*) FROM (
        SELECT DISTINCT other.member_id FROM marks mine
        JOIN marks other ON other.kind = mine.kind AND other.digest = mine.digest
        WHERE mine.member_id = :member_id AND other.member_id NOT IN (:member_id, :inviter_id) LIMIT {CARRIERS}
    ) AS carriers
    WHERE EXISTS (SELECT 1 FROM referrals r
                  WHERE r.member_id = carriers.member_id AND r.inviter_id = :inviter_id)"""
)
BROUGHT = """
    SELECT r.member_id, m.created_at AS made_at, o.created_at AS ordered_at,
           NOT EXISTS (SELECT 1 FROM offers mine JOIN offers c ON c.sale_id = mine.sale_id AND c.price < mine.price
                       WHERE mine.id = o.offer_id) AS cheapest,
           (SELECT count(*) FROM (SELECT 1 FROM orders x WHERE x.member_id = r.member_id LIMIT 2) AS two) AS orders,
           (SELECT count(*) FROM (SELECT 1 FROM invites i WHERE i.member_id = r.member_id LIMIT 1) AS one)
               AS invites,
           EXISTS (SELECT 1 FROM marks k WHERE k.member_id = r.member_id AND k.kind IN ('payer', 'phone')
                   AND NOT EXISTS (SELECT 1 FROM marks x WHERE x.kind = k.kind AND x.digest = k.digest
                                   AND x.member_id <> k.member_id)) AS verified
    FROM referrals r JOIN members m ON m.id = r.member_id JOIN orders o ON o.id = r.order_id
    WHERE r.inviter_id = :inviter_id AND """
MADE_AT = {"made_at": UTCDateTime(), "ordered_at": UTCDateTime()}
ONE = text(f"{BROUGHT} r.member_id = :member_id LIMIT 1").columns(**MADE_AT)
DAY = (
    text(f"{BROUGHT} r.bound_at BETWEEN :begin AND :end ORDER BY r.bound_at LIMIT {CHILDREN}")
    .bindparams(bindparam("begin", type_=UTCDateTime()), bindparam("end", type_=UTCDateTime()))
    .columns(**MADE_AT)
)
FIRST = """(SELECT member_id, min(paid_at) AS paid_at FROM orders
            WHERE member_id IN :member_ids AND paid_at IS NOT NULL AND (:sale_id = '' OR sale_id = :sale_id)
            GROUP BY member_id)"""
PARENTS_OF = text(
    f"""SELECT inviter_id FROM referrals WHERE scope = :scope AND member_id IN :member_ids
        UNION
        SELECT i.member_id FROM {FIRST} AS f
        JOIN orders o ON o.member_id = f.member_id AND o.paid_at = f.paid_at
        JOIN invites i ON i.code = o.invite_code
        UNION
        SELECT i.member_id FROM {FIRST} AS f
        JOIN (SELECT member_id, code, first_at FROM touches WHERE member_id IN :member_ids
              ORDER BY last_at DESC LIMIT {TOUCHES}) AS t ON t.member_id = f.member_id AND t.first_at <= f.paid_at
        JOIN invites i ON i.code = t.code
        LEFT JOIN groups g ON g.id = i.group_id
        WHERE :sale_id = '' OR coalesce(i.sale_id, g.sale_id, :sale_id) = :sale_id
        LIMIT {PARENTS}"""
).bindparams(bindparam("member_ids", expanding=True))


async def suspect(session: AsyncSession, inviter_id: str, member_id: str) -> Assessment:
    """How much speaks against that one member brought the other."""
    return assess(suspicions(await find_evidence(session, inviter_id, member_id)))


async def find_evidence(session: AsyncSession, inviter_id: str, member_id: str) -> Evidence:
    """What there is to be said of it. A ring and a star are looked for once the referral is bound."""
    marks = frozenset(await shared(session, inviter_id, member_id))
    siblings = await _count(session, SIBLINGS, inviter_id=inviter_id, member_id=member_id)
    bound = await session.exec(
        select(Referral)
        .where(Referral.inviter_id == inviter_id, Referral.member_id == member_id)
        .order_by(col(Referral.bound_at).desc())
        .limit(SCOPES)
    )
    referrals = bound.all()
    if not referrals:
        return Evidence(marks, siblings)
    begin, end = around(referrals[0].bound_at)
    day = {
        child.member_id: child
        for child in await _children(session, DAY, inviter_id=inviter_id, begin=begin, end=end)
    }
    own = await _children(session, ONE, inviter_id=inviter_id, member_id=member_id)
    circles = await session.exec(
        select(Refusal.scope).where(Refusal.member_id == member_id, Refusal.inviter_id == inviter_id).limit(1)
    )
    closed = circles.first() is not None
    rings = [closed or await _is_ring(session, inviter_id, member_id, referral.scope) for referral in referrals]
    return Evidence(
        shared=marks,
        siblings=siblings,
        ring=any(rings),
        day=len(day),
        alike=sum(child.made_for_it for child in day.values()),
        is_alike=any(child.made_for_it for child in own),
    )


async def _count(session: AsyncSession, statement: Any, **binds: Any) -> int:
    return int((await (await session.connection()).execute(statement, binds)).scalar_one())


async def _children(session: AsyncSession, statement: Any, **binds: Any) -> list[Child]:
    return [Child(*row) for row in (await (await session.connection()).execute(statement, binds)).all()]


async def _is_ring(session: AsyncSession, inviter_id: str, member_id: str, scope: str) -> bool:
    """Whether the inviter could have been brought to their first paid order by somebody whom the member brought.

    Looked for upwards: through whoever made an invite that they came by before it, in the same sale.
    """
    sale_id = "" if scope == LASTING else scope
    level, seen, height = {inviter_id}, {inviter_id}, 0
    while level and member_id not in level and height < RING_LEVELS:
        binds = {"member_ids": sorted(level), "scope": scope, "sale_id": sale_id}
        found = (await (await session.connection()).execute(PARENTS_OF, binds)).scalars()
        level = set(found) - seen
        seen |= level
        height += 1
    return member_id in level


@dataclass(slots=True)
class _Inviter:
    """What is looked at of one inviter: first whoever shares something, then the newest."""

    newest: list[str] = field(default_factory=list)
    first: dict[str, None] = field(default_factory=dict)

    @property
    def members(self) -> list[str]:
        return list(dict.fromkeys([*self.first, *self.newest]))[:EACH]


async def list_suspects(state: State, min_score: int, before: datetime | None, limit: int) -> SuspicionsPublic:
    """Inviters of recent referrals, the most suspected first: each by the worst of a few of those they brought."""
    async with state.database.snapshot() as session:
        inviters, since, looked_at = await _recent(session, before or state.clock())
        suspects = []
        for inviter_id, inviter in inviters.items():
            worst, evidence, member_id = Assessment(-1, ()), Evidence(), ""
            for candidate in inviter.members:
                found = await find_evidence(session, inviter_id, candidate)
                if (assessment := assess(suspicions(found))).score > worst.score:
                    worst, evidence, member_id = assessment, found, candidate
            if worst.score >= min_score:
                suspects.append(_suspect(inviter_id, len(inviter.newest), member_id, worst, evidence))
        suspects.sort(key=lambda one: (-one.score, -one.referrals, one.member_id))
        names = await session.exec(
            select(Member.id, Member.name).where(col(Member.id).in_([one.member_id for one in suspects[:limit]]))
        )
        name_of = dict(names.all())
    for one in suspects[:limit]:
        one.name = name_of[one.member_id]
    return SuspicionsPublic(
        items=suspects[:limit],
        looked_at=LookedAt(
            referrals=looked_at,
            inviters=len(inviters),
            assessed=sum(len(inviter.members) for inviter in inviters.values()),
            since=since,
        ),
    )


async def _recent(session: AsyncSession, before: datetime) -> tuple[dict[str, _Inviter], datetime | None, int]:
    """The inviters of the newest referrals; until when back they were read, None when there are no more."""
    rows = await session.exec(
        select(Referral.inviter_id, Referral.member_id, Referral.bound_at)
        .where(Referral.bound_at <= before)
        .order_by(col(Referral.bound_at).desc())
        .limit(RECENT + 1)
    )
    inviters: dict[str, _Inviter] = defaultdict(_Inviter)
    pairs: list[tuple[str, str]] = []
    since: datetime | None = None
    for inviter_id, member_id, bound_at in rows.all():
        if len(pairs) == RECENT or (inviter_id not in inviters and len(inviters) == INVITERS):
            since = bound_at
            break
        inviters[inviter_id].newest.append(member_id)
        pairs.append((inviter_id, member_id))
    for inviter_id, member_id in await _sharing(session, pairs):
        inviters[inviter_id].first[member_id] = None
    return inviters, since, len(pairs)


async def _sharing(session: AsyncSession, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of inviters and members, those who share a mark, with each other or with another member of the inviter's."""
    members = {member_id for pair in pairs for member_id in pair}
    carried: dict[str, set[tuple[str, str]]] = defaultdict(set)
    statement = text("SELECT member_id, kind, digest FROM marks WHERE member_id IN :ids").bindparams(
        bindparam("ids", expanding=True)
    )
    if members:
        found = await (await session.connection()).execute(statement, {"ids": sorted(members)})
        for member_id, kind, digest in found.all():
            carried[member_id].add((kind, digest))
    carriers: dict[tuple[str, tuple[str, str]], set[str]] = defaultdict(set)
    for inviter_id, member_id in pairs:
        for mark in carried[member_id]:
            carriers[inviter_id, mark].add(member_id)
    return [
        (inviter_id, member_id)
        for inviter_id, member_id in pairs
        if carried[member_id] & carried[inviter_id]
        or any(len(carriers[inviter_id, mark]) > 1 for mark in carried[member_id])
    ]


def _suspect(inviter_id: str, count: int, member_id: str, worst: Assessment, evidence: Evidence) -> SuspectPublic:
    return SuspectPublic(
        member_id=inviter_id,
        name="",
        score=worst.score,
        withheld=worst.withheld,
        referrals=count,
        worst_member_id=member_id,
        reasons=[
            ReasonPublic(code=reason, weight=WEIGHTS[reason], en=MEANINGS[reason][0], zh=MEANINGS[reason][1])
            for reason in worst.reasons
        ],
        evidence=EvidencePublic(
            shared=sorted(evidence.shared),
            siblings=evidence.siblings,
            ring=evidence.ring,
            day=evidence.day,
            alike=evidence.alike,
        ),
    )
