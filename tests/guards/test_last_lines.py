"""The keys that everything rests on, each with what stands before it fallen: a dealer that forgets, a lock that is
none, code that does not look. With the key the probe passes, without it the probe notices.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.domain.payments import RefundReason
from app.models import Order, Payment
from app.services import refunds
from tests.attacks import places
from tests.attacks.arena import Attack, gather_crowd
from tests.attacks.forgetful import ForgetfulDealer
from tests.guards import bargains, pushes, referrals
from tests.guards.constraints import find_rules
from tests.guards.cuts import Cut, Probe, cuts, run
from tests.guards.money import ANY_ORDER, CAPTURE, PAYMENTS, recording, start
from tests.guards.orders import unlocked
from tests.guards.world import World
from tests.service import FLASH

CROWD = 20
REDEMPTIONS = "app.services.redemptions"


@dataclass(frozen=True, slots=True)
class LastLine:
    """A probe of one key, and what has fallen before it: places the dealer forgets, cuts, other constraints."""

    probe: Probe
    forgets: str | None = None
    every: int = 3
    down: tuple[Cut, ...] = ()
    gone: tuple[str, ...] = field(default=())


def repels(attack: Attack) -> Probe:
    """Whether an attack of the list comes to nothing."""

    async def probe(world: World) -> None:
        outcome = await attack(await gather_crowd(world.service, CROWD))
        assert not outcome.stolen
        assert await world.service.violations() == []

    return probe


async def one_key_is_one_payment(world: World) -> None:
    held, key = await world.held(), uuid4().hex

    async def start_it() -> None:
        with suppress(IntegrityError):
            await start(world, held, key)

    async with world.meanwhile("flush", start_it()):
        await start_it()
    assert await world.count("payments WHERE order_id = :id", id=held.order_id) == 1


async def one_payment_is_kept(world: World) -> None:
    held = await world.held()
    for _ in range(2):
        with suppress(IntegrityError):
            await world.tell(await world.payment(held))
            await world.service.deliver()
    assert await world.count("payments WHERE order_id = :id AND outcome = 'kept'", id=held.order_id) == 1


def money_is_promised_once(*reasons: RefundReason) -> Probe:
    async def probe(world: World) -> None:
        payment = await world.pay(held := await world.held())
        for reason in reasons:
            with suppress(IntegrityError):
                async with world.work() as work:
                    row = await work.session.get_one(Payment, payment.id)
                    await refunds.promise(work, row, await work.session.get_one(Order, held.order_id), reason)
        assert await world.count("refunds WHERE payment_id = :id", id=payment.id) == 1

    return probe


async def one_ticket_is_one_order(world: World) -> None:
    sale = await world.service.sale(**FLASH, member_limit=9)
    ticket = world.me.ticket(sale)
    assert (await world.me.buy(sale, ticket=ticket)).status_code == 201
    assert (await world.me.buy(sale, ticket=ticket)).json()["code"] == "ticket_used"
    assert await world.service.violations() == []


async def one_message_is_one_capture(world: World) -> None:
    payment = await world.payment(await world.held())
    for _ in range(2):
        await world.tell(payment, id=f"ntf_{payment.id}")
    assert await world.count("events WHERE subject = :id AND type = 'payment.captured'", id=payment.id) == 1


def one_redemption_is_had_once(*buyers: int) -> Probe:
    """Whoever tries in turn."""

    async def probe(world: World) -> None:
        sale, coupon = await world.service.sale(**FLASH), await world.service.coupon(total=2)
        for buyer in buyers:
            await world.members[buyer].buy(sale, coupon_code=coupon["code"])
        assert await world.count("redemptions WHERE coupon_id = :id", id=coupon["id"]) == 1

    return probe


async def nobody_helps_twice(world: World) -> None:
    _, bargain_id = await bargains.started(world)
    assert [(await world.friend.cut(bargain_id)).is_success for _ in range(2)] == [True, False]
    assert await world.count("cuts WHERE bargain_id = :id", id=bargain_id) == 1


async def no_day_has_more_helps_than_it_may(world: World) -> None:
    sale, bargain_id = await bargains.started(world, daily_helps=1)
    another = (await world.members[2].bargain(sale))["id"]
    assert [(await world.friend.cut(id_)).is_success for id_ in (bargain_id, another)] == [True, False]


async def a_bargain_is_ordered_once(world: World) -> None:
    _, bargain_id = await bargains.started(world)
    assert [(await world.me.buy_at(bargain_id)).is_success for _ in range(2)] == [True, False]


LAST_LINES = {
    "pk_units": LastLine(repels(places.buy_the_last_units), "units"),
    "pk_seats": LastLine(repels(places.join_for_the_last_seat), "seats"),
    "pk_purchases": LastLine(repels(places.open_with_a_hundred_keys), "purchases"),
    "uq_orders_sale_id_member_id_request_key": LastLine(repels(places.open_with_one_key), "requests", every=1),
    "uq_orders_ticket": LastLine(one_ticket_is_one_order, "tickets", every=1),
    "uq_seats_group_id_member_id": LastLine(repels(places.join_with_a_hundred_keys), "members of groups"),
    "pk_redemptions": LastLine(
        one_redemption_is_had_once(0, 1),
        down=(Cut(f"{REDEMPTIONS}._free_numbers", "free[:most]", "list(range(1, most + 1))"),),
    ),
    "uq_redemptions_coupon_id_member_id_member_number": LastLine(
        one_redemption_is_had_once(0, 0),
        down=(
            Cut(f"{REDEMPTIONS}.find_places", "places.taken[coupon_id, member_id].add(member_number)", "pass"),
            *cuts("app.domain.coupons.check_redeemable", "own >= terms.member_limit"),
        ),
    ),
    "uq_payments_order_id_request_key": LastLine(one_key_is_one_payment, down=(unlocked("lock_order"),)),
    "uq_payments_kept": LastLine(
        one_payment_is_kept,
        down=(
            *cuts(CAPTURE, "capture.order_has_kept_payment", "capture.order_state != OrderState.HELD"),
            Cut(f"{PAYMENTS}._check_payable", "order.state != OrderState.HELD", "False"),
            Cut(f"{PAYMENTS}.decide_locked", "ORDER_TRANSITIONS", ANY_ORDER),
        ),
    ),
    "uq_refunds_payment_id_reason": LastLine(
        money_is_promised_once(RefundReason.LATE, RefundReason.LATE), gone=("ck_payments_refunded_amount",)
    ),
    "ck_payments_refunded_amount": LastLine(money_is_promised_once(RefundReason.LATE, RefundReason.DUPLICATE)),
    "uq_cuts_bargain_id_member_id_part": LastLine(
        nobody_helps_twice,
        down=cuts(
            f"{bargains.BARGAINS}._cut", "(cut_before := (await _cut_by(work.session, bargain.id, member_id)))"
        ),
    ),
    "pk_helps": LastLine(
        no_day_has_more_helps_than_it_may,
        down=(Cut(f"{bargains.BARGAINS}._count_help", "taken.one() + 1", "1"),),
    ),
    "uq_orders_bargain": LastLine(a_bargain_is_ordered_once, down=(bargains.BUYABLE,)),
    "pk_uses": LastLine(referrals.one_use_brings_one, down=(referrals.UNLOCKED,)),
    "pk_referrals": LastLine(referrals.a_member_is_brought_once, down=(referrals.UNLOCKED,)),
    "uq_notices_member_id_day_number": LastLine(
        pushes.a_place_of_the_day_is_had_once,
        down=(
            Cut(f"{pushes.PUSHES}._deliver_batch", "number + 1", "1"),
            *cuts(f"{pushes.PUSHES}._take_places", "len(told.all()) < len(places)"),
        ),
    ),
    "uq_notices_push": LastLine(pushes.a_push_is_told_to_a_member_once),
    "uq_notices_digest": LastLine(pushes.a_day_has_one_digest),
    "pk_notifications": LastLine(one_message_is_one_capture, down=(recording("CAPTURED"),)),
}


async def drop(world: World, key: str) -> None:
    """Take a constraint away."""
    (removal,) = [rule.removal for rule in find_rules() if rule.name == key]
    async with world.database.engine.begin() as connection:
        await connection.execute(text(removal))


@pytest.mark.parametrize("key", LAST_LINES)
async def test_key_holds_alone(own_world: World, key: str) -> None:
    line = LAST_LINES[key]
    if line.forgets:
        own_world.state.dealer = ForgetfulDealer(own_world.state.dealer, line.forgets, line.every)
    for other in line.gone:
        await drop(own_world, other)
    if error := await run(own_world, line.probe, *line.down):
        raise error
    await drop(own_world, key)
    assert await run(own_world, line.probe, *line.down) is not None
