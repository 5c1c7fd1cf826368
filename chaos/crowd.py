"""The members: they claim, pay, cancel or forget, and repeat what was not answered, with the same key."""

import asyncio
import random
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from bench.claimants import mint
from bench.rows import PRICE, Sale, seeded_id
from chaos.ledger import Intention, Ledger

TIMEOUT = httpx.Timeout(8.0, connect=1.0)
PAUSE_SECONDS = 0.05
LOOK_SECONDS = 0.2
MOST_PAUSE_SECONDS = 0.3
"""Members are less patient than `Retry-After` asks them to be."""
PATIENCE_SECONDS = 40.0
REGULARS = 5000
"""So many members live again and again; the others come once."""
JOINING, PAYING, CANCELLING, ASKING_AGAIN = 0.75, 0.6, 0.15, 0.1
"""Shares of those who may."""
UNAVAILABLE, TAKEN = httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.CREATED
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    headers: dict[str, str]


def members(first: int, last: int) -> list[Member]:
    """Seeded members, logged in."""
    tokens = [header.decode().strip().partition(": ")[2] for header in mint(first, last)]
    return [
        Member(seeded_id("mem", number), {"authorization": token})
        for number, token in zip(range(first, last), tokens, strict=True)
    ]


@dataclass(slots=True)
class Tally:
    """What happened to requests."""

    acknowledged_at: list[float] = field(default_factory=list)
    unavailable: int = 0
    without_retry_after: int = 0
    unanswered: int = 0
    """Requests whose connection ended before an answer came."""
    timed_out: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Answers that should never be given."""


class Crowd:
    """Members, and the API processes they ask by turns."""

    def __init__(self, urls: list[str], crowd: list[Member], ledger: Ledger, seed: int) -> None:
        self.urls = urls
        self.out_of_turn: set[str] = set()
        self.ledger = ledger
        self.tally = Tally()
        self.random = random.Random(seed)
        self.joinable: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=200))
        """Groups that somebody opened, by their sale."""
        self._crowd = crowd
        self._regulars = min(REGULARS, len(crowd) // 4)
        self._next = count(self._regulars)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200, keepalive_expiry=5)
        self.http = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False)

    def newcomer(self) -> Member:
        """Somebody who has not been here yet."""
        return self._crowd[next(self._next)]

    def regular(self) -> Member:
        """Somebody who comes again and again."""
        return self._crowd[self.random.randrange(self._regulars)]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def acknowledged(self) -> int:
        """How many claims were acknowledged so far."""
        return len(self.tally.acknowledged_at)

    def acknowledged_since(self, moment: float) -> list[float]:
        """When claims were acknowledged after a moment, in order."""
        return self.tally.acknowledged_at[bisect_right(self.tally.acknowledged_at, moment) :]

    async def acknowledged_after(self, moment: float) -> float | None:
        """Seconds until the next claim was acknowledged; None when none was for so long."""
        await self.until(lambda: bool(self.acknowledged_since(moment)), moment - self.now + PATIENCE_SECONDS)
        return next((at - moment for at in self.acknowledged_since(moment)), None)

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> None:
        """Wait for something to be so, but not for ever."""
        give_up_at = self.now + patience
        while not condition() and self.now < give_up_at:
            await asyncio.sleep(0.01)

    async def claim(self, member: Member, sale: Sale, group_id: str | None) -> Json | None:
        """Open a group or join one, until the answer is definite. Returns a 201's content."""
        path = f"/v1/groups/{group_id}/seats" if group_id else f"/v1/sales/{sale.id}/groups"
        intention = Intention(member.id, sale.id, path, sale.offer_id, uuid4().hex)
        self.ledger.intentions.append(intention)
        reply = await self._insist(member, intention)
        if reply is None:
            return None
        self._note(intention, reply)
        if intention.answer and self.random.random() < ASKING_AGAIN:
            again = await self._insist(member, intention)
            if again is not None and again.text != intention.answer:
                intention.otherwise = f"{again.status_code} {again.text}"
        return reply.json() if intention.answer else None

    async def _insist(self, member: Member, intention: Intention) -> httpx.Response | None:
        body = {"offer_id": intention.offer_id, "quantity": 1}
        return await self._repeat(intention.path, member, intention.key, body)

    async def _repeat(self, path: str, member: Member, key: str, body: Json | None) -> httpx.Response | None:
        """Post the same until the answer is definite; None when it was not for so long."""
        give_up_at = self.now + PATIENCE_SECONDS
        headers = member.headers | {"idempotency-key": key}
        while self.now < give_up_at:
            reply = await self.ask("POST", path, headers=headers, json=body)
            if reply is not None and reply.status_code != UNAVAILABLE:
                return reply
            await asyncio.sleep(PAUSE_SECONDS if reply is None else self._pause(reply))
        return None

    def _pause(self, reply: httpx.Response) -> float:
        self.tally.unavailable += 1
        asked = reply.headers.get("retry-after")
        self.tally.without_retry_after += asked is None
        return min(float(asked or 1), MOST_PAUSE_SECONDS) * self.random.uniform(0.5, 1)

    def _note(self, intention: Intention, reply: httpx.Response) -> None:
        if reply.status_code == TAKEN:
            intention.answer = reply.text
            self.tally.acknowledged_at.append(self.now)
            return
        code = str(reply.json().get("code")) if "json" in reply.headers.get("content-type", "") else reply.text
        if 400 <= reply.status_code < 500:  # noqa: PLR2004 - a definite refusal
            intention.refusal = code
        else:
            self.tally.faults[f"{reply.status_code} {code}"] += 1

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request to one of the processes; None when no answer came."""
        urls = [url for url in self.urls if url not in self.out_of_turn] or self.urls
        try:
            return await self.http.request(method, f"{self.random.choice(urls)}{path}", **options)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None
        except httpx.TimeoutException:
            self.tally.timed_out += 1
            return None
        except httpx.HTTPError:
            self.tally.unanswered += 1
            return None

    async def do(self, path: str, member: Member, body: Json | None = None) -> httpx.Response | None:
        """Do something else than claim, again and again until it is answered."""
        reply = await self._repeat(path, member, uuid4().hex, body)
        if reply is not None and reply.is_server_error:
            self.tally.faults[f"{reply.status_code} {path}"] += 1
        return reply

    async def shop(self, sale: Sale) -> tuple[Member, str] | None:
        """Open a group or join one that somebody opened. Returns who has now which order."""
        joinable = self.joinable[sale.id]
        group_id = joinable.popleft() if joinable and self.random.random() < JOINING else None
        member = self.regular()
        taken = await self.claim(member, sale, group_id)
        if taken is None:
            return None
        if group_id is None:
            joinable.extend([taken["group"]["id"]] * 3)
        return member, taken["order"]["id"]

    async def live(self, sale: Sale, late_seconds: float) -> None:
        """Shop, then pay in one of the ways people and providers have, or cancel, or forget it."""
        bought = await self.shop(sale)
        fate = self.random.random()
        if bought and fate < PAYING:
            await self._pay(*bought, late_seconds)
        elif bought and fate < PAYING + CANCELLING:
            await self.do(f"/v1/orders/{bought[1]}/cancel", bought[0])

    async def _pay(self, member: Member, order_id: str, late_seconds: float) -> None:
        started = await self.do(f"/v1/orders/{order_id}/payments", member, {"provider": "sandbox"})
        if started is None or started.status_code != TAKEN:
            return
        wish: Json = self.random.choice(
            [
                *({}, {}, {}, {"duplicates": 3}, {"reorder": True}, {"duplicates": 2, "reorder": True}),
                *({"delay_seconds": 1}, {"delay_seconds": late_seconds}, {"drop": True}, {"amount": PRICE - 1}),
                *({"refuse": True}, {"refund_failures": 1}),
            ]
        )
        path = httpx.URL(started.json()["pay_url"]).path
        await self.do(path, member, wish)
        if "refuse" in wish:
            await self.do(path, member, {})

    @asynccontextmanager
    async def busy(self, *ways: tuple[int, Callable[[], Awaitable[object]]]) -> AsyncIterator[None]:
        """So many of them do this again and again, for the time of the context, each to its end."""
        stopping = False

        async def go_on(way: Callable[[], Awaitable[object]]) -> None:
            while not stopping:
                await way()

        going = [asyncio.create_task(go_on(way)) for size, way in ways for _ in range(size)]
        try:
            yield
        finally:
            stopping = True
            await asyncio.gather(*going)

    @asynccontextmanager
    async def balanced(self) -> AsyncIterator[None]:
        """Ask only processes that say they are ready, as a balancer would see to, for the time of the context."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            self.out_of_turn.clear()

    async def _look(self) -> None:
        while True:
            for url in self.urls:
                try:
                    ready = (await self.http.get(f"{url}/readyz")).is_success
                except httpx.HTTPError:
                    ready = False
                if ready:
                    self.out_of_turn.discard(url)
                else:
                    self.out_of_turn.add(url)
            await asyncio.sleep(LOOK_SECONDS)

    async def rush(self, sale: Sale, buyers: int, at_once: int = 60) -> None:
        """So many want one unit each."""
        gate = asyncio.Semaphore(at_once)

        async def buy() -> None:
            async with gate:
                await self.claim(self.newcomer(), sale, None)

        await asyncio.gather(*(buy() for _ in range(buyers)))

    async def buy_the_rest(self, sale: Sale) -> None:
        """Buy what came back after the rush was told that everything was gone."""
        while await self.claim(self.newcomer(), sale, None) is not None:
            pass

    async def close(self) -> None:
        """Hang up."""
        with suppress(RuntimeError):
            await self.http.aclose()
