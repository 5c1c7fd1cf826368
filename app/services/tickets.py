"""Admission tickets: signed, for one member and one sale, good for a short while, for one order.

Whether one was used, the dealer and the key of the orders say.
"""

import hashlib
from dataclasses import dataclass

import jwt

from app.domain.errors import TicketExpired, TicketInvalid, TicketMismatch, TicketMissing, TokenInvalid
from app.services.tokens import ALGORITHM, ISSUER, read_signed
from app.state import State

AUDIENCE = "kaituan-admission"
PURPOSE = "admission ticket"
ISSUED_SECONDS = 60
"""How long a ticket is good that is used at once."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket. `expires_at` is Unix time, in seconds."""

    id: str
    expires_at: int


def sign_ticket(state: State, member_id: str, sale_id: str, ticket: Ticket) -> str:
    """A ticket as its member gets it. The same ticket is signed alike each time."""
    claims = {
        "sub": member_id,
        "sale": sale_id,
        "jti": ticket.id,
        "exp": ticket.expires_at,
        "aud": AUDIENCE,
        "iss": ISSUER,
    }
    return jwt.encode(claims, state.settings.key_for(PURPOSE), algorithm=ALGORITHM)


def issue_ticket(state: State, member_id: str, sale_id: str, request_key: str) -> str:
    """A ticket for one request of a member, at whose entrance we ourselves stand: the same for its repetitions."""
    identity = hashlib.blake2b(f"{member_id} {sale_id} {request_key}".encode(), digest_size=16).hexdigest()
    ticket = Ticket(f"tkt_{identity}", int(state.clock().timestamp()) + ISSUED_SECONDS)
    return sign_ticket(state, member_id, sale_id, ticket)


def read_ticket(state: State, ticket: str | None, member_id: str, sale_id: str) -> str:
    """The id of a member's ticket for a sale. Reads neither rows nor Redis.

    Raises `TicketMissing`, `TicketInvalid`, `TicketMismatch`, `TicketExpired`.
    """
    if ticket is None:
        raise TicketMissing
    # What we signed is what we wrote, but an older version of us may have written something else.
    try:
        claims = read_signed(state.settings.key_for(PURPOSE), ticket)
        ticket_id, expires_at, owner = claims["jti"], claims["exp"], (claims["sub"], claims["sale"])
        meant_for_us = claims["aud"] == AUDIENCE and claims["iss"] == ISSUER
    except (TokenInvalid, ValueError, TypeError, KeyError) as error:
        raise TicketInvalid from error
    if not (meant_for_us and isinstance(expires_at, int) and isinstance(ticket_id, str)):
        raise TicketInvalid
    if owner != (member_id, sale_id):
        raise TicketMismatch
    if expires_at <= state.clock().timestamp():
        raise TicketExpired
    return ticket_id
