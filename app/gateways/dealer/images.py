"""What the rows say of a sale, as it is written to Redis."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

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
    claims: list[Claim] = field(default_factory=list)
    former: list[str] = field(default_factory=list)
    """Members who had an order that has ended."""


def milliseconds(moment: datetime) -> int:
    """A moment as Redis and the scripts count it."""
    return int(moment.timestamp() * 1000)


def merge(image: SaleImage, in_flight: Iterable[Claim]) -> list[Claim]:
    """The claims of the rows, and those in flight whose places the rows do not contradict."""
    known = {claim.order_id for claim in image.claims}
    units = {(claim.offer_id, number) for claim in image.claims for number in claim.units}
    seats = {(claim.group_id, claim.seat) for claim in image.claims}
    return image.claims + [
        claim
        for claim in in_flight
        if claim.order_id not in known
        and claim.offer_id in image.stocks
        and (claim.group_id, claim.seat) not in seats
        and not units.intersection((claim.offer_id, number) for number in claim.units)
    ]


def bitmaps(keys: Keys, image: SaleImage, claims: list[Claim]) -> dict[str, bytes]:
    """Taken units and seats, by key."""
    numbers: dict[str, list[int]] = {}
    for claim in claims:
        numbers.setdefault(keys.units(claim.offer_id), []).extend(claim.units)
        if claim.group_id in image.groups:
            numbers.setdefault(keys.seats(claim.group_id), []).append(claim.seat)
    return {key: bitmap(taken) for key, taken in numbers.items()}


def bitmap(numbers: Sequence[int]) -> bytes:
    """A Redis bitmap with the bit of each number (from 1) set; the first bit is the highest of its byte."""
    data = bytearray((max(numbers) + 7) // 8)
    for number in numbers:
        data[(number - 1) // 8] |= 0x80 >> (number - 1) % 8
    return bytes(data)


def hashes(keys: Keys, image: SaleImage, claims: list[Claim]) -> dict[str, dict[str, str | int]]:
    """Offers, groups, claims and purchases with their counts, by key."""
    found: dict[str, dict[str, str | int]] = {
        keys.offer(offer_id): {"stock": stock, "taken": 0, "low": 0} for offer_id, stock in image.stocks.items()
    }
    for group_id, (size, deadline_at) in image.groups.items():
        found[keys.group(group_id)] = {
            "size": size,
            "deadline": milliseconds(deadline_at),
            "open": 1,
            "held": 0,
            "paid": 0,
        }
    for claim in claims:
        fields = asdict(claim)
        order_id = fields.pop("order_id")
        found.setdefault(keys.claims, {})[order_id] = orjson.dumps(fields).decode()
        found.setdefault(keys.purchases, {})[f"{claim.member_id}:{claim.purchase}"] = order_id
        offer = found[keys.offer(claim.offer_id)]
        offer["taken"] = int(offer["taken"]) + len(claim.units)
        group = found.get(keys.group(claim.group_id))
        if group is not None:
            group[f"member:{claim.member_id}"] = order_id
            paid = "paid" if claim.paid else "held"
            group[paid] = int(group[paid]) + 1
    return found


def pack(keys: Keys, image: SaleImage, claims: list[Claim]) -> list[Command]:
    """The commands that write a sale to Redis, except its terms."""
    expires = milliseconds(image.closes_at + KEEP_AFTER_SALE)
    stale = [keys.claims, keys.purchases, keys.former]
    for offer_id in image.stocks:
        stale += [keys.offer(offer_id), keys.units(offer_id)]
    for group_id in image.groups:
        stale += [keys.group(group_id), keys.seats(group_id)]
    commands: list[Command] = [("UNLINK", *some) for some in chunks(stale)]
    for key, value in bitmaps(keys, image, claims).items():
        commands.append(("SET", key, value, "PXAT", expires))
    for key, mapping in hashes(keys, image, claims).items():
        for items in chunks(list(mapping.items())):
            commands += [("HSET", key, *chain.from_iterable(items)), ("PEXPIREAT", key, expires)]
    for members in chunks(image.former):
        commands += [("SADD", keys.former, *members), ("PEXPIREAT", keys.former, expires)]
    return commands


def pack_terms(
    keys: Keys, image: SaleImage, claims: list[Claim], loaded_at: datetime, *, sure: bool
) -> list[Command]:
    """The commands that write its terms: with them it is loaded."""
    expires = milliseconds(image.closes_at + KEEP_AFTER_SALE)
    terms: Command = (
        *("selling", image.selling, "opens", milliseconds(image.opens_at)),
        *("closes", milliseconds(image.closes_at), "member_limit", image.member_limit),
        *("group_size", image.group_size, "expires", expires),
        # How many there are of those who have to be known before anybody is refused.
        *("purchases", len({(claim.member_id, claim.purchase) for claim in claims})),
        *("former", len(set(image.former)), "loaded", milliseconds(loaded_at), "sure", int(sure)),
    )
    return [("HSET", keys.terms, *terms), ("PEXPIREAT", keys.terms, expires)]


def chunks(items: list[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    """Parts of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
