"""What happened in a community on one day, counted from the rows of that day. The words are those of
docs/metrics.md; `tests/promises/test_health.py` counts the same rows again, slowly.

Each figure is found by an index of the community, or of one of its sales, and the time:
a day costs what happened on it, not what happened before.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, text
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.sqltypes import UTCDateTime

from app.domain.growth import median
from app.domain.health import (
    AGAIN,
    AGAIN_DAYS,
    COUNTS,
    GONE_DAYS,
    LEFT,
    RECENT_DAYS,
    SHARES,
    WINDOW_DAYS,
    uncounted,
    week_of,
)
from app.domain.memberships import LeaveReason, MembershipState
from app.models import Community

CURRENCY = "CNY"
"""Money is counted in one currency: points are made of fen."""
REASONS = {
    MembershipState.REMOVED: LeaveReason.REMOVED,
    MembershipState.BLOCKED: LeaveReason.BLOCKED,
    MembershipState.LAPSED: LeaveReason.LAPSED,
}
STANDING = "{0}.hidden_at IS NULL AND ({0}.removed_at IS NULL OR {0}.removed_at >= :until)"
"""That a post or a comment was there at the end of the day, and was not hidden since."""
ON_THE_DAY = "{0} >= :since AND {0} < :until"
SOLD = f"""sales s JOIN orders o ON o.sale_id = s.id AND {ON_THE_DAY.format("o.paid_at")}
    WHERE s.community_id = :community_id AND s.opens_at < :until"""
EARLIER = """orders e JOIN sales es ON es.id = e.sale_id AND es.community_id = :community_id
    WHERE e.member_id = o.member_id AND e.paid_at IS NOT NULL AND (e.paid_at, e.id) < (o.paid_at, o.id)"""
"""The orders that the same member paid before, in the community."""


class Span(NamedTuple):
    """When a day begins, and when it ends."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of a day are read."""

    session: AsyncSession
    community: Community
    span: Span

    async def fetch(self, sql: str, *moments: str, **binds: Any) -> Sequence[Any]:
        """The rows of a query; `moments` are its columns that are times, and those of the day are bound."""
        known = {"since": self.span.since, "until": self.span.until, "community_id": self.community.id} | binds
        used = {name: value for name, value in known.items() if f":{name}" in sql}
        times = [name for name, value in used.items() if isinstance(value, datetime)]
        typed = [bindparam(name, type_=UTCDateTime()) for name in times]
        statement = text(sql).bindparams(*typed)
        if moments:
            statement = statement.columns(**dict.fromkeys(moments, UTCDateTime()))  # type: ignore[assignment]
        return (await (await self.session.connection()).execute(statement, used)).all()

    async def sums(self, sql: str, **binds: Any) -> dict[str, int]:
        """The figures of a query of one row, by the names of its columns."""
        (row,) = await self.fetch(sql, **binds)
        return {name: int(value or 0) for name, value in row._mapping.items()}  # noqa: SLF001 - its public name


async def tally(session: AsyncSession, community: Community, span: Span) -> dict[str, int]:
    """The figures of a day, without its shares."""
    rows = Rows(session, community, span)
    found = dict.fromkeys(COUNTS, 0)
    counts = (_written, _found_useful, _cheered, _answered, _came_and_went, _tipped, _met, _sold, _again, _pushed)
    for count in counts:
        found |= await count(rows)
    return found | {"uncounted": uncounted(found)}


async def count_shares(session: AsyncSession, community: Community, span: Span) -> dict[str, int]:
    """How many members there are at the end of a day, by when they last did something, looked, or joined; and how
    many of them bought in the four weeks before.
    """
    rows = Rows(session, community, span)
    recent, gone = (span.until - timedelta(days=days) for days in (RECENT_DAYS, GONE_DAYS))
    found = await rows.fetch(
        """SELECT share, count(*) FROM (
             SELECT CASE WHEN acted_at >= :recent THEN 'active'
                         WHEN seen_at >= :recent OR joined_at >= :recent THEN 'silent'
                         WHEN acted_at >= :gone OR seen_at >= :gone OR joined_at >= :gone THEN 'dormant'
                         ELSE 'zombie' END AS share
             FROM memberships WHERE community_id = :community_id AND state = 'active') AS members
           GROUP BY share""",
        recent=recent,
        gone=gone,
    )
    shares = dict.fromkeys(SHARES, 0) | {share: int(count) for share, count in found}
    members = sum(int(count) for _, count in found)
    bought = await rows.sums(
        """SELECT count(DISTINCT o.member_id) AS buyers_28 FROM sales s
           JOIN orders o ON o.sale_id = s.id AND o.paid_at >= :begin AND o.paid_at < :until
           JOIN memberships m ON m.community_id = s.community_id AND m.member_id = o.member_id
           WHERE s.community_id = :community_id AND s.opens_at < :until AND m.state = 'active'""",
        begin=span.until - timedelta(days=WINDOW_DAYS),
    )
    return {"members": members} | shares | bought


async def _written(rows: Rows) -> dict[str, int]:
    posts = await rows.sums(
        f"""SELECT count(*) AS posts, sum(CASE WHEN kind = 'question' THEN 1 ELSE 0 END) AS questions,
                   sum(CASE WHEN kind = 'check_in' THEN 1 ELSE 0 END) AS check_ins,
                   sum(CASE WHEN exclusive THEN 1 ELSE 0 END) AS exclusive_posts
            FROM posts p WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")}
              AND {STANDING.format("p")}"""
    )
    comments = await rows.sums(
        f"""SELECT count(*) AS comments FROM comments c
            WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")} AND {STANDING.format("c")}"""
    )
    reactions = await rows.sums(
        f"""SELECT count(*) AS reactions, sum(CASE WHEN kind = 'cheer' THEN 1 ELSE 0 END) AS cheers
            FROM reactions WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")}"""
    )
    return posts | comments | reactions


async def _found_useful(rows: Rows) -> dict[str, int]:
    """Posts of which a second member other than the author said something, or reacted, on this day; and those of
    them that are exclusive. Check-ins are cheered instead.
    """

    def others(before: str) -> str:
        """How many did before a moment: of either kind two are enough to know."""
        return f"""(SELECT count(*) FROM (
            SELECT id FROM (SELECT DISTINCT r.member_id AS id FROM reactions r WHERE r.subject_id = p.id
                            AND r.member_id <> p.author_id AND r.created_at < :{before} LIMIT 2) AS reacted
            UNION
            SELECT id FROM (SELECT DISTINCT c.author_id AS id FROM comments c WHERE c.post_id = p.id
                            AND c.author_id <> p.author_id AND c.created_at < :{before}
                            AND {STANDING.format("c")} LIMIT 2) AS said) AS others)"""

    return await rows.sums(
        f"""SELECT count(*) AS useful_posts, sum(CASE WHEN p.exclusive THEN 1 ELSE 0 END) AS exclusive_useful FROM (
              SELECT subject_id AS id FROM reactions
              WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")}
              UNION
              SELECT post_id FROM comments c
              WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")} AND {STANDING.format("c")}
            ) AS touched JOIN posts p ON p.id = touched.id
            WHERE p.kind <> 'check_in' AND {STANDING.format("p")}
              AND {others("until")} >= 2 AND {others("since")} < 2"""
    )


async def _cheered(rows: Rows) -> dict[str, int]:
    """Check-ins that another member cheered first on this day."""
    cheer = """SELECT 1 FROM reactions r
        WHERE r.subject_id = p.id AND r.kind = 'cheer' AND r.member_id <> p.author_id"""
    return await rows.sums(
        f"""SELECT count(*) AS cheered FROM (
              SELECT DISTINCT subject_id AS id FROM reactions
              WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")} AND kind = 'cheer'
            ) AS touched JOIN posts p ON p.id = touched.id
            WHERE p.kind = 'check_in' AND {STANDING.format("p")}
              AND EXISTS ({cheer} AND {ON_THE_DAY.format("r.created_at")})
              AND NOT EXISTS ({cheer} AND r.created_at < :since)"""
    )


async def _answered(rows: Rows) -> dict[str, int]:
    """Answers to questions of others, one per question and member; and questions that had their first."""
    found = await rows.fetch(
        f"""SELECT p.id, c.author_id, p.created_at AS asked_at, p.answered_at, min(c.created_at) AS said_at
            FROM comments c JOIN posts p ON p.id = c.post_id
            WHERE c.community_id = :community_id AND {ON_THE_DAY.format("c.created_at")} AND c.is_answer
              AND p.kind = 'question' AND c.author_id <> p.author_id
              AND {STANDING.format("c")} AND {STANDING.format("p")}
              AND NOT EXISTS (SELECT 1 FROM comments e WHERE e.post_id = p.id AND e.author_id = c.author_id
                              AND e.is_answer AND e.created_at < :since AND {STANDING.format("e")})
            GROUP BY p.id, c.author_id, p.created_at, p.answered_at""",
        *("asked_at", "answered_at", "said_at"),
    )
    promise = rows.community.answer_minutes
    patience = None if promise is None else timedelta(minutes=promise)
    in_time = sum(patience is not None and row.said_at - row.asked_at <= patience for row in found)
    waits = {
        row.id: row.answered_at - row.asked_at
        for row in found
        if row.answered_at is not None and rows.span.since <= row.answered_at < rows.span.until
    }
    return {
        "answers": len(found),
        "answers_in_time": in_time,
        "answers_late": len(found) - in_time,
        "answered": len(waits),
        "answered_in_time": sum(patience is not None and wait <= patience for wait in waits.values()),
        "answer_seconds": median([wait // timedelta(seconds=1) for wait in waits.values()]) or 0,
    }


async def _came_and_went(rows: Rows) -> dict[str, int]:
    """By the events of memberships, because a row only tells of the last time; and jobs that were done."""
    found = await rows.fetch(
        f"""SELECT e.type, e.from_state, e.to_state, e.data ->> 'reason' AS reason, count(*) AS times,
                   count(DISTINCT e.subject) AS subjects, count(m.invite_code) AS invited
            FROM events e
            LEFT JOIN memberships m ON m.community_id = e.community_id AND m.member_id = e.member_id
            WHERE e.community_id = :community_id AND {ON_THE_DAY.format("e.created_at")}
              AND (e.type LIKE 'membership.%' OR e.type = 'job.done')
            GROUP BY 1, 2, 3, 4"""
    )
    counts = Counter[str]()
    for row in found:
        if row.type == "job.done":
            counts["jobs_done"] += row.subjects
        elif row.to_state == MembershipState.ACTIVE and row.from_state != MembershipState.ACTIVE:
            counts["joins"] += row.times
            counts["invited"] += row.invited
        elif row.from_state == MembershipState.ACTIVE and row.to_state != MembershipState.ACTIVE:
            counts["leaves"] += row.times
            reason = row.reason or REASONS.get(row.to_state, LeaveReason.OTHER)
            counts[f"{LEFT}{reason}"] += row.times
    return dict(counts)


async def _tipped(rows: Rows) -> dict[str, int]:
    return await rows.sums(
        f"""SELECT count(*) AS tips, sum(CASE WHEN currency = :currency THEN amount ELSE 0 END) AS tipped FROM tips
            WHERE community_id = :community_id AND {ON_THE_DAY.format("created_at")}""",
        currency=CURRENCY,
    )


async def _met(rows: Rows) -> dict[str, int]:
    """Members who gave another something on this day, or were given it."""
    day = rows.span.since.date().isoformat()
    met = "FROM encounters WHERE community_id = :community_id AND day = :day"
    return await rows.sums(
        f"SELECT count(*) AS people FROM (SELECT giver_id {met} UNION SELECT receiver_id {met}) AS met", day=day
    )


async def _sold(rows: Rows) -> dict[str, int]:
    orders = await rows.sums(
        f"""SELECT count(*) AS orders, count(DISTINCT o.member_id) AS buyers,
                   sum(CASE WHEN EXISTS (SELECT 1 FROM {EARLIER}) THEN 1 ELSE 0 END) AS repeat_orders
            FROM {SOLD}"""
    )
    orders["first_orders"] = orders["orders"] - orders["repeat_orders"]
    brought = await rows.sums(
        f"""SELECT count(DISTINCT o.member_id) AS brought FROM {SOLD}
              AND EXISTS (SELECT 1 FROM referrals r WHERE r.member_id = o.member_id AND r.order_id = o.id)
              AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.community_id = s.community_id
                              AND m.member_id = o.member_id AND m.invite_code IS NOT NULL)
              AND NOT EXISTS (SELECT 1 FROM {EARLIER})"""
    )
    # A kept payment is the only one of its order that is.
    money = await rows.sums(
        f"""SELECT sum(revenue) AS revenue, sum(CASE WHEN revenue > 0 AND saved > 0 AND state NOT IN
                       ('refunding', 'refunded') THEN saved ELSE 0 END) AS savings
            FROM (SELECT o.state, k.captured_amount - k.refunded_amount AS revenue,
                         f.list_price * coalesce(o.settled_quantity, o.quantity)
                           - (k.captured_amount - k.refunded_amount) AS saved
                  FROM (SELECT o.id, o.state, o.offer_id, o.quantity, o.settled_quantity FROM {SOLD}) AS o
                  JOIN payments k ON k.order_id = o.id AND k.outcome = 'kept' AND k.captured_currency = :currency
                  JOIN offers f ON f.id = o.offer_id) AS paid""",
        currency=CURRENCY,
    )
    rewards = await rows.sums(
        f"""SELECT sum(w.amount) AS rewards FROM (SELECT o.id FROM {SOLD}) AS o
            JOIN rewards w ON w.order_id = o.id AND w.state IN ('pending', 'matured')
            JOIN reward_policies y ON y.id = w.policy_id AND y.currency = :currency""",
        currency=CURRENCY,
    )
    groups = await rows.sums(
        f"""SELECT count(*) AS groups_filled FROM sales s
            JOIN groups g ON g.sale_id = s.id AND g.state = 'succeeded' AND g.size > 1
              AND {ON_THE_DAY.format("g.ended_at")}
            WHERE s.community_id = :community_id AND s.opens_at < :until AND g.covered = 0 AND g.extra = 0"""
    )
    return orders | brought | money | rewards | groups


async def _again(rows: Rows) -> dict[str, int]:
    """Second orders within thirty days of the first, by the week of the first."""
    found = await rows.fetch(
        f"""SELECT o.paid_at, (SELECT min(e.paid_at) FROM {EARLIER}) AS first_at FROM {SOLD}
              AND (SELECT count(*) FROM (SELECT 1 FROM {EARLIER} LIMIT 2) AS before) = 1""",
        *("paid_at", "first_at"),
    )
    zone, in_time = ZoneInfo(rows.community.timezone), timedelta(days=AGAIN_DAYS)
    weeks = Counter(
        week_of(row.first_at.astimezone(zone).date()) for row in found if row.paid_at - row.first_at <= in_time
    )
    return {f"{AGAIN}{week}": count for week, count in weeks.items()}


async def _pushed(rows: Rows) -> dict[str, int]:
    sent = f"FROM pushes h WHERE h.community_id = :community_id AND {ON_THE_DAY.format('h.sent_at')}"
    return await rows.sums(
        f"""SELECT (SELECT count(*) {sent}) AS pushes,
                   (SELECT count(*) FROM notices n WHERE n.push_id IN (SELECT h.id {sent})) AS deliveries"""
    )
