"""What is said against referrals: made-up ones are all withheld, honest ones are not."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from app.domain.invites import InviteChannel
from app.domain.members import MarkKind
from app.domain.orders import OrderState
from app.domain.referrals import RefusalReason, TouchKind
from app.domain.suspicions import WITHHOLD_AT, Suspicion
from app.models import Invite, Mark, Member, Order, Referral, Refusal, Touch
from app.services.suspicions import suspect
from tests.service import Sale, Service

MANY, FRIENDS, SEEN = 1000, 200, 40
"""Accounts of a farm, friends of a leader, and how many of them are looked at."""
Pair = tuple[str, str]


@dataclass(slots=True)
class Cast:
    """Members, what they have, and who brought whom; inserted at once."""

    service: Service
    sales: list[Sale]
    at: datetime
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    rows: dict[type[Any], list[dict[str, Any]]] = field(default_factory=dict)
    codes: dict[tuple[str, int], str] = field(default_factory=dict)

    def _add(self, model: type[Any], **values: Any) -> None:
        self.rows.setdefault(model, []).append(values)

    def member(self, *, old: timedelta = timedelta(0), **marks: str) -> str:
        """Somebody whose account was made so long before; `marks` are what they have."""
        number = len(self.rows.get(Member, []))
        id_ = f"mem_{number:032x}"
        made_at = self.at - old
        self._add(Member, id=id_, name=f"人{number}", created_at=made_at)
        for kind, value in marks.items():
            self._add(Mark, member_id=id_, kind=MarkKind(kind), digest=f"{kind} {value}", created_at=self.at)
        return id_

    def invite(self, member_id: str, sale: int = 0) -> str:
        """Their link to a sale."""
        code = self.codes.get((member_id, sale), f"C{len(self.codes):09d}")
        if (member_id, sale) not in self.codes:
            self.codes[member_id, sale] = code
            target = {"group_id": None, "sale_id": self.sales[sale].id, "community_id": None}
            times = {"created_at": self.at, "expires_at": self.at + timedelta(days=30)}
            self._add(Invite, code=code, member_id=member_id, channel=InviteChannel.CHAT, **target, **times)
        return code

    def tap(self, code: str, member_id: str, minutes: int) -> None:
        moment = self.at + timedelta(minutes=minutes)
        times = {"first_at": moment, "last_at": moment}
        self._add(Touch, code=code, visitor_id=member_id, member_id=member_id, kind=TouchKind.LINK, taps=1, **times)

    def buy(self, member_id: str, minutes: int, *, sale: int = 0, offer: int = 0) -> str:
        """A paid order so many minutes after the beginning."""
        moment, number = self.at + timedelta(minutes=minutes), len(self.rows.get(Order, []))
        order = {
            "id": f"ord_{number:032x}",
            "sale_id": self.sales[sale].id,
            "group_id": f"grp_{number:032x}",
            "offer_id": self.sales[sale].offers[offer],
            "member_id": member_id,
            "seat_number": 1,
            "quantity": 1,
            "unit_price": 4900,
            "discount": 0,
            "amount": 4900,
            "currency": "CNY",
            "state": OrderState.PAID,
            "hold_expires_at": moment,
            "paid_at": moment,
            "created_at": moment,
            "changed_at": moment,
            "request_key": f"{number}",
            "request_hash": "0",
            "answer": "{}",
        }
        self._add(Order, **order)
        return str(order["id"])

    def bring(self, inviter_id: str, member_id: str, minutes: int, *, sale: int = 0, offer: int = 0) -> Pair:
        """The member taps the inviter's link, and buys."""
        code = self.invite(inviter_id, sale)
        self.tap(code, member_id, minutes)
        order_id, moment = (
            self.buy(member_id, minutes, sale=sale, offer=offer),
            self.at + timedelta(minutes=minutes),
        )
        link = {"code": code, "channel": InviteChannel.CHAT, "kind": TouchKind.LINK, "order_id": order_id}
        people = {"member_id": member_id, "inviter_id": inviter_id}
        self._add(Referral, scope=self.sales[sale].id, **people, **link, touched_at=moment, bound_at=moment)
        return inviter_id, member_id

    async def insert(self) -> None:
        async with self.service.state.database.transaction() as session:
            for model in (Member, Mark, Invite, Touch, Order, Referral, Refusal):
                if model in self.rows:
                    await (await session.connection()).execute(insert(_table(model)), self.rows[model])


Stage = Callable[[Cast], Iterable[Pair]]


def _table(model: Any) -> Any:
    return model.__table__


def one_device(cast: Cast) -> Iterable[Pair]:
    inviter = cast.member(device="one")
    yield cast.bring(inviter, cast.member(device="one"), 5)


def one_payer(cast: Cast) -> Iterable[Pair]:
    inviter = cast.member(device="a", payer="one")
    yield cast.bring(inviter, cast.member(device="b", payer="one"), 5)


def ring_of_three(cast: Cast) -> Iterable[Pair]:
    a, b, c = (cast.member(device=f"ring {number}") for number in range(3))
    yield cast.bring(a, b, 5)
    yield cast.bring(b, c, 10)
    cast.tap(cast.invite(c), a, 15)  # what closes it was refused, and so is no referral
    cast.buy(a, 20)


def ring_of_nine(cast: Cast) -> Iterable[Pair]:
    """Too long to be seen from below; what refused to close it has told of everybody in it."""
    members = [cast.member(device=f"nine {number}") for number in range(9)]
    pairs = [cast.bring(inviter, member, 5) for inviter, member in pairwise(members)]
    closing = cast.invite(members[-1])
    for inviter, member in [*pairs, (members[-1], members[0])]:
        told = {"scope": cast.sales[0].id, "member_id": member, "inviter_id": inviter}
        cast._add(Refusal, **told, reason=RefusalReason.CYCLE, code=closing, order_id="ord", at=cast.at)
    yield from pairs


def ring_of_two(cast: Cast) -> Iterable[Pair]:
    a, b = cast.member(), cast.member()
    yield cast.bring(a, b, 5)
    cast.tap(cast.invite(b), a, 10)
    cast.buy(a, 15)


def farm(cast: Cast, devices: int) -> Iterable[Pair]:
    inviter = cast.member(old=timedelta(days=90), device=f"farmer {devices}")
    for number in range(MANY):
        member = cast.member(device=f"farm {devices} {number % devices}") if devices else cast.member()
        pair = cast.bring(inviter, member, number % 55)
        if number % (MANY // SEEN) == 0:
            yield pair


def family(cast: Cast) -> Iterable[Pair]:
    """Five at home: one network, each with a telephone."""
    inviter, *others = [cast.member(device=f"home {number}") for number in range(5)]
    for number, other in enumerate(others):
        yield cast.bring(inviter, other, number)


def leader(cast: Cast) -> Iterable[Pair]:
    """Friends of one day: most are new; some are old, buy again, choose, or invite; two share a device."""
    inviter = cast.member(old=timedelta(days=200), device="leader")
    for number in range(FRIENDS):
        old = timedelta(days=cast.chance.randrange(1, 300)) if cast.chance.random() < 0.2 else timedelta(0)
        device = "a couple" if number < 2 else f"friend {number}"
        friend = cast.member(old=old, device=device)
        pair = cast.bring(inviter, friend, number % 55, offer=int(cast.chance.random() < 0.3))
        if cast.chance.random() < 0.15:
            cast.buy(friend, 300, sale=1)
        if cast.chance.random() < 0.15:
            cast.invite(friend)
        yield pair


def verified_newcomers(cast: Cast) -> Iterable[Pair]:
    """All new, all for the same: but each with a telephone number."""
    inviter = cast.member(old=timedelta(days=200))
    for number in range(FRIENDS):
        yield cast.bring(inviter, cast.member(device=f"new {number}", phone=f"{number}"), number % 55)


def chain(cast: Cast) -> Iterable[Pair]:
    people = [cast.member(device=f"chain {number}") for number in range(6)]
    cast.buy(people[0], 0)
    for number in range(5):
        yield cast.bring(people[number], people[number + 1], 10 * number + 10)
    cast.tap(cast.invite(people[1]), people[0], 59)  # one who has bought looks at a friend's link


def mutual(cast: Cast) -> Iterable[Pair]:
    """Each brings the other once, in different sales."""
    a, b = cast.member(device="mutual a"), cast.member(device="mutual b")
    cast.buy(a, 0)
    yield cast.bring(a, b, 5)
    yield cast.bring(b, a, 10, sale=1)


def newcomers(cast: Cast) -> Iterable[Pair]:
    """Honest, perhaps: nothing that we know of tells them from a farm."""
    inviter = cast.member(old=timedelta(days=200))
    for number in range(FRIENDS):
        yield cast.bring(inviter, cast.member(device=f"unknown {number}"), number % 55)


ATTACKS: dict[str, Stage] = {
    "two accounts, one device": one_device,
    "two accounts, one payer": one_payer,
    "ring of three": ring_of_three,
    "ring of two": ring_of_two,
    "ring of nine": ring_of_nine,
    "1,000 accounts, one device": lambda cast: farm(cast, 1),
    "1,000 accounts, ten devices": lambda cast: farm(cast, 10),
    "1,000 accounts, nothing known": lambda cast: farm(cast, 0),
}
HONEST: dict[str, Stage] = {
    "family of five": family,
    "leader with 200 friends": leader,
    "200 newcomers with phones": verified_newcomers,
    "chain of six": chain,
    "two who bring each other": mutual,
}
UNTOLD: dict[str, Stage] = {"200 newcomers, nothing verified": newcomers}
"""Withheld until an operator has looked, rightly or not."""


@pytest.fixture
async def cast(own_service: Service) -> Cast:
    own_service.clock.advance(0)
    sales = [await own_service.sale(stocks=[100, 100]) for _ in range(2)]
    return Cast(own_service, sales, own_service.clock() - timedelta(hours=2))


async def test_every_made_up_referral_is_withheld_and_no_honest_one(cast: Cast) -> None:
    labelled = {name: list(stage(cast)) for name, stage in (ATTACKS | HONEST | UNTOLD).items()}
    await cast.insert()
    withheld = {}
    async with cast.service.state.database.snapshot() as session:
        for name, pairs in labelled.items():
            withheld[name] = sum([(await suspect(session, *pair)).score >= WITHHOLD_AT for pair in pairs])
    assert {name: withheld[name] for name in ATTACKS} == {name: len(labelled[name]) for name in ATTACKS}
    assert {name: withheld[name] for name in HONEST} == dict.fromkeys(HONEST, 0)
    assert {name: withheld[name] for name in UNTOLD} == {name: len(labelled[name]) for name in UNTOLD}

    reply = (await cast.service.ops("GET", "suspicions?limit=100&min_score=0")).json()
    assert reply["looked_at"]["since"] is not None, "there are more than it looks at"
    listed: dict[str, Any] = {}
    while True:
        listed |= {item["member_id"]: item for item in reply["items"]}
        if (since := reply["looked_at"]["since"]) is None:
            break
        reply = (await cast.service.ops("GET", f"suspicions?limit=100&min_score=0&before={since}")).json()
    for names, is_withheld in ((ATTACKS, True), (HONEST, False)):
        for name in names:
            for inviter_id in {inviter for inviter, _ in labelled[name]}:
                assert listed[inviter_id]["withheld"] is is_withheld, name
    for item in listed.values():
        assert item["score"] == min(100, sum(reason["weight"] for reason in item["reasons"]))
        assert all(reason["en"] and reason["zh"] for reason in item["reasons"])


async def test_a_list_is_of_the_worst(cast: Cast) -> None:
    (inviter, member), *_ = one_device(cast)
    list(family(cast))
    (a, *_), *_ = ring_of_two(cast)
    await cast.insert()
    reply = (await cast.service.ops("GET", "suspicions")).json()
    assert {item["member_id"] for item in reply["items"]} == {inviter, a}
    (found,) = [item for item in reply["items"] if item["member_id"] == inviter]
    assert (found["score"], found["worst_member_id"], found["referrals"]) == (60, member, 1)
    assert found["evidence"] == {"shared": ["device"], "siblings": 0, "ring": False, "day": 1, "alike": 1}
    assert found["name"].startswith("人")
    assert reply["looked_at"] == {"referrals": 6, "inviters": 3, "assessed": 5, "since": None}
    assert len((await cast.service.ops("GET", "suspicions?limit=1")).json()["items"]) == 1


async def test_two_accounts_on_one_device_are_known_at_login(service: Service) -> None:
    ids, device = [], uuid4().hex
    for number in range(2):
        login = {"provider": "dev", "code": f"{device}{number}", "device": device}
        ids.append((await service.http.post("/v1/sessions", json=login)).json()["member"]["id"])
    async with service.state.database.snapshot() as session:
        assert (await suspect(session, *ids)).reasons == (Suspicion.DEVICE,)
