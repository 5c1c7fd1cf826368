"""What the guards stand before: a service, a story that fills every table, and what probes make anew."""

import asyncio
from base64 import b64decode
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.demo.platforms.slack import SlackStandIn
from app.domain.notices import PushWish
from app.domain.reconciliations import Difference, DifferenceKind, Line, LineKind, LineState
from app.gateways.database import Database
from app.gateways.payments.provider import Charge, ChargeState
from app.models import Order, SandboxCharge
from app.models import Payment as PaymentRow
from app.schemas.sandbox import Pay
from app.schemas.slots import SlotsCreate
from app.services import payments, phones, pictures, reconciliations, reminders, sandbox, slots
from app.services.invariants import find_violations
from app.services.transactions import transaction
from app.state import State
from tests.http.test_payment_hook import Payment
from tests.promises.chat import Chat, bind, playing
from tests.promises.community import enrol, post, react, say
from tests.promises.money import brought, flash, policy, refund
from tests.promises.money import earn as earn_money
from tests.promises.test_memberships import PAID, buy_period, join, leave
from tests.promises.test_pushes import community, earn, push, turn_to, wish
from tests.promises.test_referrals import buy, invite, spread, tap
from tests.promises.test_webhooks import work as send
from tests.receivers import Reply, Request, receiving
from tests.service import BARGAIN, FLASH, Member, Sale, Service

Row = TypeVar("Row", bound=SQLModel)
PIXEL = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture, as PNG."""
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@dataclass(slots=True)
class Held:
    """A member's order."""

    member: Member
    order_id: str
    group_id: str


@dataclass(slots=True)
class World:
    """A running service on a PostgreSQL of its own."""

    service: Service
    database_url: str
    sale: Sale
    """Groups of two, a hundred purchases for everybody."""
    members: deque[Member]
    """Everybody; the first is me. They take turns, so that nobody reaches the limit."""

    @property
    def state(self) -> State:
        return self.service.state

    @property
    def database(self) -> Database:
        return self.service.state.database

    @property
    def me(self) -> Member:
        return self.members[0]

    @property
    def friend(self) -> Member:
        return self.members[1]

    async def held(self, sale: Sale | None = None) -> Held:
        """An unpaid order of mine, alone in a new group."""
        claim = (await self.me.open(sale or self.sale)).json()
        return Held(self.me, claim["order"]["id"], claim["group"]["id"])

    async def join(self, held: Held, member: Member, sale: Sale | None = None) -> Held:
        """A member's unpaid order beside another."""
        claim = (await member.join(sale or self.sale, held.group_id)).json()
        return Held(member, claim["order"]["id"], held.group_id)

    async def slots(self) -> list[str]:
        """The sales of a new series of two slots, tomorrow; all drafts."""
        draft = await self.service.sale(**FLASH, publish=False)
        day = (self.service.clock() + timedelta(days=1)).date()
        body = SlotsCreate(first_day=day, last_day=day, times=["10:00", "14:00"], minutes=60, timezone="UTC")
        return [slot.id for slot in (await slots.lay_out_slots(self.state, draft.id, body)).items]

    async def coming(self, **terms: Any) -> Sale:
        """A sale that opens in an hour."""
        return await self.service.sale(**FLASH, opens_at=str(self.service.clock() + timedelta(hours=1)), **terms)

    async def pair(self) -> tuple[Held, Held]:
        """My friend's unpaid order beside mine: the group is full."""
        mine = await self.held()
        return mine, await self.join(mine, self.friend)

    async def payment(self, held: Held) -> Payment:
        """A new payment for an order, not paid yet."""
        made = await payments.create_payment(self.state, held.member.id, held.order_id, "sandbox", uuid4().hex)
        return Payment(self.service, held.member, held.order_id, made.payment_id)

    async def tell(self, payment: Payment, **changes: Any) -> None:
        """Have the hook hear that a payment was captured, with changes."""
        body = payment.notice(**changes)
        headers = {name: str(value) for name, value in payment.signature(body).items()}
        await payments.receive_notice(self.state, "sandbox", headers, body)

    async def pay(self, held: Held, **wish: Any) -> Payment:
        """Pay an order at the cashier, and tell of it."""
        payment = await self.payment(held)
        charge = await self.row(SandboxCharge, payment.id)
        await sandbox.pay(self.state, charge.token, Pay(**{"drop": True} | wish))
        await self.tell(payment, amount=wish.get("amount", 4900))
        return payment

    async def capture(self, held: Held) -> Payment:
        """A payment whose capture is recorded and not decided: its process has died."""
        payment = await self.payment(held)
        async with transaction(self.state, self.service.clock()) as work:
            charge = Charge(payment.id, ChargeState.CAPTURED, amount=4900, currency="CNY")
            await payments._record_charge(
                self.state, work, await work.session.get_one(PaymentRow, payment.id), charge
            )
        return payment

    async def confirmed(self) -> tuple[Held, Held]:
        """Two paid orders in a group that succeeded."""
        pair = await self.pair()
        for held in pair:
            await self.pay(held)
        return pair

    async def row(self, model: type[Row], id_: Any) -> Row:
        """A row as it is now."""
        async with self.database.snapshot() as session:
            return await session.get_one(model, id_)

    async def order_state(self, held: Held) -> str:
        return (await self.row(Order, held.order_id)).state

    async def count(self, rows: str, **values: Any) -> int:
        """How many rows there are, by what follows the FROM."""
        async with self.database.snapshot() as session:
            found = await (await session.connection()).execute(text(f"SELECT count(*) FROM {rows}"), values)
            return int(found.scalar_one())

    @asynccontextmanager
    async def unbroken(self) -> AsyncIterator[None]:
        """Assert that what is done inside breaks no invariant. Earlier probes, without their guards, broke some."""
        before = await self._broken()
        yield
        assert await self._broken() - before == set()

    async def _broken(self) -> set[tuple[str, str]]:
        async with self.database.snapshot() as session:
            return {(violation.invariant, violation.subject) for violation in await find_violations(session)}

    def work(self) -> Any:
        """A transaction of a use case."""
        return transaction(self.state, self.service.clock())

    async def is_locked(self, model: type[SQLModel], id_: str) -> bool:
        """Whether another transaction has locked this row."""
        query = f"SELECT 1 FROM {model.__tablename__} WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED"
        async with self.database.transaction() as session:
            return (await (await session.connection()).execute(text(query), {"id": id_})).first() is None

    async def finishes(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task comes to its end; False as soon as somebody in this database waits for a lock."""
        while not task.done():
            await asyncio.wait([task], timeout=0.02)
            async with self.database.engine.connect() as connection:
                if (await connection.execute(text(WAITING))).first():
                    return task.done()
        return True

    @asynccontextmanager
    async def meanwhile(self, before: str, rival: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
        """Let a rival act in the middle of what is done inside: right before the first statement that has this
        text, or before the first "flush". A rival who has to wait for a lock goes on when it is free.
        """
        started: list[asyncio.Task[Any]] = []
        exec_, flush = AsyncSession.exec, AsyncSession.flush

        async def look(said: str) -> None:
            if before in said and not started:
                started.append(asyncio.create_task(rival))
                await self.finishes(started[0])

        async def looking_exec(session: AsyncSession, statement: Any, **options: Any) -> Any:
            await look(str(statement))
            return await exec_(session, statement, **options)

        async def looking_flush(session: AsyncSession, objects: Any = None) -> None:
            await look("flush")
            await flush(session, objects)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AsyncSession, "exec", looking_exec)
            patch.setattr(AsyncSession, "flush", looking_flush)
            try:
                yield
            finally:
                await asyncio.gather(*started, return_exceptions=True)
                rival.close()
        assert started, f"nothing was sent with {before!r}"
        await started[0]


async def open_world(service: Service, url: str) -> World:
    """A world with a sale and some members, in which nothing has happened yet."""
    sale = await service.sale(stocks=[5000, 5000], group_size=2, member_limit=100)
    return World(service, url, sale, deque(await service.members(20)))


async def tell_story(world: World) -> None:
    """Fill every table, with a row in every state that a constraint speaks of."""
    service, sale = world.service, world.sale
    await speak(service)  # first: it lets time pass, and with it whatever waits
    large = await service.sale(group_size=3)
    member, friend, payer, leaver = await service.members(4)
    tea = await service.ops("POST", "products", {"title": "红茶", "skus": ["not offered"]})
    await pictures.put_picture(world.state, tea.json()["id"], PIXEL, "image/png")
    await leaver.post("/v1/invites", {"sale_id": sale.id})
    await world.slots()
    await phones.set_phone(world.state, leaver.id, "dev", "+8613800138000")
    await reminders.set_reminder(world.state, leaver.id, (await world.coming()).id, 5)
    await reminders.set_reminder(world.state, leaver.id, (await world.coming()).id, 1440)

    opened = (await member.open(sale)).json()
    joined = (await friend.join(sale, opened["group"]["id"])).json()
    await member.pay(opened["order"]["id"])
    await friend.pay(joined["order"]["id"])

    refunded = (await payer.open(sale)).json()["order"]["id"]
    await payer.pay(refunded)
    await service.ops("POST", f"orders/{refunded}/refund", **{"idempotency-key": refunded})
    await service.tick()

    flash = await service.sale(**FLASH)
    assert (await friend.buy(flash)).status_code == 201

    running = (await member.open(large)).json()["order"]["id"]
    await member.start_payment(running)
    bargains = await service.sale(**BARGAIN)
    cut, bought = [(await owner.bargain(bargains))["id"] for owner in (member, payer)]
    await friend.cut(cut)
    await payer.pay((await payer.buy_at(bought)).json()["order"]["id"])
    await leaver.bargain(bargains)

    left = (await leaver.open(large)).json()["order"]["id"]
    await leaver.post(f"/v1/orders/{left}/cancel")

    coupon = await service.coupon()
    await service.ops("POST", f"coupons/{coupon['id']}/grants", {"member_ids": [leaver.id]})
    await leaver.open(sale, coupon_code=coupon["code"])
    await service.community(member)
    await earn_and_spend(service)
    await stand_in_line(service)
    await pass_the_word(service)
    await know_members(service)
    await belong(service)
    await live_together(service)
    await talk(service)
    await send_events(service)
    await differ(service)
    last = (await friend.open(large)).json()["order"]["id"]
    await service.http.post(await friend.start_payment(last), json={})  # and nobody delivers the callback


async def talk(service: Service) -> None:
    """A chat in which somebody was linked and something was answered, which heard of a group and of a push, and
    something waits; one that nobody has spoken in, and one that was removed.
    """
    member, other = await service.members(2)
    made, stand_in = await community(service, member, [other]), SlackStandIn()
    await earn(service, made, 1000)
    async with playing(service, stand_in):
        chat = Chat(service, stand_in, await bind(service, stand_in, made["id"]))
        await chat.link(member, "U1")
        await service.sale(community_id=made["id"])
        await chat.ask("U1", "开团")
        await push(member, made, to_chats=True)
        await service.work()
        await chat.work()
    await other.post("/v1/members/me/link-codes")
    await bind(service, SlackStandIn(), made["id"])
    removed = await bind(service, SlackStandIn(), made["id"])
    await service.ops("DELETE", f"bindings/{removed['id']}")
    await chat.say("U1", "帮助")


async def differ(service: Service) -> None:
    """A day that was compared, with a difference, and one that waits."""
    now = service.clock()
    there = Line(LineKind.REFUND, "ref_there", 1, "CNY", LineState.DONE, now)
    difference = Difference(DifferenceKind.STATE, replace(there, state=LineState.PENDING), there)
    async with transaction(service.state, now) as work:
        done, _waiting = [await reconciliations._add(work, "wechatpay", date(2026, 1, day)) for day in (1, 2)]
    await reconciliations._finish(service.state, done, 1, [difference])


async def know_members(service: Service) -> None:
    """A member of whom everything is known, on a list; and a sale for that list, of two communities."""
    member, community = await service.member(), await service.community()
    agreed = {
        "consents": ["device", "city", "own_tags", "tags"],
        "device": "phone",
        "city": "杭州",
        "own_tags": ["夜跑"],
    }
    kept = await service.http.put("/v1/members/me/facts", json=agreed, headers=member.headers)
    assert kept.status_code == 200, kept.text
    await service.ops("PUT", f"members/{member.id}/tags", {"tags": ["老客"]})
    body = {"name": "名单", "kind": "static", "member_ids": [member.id]}
    segment = (await service.ops("POST", "segments", body)).json()
    await service.sale(community_ids=[community["id"]], segment_ids=[segment["id"]])


async def speak(service: Service) -> None:
    """A push that was told at once and in a digest, and one that waits; what was left over of a third."""
    owner, reader = await service.members(2)
    made = await community(service, owner, [reader])
    await earn(service, made, 1000)
    await wish(service, reader, made, PushWish.DIGEST)
    await push(owner, made)
    await service.work()
    await turn_to(service, "18:00:30")
    await service.work()
    await push(owner, made)
    await service.work()
    service.clock.offset_seconds = 0
    await push(owner, made, sends_at=(service.clock() + timedelta(days=6)).isoformat())


async def belong(service: Service) -> None:
    """Communities of every kind, with an owner, an applicant, one who paid and one who left."""
    owner, applicant, payer, leaver = await service.members(4)
    soon = (service.clock() + timedelta(days=1)).isoformat()
    await service.community(form="chat", lifespan="flash", closes_at=soon)
    await service.community(purpose="service")
    await service.ops("POST", "communities", {"name": "draft"})
    await join(applicant, await service.community(owner, join_mode="approve"))
    await buy_period(payer, await service.community(**PAID))
    community = await service.community()
    await leaver.enrol(community)
    await leave(leaver, community)


async def live_together(service: Service) -> None:
    """A community in which somebody wrote, checked in, answered, reacted, reported, and handed on work."""
    owner, member, other = await service.members(3)
    community = await service.community(owner, purpose="growth")
    await enrol(community, member, other)
    made = await post(owner, community, mentions=[member.id])
    await react(member, made)
    await say(other, made["id"])
    await post(member, community, "", kind="check_in")
    for one in (made, await post(other, community)):
        reply = await member.post(f"/v1/posts/{one['id']}/reports", {"reason": "other"})
        assert reply.status_code == 201, reply.text
    await owner.post(f"/v1/posts/{one['id']}/hide")
    await post(owner, community, "任务", kind="job")
    await member.post(f"/v1/posts/{(await post(owner, community, '任务', kind='job'))['id']}/take")


async def send_events(service: Service) -> None:
    """Endpoints of every kind; what arrived, what failed, and what waits behind it."""
    async with receiving() as receiver:
        body = {"url": receiver.url, "types": ["coupon.ended"]}
        made = [(await service.ops("POST", "endpoints", body)).json()["id"] for _ in range(3)]
        await service.ops("POST", f"endpoints/{made[0]}/secret")
        for status, endpoint_id in zip((200, 410, 500), made, strict=True):
            receiver.answer = partial(_answer, status)
            for _ in range(2):
                await service.ops("POST", f"endpoints/{endpoint_id}/test")
                await send(service)
    await service.ops("POST", f"endpoints/{made[0]}/test")
    await send(service)


def _answer(status: int, _request: Request) -> Reply:
    return Reply(status)


async def pass_the_word(service: Service) -> None:
    """A member that brought another and would be brought by it, with an account in common."""
    sale = await spread(service)
    pair = await service.members(2)
    for buyer, inviter in (pair, pair[::-1]):
        await tap(service, buyer, await invite(service, inviter, sale_id=sale.id, max_uses=2))
        await buy(service, buyer, sale, payer="in-common")
        await service.tick()


async def stand_in_line(service: Service) -> None:
    """A waiting list with one who waits and one who left, and a draw with two."""
    members = await service.members(3)
    flash = await service.sale(stocks=[1], **FLASH)
    await members[0].buy(flash)
    draws_at = (service.clock() + timedelta(seconds=60)).isoformat()
    drawn = await service.sale(stocks=[1], **FLASH, allocation="draw", draws_at=draws_at)
    for sale in (flash, drawn):
        replies = [
            await member.post(f"/v1/sales/{sale.id}/entries", {"offer_id": sale.offer}) for member in members[1:]
        ]
        if sale is flash:
            await members[2].post(f"/v1/entries/{replies[1].json()['id']}/leave")
    service.clock.advance(61)
    await service.tick()
    service.clock.offset_seconds = 0


async def earn_and_spend(service: Service) -> None:
    """Rewards that are pending, matured, reversed and owed; a payout that waits, one that was paid; a tip."""
    inviter, above, taker = await service.members(3)
    sale = await flash(service)
    await policy(service, sale_id=sale.id, levels=[{"basis_points": 1000}, {"amount": 10}], mature_days=0)
    await brought(service, above, sale, inviter)
    await service.tick()
    order_id = await brought(service, inviter, sale)
    await service.tick()
    await inviter.post("/v1/payouts", {"amount": 400, "account": "alice"})
    await inviter.post(f"/v1/members/{taker.id}/tips", {"amount": 50})
    await service.tick()
    await refund(service, order_id)
    await policy(service, community_id=sale.body["community_id"], role="inviter", levels=[{"amount": 100}])
    await brought(service, inviter, sale)
    await service.tick()
    await earn_money(service, above, 60_000)
    await above.post("/v1/payouts", {"amount": 50_001, "account": "alice"})
