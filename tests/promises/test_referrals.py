"""Who brought whom: by the rules of the sale, once, never oneself and never in a circle."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel, col, select

from app.domain.invites import InviteChannel
from app.domain.referrals import LASTING, AttributionRules, TouchKind, TouchRule
from app.domain.suspicions import Suspicion
from app.models import Cause, Referral, Refusal, SandboxCharge, Touch
from app.schemas.groups import ClaimCreate
from app.schemas.invites import InviteCreate
from app.schemas.sandbox import Pay
from app.schemas.sessions import SessionCreate
from app.services import claims, invites, payments, sandbox, sessions, visitors
from app.services.causes import dismiss, handle
from app.services.invariants import find_violations
from app.services.suspicions import suspect
from app.services.tokens import ALGORITHM, ISSUER
from app.workers import causes
from tests.databases import create_database, create_sqlite
from tests.promises.money import policy
from tests.service import FLASH, Member, Sale, Service, running_service

DAY = 86_400


async def spread(service: Service, **terms: Any) -> Sale:
    """A flash sale that lasts for months."""
    closes_at = (service.clock() + timedelta(days=200)).isoformat()
    return await service.sale(**FLASH, closes_at=closes_at, member_limit=50, stocks=[10_000], **terms)


async def invite(service: Service, member: Member, **body: Any) -> str:
    """The code of a new invite."""
    expires_at = service.clock() + timedelta(days=300)
    made = await invites.create_invite(
        service.state, member.id, InviteCreate.model_validate({"expires_at": expires_at} | body)
    )
    return made.code


async def buy(service: Service, member: Member, sale: Sale, payer: str | None = None, **body: Any) -> str:
    """An order that is paid, and whose referral is not looked at yet."""
    order_id = await order(service, member, sale, **body)
    await pay(service, member, order_id, payer)
    return order_id


async def order(service: Service, member: Member, sale: Sale, **body: Any) -> str:
    """An order that is not paid yet. Without HTTP, so that no token runs out."""
    body = {"offer_id": sale.offer, "ticket": member.ticket(sale)} | body
    answer = await claims.buy(service.state, member.id, sale.id, ClaimCreate.model_validate(body), uuid4().hex)
    return str(json.loads(answer)["order"]["id"])


async def pay(service: Service, member: Member, order_id: str, payer: str | None = None) -> None:
    """Pay an order, and have the notifications delivered."""
    made = await payments.create_payment(service.state, member.id, order_id, "sandbox", uuid4().hex)
    async with service.state.database.snapshot() as session:
        charge = await session.get_one(SandboxCharge, made.payment_id)
    await sandbox.pay(service.state, charge.token, Pay(payer=payer))
    await service.deliver()


async def conclude(service: Service) -> None:
    """Have every order looked at."""
    while await causes.run_once(service.state, service.clock()):
        pass


async def tap(service: Service, member: Member, code: str) -> None:
    """Tap a link, logged in."""
    await invites.open_invite(service.state, code, None, member.id)


async def brought_by(service: Service, scope: str, member: Member) -> str | None:
    """Who brought a member."""
    async with service.state.database.snapshot() as session:
        referral = await session.get(Referral, (scope, member.id))
    return None if referral is None else referral.inviter_id


async def log_in(service: Service, code: str, **body: Any) -> Member:
    """A member, who may have been here before."""
    session = await sessions.create_session(service.state, SessionCreate(provider="dev", code=code, **body))
    return Member(service, session.member.id, session.member.name, session.access_token)


async def test_a_typed_code_brings_as_a_link_does(service: Service) -> None:
    sale = await spread(service)
    inviter, friend, other = await service.members(3)
    code = await invite(service, inviter, sale_id=sale.id)
    own = await inviter.post(f"/v1/invites/{code}/touches")
    assert (own.status_code, own.json()["code"]) == (409, "self_referral")
    for _ in range(2):
        typed = await friend.post(f"/v1/invites/{code}/touches")
        assert (typed.status_code, typed.json()["code"]) == (200, code)
    await buy(service, friend, sale)
    await buy(service, other, sale, invite_code=code)
    await conclude(service)
    async with service.state.database.snapshot() as session:
        touches = (await session.exec(select(Touch).where(Touch.code == code).order_by(col(Touch.taps)))).all()
        referrals = (await session.exec(select(Referral).where(Referral.code == code))).all()
    assert [(row.member_id, row.kind, row.taps) for row in touches] == [
        (other.id, "code", 1),
        (friend.id, "code", 2),
    ]
    assert {(row.member_id, row.inviter_id, row.kind) for row in referrals} == {
        (friend.id, inviter.id, "code"),
        (other.id, inviter.id, "code"),
    }
    assert await service.violations() == []


@pytest.mark.parametrize("touch", ["first", "last"])
async def test_the_sale_says_which_touch_counts_and_how_long(service: Service, touch: str) -> None:
    sale = await spread(service, attribution={"touch": touch, "window_days": 10})
    shown = (await service.http.get(f"/v1/sales/{sale.id}")).json()["attribution"]
    assert shown == {"touch": touch, "window_days": 10, "lasting": False}
    early, late, buyer, slow = await service.members(4)
    codes = [await invite(service, inviter, sale_id=sale.id) for inviter in (early, late)]
    for code in codes:
        await tap(service, buyer, code)
        await tap(service, slow, code)
        service.clock.advance(60)
    service.clock.advance(10 * DAY - 200)
    await buy(service, buyer, sale)
    service.clock.advance(201)
    await buy(service, slow, sale)
    await conclude(service)
    assert await brought_by(service, sale.id, buyer) == (early if touch == "first" else late).id
    assert await brought_by(service, sale.id, slow) is None
    assert await service.violations() == []


async def test_what_is_said_of_a_published_sale_stays(service: Service) -> None:
    draft = await service.sale(publish=False)
    body = {"attribution": {"touch": "first", "window_days": 365, "lasting": True}}
    changed = await service.ops("PATCH", f"sales/{draft.id}", body)
    assert (changed.status_code, changed.json()["attribution"]) == (200, body["attribution"])
    for wrong in ({"window_days": 0}, {"window_days": 366}, {"touch": "middle"}, {"depth": 2}):
        refused = await service.ops("PATCH", f"sales/{draft.id}", {"attribution": wrong})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    await service.ops("POST", f"sales/{draft.id}/publish")
    late = await service.ops("PATCH", f"sales/{draft.id}", {"attribution": {"lasting": False}})
    assert (late.status_code, late.json()) == (409, late.json() | {"field": "attribution"})


async def test_a_lasting_referral_holds_in_every_lasting_sale(service: Service) -> None:
    first, second = [await spread(service, attribution={"lasting": True}) for _ in range(2)]
    inviter, rival, buyer = await service.members(3)
    await tap(service, buyer, await invite(service, inviter, sale_id=first.id))
    await buy(service, buyer, first)
    await conclude(service)
    await tap(service, buyer, await invite(service, rival, sale_id=second.id))
    await buy(service, buyer, second)
    await conclude(service)
    assert await brought_by(service, LASTING, buyer) == inviter.id
    assert await brought_by(service, second.id, buyer) is None
    assert await service.violations() == []


async def test_a_refund_does_not_bring_anybody_again(service: Service) -> None:
    sale = await spread(service)
    first, second, buyer = await service.members(3)
    await tap(service, buyer, await invite(service, first, sale_id=sale.id))
    order_id = await buy(service, buyer, sale)
    await conclude(service)
    await tap(service, buyer, await invite(service, second, sale_id=sale.id))
    await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    await buy(service, buyer, sale)
    await service.work()
    assert await brought_by(service, sale.id, buyer) == first.id


async def test_an_invite_brings_no_more_than_it_may(service: Service) -> None:
    sale = await spread(service)
    inviter, fallback, *buyers = await service.members(6)
    other = await invite(service, fallback, sale_id=sale.id)
    code = await invite(service, inviter, sale_id=sale.id, max_uses=2)
    for buyer in buyers:
        await tap(service, buyer, other)
        await tap(service, buyer, code)
    orders = [await buy(service, buyer, sale) for buyer in buyers]
    await asyncio.gather(*(handle(service.state, order_id, service.clock()) for order_id in orders))
    found = [await brought_by(service, sale.id, buyer) for buyer in buyers]
    assert sorted(found, key=str) == sorted([inviter.id] * 2 + [fallback.id] * 2)
    for reply in (
        await service.http.get(f"/i/{code}"),
        await fallback.post(f"/v1/invites/{code}/touches"),
        await fallback.buy(sale, invite_code=code),
    ):
        assert (reply.status_code, reply.json()["code"]) == (410, "invite_used_up")
    assert await service.violations() == []


async def test_a_member_takes_one_of_the_uses_in_all_sales(service: Service) -> None:
    first = await spread(service)
    second = await spread(service, community_id=first.body["community_id"])
    inviter, buyer = await service.members(2)
    code = await invite(service, inviter, community_id=first.body["community_id"], max_uses=1)
    await tap(service, buyer, code)
    for sale in (first, second):
        await buy(service, buyer, sale)
        await conclude(service)
        assert await brought_by(service, sale.id, buyer) == inviter.id
    assert await service.violations() == []


@pytest.mark.parametrize("size", [2, 3, 4])
async def test_circles_that_close_at_once_do_not_close(service: Service, size: int) -> None:
    sale = await spread(service)
    for _ in range(3):
        ring = await service.members(size)
        for member, inviter in zip(ring, [*ring[1:], ring[0]], strict=True):
            await tap(service, member, await invite(service, inviter, sale_id=sale.id))
        orders = [await buy(service, member, sale) for member in ring]
        await asyncio.gather(*(handle(service.state, order_id, service.clock()) for order_id in orders))
        assert [await brought_by(service, sale.id, member) for member in ring].count(None) == 1
        async with service.state.database.snapshot() as session:
            ids = [member.id for member in ring]
            rows = (await session.exec(select(Refusal).where(col(Refusal.member_id).in_(ids)))).all()
        assert {row.member_id for row in rows} == set(ids), "everybody in the circle is marked"
        refused = [row for row in rows if row.order_id in orders and row.reason == "cycle"]
        assert len(refused) == size
    assert await service.violations() == []


async def test_two_who_share_a_device_a_phone_or_an_account_are_flagged(service: Service) -> None:
    sale = await spread(service)
    marks: dict[Suspicion, dict[str, str]] = {
        Suspicion.DEVICE: {"device": uuid4().hex},
        Suspicion.PHONE: {"phone": f"139{uuid4().int % 10**8:08}"},
        Suspicion.PAYER: {},
    }
    for reason, shared in marks.items():
        inviter, buyer = [await log_in(service, uuid4().hex, **shared) for _ in range(2)]
        account = uuid4().hex if reason == Suspicion.PAYER else None
        await buy(service, inviter, sale, payer=account)
        await tap(service, buyer, await invite(service, inviter, sale_id=sale.id))
        await buy(service, buyer, sale, payer=account)
        await conclude(service)
        assert await brought_by(service, sale.id, buyer) == inviter.id, "it is bound, and not believed"
        async with service.state.database.snapshot() as session:
            found = await suspect(session, inviter.id, buyer.id)
            stranger = await suspect(session, (await service.member()).id, buyer.id)
        assert reason in found.reasons
        assert found.withheld
        assert stranger.score == 0


async def test_the_account_a_form_names_is_told(service: Service) -> None:
    sale = await spread(service)
    pair = await service.members(2)
    account = uuid4().hex
    for member in pair:
        order_id = (await member.buy(sale)).json()["order"]["id"]
        reply = await service.http.post(
            f"{await member.start_payment(order_id)}/form", data={"payer": account, "delay_seconds": "0"}
        )
        assert reply.status_code == 303
    await service.deliver()
    async with service.state.database.snapshot() as session:
        assert (await suspect(session, pair[0].id, pair[1].id)).reasons == (Suspicion.PAYER,)


async def test_forged_visitors_are_refused(service: Service) -> None:
    inviter = await service.member()
    code = await invite(service, inviter, sale_id=(await spread(service)).id)
    state, now = service.state, int(service.clock().timestamp())
    good = {"sub": f"vis_{'0' * 32}", "exp": now + 60, "aud": visitors.AUDIENCE, "iss": ISSUER}
    key = state.settings.key_for(visitors.PURPOSE)
    _, token = visitors.issue_visitor(state)
    content, _, signature = token.rpartition(".")
    other = content.rpartition(".")[0] + "." + jwt.encode(good, key).split(".")[1]
    forged = [
        f"{content}.{'A' * len(signature)}",
        f"{other}.{signature}",
        jwt.encode(good, b"x" * 32, ALGORITHM),
        jwt.encode(good, state.settings.key_for("access token"), ALGORITHM),
        jwt.encode(good | {"exp": now}, key, ALGORITHM),
        jwt.encode(good | {"aud": "kaituan-members"}, key, ALGORITHM),
        jwt.encode(good | {"iss": "somebody"}, key, ALGORITHM),
        jwt.encode(good | {"sub": 7}, key, ALGORITHM),
        jwt.encode({"sub": good["sub"]}, key, ALGORITHM),
        inviter.token,
        "x",
    ]
    assert (await service.http.get(f"/i/{code}", headers={"visitor-token": token})).status_code == 200
    for wrong in forged:
        reply = await service.http.get(f"/i/{code}", headers={"visitor-token": wrong})
        assert (reply.status_code, reply.json()["code"]) == (401, "visitor_invalid")
        body = {"provider": "dev", "code": uuid4().hex, "visitor_token": wrong}
        reply = await service.http.post("/v1/sessions", json=body)
        assert (reply.status_code, reply.json()["code"]) == (401, "visitor_invalid")
    service.clock.advance(visitors.VISITOR_DAYS * DAY)
    reply = await service.http.get(f"/i/{code}", headers={"visitor-token": token})
    assert reply.json()["code"] == "visitor_invalid"


async def test_a_replayed_visitor_brings_nobody_twice(service: Service) -> None:
    sale = await spread(service)
    inviter = await service.member()
    code, later = [await invite(service, inviter, sale_id=sale.id) for _ in range(2)]
    landing = await invites.open_invite(service.state, code, None, None)
    first = await log_in(service, uuid4().hex, visitor_token=landing.visitor_token)
    thief = await log_in(service, uuid4().hex, visitor_token=landing.visitor_token)
    for member in (first, thief):
        await buy(service, member, sale)
    await conclude(service)
    assert await brought_by(service, sale.id, first) == inviter.id
    assert await brought_by(service, sale.id, thief) is None, "the tap was somebody else's"
    async with service.state.database.snapshot() as session:
        assert (await suspect(session, first.id, thief.id)).reasons == (Suspicion.DEVICE,)
    # The same again, and taps after it, stay whose they are.
    again = await log_in(service, uuid4().hex, visitor_token=landing.visitor_token)
    await invites.open_invite(service.state, code, landing.visitor_token, again.id)
    await invites.open_invite(service.state, later, landing.visitor_token, again.id)
    async with service.state.database.snapshot() as session:
        rows = await session.exec(select(Touch).where(col(Touch.code).in_([code, later])))
        owners = {(row.code, row.member_id) for row in rows.all()}
    assert owners == {(code, first.id), (code, again.id), (later, again.id)}, "who is logged in taps for oneself"


async def test_what_must_not_be_is_found(service: Service) -> None:
    """The negative control of the invariants: rows that nothing of ours would write."""
    sale = await spread(service)
    ring = await service.members(3)
    below = await service.member()
    codes = {member.id: await invite(service, member, sale_id=sale.id, max_uses=1) for member in ring}
    now = service.clock()

    def brought(member: Member, inviter: Member, maker: Member) -> Referral:
        return Referral(
            scope=sale.id,
            member_id=member.id,
            inviter_id=inviter.id,
            code=codes[maker.id],
            channel=InviteChannel.LINK,
            kind=TouchKind.LINK,
            order_id=f"ord_{uuid4().hex}",
            touched_at=now,
            bound_at=now,
        )

    one, two, three = ring
    wrongs: dict[str, list[SQLModel]] = {
        "I19 circle": [brought(one, two, two), brought(two, three, three), brought(three, one, one)],
        "I19 once": [brought(below, one, two)],
        "I19 uses": [brought(below, one, one)],
    }
    for invariant_id, rows in wrongs.items():
        with suppress(_Undone):
            async with service.state.database.transaction() as session:
                session.add_all(rows)
                await session.flush()
                found = {violation.invariant for violation in await find_violations(session)}
                raise _Undone
        assert invariant_id in found
    assert await service.violations() == []


class _Undone(Exception):
    """Nothing of it is kept."""


class Spreading:
    """Members tap each other's invites, buy and let time pass; a slow model says who brought whom."""

    def __init__(self, service: Service, rules: list[AttributionRules]) -> None:
        self.service = service
        self.rules = rules
        self.members: list[Member] = []
        self.sales: list[Sale] = []
        self.codes: dict[str, tuple[int, int | None]] = {}
        """Whose they are, and for which of the sales; None: for all of the community."""
        self.taps: dict[tuple[int, str], list[float]] = {}
        self.brought: dict[tuple[str, int], tuple[int, str]] = {}
        self.refused = 0

    async def begin(self) -> None:
        """Everybody has an invite to each of the sales, and one to both."""
        self.members = await self.service.members(3)
        for rules in self.rules:
            terms = {"touch": rules.touch, "window_days": rules.window_days, "lasting": rules.lasting}
            together = {"community_id": self.sales[0].body["community_id"]} if self.sales else {}
            self.sales.append(await spread(self.service, attribution=terms, **together))
        community_id = self.sales[0].body["community_id"]
        for number, member in enumerate(self.members):
            for place, sale in enumerate(self.sales):
                self.codes[await invite(self.service, member, sale_id=sale.id)] = (number, place)
            self.codes[await invite(self.service, member, community_id=community_id)] = (number, None)

    async def act(self, verb: str, who: int, place: int, pick: int) -> None:
        """Do one thing, and have the model do it too."""
        self.service.clock.advance(1)
        now = self.service.clock.offset_seconds
        codes = [code for code, (_, other) in self.codes.items() if other in {None, place}]
        code = codes[pick % len(codes)]
        match verb:
            case "wait":
                self.service.clock.advance((pick + 1) * DAY)
            case "tap":
                await tap(self.service, self.members[who], code)
                self.taps.setdefault((who, code), [now, now])[1] = now
            case "buy" | "buy with a code":
                named = code if verb == "buy with a code" else None
                await buy(self.service, self.members[who], self.sales[place], invite_code=named)
                await conclude(self.service)
                self.bind(who, place, named, now)
        assert await self.find() == self.brought

    def bind(self, who: int, place: int, code: str | None, now: float) -> None:
        rules = self.rules[place]
        scope = LASTING if rules.lasting else str(place)
        moments: list[tuple[float, str]] = []
        if code is not None and self.codes[code][0] != who:
            moments.append((now, code))
            self.taps.setdefault((who, code), [now, now])
        for (tapper, other), found in self.taps.items():
            maker, wanted = self.codes[other]
            if tapper == who != maker and (rules.lasting or wanted in {None, place}):
                moments += [(at, other) for at in found if now - at <= rules.window_days * DAY]
        if not moments or (scope, who) in self.brought:
            return
        _, chosen = min(moments) if rules.touch == "first" else max(moments)
        above: int | None = self.codes[chosen][0]
        while above is not None and above != who:
            above = self.brought.get((scope, above), (None, ""))[0]
        if above is None:
            self.brought[scope, who] = (self.codes[chosen][0], chosen)
        else:
            self.refused += 1

    async def find(self) -> dict[tuple[str, int], tuple[int, str]]:
        """Who brought whom, as the rows say."""
        numbers = {member.id: number for number, member in enumerate(self.members)}
        scopes = {sale.id: str(place) for place, sale in enumerate(self.sales)}
        async with self.service.state.database.snapshot() as session:
            rows = await session.exec(select(Referral).where(col(Referral.member_id).in_(numbers)))
        return {
            (scopes.get(row.scope, row.scope), numbers[row.member_id]): (numbers[row.inviter_id], row.code)
            for row in rows.all()
        }


VERBS = ["tap", "tap", "buy", "buy", "buy with a code", "wait"]
ACTS = st.tuples(st.sampled_from(VERBS), st.integers(0, 2), st.integers(0, 1), st.integers(0, 5))
RULES = st.builds(AttributionRules, st.sampled_from(TouchRule), st.integers(1, 20), st.booleans())


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_histories_of_taps_and_purchases(
    database: str, valkey: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tally = Counter[str]()
    with asyncio.Runner() as runner:
        url = runner.run(create_sqlite(tmp_path / "spreading.sqlite3"))
        if database == "postgresql":
            url = runner.run(create_database(request.getfixturevalue("postgresql")))
        opened = running_service(url, valkey, tmp_path)
        service = runner.run(opened.__aenter__())

        async def live(rules: list[AttributionRules], acts: list[tuple[str, int, int, int]]) -> None:
            service.clock.offset_seconds = 0
            spreading = Spreading(service, rules)
            await spreading.begin()
            for act in acts:
                await spreading.act(*act)
            tally.update({"brought": len(spreading.brought), "refused": spreading.refused})
            service.clock.offset_seconds = 0
            assert await service.violations() == []

        @settings(max_examples=8, deadline=None, derandomize=True)
        @given(rules=st.lists(RULES, min_size=2, max_size=2), acts=st.lists(ACTS, min_size=24, max_size=24))
        def try_history(rules: list[AttributionRules], acts: list[tuple[str, int, int, int]]) -> None:
            runner.run(live(rules, acts))

        try:
            try_history()
        finally:
            runner.run(opened.__aexit__(None, None, None))
    assert min(tally["brought"], tally["refused"]) >= 3, f"histories in which something happens: {tally}"


async def test_a_code_that_is_typed_after_the_order_brings_nobody(service: Service) -> None:
    """When the provider tells us of a payment is in nobody's hands who would be rewarded for it."""
    sale = await spread(service)
    first, late, buyer = await service.members(3)
    await tap(service, buyer, await invite(service, first, sale_id=sale.id))
    service.clock.advance(60)
    order_id = (await buyer.buy(sale)).json()["order"]["id"]
    service.clock.advance(60)
    await buyer.post(f"/v1/invites/{await invite(service, late, sale_id=sale.id)}/touches")
    await buyer.pay(order_id)
    await conclude(service)
    assert await brought_by(service, sale.id, buyer) == first.id


async def test_only_orders_from_which_nothing_follows_are_dismissed(service: Service) -> None:
    sale, rewarding, together = await spread(service), await spread(service), await spread(service)
    inviter, idle, tapped, coded, rewarded, shared = await service.members(6)
    made = await invite(service, inviter, sale_id=sale.id)
    await tap(service, tapped, made)
    await policy(service, 0, sale_id=rewarding.id)
    await policy(service, 0, community_id=together.body["community_id"], currency="CNY")
    orders = [
        await buy(service, idle, sale),
        await buy(service, tapped, sale),
        await buy(service, coded, sale, invite_code=made),
        await buy(service, rewarded, rewarding),
        await buy(service, shared, together),
    ]
    while await dismiss(service.state, service.clock()):
        pass
    async with service.state.database.snapshot() as session:
        handled = [(await session.get_one(Cause, order_id)).handled for order_id in orders]
    assert handled == [1, 0, 0, 0, 0]
    await conclude(service)
    assert [await brought_by(service, sale.id, member) for member in (tapped, coded)] == [inviter.id] * 2
