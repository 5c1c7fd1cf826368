"""A random forest of invites: who made them, who came, who bought, was brought by whom and paid what; as rows in
bulk, and in plain lists to count again slowly.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import SQLModel

from app.domain.groups import GroupState
from app.domain.invites import InviteChannel
from app.domain.orders import OrderState
from app.domain.payments import PaymentOutcome, PaymentState
from app.domain.referrals import LASTING, TouchKind
from app.domain.segments import bucket_of
from app.models import Group, Invite, Member, Order, Payment, Referral, Touch
from tests.service import Sale, Service

WEEKS = 5
Row = dict[str, Any]


@dataclass(slots=True, repr=False)
class Forest:
    """Everything that was inserted. `sales` are ids, with the community and currency of each."""

    begin: datetime
    sales: dict[str, tuple[str, str]]
    members: list[Row] = field(default_factory=list)
    groups: list[Row] = field(default_factory=list)
    invites: list[Row] = field(default_factory=list)
    touches: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    payments: list[Row] = field(default_factory=list)
    referrals: list[Row] = field(default_factory=list)


def grow(seed: int, begin: datetime, sales: Sequence[Sale], count: int) -> Forest:
    """A forest of so many members. The last of the sales binds lasting referrals."""
    chance = random.Random(seed)
    forest = Forest(begin, {sale.id: (sale.body["community_id"], "CNY") for sale in sales})
    for sale in sales:
        forest.groups += [_group(f"{sale.id[-28:]}{number:04x}", sale, begin) for number in range(5)]
    for number in range(count):
        created = begin + _some(chance, timedelta(weeks=WEEKS - 1))
        forest.members.append(_member(number, chance, created))
        _invite(forest, chance, number, created)
    for sale in sales:
        _sell(forest, chance, sale, lasting=sale is sales[-1])
    _tap(forest, chance)
    return forest


async def plant(service: Service, forest: Forest) -> None:
    """Insert all of it."""
    tables: list[tuple[type[SQLModel], list[Row]]] = [
        *((Member, forest.members), (Group, forest.groups), (Invite, forest.invites), (Touch, forest.touches)),
        *((Order, forest.orders), (Payment, forest.payments), (Referral, forest.referrals)),
    ]
    async with service.state.database.bulk() as bulk:
        for model, rows in tables:
            await bulk.insert({model: rows})


def _some(chance: random.Random, span: timedelta) -> timedelta:
    return timedelta(microseconds=chance.randrange(1, span // timedelta(microseconds=1)))


def _member(number: int, chance: random.Random, created: datetime) -> Row:
    names = ["张三", "=1+1", "@SUM(A1)", "Amy, the first", "+86"]
    id_ = f"mem_{number:032x}"
    return {
        "id": id_,
        "bucket": bucket_of(id_),
        "name": chance.choice(names),
        "created_at": created,
    }


def _group(id_: str, sale: Sale, begin: datetime) -> Row:
    return {
        "id": f"grp_{id_}",
        "sale_id": sale.id,
        "product_id": f"prd_{0:032x}",
        "state": GroupState.OPEN,
        "size": 3,
        "leader_id": f"mem_{0:032x}",
        "opened_at": begin,
        "deadline_at": begin + timedelta(weeks=60),
    }


def _invite(forest: Forest, chance: random.Random, number: int, created: datetime) -> None:
    """Some invites of a member, each to a sale, a group or a community."""
    for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
        sale_id = chance.choice(list(forest.sales))
        groups = [group["id"] for group in forest.groups if group["sale_id"] == sale_id]
        target: Row = {"group_id": None, "sale_id": None, "community_id": None}
        target |= chance.choice(
            [{"sale_id": sale_id}, {"group_id": chance.choice(groups)}, {"community_id": forest.sales[sale_id][0]}]
        )
        forest.invites.append(
            target
            | {
                "code": f"F{len(forest.invites):09d}",
                "member_id": f"mem_{number:032x}",
                "channel": chance.choice(list(InviteChannel)),
                "created_at": created + _some(chance, timedelta(weeks=1)),
                "expires_at": forest.begin + timedelta(weeks=60),
            }
        )


def _sell(forest: Forest, chance: random.Random, sale: Sale, *, lasting: bool) -> None:
    """Orders of a sale, its payments, and its referrals: a member is brought by one who came before them here."""
    by_member: dict[str, list[Row]] = {}
    for invite in forest.invites:
        by_member.setdefault(invite["member_id"], []).append(invite)
    buyers = chance.sample(forest.members, len(forest.members) * 2 // 3)
    returned: dict[str, list[str]] = {}
    for referral in forest.referrals:
        returned.setdefault(referral["inviter_id"], []).append(referral["member_id"])
    before: list[Row] = []
    places: dict[str, int] = {}
    for member in buyers:
        orders = [_order(forest, chance, sale, member) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
        paid = [order for order in orders if order["paid_at"] is not None]
        inviter = chance.choice(before) if before else None
        mutual = [places[friend] for friend in returned.get(member["id"], []) if friend in places]
        if mutual and chance.random() < 0.5:  # a ring across sales
            inviter = before[mutual[0]]
        invites = by_member.get(inviter["id"], []) if inviter else []
        if inviter and paid and invites and chance.random() < 0.8:
            first = min(paid, key=lambda order: (order["paid_at"], order["id"]))
            order = first if chance.random() < 0.9 else chance.choice(paid)
            invite = chance.choice(invites)
            forest.referrals.append(
                {
                    "scope": LASTING if lasting else sale.id,
                    "member_id": member["id"],
                    "inviter_id": inviter["id"],
                    "code": invite["code"],
                    "channel": invite["channel"],
                    "kind": TouchKind.LINK,
                    "order_id": order["id"],
                    "touched_at": order["paid_at"],
                    "bound_at": order["paid_at"],
                }
            )
        places[member["id"]] = len(before)
        before.append(member)


def _order(forest: Forest, chance: random.Random, sale: Sale, member: Row) -> Row:
    number = len(forest.orders)
    created = member["created_at"] + _some(chance, timedelta(weeks=1))
    state = chance.choice([*([OrderState.CONFIRMED] * 5), OrderState.REFUNDED, OrderState.EXPIRED])
    paid_at = None if state == OrderState.EXPIRED else created + _some(chance, timedelta(hours=1))
    quantity, price = chance.randrange(1, 4), chance.randrange(100, 10_000)
    order = {
        "id": f"ord_{number:032x}",
        "sale_id": sale.id,
        "group_id": f"grp_{sale.id[-28:]}0000",
        "offer_id": sale.offer,
        "member_id": member["id"],
        "seat_number": 1,
        "quantity": quantity,
        "unit_price": price,
        "discount": 0,
        "amount": price * quantity,
        "currency": "CNY",
        "state": state,
        "hold_expires_at": created + timedelta(hours=1),
        "paid_at": paid_at,
        "confirmed_at": paid_at if state == OrderState.CONFIRMED else None,
        "created_at": created,
        "changed_at": created,
        "request_key": f"{number}",
        "request_hash": "0",
        "answer": "{}",
    }
    forest.orders.append(order)
    refunded = order["amount"] if state == OrderState.REFUNDED else chance.choice([0, 0, 0, price // 3])
    if paid_at is not None:
        _payment(forest, chance, order, "CNY" if chance.random() < 0.95 else "USD", refunded)
    if chance.random() < 0.1:  # one more that failed, or came twice
        _payment(forest, chance, order, "CNY", order["amount"] if chance.random() < 0.5 else None)
    return order


def _payment(forest: Forest, chance: random.Random, order: Row, currency: str, refunded: int | None) -> None:
    """A payment of which so much is refunded; None when it failed."""
    at = order["created_at"] + _some(chance, timedelta(hours=1))
    second = bool(forest.payments) and forest.payments[-1]["order_id"] == order["id"]
    captured = refunded is not None
    kept = captured and not second and currency == "CNY"
    forest.payments.append(
        {
            "id": f"pay_{len(forest.payments):032x}",
            "order_id": order["id"],
            "provider": "sandbox",
            "amount": order["amount"],
            "currency": "CNY",
            "state": PaymentState.CAPTURED if captured else PaymentState.FAILED,
            "outcome": (PaymentOutcome.KEPT if kept else PaymentOutcome.REFUNDED) if captured else None,
            "captured_amount": order["amount"] if captured else None,
            "captured_currency": currency if captured else None,
            "captured_at": at if captured else None,
            "refunded_amount": refunded or 0,
            "expires_at": at,
            "check_at": at,
            "created_at": at,
            "request_key": f"{len(forest.payments)}",
        }
    )


def _tap(forest: Forest, chance: random.Random) -> None:
    """Visitors of the invites: strangers, members known by a browser, and members; some come by several."""
    browsers: dict[str, str | None] = {}
    for invite in forest.invites:
        seen = set()
        for _ in range(chance.choice([0, 1, 1, 2, 5])):
            member_id = chance.choice(forest.members)["id"] if chance.random() < 0.6 else None
            visitor_id = f"vis_{chance.randrange(len(forest.invites)):032x}"
            if member_id is not None and chance.random() < 0.5:
                visitor_id = member_id
            elif member_id is not None:
                member_id = browsers.setdefault(visitor_id, member_id)
            if visitor_id in seen:
                continue
            seen.add(visitor_id)
            first = invite["created_at"] + _some(chance, timedelta(weeks=2))
            forest.touches.append(
                {
                    "code": invite["code"],
                    "visitor_id": visitor_id,
                    "member_id": member_id,
                    "kind": chance.choice(list(TouchKind)),
                    "taps": chance.randrange(1, 4),
                    "first_at": first,
                    "last_at": first + timedelta(hours=chance.randrange(5)),
                }
            )
    for touch in forest.touches:
        if touch["kind"] == TouchKind.CODE and chance.random() < 0.2:  # their inviter looks at it, too
            invite = forest.invites[int(touch["code"][1:])]
            if touch["visitor_id"].startswith("vis_"):
                touch["member_id"] = invite["member_id"]
