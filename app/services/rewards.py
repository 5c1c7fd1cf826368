"""Rewards: what orders earn those who brought the buyer, lead the group, or cut the price.

Everything here happens in one lane, under the lock of what is concluded from orders. An order is looked at as it is
now: the first look rewards, later ones only bring that down to what is kept. Looking twice changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func
from sqlmodel import col, or_, select

from app.domain.errors import RewardNotFound, RewardNotWithheld
from app.domain.ledger import AccountKey, AccountKind, TransferKind
from app.domain.orders import PAID_SEAT_STATES
from app.domain.payments import PaymentOutcome
from app.domain.rewards import (
    BOOKED_STATES,
    CONFIRMED_STATES,
    COUNTED_STATES,
    REWARD_TRANSITIONS,
    Allotment,
    RewardRole,
    RewardState,
    Share,
    allot,
    within_budget,
)
from app.models import Cut, Group, Member, Order, Payment, Referral, Reward, RewardPolicy, Sale
from app.schemas.fields import Page
from app.schemas.rewards import OperatorReward, RewardPublic
from app.services import ledger
from app.services.locks import lock_referrals
from app.services.pages import read_page
from app.services.suspicions import suspect
from app.services.transactions import Work, transaction
from app.state import State


class Beneficiary(NamedTuple):
    """Who is rewarded for an order, on which level, and through whom."""

    member_id: str
    level: int = 1
    via_id: str | None = None


async def accrue(work: Work, order: Order, referral: Referral | None) -> None:
    """Reward everybody who earns by an order that is looked at for the first time. The lane is locked."""
    kept = await _kept(work, order)
    if kept:
        for policy in await _policies(work, order):
            await _accrue(work, policy, order, kept, await _beneficiaries(work, policy, order, referral))


async def adjust(work: Work, order: Order) -> None:
    """Bring the rewards of an order to what is kept of its payment. The lane is locked."""
    kept = await _kept(work, order)
    found = await work.session.exec(
        select(Reward)
        .where(Reward.order_id == order.id)
        .order_by(col(Reward.policy_id), col(Reward.level), col(Reward.number))
        .execution_options(populate_existing=True),
    )
    rewards: dict[str, list[Reward]] = {}
    for reward in found.all():
        rewards.setdefault(reward.policy_id, []).append(reward)
    await _lock_matured(work, [reward for rows in rewards.values() for reward in rows])
    for policy_id, rows in rewards.items():
        await _adjust(work, await work.session.get_one(RewardPolicy, policy_id), rows, kept)


async def give_up(work: Work, member_id: str) -> None:
    """Take back what a member has earned and does not have yet. The lane is locked."""
    found = await work.session.exec(
        select(Reward)
        .where(
            Reward.member_id == member_id,
            col(Reward.state).in_([RewardState.PENDING, RewardState.WITHHELD]),
        )
        .order_by(col(Reward.id)),
    )
    for reward in found.all():
        if reward.state == RewardState.WITHHELD:
            await _move(work, reward, RewardState.DECLINED)
        else:
            policy = await work.session.get_one(RewardPolicy, reward.policy_id)
            await _take_back(work, policy, reward, TransferKind.REVERSED, 0)


async def _lock_matured(work: Work, rewards: Sequence[Reward]) -> None:
    """Lock the accounts that money may be taken back from, all at once and in their order: members may be moving
    money between them.
    """
    keys = []
    for reward in rewards:
        if reward.state == RewardState.MATURED:
            currency = (await work.session.get_one(RewardPolicy, reward.policy_id)).currency
            keys += [
                AccountKey(reward.member_id, kind, currency) for kind in (AccountKind.BALANCE, AccountKind.OWED)
            ]
    if keys:
        await ledger.lock(work, *keys)


async def _kept(work: Work, order: Order) -> int:
    """What is kept of an order's payment; nothing, unless it is paid."""
    if order.state not in PAID_SEAT_STATES:
        return 0
    found = await work.session.exec(
        select(Payment).where(Payment.order_id == order.id, Payment.outcome == PaymentOutcome.KEPT),
    )
    payment = found.one_or_none()  # None: it was refunded since the order was read
    return 0 if payment is None else (payment.captured_amount or 0) - payment.refunded_amount


async def _policies(work: Work, order: Order) -> Sequence[RewardPolicy]:
    """The policies that an order was paid under."""
    community = select(Sale.community_id).where(Sale.id == order.sale_id).scalar_subquery()
    found = await work.session.exec(
        select(RewardPolicy)
        .where(
            or_(col(RewardPolicy.sale_id) == order.sale_id, col(RewardPolicy.community_id) == community),
            RewardPolicy.currency == order.currency,
            col(RewardPolicy.created_at) <= order.paid_at,
            or_(col(RewardPolicy.ended_at).is_(None), col(RewardPolicy.ended_at) > order.paid_at),
        )
        .order_by(col(RewardPolicy.id)),
    )
    return found.all()


async def _beneficiaries(
    work: Work, policy: RewardPolicy, order: Order, referral: Referral | None
) -> list[Beneficiary]:
    """Who is rewarded for an order by a policy. Nobody is for their own, and nobody who was erased."""
    match policy.role:
        case RewardRole.INVITER:
            found = [] if referral is None else await _inviters(work, policy, referral)
        case RewardRole.LEADER:
            group = await work.session.get_one(Group, order.group_id, populate_existing=True)
            found = [Beneficiary(group.leader_id)]
        case RewardRole.HELPER:
            helpers = await work.session.exec(
                select(Cut.member_id)
                .where(Cut.bargain_id == order.bargain_id)
                .group_by(col(Cut.member_id))
                .order_by(func.min(Cut.number)),
            )
            found = [Beneficiary(helper) for helper in helpers.all()]
    there = await work.session.exec(
        select(Member.id).where(
            col(Member.id).in_([one.member_id for one in found]), col(Member.erased_at).is_(None)
        ),
    )
    living = set(there.all())
    return [one for one in found if one.member_id != order.member_id and one.member_id in living]


async def _inviters(work: Work, policy: RewardPolicy, referral: Referral) -> list[Beneficiary]:
    found = [Beneficiary(referral.inviter_id)]
    above = await work.session.get(Referral, (referral.scope, referral.inviter_id))
    if above is not None and len(policy.terms().levels) > 1:
        found.append(Beneficiary(above.inviter_id, level=2, via_id=referral.inviter_id))
    return found


async def _accrue(
    work: Work, policy: RewardPolicy, order: Order, kept: int, beneficiaries: Sequence[Beneficiary]
) -> None:
    """Give everybody their reward of a policy, or withhold it. What is withheld counts towards the caps."""
    day = work.now.date()
    sharers = {level: sum(one.level == level for one in beneficiaries) for level in (1, 2)}
    shares = []
    for one in beneficiaries:
        rest = None
        if policy.day_cap is not None:
            earned = await work.session.exec(
                select(func.coalesce(func.sum(Reward.amount), 0)).where(
                    Reward.policy_id == policy.id,
                    Reward.member_id == one.member_id,
                    Reward.day == day,
                    col(Reward.state).in_(COUNTED_STATES),
                ),
            )
            rest = policy.day_cap - int(earned.one())  # PostgreSQL sums to a decimal
        shares.append(Share(one.level, sharers[one.level], rest))
    numbers = dict.fromkeys(sharers, 0)
    for one, allotted in zip(beneficiaries, allot(policy.terms(), kept, shares), strict=True):
        numbers[one.level] += 1
        reward = Reward(
            policy_id=policy.id,
            order_id=order.id,
            sale_id=order.sale_id,
            member_id=one.member_id,
            via_id=one.via_id,
            level=one.level,
            number=numbers[one.level],
            day=day,
            amount=allotted.amount,
            limited_by=allotted.limited_by,
            state=RewardState.PENDING,
            created_at=work.now,
        )
        work.session.add(reward)
        await work.session.flush()
        _record(work, reward, None)
        reasons = await _suspicions(work, reward, order.member_id)
        if reasons:
            await _move(work, reward, RewardState.WITHHELD, reasons=reasons)
        else:
            await _book(work, policy, reward, TransferKind.ACCRUED)


async def _book(work: Work, policy: RewardPolicy, reward: Reward, kind: TransferKind) -> None:
    """Put a reward into its member's pending account, as far as the budget goes.

    Only this lane takes from a budget, so that what is there when it is looked at is still there.
    """
    budget, pending = _budget(policy), _pending(policy, reward)
    allotted = within_budget(Allotment(reward.amount, reward.limited_by), await ledger.balance_of(work, budget))
    reward.amount, reward.limited_by = allotted.amount, allotted.limited_by
    await work.session.flush()
    if reward.amount:
        entries = [(budget, -reward.amount), (pending, reward.amount)]
        await ledger.post(work, kind, f"{kind} {reward.id}", entries, subject=reward.id, order_id=reward.order_id)


async def _adjust(work: Work, policy: RewardPolicy, rewards: Sequence[Reward], kept: int) -> None:
    """Take back what the rewards of an order by a policy are now too much."""
    if not kept:
        for reward in rewards:
            await _take_back(work, policy, reward, TransferKind.REVERSED, 0)
        return
    sharers = {level: sum(reward.level == level for reward in rewards) for level in (1, 2)}
    shares = [Share(reward.level, sharers[reward.level]) for reward in rewards]
    for reward, allotted in zip(rewards, allot(policy.terms(), kept, shares), strict=True):
        if allotted.amount < reward.amount:
            await _take_back(work, policy, reward, TransferKind.REDUCED, allotted.amount)


async def _take_back(work: Work, policy: RewardPolicy, reward: Reward, kind: TransferKind, left: int) -> None:
    """Leave so much of a reward: the rest goes back to the budget, from where it is now. Reversing it ends it; it
    remembers how much it was.
    """
    before, amount = reward.state, reward.amount - left
    if kind == TransferKind.REVERSED:
        if await _move(work, reward, RewardState.REVERSED) is None:
            return
    else:
        reward.amount = left
        await work.session.flush()
    if before not in BOOKED_STATES or not amount:
        return
    budget, pending = _budget(policy), _pending(policy, reward)
    if before == RewardState.PENDING:
        entries = [(pending, -amount), (budget, amount)]
    else:
        entries = await ledger.taking_back(work, budget, reward.member_id, amount)
    cause = f"{kind} {reward.id}" if kind == TransferKind.REVERSED else f"{kind} {reward.id} to {left}"
    await ledger.post(work, kind, cause, entries, subject=reward.id, order_id=reward.order_id)


async def mature(state: State, reward_id: str, now: datetime) -> bool:
    """Pay a pending reward into its member's balance when its order is confirmed and the refund window is over; or
    withhold it, when it has become suspect. Returns whether something changed.
    """
    async with transaction(state, now) as work:
        await lock_referrals(work.session)
        reward = await work.session.get_one(Reward, reward_id, populate_existing=True)
        order = await work.session.get_one(Order, reward.order_id, populate_existing=True)
        if reward.state != RewardState.PENDING or order.state not in CONFIRMED_STATES:
            return False
        policy = await work.session.get_one(RewardPolicy, reward.policy_id)
        mature_at = (order.confirmed_at or now) + timedelta(days=policy.mature_days)
        if mature_at > now:
            is_news = reward.mature_at is None
            reward.mature_at = mature_at
            return is_news
        reasons = [] if reward.cleared else await _suspicions(work, reward, order.member_id)
        if reasons:
            await _withhold(work, policy, reward, reasons)
        else:
            await _pay(work, policy, reward, mature_at)
    return True


async def _pay(work: Work, policy: RewardPolicy, reward: Reward, mature_at: datetime) -> None:
    await _move(work, reward, RewardState.MATURED, mature_at=mature_at)
    if reward.amount:
        entries = await ledger.crediting(work, _pending(policy, reward), reward.member_id, reward.amount)
        kind = TransferKind.MATURED
        await ledger.post(work, kind, f"{kind} {reward.id}", entries, subject=reward.id, order_id=reward.order_id)


async def _withhold(work: Work, policy: RewardPolicy, reward: Reward, reasons: list[str]) -> None:
    """Book a pending reward back until an operator has looked at it."""
    await _move(work, reward, RewardState.WITHHELD, reasons=reasons)
    if reward.amount:
        entries = [(_pending(policy, reward), -reward.amount), (_budget(policy), reward.amount)]
        kind = TransferKind.WITHHELD
        await ledger.post(work, kind, f"{kind} {reward.id}", entries, subject=reward.id, order_id=reward.order_id)


async def release(state: State, reward_id: str) -> OperatorReward:
    """Let a withheld reward go on, as far as the budget goes; it is not withheld again. Raises `RewardNotFound`,
    `RewardNotWithheld`.
    """
    async with transaction(state, state.clock()) as work:
        reward, policy = await _decided(work, reward_id, RewardState.PENDING, cleared=True)
        await _book(work, policy, reward, TransferKind.RELEASED)
    return _for_operators(reward, policy)


async def decline(state: State, reward_id: str) -> OperatorReward:
    """Refuse a withheld reward for good. Raises `RewardNotFound`, `RewardNotWithheld`."""
    async with transaction(state, state.clock()) as work:
        reward, policy = await _decided(work, reward_id, RewardState.DECLINED)
    return _for_operators(reward, policy)


async def _decided(
    work: Work, reward_id: str, target: RewardState, *, cleared: bool = False
) -> tuple[Reward, RewardPolicy]:
    """What an operator has decided on a withheld reward."""
    await lock_referrals(work.session)
    reward = await work.session.get(Reward, reward_id)
    if reward is None:
        raise RewardNotFound
    if reward.state != RewardState.WITHHELD:
        raise RewardNotWithheld(state=reward.state)
    await _move(work, reward, target, cleared=cleared)
    return reward, await work.session.get_one(RewardPolicy, reward.policy_id)


async def list_rewards(
    state: State,
    *,
    after: str | None,
    limit: int,
    reward_state: RewardState | None = None,
    policy_id: str | None = None,
) -> Page[OperatorReward]:
    """Rewards, newest first."""
    statement = select(Reward)
    if reward_state is not None:
        statement = statement.where(Reward.state == reward_state)
    if policy_id is not None:
        statement = statement.where(Reward.policy_id == policy_id)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Reward, statement, after, limit)
        items = [_for_operators(row, await session.get_one(RewardPolicy, row.policy_id)) for row in rows]
    return Page[OperatorReward](items=items, next=following)


async def list_own(state: State, member_id: str, after: str | None, limit: int) -> Page[RewardPublic]:
    """A member's rewards, newest first."""
    async with state.database.snapshot() as session:
        mine = select(Reward).where(Reward.member_id == member_id)
        rows, following = await read_page(session, Reward, mine, after, limit)
        items = [_public(row, await session.get_one(RewardPolicy, row.policy_id)) for row in rows]
    return Page[RewardPublic](items=items, next=following)


async def _suspicions(work: Work, reward: Reward, buyer_id: str) -> list[str]:
    """What speaks so much against a reward that it is withheld: between any two of those who are linked by it."""
    pairs = [(reward.member_id, buyer_id)]
    if reward.via_id is not None:
        pairs += [(reward.via_id, buyer_id), (reward.member_id, reward.via_id)]
    found: set[str] = set()
    for inviter_id, member_id in pairs:
        assessment = await suspect(work.session, inviter_id, member_id)
        if assessment.withheld:
            found.update(assessment.reasons)
    return sorted(found)


async def _move(
    work: Work,
    reward: Reward,
    target: RewardState,
    *,
    reasons: list[str] | None = None,
    cleared: bool | None = None,
    mature_at: datetime | None = None,
) -> Reward | None:
    """Take a reward to another state; None when it may not go there."""
    given = {"reasons": reasons, "cleared": cleared, "mature_at": mature_at}
    before = reward.state
    values = {name: value for name, value in given.items() if value is not None}
    moved = await work.advance(REWARD_TRANSITIONS, reward, target, **values)
    if moved is not None:
        _record(work, moved, before)
    return moved


def _record(work: Work, reward: Reward, before: RewardState | None) -> None:
    work.record(
        f"reward.{reward.state}",
        reward.id,
        states=(before, reward.state),
        sale_id=reward.sale_id,
        member_id=reward.member_id,
        order_id=reward.order_id,
        amount=reward.amount,
    )


def _budget(policy: RewardPolicy) -> AccountKey:
    return AccountKey(policy.id, AccountKind.BUDGET, policy.currency)


def _pending(policy: RewardPolicy, reward: Reward) -> AccountKey:
    return AccountKey(reward.member_id, AccountKind.PENDING, policy.currency)


def _public(reward: Reward, policy: RewardPolicy) -> RewardPublic:
    return RewardPublic(
        **reward.model_dump(include=set(RewardPublic.model_fields)), role=policy.role, currency=policy.currency
    )


def _for_operators(reward: Reward, policy: RewardPolicy) -> OperatorReward:
    return OperatorReward(
        **reward.model_dump(include=set(OperatorReward.model_fields)), role=policy.role, currency=policy.currency
    )
