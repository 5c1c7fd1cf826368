"""What an attack has at hand: a crowd of members, and volleys of requests that arrive in the same moment."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
from sqlalchemy import text

from app.state import State
from app.workers import sandbox as cashier
from tests.http.test_payment_hook import HOOK, Payment
from tests.service import Member, Sale, Service

FOREVER = 30 * 24 * 3600
HELD_BACK_SECONDS = 0.02
UNKNOWN = httpx.codes.SERVICE_UNAVAILABLE
Job = Callable[[State, datetime], Awaitable[int]]


class Outcome(NamedTuple):
    """Whether the attacker got what they wanted, and whether whoever may have something got it: an attack that
    only failed to be heard was not repelled.
    """

    stolen: bool
    served: bool
    seen: tuple[int, ...] = ()
    """What it was told by, for who reads a failure."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send in a volley."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    def encoded(self, host: str) -> bytes:
        """The request as it is sent. The connection is for it alone."""
        headers = {"host": host, "connection": "close", "content-length": str(len(self.body))} | self.headers
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def post(path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Call:
    """A POST of JSON, with an Idempotency-Key: a new one unless told otherwise."""
    given = {"idempotency-key": key or uuid4().hex} | headers
    if body is None:
        return Call(path, headers=given)
    return Call(path, json.dumps(body).encode(), given | {"content-type": "application/json"})


async def fire(url: str, calls: Sequence[Call], *meanwhile: Awaitable[Any]) -> list[httpx.Response]:
    """Send requests so that they arrive together: each waits on a connection of its own for its last byte, then
    all last bytes follow. `meanwhile` runs beside them. An answer of 503 has its request sent again, as clients do.
    """
    base = httpx.URL(url)
    lines = await asyncio.gather(*(asyncio.open_connection(base.host, base.port) for _ in calls))
    requests = [call.encoded(base.netloc.decode()) for call in calls]
    for (_, writer), request in zip(lines, requests, strict=True):
        writer.write(request[:-1])
    await asyncio.gather(*(writer.drain() for _, writer in lines))
    await asyncio.sleep(HELD_BACK_SECONDS)
    for (_, writer), request in zip(lines, requests, strict=True):
        writer.write(request[-1:])
    reading = asyncio.gather(*(_answer(*line) for line in lines))
    answers: list[httpx.Response] = list((await asyncio.gather(reading, *meanwhile))[0])
    unknown = [number for number, answer in enumerate(answers) if answer.status_code == UNKNOWN]
    if unknown:
        for number, answer in zip(unknown, await fire(url, [calls[number] for number in unknown]), strict=True):
            answers[number] = answer
    return answers


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> httpx.Response:
    head, _, content = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status, *lines = head.decode().split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    answer = httpx.Response(int(status.split()[1]), headers=headers, content=content)
    assert answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR, "no attack may break the service"
    return answer


def won(answers: Iterable[httpx.Response]) -> list[httpx.Response]:
    """The answers that gave what was asked for."""
    return [answer for answer in answers if answer.is_success]


@dataclass(slots=True)
class Arena:
    """The service under attack, and those who attack it. `twin` is another session of the first member."""

    service: Service
    members: list[Member]
    twin: Member

    @property
    def me(self) -> Member:
        return self.members[0]

    @property
    def others(self) -> list[Member]:
        return self.members[1:]

    @property
    def calls(self) -> int:
        """How many requests make a volley: one for each member."""
        return len(self.members)

    def sessions(self, count: int | None = None) -> list[Member]:
        """The two sessions of the first member, by turns, one for each call."""
        return [(self.me, self.twin)[number % 2] for number in range(count or self.calls)]

    async def sale(self, **terms: Any) -> Sale:
        """A sale whose deadlines no other attack reaches by turning the clock."""
        return await self.service.sale(**{"group_ttl_seconds": FOREVER, "hold_ttl_seconds": FOREVER} | terms)

    async def fire(self, calls: Iterable[Call], *meanwhile: Awaitable[Any]) -> list[httpx.Response]:
        """As `fire`, at this service."""
        return await fire(self.service.url, list(calls), *meanwhile)

    async def ask(self, call: Call) -> Any:
        """Send one request that has to succeed; returns its answer's JSON."""
        (answer,) = await self.fire([call])
        assert answer.is_success, answer.text
        return answer.json()

    def open(self, member: Member, sale: Sale, key: str | None = None, **body: Any) -> Call:
        """Open a group, with the sale's first offer unless told otherwise."""
        return post(f"/v1/sales/{sale.id}/groups", {"offer_id": sale.offer} | body, key=key, **member.headers)

    def join(self, member: Member, sale: Sale, group_id: str, key: str | None = None, **body: Any) -> Call:
        """Join a group, with the sale's first offer unless told otherwise."""
        return post(f"/v1/groups/{group_id}/seats", {"offer_id": sale.offer} | body, key=key, **member.headers)

    def cancel(self, member: Member, order_id: str) -> Call:
        return post(f"/v1/orders/{order_id}/cancel", **member.headers)

    def start_payment(self, member: Member, order_id: str, key: str | None = None) -> Call:
        return post(f"/v1/orders/{order_id}/payments", {"provider": "sandbox"}, key=key, **member.headers)

    def pay(self, pay_url: str, **wish: Any) -> Call:
        """Pay at the cashier."""
        return post(httpx.URL(pay_url).path, wish)

    def notice(self, payment: Payment, **changes: Any) -> Call:
        """Tell the hook that a payment was captured, as the cashier would, with changes."""
        body = payment.notice(**changes)
        headers = {name: str(value) for name, value in payment.signature(body).items()}
        return Call(HOOK, body, headers | {"content-type": "application/json"})

    def ops(self, path: str, body: Any = None, *, method: str = "POST", key: str | None = None) -> Call:
        """Call an operators' route; `key` is the operator's key, if another."""
        call = post(f"/v1/ops/{path}", body, **{"x-api-key": key or self.service.operator_key})
        return Call(call.path, call.body, call.headers, method)

    async def seats(self, sale: Sale, count: int) -> list[dict[str, Any]]:
        """The orders of the first members, all in one group, unpaid."""
        first = await self.ask(self.open(self.members[0], sale))
        joins = [self.join(member, sale, first["group"]["id"]) for member in self.members[1:count]]
        joined = await self.fire(joins)
        return [first["order"], *(answer.json()["order"] for answer in joined)]

    async def payments(self, orders: Sequence[dict[str, Any]]) -> list[tuple[Payment, str]]:
        """A started payment for each order of the first members, in turn, and the address to pay it at."""
        pairs = list(zip(self.members, orders, strict=False))
        answers = await self.fire(self.start_payment(member, order["id"]) for member, order in pairs)
        return [
            (Payment(self.service, member, order["id"], answer.json()["payment_id"]), answer.json()["pay_url"])
            for (member, order), answer in zip(pairs, answers, strict=True)
        ]

    async def paid_group(self, size: int) -> tuple[Sale, list[dict[str, Any]]]:
        """A group that succeeded, in a sale of its own: the orders of its first members, confirmed."""
        sale = await self.sale(group_size=size)
        orders = await self.seats(sale, size)
        await self.fire(self.pay(url) for _, url in await self.payments(orders))
        await self.work(cashier.run_once)
        return sale, orders

    async def turn(self, seconds: float, *jobs: Job, after: float = 0.1) -> None:
        """While a volley is under way: turn the clock, and run these workers until they find nothing."""
        await asyncio.sleep(after)
        self.service.clock.advance(seconds)
        await self.work(*jobs)

    async def work(self, *jobs: Job) -> None:
        """Run these workers until they find nothing to do, two of each at once."""
        while any(await asyncio.gather(*(job(self.service.state, self.service.clock()) for job in jobs * 2))):
            pass

    async def surplus(self, sale: Sale) -> int:
        """Units that the API offers beyond what the rows leave of the sale's first offer; below zero: too few.

        The counters follow the rows, so they have a moment to do it.
        """
        stock, surplus = int(sale.body["offers"][0]["stock"]), 0
        for _ in range(30):
            taken = await self.count("units WHERE offer_id = :offer", offer=sale.offer)
            surplus = (await self.service.left(sale))[0] - (stock - taken)
            if surplus == 0:
                break
            await asyncio.sleep(0.1)
        return surplus

    async def count(self, rows: str, **values: Any) -> int:
        """How many rows there are, by what follows the FROM."""
        return await self.sum("1", rows, **values)

    async def sum(self, expression: str, rows: str, **values: Any) -> int:
        """The sum of an expression over rows; 0 when there are none."""
        async with self.service.state.database.snapshot() as session:
            query = text(f"SELECT coalesce(sum({expression}), 0) FROM {rows}")
            return int((await (await session.connection()).execute(query, values)).scalar_one())


async def gather_crowd(service: Service, count: int) -> Arena:
    """A crowd of new members, and a second session of the first."""
    names = [uuid4().hex for _ in range(count)]
    logins = [post("/v1/sessions", {"provider": "dev", "code": name}) for name in [*names, names[0]]]
    bodies = [answer.json() for answer in await fire(service.url, logins)]
    *members, twin = (Member(service, body["member"]["id"], "", body["access_token"]) for body in bodies)
    assert twin.id == members[0].id
    return Arena(service, members, twin)


Attack = Callable[[Arena], Awaitable[Outcome]]
ATTACKS: dict[str, Attack] = {}
"""Every attack by its name. What the attacker wants is its docstring."""


def attack(function: Attack) -> Attack:
    """Put an attack on the list."""
    ATTACKS[function.__name__] = function
    return function
