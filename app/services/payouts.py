"""Payouts: reserved at once, perhaps approved, sent by a worker, and given back when they cannot be sent."""

import logging
from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from app.domain.errors import (
    IdempotencyKeyReused,
    MemberOwes,
    PayoutNotFound,
    PayoutNotWaiting,
    ProviderUnavailable,
    TokenInvalid,
)
from app.domain.ledger import AccountKey, AccountKind, Entry, TransferKind, own
from app.domain.payouts import LEASE, PAYOUT_TRANSITIONS, PayoutState, payout_fee
from app.domain.refunds import ATTENTION_ATTEMPTS, retry_delay
from app.gateways.payments.payer import PayoutAnswer, PayoutRequest
from app.models import Payout
from app.schemas.fields import Page
from app.schemas.payouts import OperatorPayout, PayoutCreate, PayoutPublic
from app.services import ledger
from app.services.locks import lock_member, lock_payout
from app.services.pages import read_page
from app.services.transactions import Work, transaction
from app.state import State

log = logging.getLogger(__name__)


async def create_payout(state: State, member_id: str, body: PayoutCreate, request_key: str) -> PayoutPublic:
    """Reserve a part of a member's balance to be paid out; the same key gets the same payout. Raises
    `PayoutTooSmall`, `BalanceTooLow`, `IdempotencyKeyReused`.
    """
    settings = state.settings
    fee = payout_fee(body.amount, settings.payout_minimum, settings.payout_fee_basis_points)
    async with transaction(state, state.clock()) as work:
        if await lock_member(work.session, member_id) is None:
            raise TokenInvalid
        found = await work.session.exec(
            select(Payout).where(Payout.member_id == member_id, Payout.request_key == request_key),
        )
        known = found.one_or_none()
        if known is not None:
            if known.model_dump(include=set(PayoutCreate.model_fields)) != body.model_dump():
                raise IdempotencyKeyReused
            return _public(known)
        payout = Payout(
            **body.model_dump(),
            member_id=member_id,
            fee=fee,
            state=PayoutState.WAITING,
            due_at=work.now,
            created_at=work.now,
            request_key=request_key,
        )
        work.session.add(payout)
        await work.session.flush()
        _record(work, payout, None)
        entries = [(_account(payout, AccountKind.BALANCE), -payout.amount), (_transit(payout), payout.amount)]
        await _post(work, payout, TransferKind.PAYOUT_ASKED, entries)
        if payout.amount <= settings.payout_approval_above:
            await _move(work, payout, PayoutState.READY)
    return _public(payout)


async def approve(state: State, payout_id: str) -> OperatorPayout:
    """Let a payout that waits go on. Raises `PayoutNotFound`, `PayoutNotWaiting`, `MemberOwes`: reject it then, and
    what it held pays the debt first.
    """
    async with transaction(state, state.clock()) as work:
        payout = await _waiting(work, payout_id)
        owed = -await ledger.balance_of(work, _account(payout, AccountKind.OWED))
        if owed:
            raise MemberOwes(owed=owed)
        await _move(work, payout, PayoutState.READY, due_at=work.now)
    return _for_operators(payout)


async def reject(state: State, payout_id: str) -> OperatorPayout:
    """Give the money of a payout that waits back to its member. Raises `PayoutNotFound`, `PayoutNotWaiting`."""
    async with transaction(state, state.clock()) as work:
        payout = await _waiting(work, payout_id)
        await _move(work, payout, PayoutState.REJECTED)
        await _give_back(work, payout)
    return _for_operators(payout)


async def _waiting(work: Work, payout_id: str) -> Payout:
    payout = await lock_payout(work.session, payout_id)
    if payout is None:
        raise PayoutNotFound
    if payout.state != PayoutState.WAITING:
        raise PayoutNotWaiting(state=payout.state)
    return payout


async def submit(state: State, payout_id: str, now: datetime) -> bool:
    """Ask the provider for one due payout. Repeating it is harmless: the provider knows the payout's id.

    Returns whether this call was the one to ask.
    """
    payer = state.payer
    if payer is None:
        return False
    async with transaction(state, now) as work:
        before = (await work.session.get_one(Payout, payout_id)).state
        claimed = await work.session.exec(
            update(Payout)
            .where(
                col(Payout.id) == payout_id,
                col(Payout.state).in_([PayoutState.READY, PayoutState.SUBMITTED]),
                col(Payout.due_at) <= now,
            )
            .values(state=PayoutState.SUBMITTED, attempts=Payout.attempts + 1, due_at=now + LEASE)
            .returning(Payout)
            .execution_options(synchronize_session=False, populate_existing=True),
        )
        payout = claimed.scalar_one_or_none()
        if payout is None:
            return False
        if before != PayoutState.SUBMITTED:
            _record(work, payout, before)
    try:
        answer = await payer.pay_out(
            PayoutRequest(payout.id, payout.account, payout.amount - payout.fee, payout.currency)
        )
    except ProviderUnavailable as error:
        await _retry(state, payout, str(error.__cause__ or repr(error)).partition("\n")[0])
    else:
        await _finish(state, payout, answer)
    return True


async def _finish(state: State, payout: Payout, answer: PayoutAnswer) -> None:
    """Write the provider's last word into the book. Whoever comes second changes nothing."""
    async with transaction(state, state.clock()) as work:
        if answer.reference is None:
            if await _move(work, payout, PayoutState.FAILED, last_error="refused") is not None:
                await _give_back(work, payout)
            return
        moved = await _move(
            work, payout, PayoutState.PAID, paid_at=work.now, provider_ref=answer.reference, last_error=None
        )
        if moved is None:
            return
        entries = [
            (_transit(payout), -payout.amount),
            (own(AccountKind.PAID_OUT, payout.currency), payout.amount - payout.fee),
        ]
        if payout.fee:
            entries.append((own(AccountKind.FEES, payout.currency), payout.fee))
        await _post(work, payout, TransferKind.PAYOUT_PAID, entries)


async def _retry(state: State, payout: Payout, error: str) -> None:
    log.warning("payout %s: attempt %d failed: %s", payout.id, payout.attempts, error)
    async with transaction(state, state.clock()) as work:
        again = work.now + retry_delay(payout.attempts)
        moved = await _move(work, payout, PayoutState.READY, due_at=again, last_error=error[:200])
        if moved is not None and moved.attempts == ATTENTION_ATTEMPTS:
            work.record("payout.needs_attention", moved.id, attempts=moved.attempts)


async def list_payouts(
    state: State, payout_state: PayoutState | None, after: str | None, limit: int
) -> Page[OperatorPayout]:
    """Payouts, newest first."""
    statement = select(Payout)
    if payout_state is not None:
        statement = statement.where(Payout.state == payout_state)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Payout, statement, after, limit)
    return Page[OperatorPayout](items=[_for_operators(row) for row in rows], next=following)


async def list_own(state: State, member_id: str, after: str | None, limit: int) -> Page[PayoutPublic]:
    """A member's payouts, newest first."""
    async with state.database.snapshot() as session:
        mine = select(Payout).where(Payout.member_id == member_id)
        rows, following = await read_page(session, Payout, mine, after, limit)
    return Page[PayoutPublic](items=[_public(row) for row in rows], next=following)


async def _give_back(work: Work, payout: Payout) -> None:
    """What was reserved is the member's again, as far as they owe nothing."""
    entries = await ledger.crediting(work, _transit(payout), payout.member_id, payout.amount)
    await _post(work, payout, TransferKind.PAYOUT_RETURNED, entries)


async def _post(work: Work, payout: Payout, kind: TransferKind, entries: list[Entry]) -> None:
    await ledger.post(work, kind, f"{kind} {payout.id}", entries, subject=payout.id)


async def _move(work: Work, payout: Payout, target: PayoutState, **values: object) -> Payout | None:
    before = payout.state
    moved = await work.advance(PAYOUT_TRANSITIONS, payout, target, **values)
    if moved is not None:
        _record(work, moved, before)
    return moved


def _account(payout: Payout, kind: AccountKind) -> AccountKey:
    return AccountKey(payout.member_id, kind, payout.currency)


def _transit(payout: Payout) -> AccountKey:
    return _account(payout, AccountKind.PAYOUTS)


def _record(work: Work, payout: Payout, before: PayoutState | None) -> None:
    work.record(
        f"payout.{payout.state}",
        payout.id,
        states=(before, payout.state),
        member_id=payout.member_id,
        amount=payout.amount,
    )


def _public(payout: Payout) -> PayoutPublic:
    return PayoutPublic.model_validate(payout, from_attributes=True)


def _for_operators(payout: Payout) -> OperatorPayout:
    return OperatorPayout.model_validate(payout, from_attributes=True)
