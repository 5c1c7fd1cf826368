"""Reward policies: made, given a budget, ended."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import (
    CommunityNotFound,
    IdempotencyKeyReused,
    InvalidTerms,
    PolicyEnded,
    PolicyNotFound,
    SaleNotFound,
)
from app.domain.ledger import AccountKey, AccountKind, TransferKind, own
from app.domain.rewards import Level, PolicyTerms, check_policy
from app.models import Account, Community, Posting, RewardPolicy, Sale
from app.schemas.fields import Page
from app.schemas.rewards import PolicyCreate, PolicyPublic, RewardLevel
from app.services import ledger
from app.services.pages import read_page
from app.services.transactions import Work, transaction
from app.state import State


async def create_policy(state: State, body: PolicyCreate) -> PolicyPublic:
    """Make a policy, with an empty budget. Raises `SaleNotFound`, `CommunityNotFound`, `InvalidTerms`."""
    levels = [Level(level.basis_points, level.amount) for level in body.levels]
    check_policy(PolicyTerms(body.role, tuple(levels), body.order_cap, body.day_cap))
    first, second = levels[0], levels[1] if len(levels) > 1 else Level()
    async with transaction(state, state.clock()) as work:
        policy = RewardPolicy(
            **body.model_dump(exclude={"levels", "currency"}),
            currency=await _currency(work, body),
            first_basis_points=first.basis_points,
            first_amount=first.amount,
            second_basis_points=second.basis_points,
            second_amount=second.amount,
            created_at=work.now,
        )
        work.session.add(policy)
        work.record("policy.created", policy.id, sale_id=policy.sale_id, role=policy.role)
    return await get_policy(state, policy.id)


async def _currency(work: Work, body: PolicyCreate) -> str:
    """The currency of a policy: its sale's."""
    if body.sale_id is None:
        if await work.session.get(Community, body.community_id) is None:
            raise CommunityNotFound
        return body.currency or "CNY"
    sale = await work.session.get(Sale, body.sale_id)
    if sale is None:
        raise SaleNotFound
    if body.currency not in {None, sale.currency}:
        raise InvalidTerms(field="currency", reason="the sale has another one")
    return sale.currency


async def top_up(state: State, policy_id: str, amount: int, request_key: str) -> PolicyPublic:
    """Put money of the house into a policy's budget, once for a key. Raises `PolicyNotFound`, `PolicyEnded`,
    `IdempotencyKeyReused`.
    """
    async with transaction(state, state.clock()) as work:
        policy = await work.session.get(RewardPolicy, policy_id)
        if policy is None:
            raise PolicyNotFound
        kind, budget = TransferKind.BUDGET, AccountKey(policy_id, AccountKind.BUDGET, policy.currency)
        cause = f"{kind} {policy_id} {request_key}"
        entries = [(own(AccountKind.HOUSE, policy.currency), -amount), (budget, amount)]
        transfer = await ledger.post(work, kind, cause, entries, subject=policy_id)
        booked = await work.session.exec(
            select(Posting.amount).where(Posting.transfer_id == transfer.id, Posting.account_id == budget.id),
        )
        if booked.one() != amount:
            raise IdempotencyKeyReused
        if policy.ended_at is not None and policy.ended_at <= transfer.created_at:
            raise PolicyEnded
    return await get_policy(state, policy_id)


async def end_policy(state: State, policy_id: str) -> PolicyPublic:
    """Reward no order that is paid from now on; what was earned stays. Asking again changes nothing. Raises
    `PolicyNotFound`.
    """
    async with transaction(state, state.clock()) as work:
        ended = await work.session.exec(
            update(RewardPolicy)
            .where(col(RewardPolicy.id) == policy_id, col(RewardPolicy.ended_at).is_(None))
            .values(ended_at=work.now)
            .returning(col(RewardPolicy.sale_id)),
        )
        for sale_id in ended.scalars():
            work.record("policy.ended", policy_id, sale_id=sale_id)
    return await get_policy(state, policy_id)


async def get_policy(state: State, policy_id: str) -> PolicyPublic:
    """A policy, with what is left of its budget. Raises `PolicyNotFound`."""
    async with state.database.snapshot() as session:
        policy = await session.get(RewardPolicy, policy_id)
        if policy is None:
            raise PolicyNotFound
        return (await _with_budgets(session, [policy]))[0]


async def list_policies(state: State, after: str | None, limit: int) -> Page[PolicyPublic]:
    """Every policy, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, RewardPolicy, select(RewardPolicy), after, limit)
        return Page[PolicyPublic](items=await _with_budgets(session, rows), next=following)


async def _with_budgets(session: AsyncSession, rows: Sequence[RewardPolicy]) -> list[PolicyPublic]:
    keys = {row.id: AccountKey(row.id, AccountKind.BUDGET, row.currency).id for row in rows}
    found = await session.exec(
        select(Account.id, Account.balance).where(col(Account.id).in_(keys.values())),
    )
    budgets = dict(found.all())
    return [
        PolicyPublic(
            **row.model_dump(include=set(PolicyPublic.model_fields)),
            levels=[
                RewardLevel(basis_points=level.basis_points, amount=level.amount) for level in row.terms().levels
            ],
            budget=budgets.get(keys[row.id], 0),
        )
        for row in rows
    ]
