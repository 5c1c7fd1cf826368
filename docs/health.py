"""Two communities over ninety days: one only advertises, one gives as it takes. `make health`.

Both begin with the same members, who behave by the same rules (`Mind`): what differs is what those who lead do
(`Leading`). Time is virtual, chance comes from the seed, and whatever happens is a use case of the service, in this
process, on a SQLite and a Valkey of its own, with its workers: rules, limits, prices and rewards are the real ones.
Writes docs/community-health.md and docs/community-health.svg, the same to the byte for the same seed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlmodel import select

from app.config import Settings
from app.domain.communities import Purpose
from app.domain.errors import BalanceTooLow, PushBudgetTooLow
from app.domain.memberships import LeaveReason, Role
from app.domain.posts import PostKind, ReactionKind
from app.domain.rewards import RewardRole
from app.domain.sales import SaleKind
from app.gateways.payments import provider
from app.gateways.payments.provider import Charge, ChargeRequest, ChargeState, RefundAnswer, RefundRequest
from app.models import Notice, new_id
from app.schemas.communities import CommunityCreate
from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.schemas.health import DayPublic, DaysPublic, HealthPublic
from app.schemas.invites import InviteCreate
from app.schemas.memberships import JoinCreate
from app.schemas.posts import CommentCreate, CommentPublic, PostCreate, PostPublic
from app.schemas.products import ProductCreate
from app.schemas.pushes import PushCreate
from app.schemas.rewards import PolicyCreate, RewardLevel
from app.schemas.sales import OfferCreate, SaleCreate
from app.schemas.sessions import SessionCreate
from app.schemas.tips import TipCreate
from app.services import claims, payments
from app.services.comments import create_comment
from app.services.communities import create_community, open_community
from app.services.health import list_days, show_health
from app.services.invites import create_invite
from app.services.memberships import join_community, leave_community, set_owner, set_role
from app.services.policies import create_policy, top_up
from app.services.posts import Wanted, create_post, list_posts
from app.services.products import create_product
from app.services.pushes import send_push
from app.services.reactions import react
from app.services.sales import create_sale, publish_sale
from app.services.sessions import create_session
from app.services.tickets import Ticket, sign_ticket
from app.services.tips import tip
from app.state import State, open_state
from app.workers.loop import JOBS
from docs.plots import Plot, draw

DOCS = Path(__file__).parent
SEED, DAYS, MEMBERS = 20_121_212, 90, 150
FIRST_DAY = datetime(2040, 1, 1, 16, tzinfo=UTC)
"""Midnight of a Monday in Shanghai, ahead of every real clock: keys in Valkey must not be over as they begin."""
LIST_PRICE = 9900
PROMISE_MINUTES = 240
REWARD, TIP = 500, 200
"""In fen: for who brings a buyer, and for who helped."""
FEED = 20
"""Posts that one looks at."""
LEFT_OUT = {"dealer", "retention"}
"""Workers: one compares two stores for ever, the other goes by the time in ids, which is the real one."""
HOUR = 60
MONTH = 30
FED_UP = 3
"""Pushes without anything good, after which one leaves because of them."""


INTRODUCTION = """# The health of two communities

`make health` plays {days} days of two communities of {members} members each and writes this page, from seed
{seed}. By hand it is `python -m docs.health --seed {seed} --days {days} --members {members}`; the same seed
gives the same page, to the byte.

Both begin with the same people. What differs is what those who lead them do:

| | posts worth reading | who answers | deals | pushes |
|---|---|---|---|---|
{leading}

![Score, members, activity, value, pushes and orders of both, day by day](community-health.svg)

Both are service communities that promise an answer within {promise} hours, post a card for each deal, and give 5
yuan to who brings a buyer. Whatever happens is a use case of the service and the work of its workers, so its
rules hold: what a push costs and whom it reaches, who counts as giving an answer, how much a newcomer may post,
what an invite earns, that a tip needs money.

A score looks back on 28 days, and begins when seven of them are over. Nobody told the members what to do: see
[how they behave](#how-they-behave). What the figures mean is in [metrics.md](metrics.md).
"""
BEHAVIOUR = """## How they behave

Each member has a mood from 0 to 1, at first 0.35 to 0.65. A day moves it by 0.10 for each good of the day (at
most two), by −0.05 for each push that reached them, and by −0.01 because things fade. A good is half an answer to
a question of theirs, two comments from others, five given to others, three posts worth reading that the feed
showed them, or 20 yuan saved.

| chance, on a day | |
|---|---|
| to look | 0.10 + 0.60 × mood |
| to ask, share or thank for a post, having looked | 0.45 × mood |
| to say something to what another shared, being one of three who come across it | mood |
| to answer a question that no expert does | half the mood of those who are there |
| to tip 2 yuan for an expert's answer, if they have earned them | 0.15 |
| to buy, told of a deal by a push or by its card in the feed | 0.20 × mood |
| to bring a friend, by an invite | 0.02 × (mood − 0.5), if that is above 0 |
| to leave | 0.12 × (0.30 − mood), if that is above 0 |

Who got three pushes without anything good says "too many pushes" when leaving, others "not useful". Where only
experts give answers, one by another member helps as much, and counts as a comment.

These numbers are made up, and the same for both. What follows from them is not built in: the score is counted
from the rows that members left behind. It shows that the score tells two ways to lead apart, not how people
are.
"""


@dataclass(slots=True)
class Clock:
    """A clock that only moves when it is told to."""

    now: datetime = FIRST_DAY

    def __call__(self) -> datetime:
        return self.now


class Till:
    """A payment provider in this process that believes what it is told: money is not what is simulated."""

    name = "sandbox"
    payer_identity: str | None = None

    def takes(self, _currency: str) -> bool:
        return True

    async def create(self, request: ChargeRequest) -> Charge:
        return Charge(request.payment_id, ChargeState.PENDING, pay_url="till:")

    async def query(self, payment_id: str, _handle: str | None = None) -> Charge:
        return Charge(payment_id, ChargeState.PENDING)

    async def close(self, payment_id: str, _handle: str | None = None) -> Charge:
        return Charge(payment_id, ChargeState.CLOSED)

    async def refund(self, request: RefundRequest) -> RefundAnswer:
        return RefundAnswer(request.refund_id, request.amount)

    async def query_refund(self, request: RefundRequest) -> RefundAnswer | None:
        return await self.refund(request)

    def parse_notice(self, _headers: Mapping[str, str], body: bytes, _now: datetime) -> provider.Notice:
        payment_id, amount = body.decode().split()
        charge = Charge(payment_id, ChargeState.CAPTURED, amount=int(amount), currency="CNY", reference=payment_id)
        return provider.Notice(notice_id=payment_id, charge=charge)


@dataclass(frozen=True, slots=True)
class Doors:
    """How members and leaders act: what the routes of the service call."""

    state: State
    community_id: str

    async def look(self, member_id: str) -> set[str]:
        """The ids of the posts on the first page of the feed."""
        page = await list_posts(self.state, member_id, self.community_id, Wanted(), None, FEED)
        return {post.id for post in page.items}

    async def post(self, author_id: str, kind: PostKind, sale_id: str | None = None) -> PostPublic:
        body = PostCreate(kind=kind, body="…", sale_id=sale_id)
        return await create_post(self.state, author_id, self.community_id, body, uuid4().hex)

    async def comment(self, author_id: str, post: PostPublic) -> CommentPublic:
        return await create_comment(self.state, author_id, post.id, CommentCreate(body="…"), uuid4().hex)

    async def react(self, member_id: str, post: PostPublic) -> None:
        await react(self.state, member_id, post.id, ReactionKind.THANKS)

    async def tip(self, sender_id: str, receiver_id: str, comment: CommentPublic) -> None:
        """Nothing, when they have earned no money to give."""
        body = TipCreate(amount=TIP, community_id=self.community_id, subject_id=comment.id)
        with suppress(BalanceTooLow):
            await tip(self.state, sender_id, receiver_id, body, uuid4().hex)

    async def leave(self, member_id: str, reason: LeaveReason) -> None:
        await leave_community(self.state, member_id, self.community_id, reason)

    async def join(self, member_id: str, inviter_id: str | None = None) -> None:
        """Perhaps by an invite of another's."""
        code = None
        if inviter_id is not None:
            code = (await create_invite(self.state, inviter_id, InviteCreate(community_id=self.community_id))).code
        await join_community(self.state, member_id, self.community_id, JoinCreate(invite_code=code), uuid4().hex)

    async def push(self, sender_id: str, sale_id: str | None) -> str | None:
        """The id of a push to everybody, which the worker sends; None when the budget is too low."""
        body = PushCreate(text="…", sale_id=sale_id)
        try:
            return (await send_push(self.state, sender_id, self.community_id, body, uuid4().hex)).id
        except PushBudgetTooLow:
            return None

    async def told(self, push_id: str) -> set[str]:
        """Whom a push reached."""
        async with self.state.database.snapshot() as session:
            found = await session.exec(select(Notice.member_id).where(Notice.push_id == push_id))
            return set(found.all())

    async def work(self) -> None:
        """The workers do what is due, as their loop has them do."""
        jobs = [job for job in JOBS if job.name not in LEFT_OUT]
        while sum([await job.run_once(self.state, self.state.clock()) for job in jobs]):
            pass


@dataclass(slots=True)
class Mind:
    """What a member feels about a community, and so does. All numbers of their behaviour are here."""

    id: str
    mood: float
    pushes: int = 0
    """Pushes got since something good was."""
    bought: int = 0

    def feel(self, goods: float, pushes: int) -> None:
        """A day is over: what it gave lifts the mood, pushes lower it, and in between it fades."""
        self.mood += 0.10 * min(goods, 2) - 0.05 * pushes - 0.010
        self.mood = min(max(self.mood, 0), 1)
        self.pushes = self.pushes + pushes if goods < 1 else 0

    @property
    def looks(self) -> float:
        return 0.10 + 0.60 * self.mood

    @property
    def acts(self) -> float:
        """When they look."""
        return 0.45 * self.mood

    @property
    def buys(self) -> float:
        """When they are told of a deal for their money."""
        return 0.20 * self.mood

    @property
    def leaves(self) -> float:
        return 0.12 * max(0.30 - self.mood, 0)

    @property
    def brings(self) -> float:
        """A friend, on a day."""
        return 0.02 * max(self.mood - 0.5, 0)

    @property
    def reason(self) -> LeaveReason:
        """What they say when they leave."""
        return LeaveReason.TOO_MANY_PUSHES if self.pushes >= FED_UP else LeaveReason.NOT_USEFUL


@dataclass(frozen=True, slots=True)
class Leading:
    """What those who lead a community do."""

    name: str
    zh: str
    posts: float
    """The chance of a post worth reading, on a day."""
    experts: int
    """Who answer questions."""
    answers: float
    """The chance that a question is answered by an expert."""
    deal_every: int
    """Days from one deal to the next; each is pushed as far as the budget allows."""
    price: int
    """Of what has a list price of 99 yuan."""
    pushes: int
    """Pushes a day that they send, if the budget allows."""


ADVERTISING = Leading(
    "advertising", "只发广告", posts=0.1, experts=0, answers=0.0, deal_every=2, price=8900, pushes=3
)
BALANCED = Leading("in balance", "平衡", posts=0.7, experts=3, answers=0.9, deal_every=9, price=6900, pushes=0)


@dataclass(frozen=True, slots=True)
class Deal:
    """A flash sale, and the post that shows it."""

    sale_id: str
    offer_id: str
    card: str


@dataclass(slots=True)
class Scene:
    """A community as it goes on, day by day."""

    state: State
    clock: Clock
    leading: Leading
    chance: random.Random
    doors: Doors
    owner: str
    experts: list[str]
    minds: list[Mind] = field(default_factory=list)
    newcomers: int = 0
    goods: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """What each got on the day."""

    def at(self, day: int, minute: float) -> None:
        """It is that minute of that day."""
        self.clock.now = FIRST_DAY + timedelta(days=day, minutes=minute)

    def likely(self, odds: float) -> bool:
        return self.chance.random() < odds

    async def live(self, day: int) -> None:
        """One day: mornings are the leaders', then everybody looks, and in the evening some leave, some bring."""
        self.goods.clear()
        self.at(day, 9 * HOUR)
        post = await self.doors.post(self.owner, PostKind.TEXT) if self.likely(self.leading.posts) else None
        deal = await self._offer() if day % self.leading.deal_every == self.leading.deal_every - 1 else None
        reached = await self._push(day, deal)
        here, saw = [mind for mind in self.minds if self.likely(mind.looks)], set()
        self.at(day, 16 * HOUR)
        for mind in here:
            shown = await self.doors.look(mind.id)
            if post is not None and post.id in shown:
                self.goods[mind.id] += 0.3
            if deal is not None and deal.card in shown:
                saw.add(mind.id)
        await self._talk(day, here, post)
        if deal is not None:
            await self._sell(day, deal, [mind for mind in self.minds if mind.id in saw or reached[mind.id]])
        self.at(day, 22 * HOUR)
        for mind in list(self.minds):
            mind.feel(self.goods[mind.id], reached[mind.id])
            if self.likely(mind.leaves):
                await self.doors.leave(mind.id, mind.reason)
                self.minds.remove(mind)
            elif self.likely(mind.brings):
                await self.welcome(f"friend-{self.newcomers}", mind.id)
        self.at(day + 1, 1)
        await self.doors.work()

    async def welcome(self, name: str, inviter_id: str | None = None) -> None:
        """Somebody joins, in a fair mood."""
        self.newcomers += 1
        member_id = await log_in(self.state, f"{self.leading.name.replace(' ', '-')}-{name}")
        await self.doors.join(member_id, inviter_id)
        self.minds.append(Mind(member_id, self.chance.uniform(0.35, 0.65)))

    async def _push(self, day: int, deal: Deal | None) -> Counter[str]:
        """Send what the budget allows, and see how often each was told."""
        reached: Counter[str] = Counter()
        for number in range(max(self.leading.pushes, int(deal is not None))):
            self.at(day, (10 + 2 * number) * HOUR)
            push_id = await self.doors.push(self.owner, None if deal is None else deal.sale_id)
            if push_id is not None:
                await self.doors.work()
                reached.update(await self.doors.told(push_id))
        return reached

    async def _talk(self, day: int, here: Sequence[Mind], post: PostPublic | None) -> None:
        """Those who look ask, share and thank; in the evening they answer each other."""
        said: list[tuple[Mind, PostPublic]] = []
        minute = 16.1 * HOUR
        for mind in here:
            if not self.likely(mind.acts):
                continue
            minute += 0.5
            self.at(day, minute)
            kind = self.chance.choice([PostKind.QUESTION, PostKind.TEXT, PostKind.TEXT, None])
            if kind is not None:
                said.append((mind, await self.doors.post(mind.id, kind)))
            elif post is not None:
                await self.doors.react(mind.id, post)
        for number, (mind, own) in enumerate(said):
            self.at(day, 18 * HOUR + number)
            if own.kind == PostKind.QUESTION:
                await self._answer(here, mind, own)
            else:
                await self._encourage(here, mind, own)

    async def _answer(self, here: Sequence[Mind], mind: Mind, question: PostPublic) -> None:
        """An expert answers, or else one of those who are here helps, if they are in the mood."""
        helper = self.chance.choice(self.experts) if self.experts and self.likely(self.leading.answers) else None
        if helper is None and self.likely(0.5 * self._warmth(here, mind)):
            helper = self.chance.choice([one.id for one in here if one is not mind])
        if helper is None:
            return
        answer = await self.doors.comment(helper, question)
        self.goods[mind.id] += 2
        if helper in self.experts and self.likely(0.15):
            await self.doors.tip(mind.id, helper, answer)

    async def _encourage(self, here: Sequence[Mind], mind: Mind, shared: PostPublic) -> None:
        """Up to three of those who are here say something to what was shared."""
        others = [one for one in here if one is not mind]
        for friend in self.chance.sample(others, k=min(3, len(others))):
            if not self.likely(friend.mood):
                continue
            await self.doors.comment(friend.id, shared)
            self.goods[mind.id] += 0.5
            self.goods[friend.id] += 0.2

    def _warmth(self, here: Sequence[Mind], asking: Mind) -> float:
        """The mood of those who could answer."""
        moods = [mind.mood for mind in here if mind is not asking]
        return sum(moods) / len(moods) if moods else 0

    async def _offer(self) -> Deal:
        """A flash sale of the day, and its card in the feed."""
        product = await create_product(self.state, ProductCreate(title="茶", skus=["one"]))
        body = SaleCreate(
            community_id=self.doors.community_id,
            title="今日特价",
            kind=SaleKind.FLASH,
            opens_at=self.clock(),
            closes_at=self.clock() + timedelta(hours=13),
            group_size=1,
            hold_ttl_seconds=600,
            member_limit=1,
            offers=[
                OfferCreate(sku_id=product.skus[0].id, price=self.leading.price, list_price=LIST_PRICE, stock=500)
            ],
        )
        sale = await create_sale(self.state, body)
        await publish_sale(self.state, sale.id)
        card = await self.doors.post(self.owner, PostKind.FLASH_CARD, sale.id)
        return Deal(sale.id, sale.offers[0].id, card.id)

    async def _sell(self, day: int, deal: Deal, told: Sequence[Mind]) -> None:
        minute = 20.0 * HOUR
        for mind in told:
            if not self.likely(mind.buys):
                continue
            minute += 0.2
            self.at(day, minute)
            ticket = Ticket(new_id("tkt"), int(self.clock().timestamp()) + 120)
            wish = ClaimCreate(
                offer_id=deal.offer_id, ticket=sign_ticket(self.state, mind.id, deal.sale_id, ticket)
            )
            answer = await claims.buy(self.state, mind.id, deal.sale_id, wish, "deal")
            order = ClaimAnswer.model_validate_json(answer).order
            made = await payments.create_payment(self.state, mind.id, order.id, Till.name, "pay")
            await payments.receive_notice(
                self.state, Till.name, {}, f"{made.payment_id} {self.leading.price}".encode()
            )
            self.goods[mind.id] += (LIST_PRICE - self.leading.price) / 2000
        await self.doors.work()


@dataclass(frozen=True, slots=True)
class Told:
    """What the service says of a community in the end."""

    leading: Leading
    curve: DaysPublic
    weeks: Mapping[int, HealthPublic]
    """By the day they end with."""


async def log_in(state: State, name: str) -> str:
    """A member's id."""
    session = await create_session(state, SessionCreate(provider="dev", code=name, name=name[:60]))
    return session.member.id


async def begin(state: State, clock: Clock, leading: Leading, seed: int, members: int) -> Scene:
    """A community whose members have just joined."""
    clock.now = FIRST_DAY
    stated: dict[str, Any] = dict.fromkeys(("audience", "need", "benefits", "sustained_by", "posting_rules"), "…")
    body = CommunityCreate(
        name=leading.name,
        purpose=Purpose.SERVICE,
        answer_minutes=PROMISE_MINUTES,
        timezone="Asia/Shanghai",
        **stated,
    )
    made = await create_community(state, body)
    await open_community(state, made.id)
    owner, *experts = [
        await log_in(state, f"{leading.name.replace(' ', '-')}-leader-{number}")
        for number in range(1 + leading.experts)
    ]
    await set_owner(state, made.id, owner)
    doors = Doors(state, made.id)
    for expert in experts:
        await doors.join(expert)
        await set_role(state, owner, made.id, expert, Role.EXPERT)
    levels = [RewardLevel(amount=REWARD)]
    reward = PolicyCreate(title="one", community_id=made.id, role=RewardRole.INVITER, levels=levels)
    await top_up(state, (await create_policy(state, reward)).id, 100_000, "first")
    scene = Scene(state, clock, leading, random.Random(seed), doors, owner, experts)  # noqa: S311
    for number in range(members):
        await scene.welcome(f"member-{number}")
    return scene


async def play(seed: int, days: int, members: int, *, say: bool = False) -> list[Told]:
    """Let both communities live for so many days, and ask the service how they are."""
    found = []
    for leading in (ADVERTISING, BALANCED):
        with tempfile.TemporaryDirectory(prefix="kaituan-health-") as folder:
            clock, began = Clock(), time.monotonic()
            settings = Settings(data=Path(folder), member_claims_per_second=0, address_claims_per_second=0)
            async with open_state(settings, clock) as state:
                state.providers[Till.name] = Till()
                scene = await begin(state, clock, leading, seed, members)
                for day in range(days):
                    await scene.live(day)
                    if say and (day + 1) % 10 == 0:
                        took = time.monotonic() - began
                        print(
                            f"{leading.name}: day {day + 1}, {len(scene.minds)} members, {took:.0f} s",
                            file=sys.stderr,
                        )
                found.append(await ask(state, scene, days))
    return found


async def ask(state: State, scene: Scene, days: int) -> Told:
    """The curve, and health at the end of every thirty days."""
    first = (FIRST_DAY + timedelta(hours=8)).date()
    community_id = scene.doors.community_id
    curve = await list_days(state, community_id, first, first + timedelta(days=days))
    ends = sorted({*range(MONTH, days + 1, MONTH), days})
    weeks = {
        end: await show_health(
            state, community_id, first + timedelta(days=max(end - 28, 0)), first + timedelta(days=end)
        )
        for end in ends
    }
    return Told(scene.leading, curve, weeks)


def plots(found: Sequence[Told]) -> list[Plot]:
    """The curves worth seeing."""

    def lines(read: Callable[[DayPublic], float | None]) -> dict[str, list[float | None]]:
        return {told.leading.name: [read(one) for one in told.curve.items] for told in found}

    def so_far(name: str) -> dict[str, list[float | None]]:
        return {
            told.leading.name: list(accumulate(one.figures[name] for one in told.curve.items)) for told in found
        }

    def weekly(told: Told) -> list[float | None]:
        values = [one.value for one in told.curve.items]
        return [sum(values[max(day - 6, 0) : day + 1]) for day in range(len(values))]

    return [
        Plot("Health 健康分", "score of the 28 days before", lines(lambda one: one.score), top=100),
        Plot("Members 成员", "at the end of the day", lines(lambda one: one.figures["members"])),
        Plot(
            "Active members 活跃",
            "% of all, acted within 30 days",
            lines(lambda one: 100 * one.figures.get("active", 0) / max(one.figures["members"], 1)),
            top=100,
        ),
        Plot("Value given 价值", "points in 7 days", {told.leading.name: weekly(told) for told in found}),
        Plot("Pushes 推送", "so far", so_far("pushes")),
        Plot("Orders 订单", "so far", so_far("orders")),
    ]


def document(found: Sequence[Told], seed: int, days: int, members: int) -> str:
    """The page."""
    leading = "\n".join(_leading_row(told.leading) for told in found)
    text = [
        INTRODUCTION.format(seed=seed, days=days, members=members, leading=leading, promise=PROMISE_MINUTES // HOUR)
    ]
    for told in found:
        text += [f"## {told.leading.name.capitalize()} {told.leading.zh}", ""]
        text += ["| after day | score | verdict | in words |", "|---|---|---|---|"]
        for end, health in told.weeks.items():
            score = "none" if health.score is None else str(health.score)
            text.append(f"| {end} | {score} | {health.verdict or ''} | {health.words.en}<br>{health.words.zh} |")
        text += ["", *_last(told.weeks[max(told.weeks)]), ""]
    return "\n".join([*text, BEHAVIOUR])


def _leading_row(one: Leading) -> str:
    answers = f"{one.experts} experts, nine questions of ten" if one.experts else "nobody in particular"
    sent = (
        f"{one.pushes} a day, as far as the budget goes"
        if one.pushes
        else "one for each deal, if the budget allows"
    )
    deals = f"every {one.deal_every} days, {(LIST_PRICE - one.price) // 100} of 99 yuan off"
    return f"| **{one.name}** {one.zh} | {one.posts:.0%} of days | {answers} | {deals} | {sent} |"


def _last(health: HealthPublic) -> list[str]:
    """The score of the end, part by part."""
    lines = ["| part | score | weight | costs | why |", "|---|---|---|---|---|"]
    for one in health.components:
        reason = f"{one.reason.en}<br>{one.reason.zh}"
        lines.append(f"| {one.part} | {one.score} | {one.weight} | {one.lost} | {reason} |")
    triad, shares = health.triad, health.shares
    lines += ["", "What would help, what costs most first:", ""]
    lines += [f"{number}. {one.advice.en} ({one.lost})" for number, one in enumerate(health.advice[:3], 1)]
    ratios = {name: getattr(triad, name) for name in ("conversion", "repurchase", "spread")}
    told = ", ".join(f"{name} {one.numerator} ÷ {one.denominator}" for name, one in ratios.items())
    given = ", ".join(f"{name} {count}" for name, count in health.balance.given.items() if count)
    taken = ", ".join(f"{name} {count}" for name, count in health.balance.taken.items() if count)
    lines += ["", f"Triad: {told}. Given: {given or 'nothing'}. Taken: {taken or 'nothing'}."]
    if shares is not None:
        told = f"{shares.active} active, {shares.silent} silent, {shares.dormant} dormant, {shares.zombie} zombies"
        lines.append(f"Of {shares.members} members: {told}.")
    if health.leave_reasons:
        lines.append("Left: " + ", ".join(f"{name} {count}" for name, count in health.leave_reasons.items()) + ".")
    return lines


def main() -> None:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--into", type=Path, default=DOCS, help="the folder to write to")
    asked = parser.parse_args()
    found = asyncio.run(play(asked.seed, asked.days, asked.members, say=True))
    picture = draw(plots(found), f"Two communities over {asked.days} days")
    (asked.into / "community-health.svg").write_text(picture)
    page = document(found, asked.seed, asked.days, asked.members)
    (asked.into / "community-health.md").write_text(page)


if __name__ == "__main__":
    main()
