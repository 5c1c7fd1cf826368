"""Comparing days with the providers' bills: a worker does it for every day, operators may ask for it.

What differs is shown, not mended: with one exception. Money that a provider has and we do not know of is asked
about at once, so that it ends in a seat or a refund like any other.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import BillNotReady, ProviderNotFound, ProviderUnavailable, ReconciliationNotFound
from app.domain.payments import PaymentState
from app.domain.reconciliations import (
    RECONCILIATION_TRANSITIONS,
    SHOWN,
    Difference,
    DifferenceKind,
    Line,
    LineKind,
    LineState,
    ReconciliationState,
    bounds,
    compare,
    days_to_compare,
    is_near_midnight,
    newest_day,
)
from app.domain.refunds import ATTENTION_ATTEMPTS, RefundState, retry_delay
from app.gateways.payments.biller import Biller
from app.gateways.payments.provider import ChargeState
from app.models import Difference as DifferenceRow
from app.models import Payment, Reconciliation, Refund
from app.schemas.fields import Page
from app.schemas.reconciliations import (
    DifferencePublic,
    ReconciliationCreate,
    ReconciliationDetail,
    ReconciliationPublic,
)
from app.services import payments
from app.services.pages import read_page
from app.services.refunds import request_of
from app.services.transactions import Work, transaction
from app.state import State

log = logging.getLogger(__name__)
LEASE = timedelta(minutes=10)
"""How long a day is left to the worker that compares it."""
IDS_AT_ONCE = 500


async def ask_for(state: State, body: ReconciliationCreate) -> ReconciliationPublic:
    """Have a day compared, again if it was. A worker does it at once. Raises `ProviderNotFound`, `BillNotReady`."""
    biller = state.billers.get(body.provider)
    if biller is None:
        raise ProviderNotFound
    newest = newest_day(state.clock(), biller.zone)
    if body.day > newest:
        raise BillNotReady(newest_day=newest.isoformat())
    async with transaction(state, state.clock()) as work:
        row = await _add(work, body.provider, body.day)
        moved = await work.advance(
            RECONCILIATION_TRANSITIONS,
            row,
            ReconciliationState.WAITING,
            attempts=0,
            due_at=work.now,
            done_at=None,
            lines=None,
            found=None,
        )
        if moved is None:  # it waits, perhaps for a while after it failed
            row.due_at = work.now
        else:
            await work.session.exec(
                delete(DifferenceRow).where(col(DifferenceRow.reconciliation_id) == row.id),
            )
            _record(work, moved, ReconciliationState.DONE)
    return _public(row)


async def find_missing(state: State, now: datetime) -> int:
    """Have every day compared that is over and was not. Returns how many there were."""
    added = 0
    for biller in state.billers.values():
        days = days_to_compare(now, biller.zone)
        async with state.database.snapshot() as session:
            known = await session.exec(
                select(col(Reconciliation.day)).where(
                    Reconciliation.provider == biller.name, col(Reconciliation.day).in_(days)
                ),
            )
            missing = sorted(set(days) - set(known.all()))
        for day in missing:
            async with transaction(state, now) as work:
                await _add(work, biller.name, day)
            added += 1
    return added


async def reconcile(state: State, reconciliation_id: str, now: datetime) -> bool:
    """Compare a day that waits for it; doing it twice finds the same. Returns whether this call was the one."""
    async with transaction(state, now) as work:
        claimed = await work.session.exec(
            update(Reconciliation)
            .where(
                col(Reconciliation.id) == reconciliation_id,
                col(Reconciliation.state) == ReconciliationState.WAITING,
                col(Reconciliation.due_at) <= now,
            )
            .values(attempts=Reconciliation.attempts + 1, due_at=now + LEASE)
            .returning(Reconciliation)
            .execution_options(synchronize_session=False, populate_existing=True),
        )
        row = claimed.scalar_one_or_none()
    if row is None:
        return False
    biller = state.billers.get(row.provider)
    if biller is None:
        await _fail(state, row, "the provider is not configured any more")
        return True
    try:
        bill = await biller.read_bill(row.day)
        found = await _differences(state, biller, row.day, bill)
    except ProviderUnavailable as error:
        await _fail(state, row, str(error.__cause__ or repr(error)).partition("\n")[0])
    else:
        await _finish(state, row, len(bill), found)
    return True


async def _differences(state: State, biller: Biller, day: date, bill: Sequence[Line]) -> list[Difference]:
    async with state.database.snapshot() as session:
        here = await _lines_here(session, biller, day, bill)
    found = []
    for difference in compare(bill, here):
        missed = difference.here if difference.kind == DifferenceKind.MISSING_THERE else None
        near = missed is not None and is_near_midnight(missed, day, biller.zone)
        if missed is None or not near or not await _is_of_another_day(state, biller, day, missed):
            found.append(difference)
    return found


async def _lines_here(session: AsyncSession, biller: Biller, day: date, bill: Sequence[Line]) -> list[Line]:
    """Our lines that the bill names, and those of the day."""
    start, end = bounds(day, biller.zone)
    of_provider = select(Payment).where(Payment.provider == biller.name)
    given_back = select(Refund).join(Payment).where(Payment.provider == biller.name)
    charges = [*(await session.exec(of_provider.where(col(Payment.paid_at) >= start, col(Payment.paid_at) < end)))]
    refunds = [
        *(await session.exec(given_back.where(col(Refund.accepted_at) >= start, col(Refund.accepted_at) < end)))
    ]
    for ids in _some(line.subject for line in bill if line.kind == LineKind.CHARGE):
        charges += await session.exec(of_provider.where(col(Payment.id).in_(ids)))
    for ids in _some(line.subject for line in bill if line.kind == LineKind.REFUND):
        refunds += await session.exec(given_back.where(col(Refund.id).in_(ids)))
    return [*map(_charge_line, charges), *map(_refund_line, refunds)]


def _some(ids: Iterable[str]) -> Iterable[list[str]]:
    """Ids, so many at a time."""
    every = list(dict.fromkeys(ids))
    return (every[first : first + IDS_AT_ONCE] for first in range(0, len(every), IDS_AT_ONCE))


def _charge_line(payment: Payment) -> Line:
    is_done = payment.state == PaymentState.CAPTURED
    return Line(
        LineKind.CHARGE,
        payment.id,
        payment.captured_amount or payment.amount,
        payment.captured_currency or payment.currency,
        LineState.DONE if is_done else LineState.PENDING,
        payment.paid_at or payment.created_at,
    )


def _refund_line(refund: Refund) -> Line:
    is_done = refund.state == RefundState.SUCCEEDED
    return Line(
        LineKind.REFUND,
        refund.id,
        refund.amount,
        refund.currency,
        LineState.DONE if is_done else LineState.PENDING,
        refund.accepted_at or refund.created_at,
    )


async def _is_of_another_day(state: State, biller: Biller, day: date, line: Line) -> bool:
    """Whether the provider has a line that its bill of this day does not, and counts it to the day before or after.
    Raises `ProviderUnavailable`.
    """
    provider = payments.find_provider(state, biller.name)
    async with state.database.snapshot() as session:
        refund = await session.get_one(Refund, line.subject) if line.kind == LineKind.REFUND else None
        payment = await session.get_one(Payment, line.subject if refund is None else refund.payment_id)
    if refund is None:
        charge = await provider.query(payment.id, payment.handle)
        amount, at = charge.amount if charge.state == ChargeState.CAPTURED else None, charge.paid_at
    else:
        answer = await provider.query_refund(request_of(refund, payment))
        amount, at = (None, None) if answer is None else (answer.amount, answer.accepted_at)
    start, end = bounds(day, biller.zone)
    return amount == line.amount and at is not None and not start <= at < end


async def _finish(state: State, row: Reconciliation, lines: int, found: list[Difference]) -> None:
    async with transaction(state, state.clock()) as work:
        done = await work.advance(
            RECONCILIATION_TRANSITIONS,
            row,
            ReconciliationState.DONE,
            done_at=work.now,
            lines=lines,
            found=len(found),
            last_error=None,
        )
        if done is None:
            return
        work.session.add_all(_row(row.id, difference) for difference in found)
        _record(work, done, ReconciliationState.WAITING)
    if found:
        log.warning("%s, %s: %d differences", row.provider, row.day, len(found))
    for difference in found:
        await _learn_of(state, difference)


async def _learn_of(state: State, difference: Difference) -> None:
    """Ask about money that the provider has and we do not know of."""
    here, there = difference.here, difference.there
    if here is None or there is None or there.kind != LineKind.CHARGE or here.state == LineState.DONE:
        return
    try:
        await payments.ask(state, here.subject)
    except ProviderUnavailable as error:
        log.warning("payment %s: %r; it stays a difference", here.subject, error)


async def _fail(state: State, row: Reconciliation, error: str) -> None:
    log.warning("%s, %s: attempt %d failed: %s", row.provider, row.day, row.attempts, error)
    async with transaction(state, state.clock()) as work:
        await work.session.exec(
            update(Reconciliation)
            .where(col(Reconciliation.id) == row.id, col(Reconciliation.state) == ReconciliationState.WAITING)
            .values(due_at=work.now + retry_delay(row.attempts), last_error=error[:200])
            .execution_options(synchronize_session=False),
        )
        if row.attempts == ATTENTION_ATTEMPTS:
            day = row.day.isoformat()
            work.record("reconciliation.needs_attention", row.id, provider=row.provider, day=day)


async def list_reconciliations(
    state: State, provider: str | None, after: str | None, limit: int
) -> Page[ReconciliationPublic]:
    """Days that were compared, or are to be; what was asked for last comes first."""
    statement = select(Reconciliation)
    if provider is not None:
        statement = statement.where(Reconciliation.provider == provider)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Reconciliation, statement, after, limit)
    return Page[ReconciliationPublic](items=[_public(row) for row in rows], next=following)


async def get_reconciliation(state: State, reconciliation_id: str) -> ReconciliationDetail:
    """A day with what differed, up to a hundred of it. Raises `ReconciliationNotFound`."""
    async with state.database.snapshot() as session:
        row = await session.get(Reconciliation, reconciliation_id)
        if row is None:
            raise ReconciliationNotFound
        found = await session.exec(
            select(DifferenceRow)
            .where(DifferenceRow.reconciliation_id == reconciliation_id)
            .order_by(col(DifferenceRow.at), col(DifferenceRow.subject))
            .limit(SHOWN),
        )
    shown = [DifferencePublic.model_validate(one, from_attributes=True) for one in found]
    return ReconciliationDetail(**_public(row).model_dump(), differences=shown)


async def _add(work: Work, provider: str, day: date) -> Reconciliation:
    """The row of a day; a new one waits."""
    row = Reconciliation(
        provider=provider,
        day=day,
        state=ReconciliationState.WAITING,
        due_at=work.now,
        created_at=work.now,
    )
    added = await work.session.exec(
        work.database.insert_unless_there(Reconciliation, ["provider", "day"])
        .values(**row.model_dump())
        .returning(col(Reconciliation.id)),
    )
    if added.first() is not None:
        _record(work, row, None)
    found = await work.session.exec(
        select(Reconciliation).where(Reconciliation.provider == provider, Reconciliation.day == day),
    )
    return found.one()


def _row(reconciliation_id: str, difference: Difference) -> DifferenceRow:
    here, there, line = difference.here, difference.there, difference.line
    return DifferenceRow(
        reconciliation_id=reconciliation_id,
        line=line.kind,
        subject=line.subject,
        kind=difference.kind,
        amount_here=None if here is None else here.amount,
        currency_here=None if here is None else here.currency,
        state_here=None if here is None else here.state,
        amount_there=None if there is None else there.amount,
        currency_there=None if there is None else there.currency,
        state_there=None if there is None else there.state,
        at=line.at,
    )


def _record(work: Work, row: Reconciliation, before: ReconciliationState | None) -> None:
    work.record(
        f"reconciliation.{row.state}",
        row.id,
        states=(before, row.state),
        provider=row.provider,
        day=row.day.isoformat(),
        found=row.found,
    )


def _public(row: Reconciliation) -> ReconciliationPublic:
    return ReconciliationPublic.model_validate(row, from_attributes=True)
