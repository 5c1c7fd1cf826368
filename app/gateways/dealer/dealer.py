"""Typed faces of the scripts in `lua/`, and the loading of a sale."""

import asyncio
import json
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.domain.errors import (
    AlreadyInGroup,
    Busy,
    DealerUnavailable,
    GroupClosed,
    GroupFull,
    KaituanError,
    MemberLimit,
    SaleEnded,
    SaleNotOpen,
    SalePaused,
    SoldOut,
)
from app.gateways.dealer.images import Claim, SaleImage, bitmaps, hashes, merge, milliseconds
from app.gateways.dealer.keys import Keys

LUA = Path(__file__).parent / "lua"
WATCH_KEY = "kaituan:watch"
"""The one key without an end: the worker owns it."""
REQUEST_TTL_MS = 3_600_000
CLOSED_TTL_MS = 600_000
"""How long a closed group is remembered, so that claims on their way to it are refused without a load."""
KEEP_AFTER_SALE = timedelta(days=1)
LOADING_LOCK_MS = 10_000
LOADING_WAIT_SECONDS = 5.0
IN_FLIGHT_SECONDS = 30
"""A claim that was dealt this long ago and has no order is dead: its process did not live to commit."""
CHUNK = 1000
SOCKET_TIMEOUT_SECONDS = 2
CONNECTIONS = 32


class Unloaded(Exception):
    """The sale, offer or group is not in Redis; load the sale and ask again."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a member asks for. `new_deadline_at` opens the group `group_id`; None joins it."""

    sale_id: str
    order_id: str
    member_id: str
    offer_id: str
    quantity: int
    group_id: str
    new_deadline_at: datetime | None
    request_key: str


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Seats of a group: `held` wait for a payment, `paid` have one."""

    size: int
    held: int
    paid: int


@dataclass(frozen=True, slots=True)
class OfferCounts:
    """Units of an offer: taken by orders, of so many."""

    stock: int
    taken: int

    @property
    def left(self) -> int:
        """Units that can still be claimed."""
        return self.stock - self.taken


class Dealer:
    """Typed faces of the scripts in `lua/`. Raises `DealerUnavailable` when Redis does not answer."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._deal = client.register_script((LUA / "deal.lua").read_text())
        self._release = client.register_script((LUA / "release.lua").read_text())
        self._mark_paid = client.register_script((LUA / "mark_paid.lua").read_text())
        self._close_group = client.register_script((LUA / "close_group.lua").read_text())
        self._unlock = client.register_script((LUA / "unlock.lua").read_text())

    async def deal(self, request: ClaimRequest, now: datetime) -> Claim:
        """Take the places of a claim, or raise the refusal and take none.

        The same `request_key` is dealt the same places, under the order id it had first. Raises `SaleNotOpen`,
        `SalePaused`, `SaleEnded`, `GroupClosed`, `AlreadyInGroup`, `GroupFull`, `MemberLimit`, `SoldOut`;
        `Unloaded` when the sale must be loaded first; `DealerUnavailable`.
        """
        keys = Keys(request.sale_id)
        names = [
            *(keys.terms, keys.claims, keys.pending, keys.purchases),
            *(keys.offer(request.offer_id), keys.units(request.offer_id), keys.request(request.request_key)),
            *(keys.group(request.group_id), keys.seats(request.group_id)),
        ]
        deadline = "" if request.new_deadline_at is None else milliseconds(request.new_deadline_at)
        arguments = [
            *(milliseconds(now), request.order_id, request.member_id, request.offer_id, request.quantity),
            *(request.group_id, deadline, REQUEST_TTL_MS),
        ]
        reply = await self._twice(lambda: self._deal(keys=names, args=arguments))
        verdict, *rest = [part.decode() for part in reply]
        if verdict == "taken":
            return Claim(order_id=rest[0], **json.loads(rest[1]))
        raise _refusal(verdict, rest)

    async def release(self, sale_id: str, order_id: str, offer_id: str, group_id: str) -> bool:
        """Give back the places of an order; False when it holds none."""
        keys = Keys(sale_id)
        names = [
            *(keys.claims, keys.pending, keys.purchases, keys.offer(offer_id), keys.units(offer_id)),
            *(keys.group(group_id), keys.seats(group_id)),
        ]
        return bool(await self._twice(lambda: self._release(keys=names, args=[order_id, CLOSED_TTL_MS])))

    async def mark_paid(self, sale_id: str, order_id: str, group_id: str) -> bool:
        """Count an order's seat as paid; False when it was, or holds no seat."""
        keys = Keys(sale_id)
        names = [keys.claims, keys.group(group_id)]
        return bool(await self._twice(lambda: self._mark_paid(keys=names, args=[order_id])))

    async def close_group(self, sale_id: str, group_id: str) -> None:
        """Deal no more seats of a group."""
        keys = Keys(sale_id)
        names = [keys.group(group_id), keys.seats(group_id)]
        await self._twice(lambda: self._close_group(keys=names, args=[CLOSED_TTL_MS]))

    async def forget(self, sale_id: str) -> None:
        """Have the sale loaded from the rows before the next claim on it."""
        await self._twice(lambda: self.client.unlink(Keys(sale_id).terms))

    async def is_loaded(self, sale_id: str) -> bool:
        """Whether claims on this sale can be dealt."""
        return bool(await self._twice(lambda: self.client.exists(Keys(sale_id).terms)))

    async def counts(
        self, sale_id: str, offer_ids: Sequence[str], group_ids: Sequence[str] = ()
    ) -> tuple[dict[str, OfferCounts], dict[str, GroupCounts]]:
        """The live counts of offers and groups, by id; what Redis does not know is left out."""
        keys = Keys(sale_id)
        async with self.client.pipeline(transaction=False) as pipe:
            for offer_id in offer_ids:
                pipe.hmget(keys.offer(offer_id), ["stock", "taken"])
            for group_id in group_ids:
                pipe.hmget(keys.group(group_id), ["size", "held", "paid"])
            rows = await self._once(pipe.execute()) if offer_ids or group_ids else []
        offers, groups = rows[: len(offer_ids)], rows[len(offer_ids) :]
        return (
            {key: OfferCounts(*map(int, row)) for key, row in zip(offer_ids, offers, strict=True) if row[0]},
            {key: GroupCounts(*map(int, row)) for key, row in zip(group_ids, groups, strict=True) if row[0]},
        )

    async def overdue(self, sale_id: str, now: datetime, limit: int = CHUNK) -> list[Claim]:
        """Claims dealt more than `IN_FLIGHT_SECONDS` ago that nobody has looked at since."""
        keys = Keys(sale_id)
        until = milliseconds(now - timedelta(seconds=IN_FLIGHT_SECONDS))
        ids = await self._twice(lambda: self.client.zrangebyscore(keys.pending, "-inf", until, 0, limit))
        return await self._claims(keys, ids)

    async def settle(self, sale_id: str, order_ids: Iterable[str]) -> None:
        """Stop watching claims whose orders were found."""
        ids = list(order_ids)
        if ids:
            await self._twice(lambda: self.client.zrem(Keys(sale_id).pending, *ids))

    async def ping(self) -> None:
        """Raise `DealerUnavailable` when Redis does not answer."""
        await self._twice(self.client.ping)

    async def was_left_alone(self, now: datetime, seconds: float) -> bool:
        """Whether Redis was restarted, replaced or emptied, or nobody compared it with the rows for so long: its
        data may be old.
        """
        known = await self._twice(lambda: self.client.hmget(WATCH_KEY, ["server", "seen"]))
        if None in known or known[0].decode() != await self._run_id():
            return True
        return not 0 <= milliseconds(now) - int(known[1]) <= seconds * 1000

    async def note_watch(self, now: datetime) -> None:
        """Note, in its own data, which server this is and when it was compared: a flush takes the note away."""
        note: dict[Any, Any] = {"server": await self._run_id(), "seen": milliseconds(now)}
        await self._twice(lambda: self.client.hset(WATCH_KEY, mapping=note))

    async def _run_id(self) -> str:
        return str((await self._twice(lambda: self.client.info("server")))["run_id"])

    async def begin_load(self, sale_id: str, now: datetime) -> tuple[str, list[Claim]] | None:
        """Stop dealing for a sale and take the right to load it.

        Returns a token for `finish_load` and the claims that were dealt a moment ago and may not have their
        rows yet. Returns None when somebody else has just loaded it.
        """
        keys, token = Keys(sale_id), token_hex(8)
        give_up_at = asyncio.get_running_loop().time() + LOADING_WAIT_SECONDS
        while not await self._twice(lambda: self.client.set(keys.loading, token, nx=True, px=LOADING_LOCK_MS)):
            if asyncio.get_running_loop().time() > give_up_at:
                raise Busy
            await asyncio.sleep(0.02)
            if await self.is_loaded(sale_id):
                return None
        await self.forget(sale_id)
        since = milliseconds(now - timedelta(seconds=IN_FLIGHT_SECONDS))
        ids = await self._twice(lambda: self.client.zrangebyscore(keys.pending, since, "+inf"))
        return token, await self._claims(keys, ids)

    async def finish_load(self, token: str, image: SaleImage, in_flight: Iterable[Claim]) -> None:
        """Replace what Redis has of a sale by its rows and the claims in flight, and deal again."""
        keys = Keys(image.sale_id)
        expires = image.closes_at + KEEP_AFTER_SALE
        claims = merge(image, in_flight)
        stale = [keys.claims, keys.purchases]
        for offer_id in image.stocks:
            stale += [keys.offer(offer_id), keys.units(offer_id)]
        for group_id in image.groups:
            stale += [keys.group(group_id), keys.seats(group_id)]
        try:
            async with self.client.pipeline(transaction=False) as pipe:
                pipe.unlink(*stale)
                for key, value in bitmaps(keys, image, claims).items():
                    pipe.set(key, value, pxat=expires)
                for key, mapping in hashes(keys, image, claims).items():
                    items = list(mapping.items())
                    for start in range(0, len(items), CHUNK):
                        pipe.hset(key, mapping=dict(items[start : start + CHUNK]))
                        pipe.pexpireat(key, expires)
                        if len(pipe.command_stack) > CHUNK:
                            pipe.pexpire(keys.loading, LOADING_LOCK_MS)
                            await self._once(pipe.execute())
                terms: dict[Any, Any] = {
                    "selling": image.selling,
                    "opens": milliseconds(image.opens_at),
                    "closes": milliseconds(image.closes_at),
                    "member_limit": image.member_limit,
                    "group_size": image.group_size,
                    "expires": milliseconds(expires),
                }
                pipe.hset(keys.terms, mapping=terms)
                pipe.pexpireat(keys.terms, expires)
                await self._once(pipe.execute())
        finally:
            await self._once(self._unlock(keys=[keys.loading], args=[token]))

    async def _claims(self, keys: Keys, ids: list[bytes]) -> list[Claim]:
        if not ids:
            return []
        packed = await self._twice(
            lambda: cast("Awaitable[list[bytes | None]]", self.client.hmget(keys.claims, ids))
        )
        gone = [id_ for id_, claim in zip(ids, packed, strict=True) if claim is None]
        if gone:
            await self._twice(lambda: self.client.zrem(keys.pending, *gone))
        return [
            Claim(order_id=id_.decode(), **json.loads(claim))
            for id_, claim in zip(ids, packed, strict=True)
            if claim is not None
        ]

    async def _twice(self, call: Any) -> Any:
        """Run an idempotent call, and once more when its answer was lost."""
        try:
            return await call()
        except (RedisConnectionError, RedisTimeoutError, OSError):
            return await self._once(call())
        except RedisError as error:
            raise DealerUnavailable from error

    async def _once(self, awaitable: Any) -> Any:
        try:
            return await awaitable
        except (RedisError, OSError) as error:
            raise DealerUnavailable from error


def open_client(url: str) -> Redis:
    """A client for scripts and reads. It does not retry by itself: a lost answer is not a lost command."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=SOCKET_TIMEOUT_SECONDS,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def _refusal(verdict: str, rest: list[str]) -> KaituanError | Unloaded:
    detail = int(rest[0]) if rest else 0
    match verdict:
        case "unloaded":
            return Unloaded()
        case "sale_not_open":
            return SaleNotOpen(opens_at=datetime.fromtimestamp(detail / 1000).astimezone().isoformat())
        case "sold_out":
            return SoldOut(left=detail)
        case "member_limit":
            return MemberLimit(limit=detail)
    simple: dict[str, type[KaituanError]] = {
        error.code: error for error in (SaleEnded, SalePaused, GroupClosed, GroupFull, AlreadyInGroup)
    }
    return simple[verdict]()
