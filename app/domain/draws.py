"""The draw of a sale: an order that nobody can know before the seed is told, and everybody can compute after."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.domain.entries import EntryState

MAX_WEIGHT = 5
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Lot:
    """An entry as it is drawn: how much of which offer, and its weight."""

    id: str
    offer_id: str
    quantity: int
    weight: int


def hash_seed(seed: bytes) -> str:
    """What is published of a seed before the draw."""
    return hashlib.sha256(seed).hexdigest()


def hash_lots(lots: Iterable[Lot]) -> str:
    """One number for all entries: another one when any of them is changed, added or taken away."""
    lines = sorted(f"{lot.id} {lot.offer_id} {lot.quantity} {lot.weight}\n" for lot in lots)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def draw(seed: bytes, lots: Sequence[Lot]) -> list[Lot]:
    """The drawn order.

    An entry of weight w has w numbers, HMAC-SHA256 of the seed, and is drawn by its smallest. All numbers are
    alike, so that this is drawing w tickets each from one urn, and what is drawn twice counts once: sampling by
    weight without replacement (Efraimidis and Spirakis 2006), in integers.
    """
    every = hash_lots(lots)

    def smallest(lot: Lot) -> bytes:
        tickets = (f"{every}{lot.id}:{number}" for number in range(lot.weight))
        return min(hmac.digest(seed, ticket.encode(), "sha256") for ticket in tickets)

    return sorted(lots, key=lambda lot: (smallest(lot), lot.id))


def winners(drawn: Iterable[Lot], stocks: Mapping[str, int]) -> list[Lot]:
    """Whom the stock suffices for, in the drawn order; who asks for more than is left is passed over."""
    left, won = dict(stocks), []
    for lot in drawn:
        if lot.quantity <= left[lot.offer_id]:
            left[lot.offer_id] -= lot.quantity
            won.append(lot)
    return won


def weigh(past: Iterable[EntryState], max_weight: int) -> int:
    """The weight of a member whose earlier draws ended like that, newest first: one more for every draw that was
    lost since they won last, up to the sale's limit.
    """
    losses = 0
    for state in past:
        if state != EntryState.LOST:
            break
        losses += 1
    return min(1 + losses, max_weight)
