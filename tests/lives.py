"""The random life of a community for some days, as plain rows: to insert, and to count again slowly."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.domain.groups import GroupState
from app.domain.health import POINTS
from app.domain.invites import InviteChannel
from app.domain.memberships import SAID_REASONS, MembershipState, Role
from app.domain.notices import NoticeKind, PushState
from app.domain.orders import OrderState
from app.domain.payments import PaymentOutcome, PaymentState
from app.domain.posts import PostKind, ReactionKind
from app.domain.referrals import TouchKind
from app.domain.rewards import RewardRole, RewardState
from app.models import (
    Comment,
    Encounter,
    Event,
    Group,
    Invite,
    Member,
    Membership,
    Notice,
    Offer,
    Order,
    Payment,
    Post,
    Push,
    Reaction,
    Referral,
    Reward,
    RewardPolicy,
    Tip,
)
from tests.service import Sale, Service

ZONE = ZoneInfo("Asia/Shanghai")
PROMISE = timedelta(minutes=90)
Row = Any


@dataclass(slots=True, repr=False)
class Life:
    """Everything that was inserted for one community, and when it began."""

    community_id: str
    sales: list[Sale]
    begin: datetime
    days: int
    members: list[Row] = field(default_factory=list)
    memberships: list[Row] = field(default_factory=list)
    posts: list[Row] = field(default_factory=list)
    comments: list[Row] = field(default_factory=list)
    reactions: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    tips: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    payments: list[Row] = field(default_factory=list)
    invites: list[Row] = field(default_factory=list)
    referrals: list[Row] = field(default_factory=list)
    policies: list[Row] = field(default_factory=list)
    rewards: list[Row] = field(default_factory=list)
    pushes: list[Row] = field(default_factory=list)
    notices: list[Row] = field(default_factory=list)
    encounters: list[Row] = field(default_factory=list)

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(days=self.days)


async def live(
    service: Service, seed: int, community_id: str, sales: list[Sale], begin: datetime, days: int
) -> Life:
    """Make the life of a community up, and insert it."""
    chance = random.Random(seed)
    life = Life(community_id, sales, begin, days)
    _people(life, chance, seed)
    _words(life, chance)
    _trade(life, chance, seed)
    _advertise(life, chance)
    _meet(life, chance)
    async with service.state.database.transaction() as session:
        for rows in (
            *(life.members, life.memberships, life.posts, life.comments, life.reactions, life.events, life.tips),
            *(life.groups, life.orders, life.payments, life.invites, life.referrals, life.policies, life.rewards),
            *(life.pushes, life.notices, life.encounters),
        ):
            session.add_all(rows)
            await session.flush()
            for row in rows:
                session.expunge(row)
    return life


def _moment(life: Life, chance: random.Random, since: datetime | None = None) -> datetime:
    """Some time of the life; often the first or the last moment of a day there."""
    since = since or life.begin
    moment = since + chance.random() * (life.end - since)
    if chance.random() < 0.1:
        moment = datetime.combine(moment.astimezone(ZONE).date(), datetime.min.time(), ZONE)
        moment -= timedelta(microseconds=chance.randrange(2))
    return min(max(moment, since), life.end - timedelta(microseconds=1)).astimezone(UTC)


def _people(life: Life, chance: random.Random, seed: int) -> None:
    for number in range(30):
        born = life.begin - timedelta(days=chance.randrange(120))
        member = Member(id=f"mem_{seed:016x}{number:016x}", name="x", created_at=born)
        life.members.append(member)
        if number == 29:
            continue  # a buyer who is no member
        last = [None, None, _moment(life, chance), life.begin - timedelta(days=chance.randrange(110))]
        life.memberships.append(
            Membership(
                community_id=life.community_id,
                member_id=member.id,
                state=MembershipState.ACTIVE,
                role=Role.MEMBER,
                joined_at=born,
                acted_at=chance.choice(last),
                seen_at=chance.choice(last),
                invite_code=chance.choice([None, None, "F000000001"]),
            )
        )
    for _ in range(40):
        member = chance.choice(life.members[:29])
        left = chance.choice(
            [
                (None, "active", "membership.joined", {}),
                ("left", "active", "membership.joined", {}),
                ("active", "active", "membership.role_set", {}),
                ("active", "left", "membership.left", {"reason": chance.choice(SAID_REASONS).value}),
                ("active", "removed", "membership.removed", {}),
                ("active", "lapsed", "membership.lapsed", {"reason": "lapsed"}),
                ("applied", "left", "membership.left", {"reason": "other"}),
                (None, None, "job.done", {}),
                (None, None, "community.changed", {}),
            ]
        )
        before, after, type_, data = left
        life.events.append(
            Event(
                type=type_,
                subject=f"pst_{chance.randrange(5)}" if type_ == "job.done" else life.community_id,
                from_state=before,
                to_state=after,
                member_id=member.id,
                community_id=life.community_id,
                data=data,
                created_at=_moment(life, chance),
            )
        )


def _words(life: Life, chance: random.Random) -> None:
    check_ins = set()
    for number in range(160):
        author, at = chance.choice(life.members), _moment(life, chance)
        kind = chance.choice([PostKind.TEXT, PostKind.QUESTION, PostKind.CHECK_IN, PostKind.JOB])
        day = str(at.astimezone(ZONE).date())
        if kind == PostKind.CHECK_IN and (author.id, day) in check_ins:
            kind = PostKind.TEXT
        check_ins.add((author.id, day))
        is_check_in = kind == PostKind.CHECK_IN
        life.posts.append(
            Post(
                id=f"pst_{life.community_id[-28:]}{number:04x}",
                community_id=life.community_id,
                author_id=author.id,
                kind=kind,
                body="x",
                exclusive=chance.random() < 0.1,
                day=day if is_check_in else None,
                streak=1 if is_check_in else None,
                hidden_at=at if chance.random() < 0.05 else None,
                removed_at=_moment(life, chance, at) if chance.random() < 0.1 else None,
                created_at=at,
                request_key=f"{number}",
            )
        )
    reacted = set()
    for post in life.posts:
        for number in range(chance.choice([0, 1, 2, 4])):
            author, at = chance.choice(life.members), _moment(life, chance, post.created_at)
            if chance.random() < 0.5:
                at = min(post.created_at + chance.random() * 2 * PROMISE, life.end - timedelta(seconds=1))
            answers = post.kind == PostKind.QUESTION and chance.random() < 0.7
            life.comments.append(
                Comment(
                    id=f"cmt_{post.id[8:]}{number:04x}",
                    post_id=post.id,
                    community_id=life.community_id,
                    author_id=author.id,
                    body="x",
                    is_answer=answers,
                    hidden_at=at if chance.random() < 0.05 else None,
                    removed_at=_moment(life, chance, at) if chance.random() < 0.1 else None,
                    created_at=at,
                    request_key=f"{post.id}-{number}",
                )
            )
            if answers and author.id != post.author_id and (post.answered_at is None or at < post.answered_at):
                post.answered_at = at
        for _ in range(chance.choice([0, 1, 3])):
            member, reaction = chance.choice(life.members), chance.choice(list(ReactionKind))
            if (post.id, member.id, reaction) in reacted:
                continue
            reacted.add((post.id, member.id, reaction))
            life.reactions.append(
                Reaction(
                    subject_id=post.id,
                    member_id=member.id,
                    kind=reaction,
                    community_id=life.community_id,
                    created_at=_moment(life, chance, post.created_at),
                )
            )


def _trade(life: Life, chance: random.Random, seed: int) -> None:
    for number in range(25):
        sender, receiver = chance.sample(life.members, 2)
        at = _moment(life, chance)
        life.tips.append(
            Tip(
                sender_id=sender.id,
                receiver_id=receiver.id,
                day=date(2026, 1, 1),
                number=1 + sum(tip.sender_id == sender.id for tip in life.tips),
                amount=chance.randrange(1, 500),
                currency=chance.choice(["CNY", "CNY", "USD"]),
                community_id=life.community_id,
                note="",
                created_at=at,
                request_key=f"{number}",
            )
        )
    life.policies.append(
        RewardPolicy(
            title="x",
            community_id=life.community_id,
            role=RewardRole.INVITER,
            currency="CNY",
            first_amount=100,
            mature_days=0,
            created_at=life.begin,
        )
    )
    life.invites.append(
        Invite(
            code=f"LIFE{seed:06d}",
            member_id=life.members[0].id,
            community_id=life.community_id,
            channel=InviteChannel.LINK,
            created_at=life.begin,
            expires_at=life.end,
        )
    )
    brought = set()
    for number in range(90):
        sale, member = chance.choice(life.sales), chance.choice(life.members[:20] + life.members[29:])
        state = chance.choice([*([OrderState.CONFIRMED] * 4), OrderState.REFUNDED, OrderState.EXPIRED])
        paid_at = None if state == OrderState.EXPIRED else _moment(life, chance)
        price, quantity = chance.randrange(500, 9000), chance.randrange(1, 4)
        amount = price * quantity
        order = Order(
            id=f"ord_{seed:016x}{number:016x}",
            sale_id=sale.id,
            group_id=f"grp_{seed:016x}{number % 20:016x}",
            offer_id=sale.offer,
            member_id=member.id,
            seat_number=1,
            quantity=quantity,
            unit_price=price,
            amount=amount,
            currency="CNY",
            state=state,
            hold_expires_at=life.end,
            paid_at=paid_at,
            confirmed_at=paid_at,
            created_at=life.begin,
            changed_at=life.begin,
            request_key=f"{number}",
            request_hash="0",
            answer="{}",
        )
        life.orders.append(order)
        if paid_at is None:
            continue
        for outcome in (PaymentOutcome.KEPT, *([PaymentOutcome.REFUNDED] if chance.random() < 0.1 else [])):
            whole = outcome == PaymentOutcome.REFUNDED or state == OrderState.REFUNDED
            life.payments.append(
                Payment(
                    order_id=order.id,
                    provider="sandbox",
                    amount=amount,
                    currency="CNY",
                    state=PaymentState.CAPTURED,
                    outcome=outcome,
                    captured_amount=amount,
                    captured_currency="CNY",
                    captured_at=paid_at,
                    refunded_amount=amount if whole else chance.choice([0, 0, price // 3]),
                    expires_at=life.end,
                    check_at=life.end,
                    created_at=paid_at,
                    request_key=outcome.value,
                )
            )
        if chance.random() < 0.5:
            life.rewards.append(
                Reward(
                    policy_id=life.policies[0].id,
                    order_id=order.id,
                    sale_id=sale.id,
                    member_id=life.members[1].id,
                    level=1,
                    number=1,
                    day=date(2026, 1, 1),
                    amount=chance.randrange(1000),
                    state=chance.choice([RewardState.PENDING, RewardState.REVERSED, RewardState.WITHHELD]),
                    created_at=paid_at,
                )
            )
        if (sale.id, member.id) not in brought and member is not life.members[0] and chance.random() < 0.6:
            brought.add((sale.id, member.id))
            life.referrals.append(
                Referral(
                    scope=sale.id,
                    member_id=member.id,
                    inviter_id=life.members[0].id,
                    code=f"LIFE{seed:06d}",
                    channel=InviteChannel.LINK,
                    kind=TouchKind.LINK,
                    order_id=order.id,
                    touched_at=paid_at,
                    bound_at=paid_at,
                )
            )
    for number in range(20):
        at = _moment(life, chance)
        ending = chance.choice([GroupState.SUCCEEDED, GroupState.SUCCEEDED, GroupState.OPEN])
        life.groups.append(
            Group(
                id=f"grp_{seed:016x}{number:016x}",
                sale_id=chance.choice(life.sales).id,
                product_id="prd",
                state=ending,
                size=chance.choice([1, 2, 3]),
                leader_id=life.members[0].id,
                opened_at=life.begin,
                deadline_at=life.end,
                ended_at=at if ending == GroupState.SUCCEEDED else None,
            )
        )
        if life.groups[-1].size > 1 and chance.random() < 0.2:
            life.groups[-1].covered = 1


def _advertise(life: Life, chance: random.Random) -> None:
    for number in range(12):
        at = _moment(life, chance)
        sent = chance.random() < 0.8
        push = Push(
            id=f"psh_{life.community_id[-28:]}{number:04x}",
            community_id=life.community_id,
            sender_id=life.members[0].id,
            text="x",
            state=PushState.SENT if sent else PushState.SENDING,
            cost=1,
            recipients=5,
            sends_at=at,
            sent_at=at if sent else None,
            created_at=at,
            request_key=f"{number}",
            request_hash="",
        )
        life.pushes.append(push)
        for member in chance.sample(life.members, chance.randrange(1, 8)):
            life.notices.append(
                Notice(
                    member_id=member.id,
                    kind=NoticeKind.PUSH,
                    community_id=life.community_id,
                    push_id=push.id,
                    text="x",
                    day=f"p{number:09d}",
                    number=1,
                    created_at=at,
                )
            )


def _meet(life: Life, chance: random.Random) -> None:
    """On most days a few met, on some a crowd."""
    for number in range(life.days):
        day, pairs = str((life.begin + timedelta(days=number)).date()), set()
        for _ in range(chance.choice([0, 1, 2, 30])):
            pairs.add(tuple(chance.sample([member.id for member in life.members], 2)))
        for giver_id, receiver_id in sorted(pairs):
            met = {"giver_id": giver_id, "receiver_id": receiver_id, "day": day}
            life.encounters.append(Encounter(community_id=life.community_id, **met))


class Slow:
    """The figures of one day, counted one by one as docs/metrics.md says."""

    def __init__(self, life: Life, offers: dict[str, Offer], day: date) -> None:
        self.life, self.offers, self.day = life, offers, day
        self.since = datetime.combine(day, datetime.min.time(), ZONE)
        self.until = datetime.combine(day + timedelta(days=1), datetime.min.time(), ZONE)

    def on(self, at: datetime | None) -> bool:
        return at is not None and self.since <= at < self.until

    def stands(self, row: Row) -> bool:
        return row.hidden_at is None and (row.removed_at is None or row.removed_at >= self.until)

    def figures(self) -> dict[str, int]:
        found = self.counted()
        free = sum(points * found[name] for name, points in POINTS.items() if name != "groups_filled")
        return found | {"uncounted": max(0, free - 3 * found["people"])}

    def counted(self) -> dict[str, int]:
        life = self.life
        posts = [post for post in life.posts if self.on(post.created_at) and self.stands(post)]
        return {
            "posts": len(posts),
            "questions": sum(post.kind == "question" for post in posts),
            "check_ins": sum(post.kind == "check_in" for post in posts),
            "exclusive_posts": sum(post.exclusive for post in posts),
            "comments": sum(self.on(one.created_at) and self.stands(one) for one in life.comments),
            "reactions": sum(self.on(one.created_at) for one in life.reactions),
            "cheers": sum(self.on(one.created_at) and one.kind == "cheer" for one in life.reactions),
            **self.useful(),
            **self.answers(),
            **self.moves(),
            "tips": sum(self.on(tip.created_at) for tip in life.tips),
            "tipped": sum(tip.amount for tip in life.tips if self.on(tip.created_at) and tip.currency == "CNY"),
            **self.sold(),
            "groups_filled": sum(
                self.on(group.ended_at) and group.size > 1 and not group.covered for group in life.groups
            ),
            "people": len({id_ for one in self.met() for id_ in (one.giver_id, one.receiver_id)}),
            "pushes": len(sent := {push.id for push in life.pushes if self.on(push.sent_at)}),
            "deliveries": sum(notice.push_id in sent for notice in life.notices),
        }

    def met(self) -> list[Row]:
        return [one for one in self.life.encounters if one.day == str(self.day)]

    def useful(self) -> dict[str, int]:
        useful = cheered = exclusive = 0
        for post in filter(self.stands, self.life.posts):
            firsts: dict[str, datetime] = {}
            said = [one for one in self.life.comments if one.post_id == post.id and self.stands(one)]
            reacted = [one for one in self.life.reactions if one.subject_id == post.id]
            signs = [(one.author_id, one.created_at) for one in said]
            signs += [(one.member_id, one.created_at) for one in reacted]
            for who, at in signs:
                if who != post.author_id:
                    firsts[who] = min(at, firsts.get(who, at))
            second = sorted(firsts.values())[1:2]
            cheers = [one.created_at for one in reacted if one.kind == "cheer" and one.member_id != post.author_id]
            if post.kind == "check_in":
                cheered += bool(cheers) and self.on(min(cheers))
            else:
                found = bool(second) and self.on(second[0])
                useful += found
                exclusive += found and post.exclusive
        return {"useful_posts": useful, "exclusive_useful": exclusive, "cheered": cheered}

    def answers(self) -> dict[str, int]:
        asked = {post.id: post for post in self.life.posts if post.kind == "question" and self.stands(post)}
        firsts: dict[tuple[str, str], datetime] = {}
        for one in filter(self.stands, self.life.comments):
            if one.is_answer and one.post_id in asked and one.author_id != asked[one.post_id].author_id:
                key = one.post_id, one.author_id
                firsts[key] = min(one.created_at, firsts.get(key, one.created_at))
        today = {key: at for key, at in firsts.items() if self.on(at)}
        waits = {
            id_: asked[id_].answered_at - asked[id_].created_at
            for id_, _ in today
            if self.on(asked[id_].answered_at)
        }
        in_time = sum(at - asked[id_].created_at <= PROMISE for (id_, _), at in today.items())
        seconds = sorted(int(wait.total_seconds() // 1) for wait in waits.values())
        return {
            "answers": len(today),
            "answers_in_time": in_time,
            "answers_late": len(today) - in_time,
            "answered": len(waits),
            "answered_in_time": sum(wait <= PROMISE for wait in waits.values()),
            "answer_seconds": seconds[(len(seconds) - 1) // 2] if seconds else 0,
        }

    def moves(self) -> dict[str, int]:
        code_of = {row.member_id: row.invite_code for row in self.life.memberships}
        today = [event for event in self.life.events if self.on(event.created_at)]
        joined = [one for one in today if one.to_state == "active" != one.from_state]
        left = [one for one in today if one.from_state == "active" != one.to_state]
        reasons = Counter(f"left_{one.data.get('reason') or one.to_state}" for one in left)
        return {
            "jobs_done": len({one.subject for one in today if one.type == "job.done"}),
            "joins": len(joined),
            "invited": sum(code_of[one.member_id] is not None for one in joined),
            "leaves": len(left),
            **reasons,
        }

    def sold(self) -> dict[str, int]:
        paid = sorted(
            (order for order in self.life.orders if order.paid_at), key=lambda order: (order.paid_at, order.id)
        )
        today = [order for order in paid if self.on(order.paid_at)]
        before = {
            order.id: [one for one in paid[: paid.index(order)] if one.member_id == order.member_id]
            for order in today
        }
        kept = {
            one.order_id: one.captured_amount - one.refunded_amount
            for one in self.life.payments
            if one.outcome == "kept"
        }
        saved = [
            (self.offers[order.offer_id].list_price or 0) * order.quantity - kept[order.id]
            for order in today
            if kept[order.id] and order.state != "refunded" and self.offers[order.offer_id].list_price
        ]
        ids = {order.id for order in today}
        bound = {referral.order_id for referral in self.life.referrals}
        invited = {row.member_id for row in self.life.memberships if row.invite_code}
        again = Counter[str]()
        for order in today:
            if len(before[order.id]) == 1 and order.paid_at - before[order.id][0].paid_at <= timedelta(days=30):
                first = before[order.id][0].paid_at.astimezone(ZONE).date()
                again[f"again_{first - timedelta(days=first.weekday())}"] += 1
        firsts = [order for order in today if not before[order.id]]
        return {
            "orders": len(today),
            "buyers": len({order.member_id for order in today}),
            "first_orders": len(firsts),
            "repeat_orders": len(today) - len(firsts),
            "brought": sum(order.id in bound and order.member_id not in invited for order in firsts),
            "revenue": sum(kept[order.id] for order in today),
            "savings": sum(max(0, amount) for amount in saved),
            "rewards": sum(
                one.amount
                for one in self.life.rewards
                if one.order_id in ids and one.state in {"pending", "matured"}
            ),
            **again,
        }

    def shares(self) -> dict[str, int]:
        found = Counter({"active": 0, "silent": 0, "dormant": 0, "zombie": 0})
        for row in self.life.memberships:
            signs = [at for at in (row.acted_at, row.seen_at, row.joined_at) if at is not None]
            age = self.until - max(signs)
            if row.acted_at is not None and self.until - row.acted_at <= timedelta(days=30):
                found["active"] += 1
            elif age <= timedelta(days=30):
                found["silent"] += 1
            else:
                found["dormant" if age <= timedelta(days=90) else "zombie"] += 1
        members = {row.member_id for row in self.life.memberships}
        bought = {
            order.member_id
            for order in self.life.orders
            if order.paid_at and self.until - timedelta(days=28) <= order.paid_at < self.until
        }
        return {"members": len(members), **found, "buyers_28": len(bought & members)}
