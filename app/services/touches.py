"""Touches: who came by which invite, as a visitor or as a member."""

from sqlalchemy import ColumnElement, String, case, func, literal, or_, update
from sqlmodel import col, select

from app.domain.orders import OrderState
from app.domain.referrals import TouchKind
from app.models import Cause, Order, Touch
from app.services.transactions import Work
from app.state import State


async def touch(
    state: State, work: Work, code: str, visitor_id: str, member_id: str | None, kind: TouchKind
) -> bool:
    """Write down that somebody came by an invite; `visitor_id` is the member's id where no browser is known.

    Returns whether it is the first time.
    """
    first = await work.session.exec(
        state.database.insert_unless_there(Touch, ["code", "visitor_id"])
        .values(
            code=code,
            visitor_id=visitor_id,
            member_id=member_id,
            kind=kind,
            taps=1,
            first_at=work.now,
            last_at=work.now,
        )
        .returning(col(Touch.code)),
    )
    if first.first() is not None:
        return True
    theirs = or_(
        literal(member_id, String).is_(None), col(Touch.member_id).is_(None), col(Touch.member_id) == member_id
    )
    again = await work.session.exec(
        update(Touch)
        .where(col(Touch.code) == code, col(Touch.visitor_id) == visitor_id, theirs)
        .values(
            taps=Touch.taps + 1,
            last_at=case((_has_ordered(), Touch.last_at), else_=work.now),
            member_id=func.coalesce(Touch.member_id, member_id),
        )
        .returning(col(Touch.code)),
    )
    if again.first() is None and member_id is not None:
        # Somebody else has come by it in this browser before.
        return await touch(state, work, code, member_id, member_id, kind)
    return False


def _has_ordered() -> ColumnElement[bool]:
    """Whether a touch's member has an order that is to be paid, or to be looked at: their last tap before it is
    needed, and buyers come back by the link they came by.
    """
    due = select(Cause.order_id).where(Cause.order_id == Order.id, col(Cause.handled) < Cause.version).exists()
    own = select(Order.id).where(Order.member_id == Touch.member_id, or_(col(Order.state) == OrderState.HELD, due))
    return own.exists()


async def note_code(state: State, work: Work, order: Order) -> None:
    """Who claims with a code has come by it: write that down, if it is not known from before."""
    await work.session.exec(
        state.database.insert_unless_there(Touch, ["code", "visitor_id"]).values(
            code=order.invite_code,
            visitor_id=order.member_id,
            member_id=order.member_id,
            kind=TouchKind.CODE,
            taps=1,
            first_at=order.created_at,
            last_at=order.created_at,
        ),
    )


async def is_somebody(work: Work, visitor_id: str) -> bool:
    """Whether a member has logged in as this visitor: whoever comes without logging in is another."""
    found = await work.session.exec(
        select(Touch.code).where(Touch.visitor_id == visitor_id, col(Touch.member_id).is_not(None)).limit(1),
    )
    return found.first() is not None


async def adopt(work: Work, visitor_id: str, member_id: str) -> None:
    """What a visitor did before logging in was done by this member; what another member did stays theirs."""
    await work.session.exec(
        update(Touch)
        .where(col(Touch.visitor_id) == visitor_id, col(Touch.member_id).is_(None))
        .values(member_id=member_id),
    )
