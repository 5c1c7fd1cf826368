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
KEEP_AFTER_LOAD = timedelta(hours=1)
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
    version: str
    """Another one whenever the sale is changed: its terms, its offers, its state."""
    undealt: int
    """How many transactions took places that Redis had not dealt."""
    claims: list[Claim] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Offers and groups that people wait for."""
    former: list[str] = field(default_factory=list)
    """Members who had an order that has ended."""


def milliseconds(moment: datetime) -> int:
    """A moment as Redis and the scripts count it."""
    return int(moment.timestamp() * 1000)


def merge(image: SaleImage, in_flight: Sequence[Claim]) -> list[Claim]:
    """The claims in flight whose places the rows do not contradict."""
    wanted = set(_places(in_flight))
    taken = {place for place in _places(image.claims) if place in wanted} if wanted else set()
    return [claim for claim in in_flight if claim.offer_id in image.stocks and taken.isdisjoint(_places([claim]))]


def pack(
    keys: Keys, image: SaleImage, in_flight: Sequence[Claim], now: datetime, *, sure: bool
) -> Iterator[list[Command]]:
    """The commands that write a sale to Redis, in parts. With the last one, its terms, it is loaded."""
    # A sale that closed long ago is kept long enough to refuse the claim it was loaded for.
    expires = milliseconds(max(image.closes_at + KEEP_AFTER_SALE, now + KEEP_AFTER_LOAD))
    seated: dict[str, list[Claim]] = {}
    taken: dict[str, list[int]] = {offer_id: [] for offer_id in image.stocks}
    former = set(image.former)
    yield [("UNLINK", keys.claims, keys.purchases, keys.former, keys.lines)]
    for claims in chunks([*image.claims, *in_flight]):
        for claim in claims:
            taken[claim.offer_id] += claim.units
            if claim.group_id in image.groups:
                seated.setdefault(claim.group_id, []).append(claim)
            if claim.purchase > 1:  # who holds a purchase is known by the first one
                former.add(claim.member_id)
        orders = {claim.order_id: claim.packed() for claim in claims}
        purchases = {f"{claim.member_id}:{claim.purchase}": claim.order_id for claim in claims}
        yield [*_hash(keys.claims, orders, expires), *_hash(keys.purchases, purchases, expires)]
    for offer_id, stock in image.stocks.items():
        numbers = taken[offer_id]
        yield [
            *_hash(keys.offer(offer_id), {"stock": stock, "taken": len(numbers), "low": 0}, expires),
            ("SET", keys.units(offer_id), _bitmap(numbers), "PXAT", expires),
        ]
    for group_ids in chunks(list(image.groups), CHUNK // 10):
        yield [
            command
            for group_id in group_ids
            for command in _pack_group(keys, group_id, image, seated.get(group_id, []), expires)
        ]
    for members in chunks(list(former)):
        yield [("SADD", keys.former, *members), ("PEXPIREAT", keys.former, expires)]
    for ids in chunks(image.lines):
        yield [("SADD", keys.lines, *ids), ("PEXPIREAT", keys.lines, expires)]
    terms: dict[str, Part] = {
        "selling": image.selling,
        "opens": milliseconds(image.opens_at),
        "closes": milliseconds(image.closes_at),
        "member_limit": image.member_limit,
        "group_size": image.group_size,
        "expires": expires,
        # How many there are of those who have to be known before anybody is refused.
        "purchases": len(image.claims) + len(in_flight),
        "former": len(former),
        "lines": len(image.lines),
        "version": image.version,
        "undealt": image.undealt,
        "loaded": milliseconds(now),
        "sure": int(sure),
    }
    yield [
        ("SET", keys.compared, milliseconds(now), "PXAT", expires),
        *_hash(keys.terms, terms, expires),
        ("UNLINK", keys.loading),
    ]


def _pack_group(
    keys: Keys, group_id: str, image: SaleImage, claims: Sequence[Claim], expires: int
) -> list[Command]:
    size, deadline_at = image.groups[group_id]
    paid = sum(claim.paid for claim in claims)
    counts: dict[str, Part] = {"held": len(claims) - paid, "paid": paid}
    members: dict[str, Part] = {f"member:{claim.member_id}": claim.order_id for claim in claims}
    fields = {"size": size, "deadline": milliseconds(deadline_at), "open": 1} | counts | members
    return [
        ("UNLINK", keys.group(group_id)),
        *_hash(keys.group(group_id), fields, expires),
        ("SET", keys.seats(group_id), _bitmap([claim.seat for claim in claims]), "PXAT", expires),
    ]


def _places(claims: Iterable[Claim]) -> Iterator[tuple[str, int]]:
    """The units, the seats and the purchases of claims; ids of different things differ."""
    for claim in claims:
        yield claim.group_id, claim.seat
        yield claim.member_id, claim.purchase
        for number in claim.units:
            yield claim.offer_id, number


def _hash(key: str, fields: Mapping[str, Any], expires: int) -> list[Command]:
    return [("HSET", key, *chain.from_iterable(fields.items())), ("PEXPIREAT", key, expires)]


def _bitmap(numbers: Sequence[int]) -> bytes:
    """A Redis bitmap with the bit of each number (from 1) set; the first bit is the highest of its byte."""
    bits = bytearray((max(numbers, default=0) + 7) // 8)
    for number in numbers:
        bits[(number - 1) // 8] |= 0x80 >> (number - 1) % 8
    return bytes(bits)


def chunks(items: Sequence[Item], size: int = CHUNK) -> Iterator[Sequence[Item]]:
    """Parts of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
