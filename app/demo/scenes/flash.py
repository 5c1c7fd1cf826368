"""A flash sale: a crowd stands in line, is let in by and by, buys with tickets; the rest learn that all is gone.

`FLASH_MEMBERS` is how many come, 20,000 unless it is set; `FLASH_LINES` how many connections they share.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_hex

from app.demo.client import Json
from app.demo.crowd import Crowd, Reply, open_crowd
from app.demo.scenes.scene import Scene, together

MEMBERS, LINES = 20_000, 2000
STOCK = 500
MEMBERS_PER_UNIT = 40
"""A smaller crowd finds fewer units."""
RUSH_SECONDS_PER_MEMBER = 0.001
"""Members come at the door over this time, half of them before it opens."""
LOGINS_AT_ONCE = 100
LONG_POLL_SECONDS = 20
LINES_KEPT = 0.1
"""This part of the connections is kept for those who do not wait."""
LOOKING_ON, GREEDY = 10, 10
"""Every so many of those who are let in buy nothing; every so many of those who bought try to buy more."""
SHORT_TICKET_SECONDS = 10
PAYMENTS_AT_ONCE, PAYMENT_PATIENCE_SECONDS = 20, 120
OUTCOMES = {"bought", "gone", "sold out", "closed", "looked on"}


@dataclass(slots=True)
class Visitor:
    """A member, how far they had come each time they looked, and what became of them."""

    number: int
    token: str
    positions: list[int] = field(default_factory=list)
    admitted: bool = False
    order_id: str = ""
    outcome: str = ""
    told_at: float = 0.0
    on_the_line: bool = False
    """Whether they waited for the word that ended it."""
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Rush:
    """One sale and everybody who came."""

    crowd: Crowd
    sale: Json
    visitors: list[Visitor]
    sold_at: float = 0.0
    """When the last order was answered."""

    @property
    def admission(self) -> str:
        return f"/v1/sales/{self.sale['id']}/admission"

    async def ask(self, visitor: Visitor, method: str, path: str, body: Json | None = None) -> Reply:
        """A visitor's request, with a key of its own where one is taken."""
        key = token_hex(8) if method == "POST" else ""
        return await self.crowd.call(method, path, visitor.number, token=visitor.token, key=key, body=body)

    async def buy(self, visitor: Visitor, ticket: str | None) -> Reply:
        """Try to buy a unit."""
        claim = {"offer_id": self.sale["offers"][0]["id"], "ticket": ticket}
        return await self.ask(visitor, "POST", f"/v1/sales/{self.sale['id']}/orders", claim)


async def play(scene: Scene) -> None:
    """Let everybody in who comes; sell all there is, to as many as there are units."""
    count = int(os.environ.get("FLASH_MEMBERS") or MEMBERS)
    lines = int(os.environ.get("FLASH_LINES") or LINES)
    stock = min(STOCK, max(4, count // MEMBERS_PER_UNIT))
    async with open_crowd(str(scene.service.http.base_url), lines) as crowd:
        began = time.monotonic()
        visitors = await _log_in(crowd, count)
        scene.note(f"{count} members logged in, {time.monotonic() - began:.0f} s")
        door = await _try_the_door(scene, crowd, visitors[:3])
        rush_seconds = 2 + count * RUSH_SECONDS_PER_MEMBER
        opens_at = datetime.now(UTC) + timedelta(seconds=rush_seconds / 2)
        sale = await scene.sale(
            "秒杀 · 明前龙井",
            kind="flash",
            opens_at=opens_at.isoformat(),
            price=1900,
            list_price=6900,
            stock=stock,
            hold_ttl_seconds=600,
            admission={"admit_per_second": max(4, stock // 8), "per_address": 5},
        )
        rush = Rush(crowd, sale, visitors)
        scene.note(
            f"{stock} units, {sale['admission']['admit_per_second']} are let in each second, from {opens_at:%T} on"
        )
        await together(_visit(rush, visitor, rush_seconds) for visitor in visitors)
        scene.note(f"everybody knows, after {time.monotonic() - began:.0f} s")
        await _pay_all(scene, rush)
        scene.note(f"all is paid, after {time.monotonic() - began:.0f} s")
        await door()
        await _count(scene, rush, stock)


async def _log_in(crowd: Crowd, count: int) -> list[Visitor]:
    run, gate = token_hex(4), asyncio.Semaphore(LOGINS_AT_ONCE)

    async def enter(number: int) -> Visitor:
        async with gate:
            body = {"provider": "dev", "code": f"flash-{run}-{number}", "name": f"客{number}"}
            reply = await crowd.call("POST", "/v1/sessions", number, body=body)
            return Visitor(number, reply.body["access_token"])

    return await together(map(enter, range(count)))


async def _visit(rush: Rush, visitor: Visitor, rush_seconds: float) -> None:
    """Come at some moment of the rush, stand in line, and do what there is to do."""
    await asyncio.sleep(rush_seconds * visitor.number / len(rush.visitors))
    reply = await rush.ask(visitor, "POST", rush.admission, {})
    while reply.status == 200 and reply.body["state"] == "waiting":  # noqa: PLR2004
        visitor.positions.append(reply.body["position"])
        visitor.on_the_line = rush.crowd.lines_left > rush.crowd.size * LINES_KEPT
        if visitor.on_the_line:
            reply = await rush.ask(visitor, "GET", f"{rush.admission}?wait={LONG_POLL_SECONDS}")
        else:
            await asyncio.sleep(reply.body["ask_again_seconds"])
            reply = await rush.ask(visitor, "GET", rush.admission)
    visitor.told_at = time.monotonic()
    if reply.status != 200:  # noqa: PLR2004
        visitor.refused[reply.code] += 1
        visitor.outcome = reply.code
    elif reply.body["state"] == "admitted":
        visitor.admitted = True
        await _come_in(rush, visitor, reply.body["ticket"])
    else:
        visitor.outcome = reply.body["state"]


async def _come_in(rush: Rush, visitor: Visitor, ticket: str) -> None:
    """Look on, or buy; and now and then try to buy more than one may."""
    if visitor.number % LOOKING_ON == LOOKING_ON - 1:
        visitor.outcome = "looked on"
        return
    reply = await rush.buy(visitor, ticket)
    visitor.told_at = time.monotonic()
    if reply.status != 201:  # noqa: PLR2004
        visitor.refused[reply.code] += 1
        visitor.outcome = reply.body["code"].replace("_", " ")
        return
    visitor.outcome, visitor.order_id = "bought", reply.body["order"]["id"]
    rush.sold_at = max(rush.sold_at, visitor.told_at)
    if visitor.number % GREEDY == 0:
        again = await rush.buy(visitor, ticket)
        visitor.refused[again.code] += 1
        admission = await rush.ask(visitor, "GET", rush.admission)
        if admission.body["ticket"]:
            again = await rush.buy(visitor, admission.body["ticket"])
            visitor.refused[again.code] += 1


async def _pay_all(scene: Scene, rush: Rush) -> None:
    gate = asyncio.Semaphore(PAYMENTS_AT_ONCE)

    async def pay(visitor: Visitor) -> None:
        async with gate:
            path = f"/v1/orders/{visitor.order_id}"
            payment = await rush.ask(visitor, "POST", f"{path}/payments", {"provider": "sandbox"})
            await rush.ask(visitor, "POST", "/" + payment.body["pay_url"].split("/", 3)[3], {})

    await together(pay(visitor) for visitor in rush.visitors if visitor.order_id)
    give_up_at = time.monotonic() + PAYMENT_PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        unpaid = await scene.operate("GET", f"orders?sale_id={rush.sale['id']}&state=held&limit=1")
        if not unpaid["items"]:
            return
        await asyncio.sleep(1)


async def _try_the_door(scene: Scene, crowd: Crowd, visitors: list[Visitor]) -> Callable[[], Awaitable[None]]:
    """Calls that a ticket does not cover: they are refused, and take nothing. Returns the last of them, which needs
    a ticket that has expired by then.
    """
    owner, other, sleeper = visitors
    sale = await scene.sale(
        "门口 · 明前龙井",
        kind="flash",
        stock=5,
        hold_ttl_seconds=3600,
        member_limit=5,
        admission={"ticket_seconds": SHORT_TICKET_SECONDS},
    )
    rush = Rush(crowd, sale, visitors)
    entered = [(await rush.ask(visitor, "POST", rush.admission, {})).body["ticket"] for visitor in (owner, sleeper)]
    at = time.monotonic()

    async def refused(what: str, code: str, visitor: Visitor, ticket: str | None) -> None:
        before = (await scene.get(f"/v1/sales/{sale['id']}"))["offers"][0]["left"]
        reply = await rush.buy(visitor, ticket)
        left = (await scene.get(f"/v1/sales/{sale['id']}"))["offers"][0]["left"]
        scene.expect(f"a call {what}", f"403 {code}", reply.code)
        scene.expect(f"units left after a call {what}", before, left)
        scene.row(f"a call {what}", f"{reply.code}, {left} of 5 left")

    await refused("without a ticket", "ticket_missing", owner, None)
    await refused("with another's ticket", "ticket_mismatch", other, entered[0])
    await refused("with a forged ticket", "ticket_invalid", owner, entered[0][:-8] + "A" * 8)
    scene.expect("a call with a good ticket", "201 ok", (await rush.buy(owner, entered[0])).code)
    await refused("with a used ticket", "ticket_used", owner, entered[0])

    async def later() -> None:
        await asyncio.sleep(max(0.0, at + SHORT_TICKET_SECONDS + 1 - time.monotonic()))
        await refused("with an expired ticket", "ticket_expired", sleeper, entered[1])

    return later


async def _count(scene: Scene, rush: Rush, stock: int) -> None:
    """Hold the service to what it promises, and fill the table."""
    visitors = rush.visitors
    outcomes = Counter(visitor.outcome for visitor in visitors)
    backwards = sum(visitor.positions != sorted(visitor.positions, reverse=True) for visitor in visitors)
    refused = sum((visitor.refused for visitor in visitors), Counter[str]())
    orders: list[Json] = []
    page: Json = {"next": ""}
    while page["next"] is not None:
        after = f"&after={page['next']}" if page["next"] else ""
        page = await scene.operate("GET", f"orders?sale_id={rush.sale['id']}&limit=100{after}")
        orders += page["items"]
    most = max(Counter(order["member_id"] for order in orders).values(), default=0)
    left = (await scene.get(f"/v1/sales/{rush.sale['id']}"))["offers"][0]["left"]
    scene.expect("orders that are paid and confirmed", stock, sum(one["state"] == "confirmed" for one in orders))
    scene.expect("orders", stock, len(orders))
    scene.expect("members who were told that they bought", stock, outcomes["bought"])
    scene.expect("units left", 0, left)
    scene.expect("the most orders of one member", 1, most)
    scene.expect("members whose position moved back", 0, backwards)
    scene.expect("outcomes nobody understands", set(), set(outcomes) - OUTCOMES)
    gone = partial(_slowest, rush, [visitor for visitor in visitors if visitor.outcome == "gone"])
    scene.row("stood in line 排队", len(visitors))
    scene.row("were let in 放行", sum(visitor.admitted for visitor in visitors))
    scene.row("sold, and paid 售出", f"{len(orders)} of {stock}")
    scene.row("orders above the limit 超限", sum(most > 1 for _ in orders))
    for name, number in sorted(outcomes.items()):
        scene.row(f"outcome: {name}", number)
    for code, number in sorted(refused.items()):
        scene.row(f"refused: {code}", number)
    scene.row("positions that moved back", backwards)
    scene.row("positions seen", sum(len(visitor.positions) for visitor in visitors))
    scene.row("slowest `gone` on the line", gone(on_the_line=True))
    scene.row("slowest `gone` when asking now and then", gone(on_the_line=False))
    scene.row("asked for patience (429, 503, lost)", [rush.crowd.put_off[status] for status in (429, 503, 0)])


def _slowest(rush: Rush, told: list[Visitor], *, on_the_line: bool) -> str:
    """When the last heard that all is gone: how long after the first did, and after the last order was answered."""
    moments = [one.told_at for one in told if one.on_the_line == on_the_line and one.positions]
    if not moments:
        return "nobody"
    last, first = max(moments), min(one.told_at for one in told)
    return (
        f"{last - first:.2f} s after the first, {last - rush.sold_at:+.2f} s after the last order ({len(moments)})"
    )
