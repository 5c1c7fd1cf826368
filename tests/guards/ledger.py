"""Guards of the book, and of what takes money from it: payouts and tips."""

from uuid import uuid4

import pytest

from app.domain.errors import (
    IdempotencyKeyReused,
    MemberNotFound,
    MemberOwes,
    PayoutNotWaiting,
    PayoutTooSmall,
    ProviderUnavailable,
    SelfTip,
    TipLimit,
    TokenInvalid,
)
from app.domain.ledger import AccountKey, AccountKind, TransferKind, check_balanced, own
from app.domain.payouts import PayoutState, payout_fee
from app.domain.tips import DAILY_TIPS
from app.gateways.payments.payer import PayoutAnswer
from app.models import Account, Payout, Posting
from app.models import Member as MemberRow
from app.schemas import sandbox as cashier
from app.schemas.payouts import PayoutCreate
from app.schemas.tips import TipCreate
from app.services import ledger, locks, payouts, sandbox, tips
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.orders import unlocked
from tests.guards.world import World
from tests.promises.money import give
from tests.service import Member

DOMAIN, PAYOUTS, TIPS = "app.domain.ledger", "app.services.payouts", "app.services.tips"
ANY_PAYOUT = "dict.fromkeys(PayoutState, frozenset(PayoutState))"
NOBODY = "mem_" + "0" * 32


async def rich(world: World, amount: int = 100_000) -> Member:
    """A new member with a balance."""
    member = await world.service.member()
    await give(world.service, member, amount)
    return member


async def payout(world: World, amount: int = 1000, to: str = "alice") -> str:
    """A payout of a new member's."""
    body = PayoutCreate(amount=amount, account=to)
    return (await payouts.create_payout(world.state, (await rich(world)).id, body, uuid4().hex)).id


async def state_of(world: World, payout_id: str) -> PayoutState:
    return (await world.row(Payout, payout_id)).state


@notices(
    *cuts(
        f"{DOMAIN}.check_balanced",
        "not entries",
        "any((amount == 0 for _, amount in entries))",
        "len({key for key, _ in entries}) < len(entries)",
        "any(totals.values())",
    ),
)
async def money_is_neither_made_nor_lost(_world: World) -> None:
    one, other = AccountKey("mem", AccountKind.BALANCE, "CNY"), AccountKey("mem", AccountKind.PENDING, "CNY")
    check_balanced([(one, -1), (other, 1)])
    for wrong in ([], [(one, 0), (other, 0)], [(one, -1), (one, 1)], [(one, -1), (other, 2)]):
        with pytest.raises(ValueError, match="transfer"):
            check_balanced(wrong)


@notices(*map(unlocked, ("lock_member", "lock_accounts")))
async def who_spends_is_locked(world: World) -> None:
    member = await rich(world)
    account_id = AccountKey(member.id, AccountKind.BALANCE, "CNY").id
    async with world.database.transaction() as session:
        assert await locks.lock_member(session, member.id)
        assert await world.is_locked(MemberRow, member.id)
    async with world.database.transaction() as session:
        assert await locks.lock_accounts(session, [account_id])
        assert await world.is_locked(Account, account_id)


@notices(
    *cuts("app.domain.payouts.payout_fee", "amount < minimum"),
    *cuts(
        f"{PAYOUTS}.create_payout",
        "await lock_member(work.session, member_id) is None",
        "known.model_dump(include=set(PayoutCreate.model_fields)) != body.model_dump()",
    ),
)
async def a_payout_is_asked_for_once_by_somebody(world: World) -> None:
    with pytest.raises(PayoutTooSmall):
        payout_fee(99, 100, 0)
    body, member = PayoutCreate(amount=100, account="alice"), await rich(world)
    with pytest.raises(TokenInvalid):
        await payouts.create_payout(world.state, NOBODY, body, "once")
    await payouts.create_payout(world.state, member.id, body, "once")
    with pytest.raises(IdempotencyKeyReused):
        await payouts.create_payout(world.state, member.id, PayoutCreate(amount=100, account="bob"), "once")


@notices(
    *cuts(f"{PAYOUTS}._waiting", "payout.state != PayoutState.WAITING"),
)
async def an_operator_decides_on_a_payout_once(world: World) -> None:
    approved, rejected = [await payout(world, 60_000) for _ in range(2)]
    assert (await payouts.approve(world.state, approved)).state == PayoutState.READY
    assert (await payouts.reject(world.state, rejected)).state == PayoutState.REJECTED
    for payout_id in (approved, rejected):
        for decide in (payouts.approve, payouts.reject):
            with pytest.raises(PayoutNotWaiting):
                await decide(world.state, payout_id)


@notices(*cuts(f"{PAYOUTS}.approve", "if owed"))
async def who_owes_is_not_paid_out(world: World) -> None:
    payout_id = await payout(world, 60_000)
    member_id = (await world.row(Payout, payout_id)).member_id
    async with world.work() as work:
        entries = await ledger.taking_back(work, own(AccountKind.HOUSE, "CNY"), member_id, 100_000)
        await ledger.post(work, TransferKind.REVERSED, uuid4().hex, entries, subject=payout_id)
    with pytest.raises(MemberOwes):
        await payouts.approve(world.state, payout_id)


@notices(unlocked("lock_payout"))
async def what_is_decided_on_is_locked(world: World) -> None:
    payout_id = await payout(world, 60_000)
    async with world.database.transaction() as session:
        assert await locks.lock_payout(session, payout_id)
        assert await world.is_locked(Payout, payout_id)


@notices(Cut(f"{PAYOUTS}._move", "PAYOUT_TRANSITIONS", ANY_PAYOUT))
async def the_provider_has_one_last_word(world: World) -> None:
    payout_id = await payout(world)
    assert await payouts.submit(world.state, payout_id, world.service.clock())
    paid = await world.row(Payout, payout_id)
    await payouts._finish(world.state, paid, PayoutAnswer("another"))
    assert (await world.row(Payout, payout_id)).provider_ref == paid.provider_ref != "another"


@notices(
    Cut(f"{PAYOUTS}.submit", "col(Payout.state).in_([PayoutState.READY, PayoutState.SUBMITTED])", "True"),
    Cut(f"{PAYOUTS}.submit", "col(Payout.due_at) <= now", "True"),
    *cuts(f"{PAYOUTS}._finish", "answer.reference is None"),
)
async def a_payout_is_submitted_when_it_is_due(world: World) -> None:
    waiting, failing, refused = [
        await payout(world, amount, to) for amount, to in ((60_000, "alice"), (1000, "fail-1"), (1000, "refuse"))
    ]
    now = world.service.clock()
    assert not await payouts.submit(world.state, waiting, now)
    assert await payouts.submit(world.state, failing, now)
    assert not await payouts.submit(world.state, failing, now)
    assert await payouts.submit(world.state, refused, now)
    assert [await state_of(world, id_) for id_ in (waiting, failing, refused)] == ["waiting", "ready", "failed"]


@notices(Cut("app.services.sandbox.pay_out", "if fails:", "if False:"))
async def the_cashier_fails_when_it_is_told_to(world: World) -> None:
    body = cashier.PayoutCreate(id=f"pyt_{uuid4().hex}", account="fail-1", amount=1, currency="CNY")
    with pytest.raises(ProviderUnavailable):
        await sandbox.pay_out(world.state, body)
    assert (await sandbox.pay_out(world.state, body)).reference


@notices(
    *cuts(
        f"{TIPS}.tip",
        "sender_id == receiver_id",
        "await lock_member(work.session, sender_id) is None",
        "await find_member(work.session, receiver_id) is None",
        "given.model_dump(include=set(wanted)) != wanted",
        "number > DAILY_TIPS",
    ),
)
async def tips_are_given_by_somebody_to_somebody_else_within_limits(world: World) -> None:
    giver, taker, body = await rich(world), await rich(world), TipCreate(amount=1)
    for refusal, sender, receiver in (
        (SelfTip, giver.id, giver.id),
        (TokenInvalid, NOBODY, taker.id),
        (MemberNotFound, giver.id, NOBODY),
    ):
        with pytest.raises(refusal):
            await tips.tip(world.state, sender, receiver, body, uuid4().hex)
    for number in range(DAILY_TIPS):
        await tips.tip(world.state, giver.id, taker.id, body, f"tip {number}")
    with pytest.raises(IdempotencyKeyReused):
        await tips.tip(world.state, giver.id, taker.id, TipCreate(amount=2), "tip 1")
    with pytest.raises(TipLimit):
        await tips.tip(world.state, giver.id, taker.id, body, "one more")
    assert await world.count(f"{Posting.__tablename__} WHERE account_id = :id", id=f"{taker.id}:balance:CNY") == 21
