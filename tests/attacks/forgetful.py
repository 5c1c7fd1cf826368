"""A dealer that lies: what stands behind it has to hold alone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from app.gateways.dealer import Claim, ClaimRequest, Dealer, Keys, Pipe

Lapse = Callable[[Pipe, Keys, ClaimRequest], Awaitable[Any]]


async def _units(redis: Pipe, keys: Keys, request: ClaimRequest) -> None:
    offer = keys.offer(request.offer_id)
    await redis.calls([("UNLINK", keys.units(request.offer_id)), ("HSET", offer, "taken", 0, "low", 0)])


async def _seats(redis: Pipe, keys: Keys, request: ClaimRequest) -> None:
    group = keys.group(request.group_id)
    await redis.calls([("UNLINK", keys.seats(request.group_id)), ("HSET", group, "held", 0, "paid", 0)])


LAPSES: dict[str, Lapse] = {
    "units": _units,
    "seats": _seats,
    "purchases": lambda redis, keys, _: redis.call("UNLINK", keys.purchases),
    "members of groups": lambda redis, keys, request: redis.call(
        "HDEL", keys.group(request.group_id), f"member:{request.member_id}"
    ),
    "tickets": lambda redis, keys, _: redis.call("UNLINK", keys.tickets),
    "requests": lambda redis, keys, request: redis.call("UNLINK", keys.request(request.request_key)),
}
"""What it can lose, as after a flush or a failover."""


class _Nothing(dict[str, tuple[int, float]]):
    """Remembers nothing: who remembers that all is sold is not asked any more."""

    def __setitem__(self, key: str, value: tuple[int, float]) -> None:
        pass


class ForgetfulDealer(Dealer):
    """Before every few claims it loses what it knew of one thing."""

    def __init__(self, dealer: Dealer, lapse: str, every: int = 3) -> None:
        super().__init__(dealer.pipe)
        self._lapse = LAPSES[lapse]
        self._every = every
        self._deals = 0
        self.sold_out = _Nothing()

    async def deal(self, request: ClaimRequest, now: datetime) -> tuple[Claim, bool]:
        self._deals += 1
        # A group that is being opened has nothing to forget.
        if self._deals % self._every == 0 and await self.is_loaded(request.sale_id):
            lapse = self._lapse(self.pipe, Keys(request.sale_id), request)
            # Side by side, so that nobody else is dealt anything between the two.
            return (await asyncio.gather(lapse, super().deal(request, now)))[1]
        return await super().deal(request, now)
