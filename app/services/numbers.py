"""Phone numbers as they are kept: sealed for their member, and with a digest to find them by."""

import logging

from app.gateways.sealing import SealBroken, blind_index, seal, unseal
from app.models import Phone
from app.state import State

log = logging.getLogger(__name__)
SEAL, INDEX = "phone number", "phone index"


def seal_number(state: State, member_id: str, number: str) -> str:
    """A member's number in E.164, as only `read_number` reads it."""
    return seal(state.settings.key_for(SEAL), number, member_id)


def read_number(state: State, phone: Phone) -> str | None:
    """The number that was sealed; None when SECRET_KEY is not what it was then."""
    try:
        return unseal(state.settings.key_for(SEAL), phone.number, phone.member_id)
    except SealBroken:
        log.warning("a phone number cannot be read: it was sealed with another SECRET_KEY")
        return None


def number_digest(state: State, number: str) -> str:
    """What a number in E.164 is found by."""
    return blind_index(state.settings.key_for(INDEX), number)
