"""Guards of rewards: what is earned once, by whom, and what an operator decides."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import select

from app.domain.errors import (
    CommunityNotFound,
    IdempotencyKeyReused,
    InvalidTerms,
    PolicyEnded,
    RewardNotWithheld,
)
from app.domain.members import MarkKind
from app.domain.rewards import Level, PolicyTerms, RewardRole, RewardState, check_policy
from app.models import Account, Reward, RewardPolicy
from app.schemas.rewards import PolicyCreate, RewardLevel
from app.services import causes, orders, policies, rewards
from app.services.marks import mark
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.promises.money import brought, flash, policy
from tests.service import Member

DOMAIN, POLICIES, REWARDS = "app.domain.rewards", "app.services.policies", "app.services.rewards"
ANY_REWARD = "dict.fromkeys(RewardState, frozenset(RewardState))"
NOTHING = "0" * 32


async def earned(world: World, *, budget: int = 1000, suspect: bool = False, mature_days: int = 0) -> Reward:
    """A new reward of a new member's, for an order that was looked at."""
    service = world.service
    sale, inviter, buyer = await flash(service), await service.member(), await service.member()
    if suspect:
        await share_a_phone(world, inviter, buyer)
    await policy(service, budget, sale_id=sale.id, mature_days=mature_days)
    order_id = await brought(service, inviter, sale, buyer)
    assert await causes.handle(world.state, order_id, service.clock())
    return await of_order(world, order_id)


async def share_a_phone(world: World, *members: Member) -> None:
    phone = uuid4().hex
    async with world.work() as work:
        for member in members:
            await mark(world.state, work, member.id, MarkKind.PHONE, phone)


async def of_order(world: World, order_id: str) -> Reward:
    async with world.database.snapshot() as session:
        return (await session.exec(select(Reward).where(Reward.order_id == order_id))).one()


async def refunded(world: World, reward: Reward) -> Reward:
    """The reward once its order is refunded and was looked at."""
    await orders.refund(world.state, reward.order_id)
    assert await causes.handle(world.state, reward.order_id, world.service.clock())
    return await world.row(Reward, reward.id)


async def pending(world: World, reward: Reward) -> int:
    return (await world.row(Account, f"{reward.member_id}:pending:CNY")).balance


@notices(
    *cuts(
        f"{DOMAIN}.check_policy",
        "not 1 <= len(terms.levels) <= MAX_LEVELS",
        "terms.role != RewardRole.INVITER and len(terms.levels) > 1",
        "any(((level.basis_points is None) == (level.amount is None) for level in terms.levels))",
        "sum((level.basis_points or 0 for level in terms.levels)) > WHOLE",
    ),
)
async def a_policy_has_one_or_two_levels_that_can_work(_world: World) -> None:
    for role, levels in (
        (RewardRole.INVITER, ()),
        (RewardRole.INVITER, (Level(amount=1),) * 3),
        (RewardRole.LEADER, (Level(amount=1),) * 2),
        (RewardRole.INVITER, (Level(),)),
        (RewardRole.INVITER, (Level(6000), Level(4001))),
    ):
        with pytest.raises(InvalidTerms):
            check_policy(PolicyTerms(role, levels))


@notices(
    *cuts(
        f"{POLICIES}._currency",
        "await work.session.get(Community, body.community_id) is None",
        "body.currency not in {None, sale.currency}",
    ),
)
async def a_policy_is_for_something_and_in_its_currency(world: World) -> None:
    terms: dict[str, Any] = {"title": "无", "role": RewardRole.INVITER, "levels": [RewardLevel(amount=1)]}
    with pytest.raises(CommunityNotFound):
        await policies.create_policy(world.state, PolicyCreate(**terms, community_id=f"com_{NOTHING}"))
    with pytest.raises(InvalidTerms):
        await policies.create_policy(world.state, PolicyCreate(**terms, sale_id=world.sale.id, currency="USD"))


@notices(
    *cuts(
        f"{POLICIES}.top_up",
        "booked.one() != amount",
        "policy.ended_at is not None and policy.ended_at <= transfer.created_at",
    ),
    Cut(f"{POLICIES}.end_policy", "col(RewardPolicy.ended_at).is_(None)", "True"),
)
async def a_policy_ends_once_and_is_topped_up_before(world: World) -> None:
    policy_id = await policy(world.service, 100, sale_id=world.sale.id)
    with pytest.raises(IdempotencyKeyReused):
        await policies.top_up(world.state, policy_id, 99, "first")
    ended = await policies.end_policy(world.state, policy_id)
    world.service.clock.advance(1)
    assert (await policies.end_policy(world.state, policy_id)).ended_at == ended.ended_at
    with pytest.raises(PolicyEnded):
        await policies.top_up(world.state, policy_id, 1, "second")
    assert (await policies.top_up(world.state, policy_id, 100, "first")).budget == 100


@notices(
    *cuts(f"{REWARDS}._adjust", "not kept"),
    *cuts(f"{REWARDS}._take_back", "await _move(work, reward, RewardState.REVERSED) is None"),
    Cut(f"{REWARDS}._move", "REWARD_TRANSITIONS", ANY_REWARD),
)
async def a_reward_is_reversed_once(world: World) -> None:
    reward = await refunded(world, await earned(world))
    assert (reward.state, reward.amount, await pending(world, reward)) == (RewardState.REVERSED, 490, 0)
    async with world.work() as work:
        await causes.note(work, reward.order_id)
    await causes.handle(world.state, reward.order_id, world.service.clock())
    assert await world.count("events WHERE subject = :id AND type = 'reward.reversed'", id=reward.id) == 1


@notices(*cuts(f"{REWARDS}._take_back", "before not in BOOKED_STATES", "not amount"))
async def nothing_is_taken_back_that_was_not_booked(world: World) -> None:
    for reward in (await earned(world, suspect=True), await earned(world, budget=0)):
        assert (await refunded(world, reward)).state == RewardState.REVERSED
        assert await world.count("transfers WHERE subject = :id", id=reward.id) == 0


@notices(*cuts(f"{REWARDS}.mature", "reward.state != RewardState.PENDING", "order.state not in CONFIRMED_STATES"))
async def what_is_withheld_or_refunded_does_not_mature(world: World) -> None:
    now = world.service.clock() + timedelta(seconds=1)
    withheld, refunding = await earned(world, suspect=True), await earned(world)
    await orders.refund(world.state, refunding.order_id)
    for reward in (withheld, refunding):
        assert not await rewards.mature(world.state, reward.id, now)
    good = await earned(world)
    assert await rewards.mature(world.state, good.id, now)


@notices(*cuts(f"{REWARDS}._decided", "reward.state != RewardState.WITHHELD"))
async def an_operator_decides_once(world: World) -> None:
    reward = await earned(world, suspect=True)
    assert (await rewards.release(world.state, reward.id)).state == RewardState.PENDING
    for decide in (rewards.release, rewards.decline):
        with pytest.raises(RewardNotWithheld):
            await decide(world.state, reward.id)
    assert await pending(world, reward) == 490
    assert await world.row(RewardPolicy, reward.policy_id)


@notices(*cuts("app.services.causes.handle", "cause.handled == cause.version"))
async def what_was_looked_at_is_not_looked_at_again(world: World) -> None:
    reward = await earned(world)
    assert not await causes.handle(world.state, reward.order_id, world.service.clock())


@notices(Cut("app.services.locks.lock_referrals", "session.get_bind().dialect.name == 'postgresql'", "False"))
async def two_orders_of_a_day_see_each_other(world: World) -> None:
    """The second one is looked at when the first has counted the day's rewards, and not booked its own yet."""
    service = world.service
    sale, inviter = await flash(service), await service.member()
    policy_id = await policy(service, 5000, sale_id=sale.id, day_cap=490)
    first, second = [await brought(service, inviter, sale) for _ in range(2)]
    async with world.meanwhile("SELECT accounts.balance", causes.handle(world.state, second, service.clock())):
        await causes.handle(world.state, first, service.clock())
    async with world.database.snapshot() as session:
        found = await session.exec(select(Reward.amount).where(Reward.policy_id == policy_id))
        assert sorted(found.all()) == [0, 490]
