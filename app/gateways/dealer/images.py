"""What the rows say of a sale, as it is written to Redis."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypeVar

import orjson

from app.gateways.dealer.keys import Keys
from app.gateways.dealer.pipe import Part

KEEP_AFTER_SALE = timedelta(days=1)
CHUNK = 1000
Command = tuple[Part, ...]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Claim:
    """The places one order was dealt: unit numbers, a seat number, a purchase number, all from 1."""

    order_id: str
    offer_id: str
    units: list[int]
    group_id: str
    seat: int
    member_id: str
    purchase: int
    paid: bool = False

    def packed(self) -> bytes:
        """The claim as it is kept in Redis, under its order's id."""
        return orjson.dumps(
            {
                "offer_id": self.offer_id,
                "units": self.units,
                "group_id": self.group_id,
                "seat": self.seat,
                "member_id": self.member_id,
                "purchase": self.purchase,
                "paid": self.paid,
            },
        )

    @classmethod
    def unpacked(cls, order_id: bytes, packed: bytes) -> "Claim":
        """The claim that was kept under an order's id."""
        return cls(order_id=order_id.decode(), **orjson.loads(packed))


@dataclass(frozen=True, slots=True)
class SaleImage:
    """A sale as the rows have it: what is loaded into Redis, and what Redis is compared with."""

    sale_id: str
    selling: str
    opens_at: datetime
    closes_at: datetime
    member_limit: int
    group_size: int
    stocks: dict[str, int]
    groups: dict[str, tuple[int, datetime]]
    undealt: int
    """How many transactions took places that Redis had not dealt."""
    claims: list[Claim] = field(default_factory=list)
    former: list[str] = field(default_factory=list)
    """Members who had an order that has ended."""


def milliseconds(moment: datetime) -> int:
    """A moment as Redis and the scripts count it."""
    return int(moment.timestamp() * 1000)


def merge(image: SaleImage, in_flight: Sequence[Claim]) -> list[Claim]:
    """The claims in flight whose places the rows do not contradict."""
    if not in_flight:
        return []
    orders, places = {claim.order_id for claim in image.claims}, set(_places(image.claims))
    return [
        claim
        for claim in in_flight
        if claim.order_id not in orders and claim.offer_id in image.stocks and places.isdisjoint(_places([claim]))
    ]


def pack(
    keys: Keys, image: SaleImage, in_flight: Sequence[Claim], now: datetime, *, sure: bool
) -> Iterator[list[Command]]:
    """The commands that write a sale to Redis, in parts. With the last one, its terms, it is loaded."""
    expires = milliseconds(image.closes_at + KEEP_AFTER_SALE)
    tally = _Tally(keys, image)
    yield [("UNLINK", keys.claims, keys.purchases, keys.former)]
    for claims in chunks([*image.claims, *in_flight]):
        for claim in claims:
            tally.add(claim)
        yield [
            *_hash(keys.claims, {claim.order_id: claim.packed() for claim in claims}, expires),
            *_hash(
                keys.purchases, {f"{claim.member_id}:{claim.purchase}": claim.order_id for claim in claims}, expires
            ),
        ]
    for hashes in chunks(list(tally.hashes.items()), CHUNK // 10):
        yield [command for key, fields in hashes for command in (("UNLINK", key), *_hash(key, fields, expires))]
    for bitmaps in chunks(list(tally.bitmaps.items())):
        yield [("SET", key, bytes(bits), "PXAT", expires) for key, bits in bitmaps]
    for members in chunks(list(tally.former)):
        yield [("SADD", keys.former, *members), ("PEXPIREAT", keys.former, expires)]
    terms: dict[str, Part] = {
        "selling": image.selling,
        "opens": milliseconds(image.opens_at),
        "closes": milliseconds(image.closes_at),
        "member_limit": image.member_limit,
        "group_size": image.group_size,
        "expires": expires,
        # How many there are of those who have to be known before anybody is refused.
        "purchases": len(image.claims) + len(in_flight),
        "former": len(tally.former),
        "undealt": image.undealt,
        "loaded": milliseconds(now),
        "sure": int(sure),
    }
    yield [
        ("SET", keys.compared, milliseconds(now), "PXAT", expires),
        *_hash(keys.terms, terms, expires),
        ("UNLINK", keys.loading),
    ]


class _Tally:
    """What claims add up to: the hashes of offers and groups, the bitmaps of units and seats, by key."""

    def __init__(self, keys: Keys, image: SaleImage) -> None:
        self.former = set(image.former)
        self.bitmaps: dict[str, bytearray] = {}
        self.hashes: dict[str, dict[str, Any]] = {}
        self._keys = keys
        for offer_id, stock in image.stocks.items():
            self.hashes[keys.offer(offer_id)] = {"stock": stock, "taken": 0, "low": 0}
            self.bitmaps[keys.units(offer_id)] = bytearray()
        for group_id, (size, deadline_at) in image.groups.items():
            deadline = milliseconds(deadline_at)
            group = {"size": size, "deadline": deadline, "open": 1, "held": 0, "paid": 0}
            self.hashes[keys.group(group_id)] = group
            self.bitmaps[keys.seats(group_id)] = bytearray()

    def add(self, claim: Claim) -> None:
        """Count a claim, and mark its places as taken."""
        if claim.purchase > 1:  # who holds a purchase is known by the first one
            self.former.add(claim.member_id)
        self.hashes[self._keys.offer(claim.offer_id)]["taken"] += len(claim.units)
        for number in claim.units:
            _set_bit(self.bitmaps[self._keys.units(claim.offer_id)], number)
        group = self.hashes.get(self._keys.group(claim.group_id))
        if group is not None:
            group[f"member:{claim.member_id}"] = claim.order_id
            group["paid" if claim.paid else "held"] += 1
            _set_bit(self.bitmaps[self._keys.seats(claim.group_id)], claim.seat)


def _places(claims: Iterable[Claim]) -> Iterator[tuple[str, int]]:
    """The units, the seats and the purchases of claims; ids of different things differ."""
    for claim in claims:
        yield claim.group_id, claim.seat
        yield claim.member_id, claim.purchase
        for number in claim.units:
            yield claim.offer_id, number


def _hash(key: str, fields: Mapping[str, Any], expires: int) -> list[Command]:
    return [("HSET", key, *chain.from_iterable(fields.items())), ("PEXPIREAT", key, expires)]


def _set_bit(bits: bytearray, number: int) -> None:
    """Set the bit of a number (from 1) in a Redis bitmap; the first bit is the highest of its byte."""
    at, bit = divmod(number - 1, 8)
    if at >= len(bits):
        bits.extend(bytes(at + 1 - len(bits)))
    bits[at] |= 0x80 >> bit


def chunks(items: Sequence[Item], size: int = CHUNK) -> Iterator[Sequence[Item]]:
    """Parts of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
