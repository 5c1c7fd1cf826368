"""The entrance of a flash sale: members stand in line, are let in by and by, and get a ticket to buy with.

The line is Redis' alone: when Redis is emptied, people get in line again and the order is lost. Tickets that were
given stay good, and what they bought stays bought: signatures and rows know of both.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import func
from sqlmodel import col, select

from app.domain.admissions import (
    AdmissionState,
    admission_state,
    ask_again,
    expected_wait,
    network_of,
    people_before,
)
from app.domain.errors import DeviceMissing, NotInLine, ProofNotWanted
from app.domain.orders import PAID_SEAT_STATES
from app.domain.sales import SaleKind, check_drawn, check_kind
from app.gateways.dealer import Newcomer, Stand
from app.models import Order, new_id
from app.schemas.admissions import AdmissionCreate, AdmissionPublic, ChallengePublic
from app.services import dealing
from app.services.gates import pass_gate
from app.services.proofs import KEPT_SECONDS, make_challenge, read_proof
from app.services.queues import Queue, Waiter
from app.services.terms import SaleFacts, find_sale
from app.services.tickets import Ticket, sign_ticket
from app.state import State


async def enter(state: State, member_id: str, sale_id: str, body: AdmissionCreate, address: str) -> AdmissionPublic:
    """Get in line, once; who is in line already stands where they stood.

    Raises `SaleNotFound`, `WrongKind`, `SaleIsDrawn`, those of `pass_gate`, `DeviceMissing`, `DeviceLimit`,
    `AddressLimit`, `ProofMissing`, `ProofInvalid`, `ProofUsed`, `Busy`, `DealerUnavailable`.
    """
    sale = await _flash_sale(state, sale_id)
    await pass_gate(state, sale.gate, member_id)
    rules, proof = sale.terms.admission, ""
    if rules.per_device is not None and body.device is None:
        raise DeviceMissing
    if rules.proof_of_work is not None and body.proof is not None:
        proof = read_proof(state, body.proof, member_id, sale_id)
    newcomer = Newcomer(
        device=None if body.device is None else hashlib.blake2b(body.device.encode(), digest_size=16).hexdigest(),
        address=network_of(address),
        proof=proof,
        proof_seconds=None if rules.proof_of_work is None else KEPT_SECONDS,
    )
    stand = await _stand(state, sale, member_id, newcomer)
    return await _shown(state, sale, member_id, stand)


async def look(state: State, member_id: str, sale_id: str, waiter: Waiter, seconds: float) -> AdmissionPublic:
    """How a member stands in line; who waits for their turn is told when it comes, or when nothing is left, or
    after so many seconds how far they have come.

    Raises `SaleNotFound`, `WrongKind`, `SaleIsDrawn`, `NotInLine`, `Busy`, `DealerUnavailable`.
    """
    sale = await _flash_sale(state, sale_id)
    stand = await _stand(state, sale, member_id)
    if seconds and stand.number and _state(stand) == AdmissionState.WAITING:
        newest = await _line(state, sale_id).wait(stand, waiter, seconds)
        if newest is None or stand.number <= newest.admitted:
            stand = await _stand(state, sale, member_id)  # with the ticket
        else:
            admitted = max(stand.admitted, newest.admitted)  # it may have been seen a moment before
            stand = replace(newest, number=stand.number, admitted=admitted)
    return await _shown(state, sale, member_id, stand)


async def challenge(state: State, member_id: str, sale_id: str) -> ChallengePublic:
    """What a member has to solve to get in line. Raises `SaleNotFound`, `WrongKind`, `SaleIsDrawn`,
    `ProofNotWanted`.
    """
    sale = await _flash_sale(state, sale_id)
    hardness = sale.terms.admission.proof_of_work
    if hardness is None:
        raise ProofNotWanted
    return make_challenge(state, member_id, sale_id, hardness)


async def _flash_sale(state: State, sale_id: str) -> SaleFacts:
    sale = await find_sale(state, sale_id)
    check_kind(sale.terms, SaleKind.FLASH)
    check_drawn(sale.terms)
    return sale


async def _stand(state: State, sale: SaleFacts, member_id: str, newcomer: Newcomer | None = None) -> Stand:
    async def ask() -> Stand:
        now, rules = state.clock(), sale.terms.admission
        new_ticket = new_id("tkt"), int(now.timestamp()) + rules.ticket_seconds
        return await state.dealer.enter(sale.id, sale.offers, rules, member_id, new_ticket, now, newcomer)

    return await dealing.when_loaded(state, sale.id, ask)


def _line(state: State, sale_id: str) -> Queue:
    """The one line of this process for a sale."""
    found: Queue | None = state.queues.get(sale_id)
    if found is None:
        found = state.queues[sale_id] = Queue(state, partial(_look, state, sale_id))
    return found


async def _look(state: State, sale_id: str) -> Stand:
    return await _stand(state, await find_sale(state, sale_id), "")


def _state(stand: Stand) -> AdmissionState:
    return admission_state(stand.phase, stand.left, has_ticket=bool(stand.ticket))


async def _shown(state: State, sale: SaleFacts, member_id: str, stand: Stand) -> AdmissionPublic:
    found, opens_at = _state(stand), sale.terms.opens_at
    if stand.number == 0 and found != AdmissionState.CLOSED:
        raise NotInLine
    position = wait = ticket = expires_at = None
    if found == AdmissionState.WAITING:
        position = people_before(stand.number, stand.admitted)
        until_open = (opens_at - state.clock()).total_seconds()
        wait = expected_wait(stand.number, stand.admitted, sale.terms.admission.admit_per_second, until_open)
    if found == AdmissionState.ADMITTED:
        position = wait = 0
        ticket = sign_ticket(state, member_id, sale.id, Ticket(stand.ticket, stand.ticket_expires_at))
        expires_at = datetime.fromtimestamp(stand.ticket_expires_at, UTC)
    # What is taken is known to the moment, what is paid to the second.
    kept = await state.memory(_count_kept).get(sale.id) if found == AdmissionState.GONE else stand.taken
    held = max(0, stand.taken - kept)
    return AdmissionPublic(
        state=found,
        position=position,
        expected_wait_seconds=wait,
        left=stand.left,
        held=held,
        ticket=ticket,
        ticket_expires_at=expires_at,
        opens_at=opens_at,
        ask_again_seconds=ask_again(found, wait or 0, held),
    )


async def _count_kept(state: State, sale_ids: Sequence[str]) -> list[int]:
    """Units that are paid for."""
    async with state.database.snapshot() as session:
        rows = await session.exec(
            select(Order.sale_id, func.sum(Order.quantity))
            .where(col(Order.sale_id).in_(sale_ids), col(Order.state).in_(PAID_SEAT_STATES))
            .group_by(col(Order.sale_id)),
        )
        counted: dict[str, int] = dict(rows.all())
    return [int(counted.get(sale_id, 0)) for sale_id in sale_ids]
