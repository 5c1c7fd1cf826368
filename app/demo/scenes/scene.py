"""What every scene needs: members, a sale of its own, a table to fill, and a place for broken promises."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.table import Table

from app.demo.client import Json, Member, Refused, Service, log_in, open_service
from app.demo.display import format_money, make_console
from app.demo.opening import CannotPlay
from app.demo.plan import name_member
from app.demo.promises import ask_invariants

CANNOT_PLAY = 2
LOOK_SECONDS = 0.2
ADVICE = (
    'Start a service with `make run`, or make a key with `make key SCOPES="catalog sales orders growth rewards'
    ' invariants communities"` and pass it: `make demo SCENE=… KEY=…`'
)
STATED = {
    "audience": "爱茶的人",
    "need": "喝到当季的好茶",
    "benefits": "一起买更便宜",
    "sustained_by": "每单的毛利",
    "posting_rules": "只谈茶",
}
"""What a community says of itself before it opens."""
Found = TypeVar("Found")


@dataclass(slots=True)
class Scene:
    """One scene at a running service."""

    service: Service
    key: str
    console: Console
    rows: list[tuple[str, str]] = field(default_factory=list)
    """The table at the end: what, and how much."""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept."""

    def note(self, text: str) -> None:
        """Tell what happens, as it happens."""
        self.console.print(f"  {text}", soft_wrap=True, highlight=False)

    def row(self, name: str, value: object) -> None:
        """Add a line to the table at the end."""
        self.rows.append((name, str(value)))

    def expect(self, what: str, wanted: object, found: object) -> None:
        """Hold the service to what it promises."""
        if wanted != found:
            self.broken.append(f"{what}: expected {wanted}, got {found}")

    async def refusal(self, attempt: Coroutine[Any, Any, Any]) -> str:
        """What a call is refused with, as `409 sold_out`; `accepted` when it is not."""
        try:
            await attempt
        except Refused as refused:
            return f"{refused.status} {refused.code}"
        return "accepted"

    async def operate(self, method: str, path: str, body: Json | None = None) -> Json:
        """Call an operators' route below `/v1/ops/`. Raises `Refused`."""
        headers = {"x-api-key": self.key}
        return await self.service.call(method, f"/v1/ops/{path}", body=body, headers=headers, key=token_hex(8))

    async def sale(self, title: str, *, seconds: float = 3600, publish: bool = True, **terms: Any) -> Json:
        """A sale of a new product with one offer, open for so many seconds. `terms` are those of `SaleCreate`, and
        `price`, `list_price`, `solo_price`, `stock`, `ladder` of the offer.
        """
        offer = {
            name: terms.pop(name)
            for name in ("price", "list_price", "solo_price", "stock", "ladder")
            if name in terms
        }
        community_id = terms.pop("community_id", None) or await self._community(title)
        product = await self.operate("POST", "products", {"title": title, "skus": ["标准"]})
        now = datetime.now(UTC)
        body = {
            "community_id": community_id,
            "title": title,
            "opens_at": now.isoformat(),
            "closes_at": (now + timedelta(seconds=seconds)).isoformat(),
            "hold_ttl_seconds": 60,
            "offers": [{"sku_id": product["skus"][0]["id"], "price": 4900, "stock": 100} | offer],
        }
        sale = await self.operate("POST", "sales", body | terms)
        return await self.operate("POST", f"sales/{sale['id']}/publish") if publish else sale

    async def _community(self, name: str) -> str:
        """The id of a new community that has stated its value and is open."""
        community = await self.operate("POST", "communities", STATED | {"name": name})
        await self.operate("POST", f"communities/{community['id']}/open")
        return str(community["id"])

    async def members(self, count: int) -> list[Member]:
        """So many members, logged in."""
        run = token_hex(4)
        return await together(
            log_in(self.service, f"scene-{run}-{index}", name_member(index)) for index in range(count)
        )

    async def get(self, path: str, member: Member | None = None) -> Json:
        """What a route shows. Raises `Refused`."""
        return await self.service.call("GET", path, token=member.token if member else None)

    async def post(self, member: Member, path: str, body: Json | None = None) -> Json:
        """A member's call, with a key of its own. Raises `Refused`."""
        return await self.service.call("POST", path, token=member.token, key=token_hex(8), body=body)

    async def buy(self, member: Member, sale: Json, **claim: Any) -> Json:
        """Get a ticket to a flash sale at its entrance, and buy one unit of its first offer. Raises `Refused`."""
        entrance = await self.post(member, f"/v1/sales/{sale['id']}/admission", {})
        wish = {"offer_id": sale["offers"][0]["id"], "ticket": entrance["ticket"]} | claim
        return await self.post(member, f"/v1/sales/{sale['id']}/orders", wish)

    async def pay(self, member: Member, order_id: str) -> Json:
        """Pay an order at the cashier; returns the order once it shows."""
        payment = await member.start_payment(order_id)
        await member.pay(payment["pay_url"])
        return await self.until(f"/v1/orders/{order_id}", lambda order: order["state"] != "held", member)

    async def until(
        self, path: str, done: Callable[[Json], bool], member: Member | None = None, seconds: float = 20
    ) -> Json:
        """Look at a route until it shows what is waited for, or for so long; returns what it showed last."""
        give_up_at = time.monotonic() + seconds
        while not done(found := await self.get(path, member)) and time.monotonic() < give_up_at:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        return found


def money(amount: int) -> str:
    """An amount as people read it, in the currency of the scenes' sales."""
    return format_money(amount, "CNY")


async def together(calls: Iterable[Awaitable[Found]]) -> list[Found]:
    """The outcomes of many calls at once; the first that fails fails them all."""
    return list(await asyncio.gather(*calls))


async def run(url: str, key: str, name: str, play: Callable[[Scene], Awaitable[None]]) -> int:
    """Play a scene and print its table. Returns the exit code: 0 when all was as promised, 1 when not, 2 when it
    could not begin.
    """
    console, began = make_console(), time.monotonic()
    try:
        async with open_service(url) as service:
            scene = Scene(service, key, console)
            try:
                await ask_invariants(service, key)
            except (Refused, httpx.TransportError) as error:
                raise CannotPlay(f"{url}: {error or type(error).__name__}.\n{ADVICE}") from error
            console.print(f"Scene: {name}", style="bold")
            try:
                await play(scene)
            except (Refused, httpx.TransportError) as error:
                scene.broken.append(f"the scene could not go on: {error!r}")
            invariants = await ask_invariants(service, key)
    except (CannotPlay, httpx.InvalidURL) as reason:
        console.print(str(reason), soft_wrap=True)
        return CANNOT_PLAY
    scene.row("invariants 对账", f"{len(invariants['checked'])} checked, {len(invariants['violations'])} violated")
    scene.row("duration", f"{time.monotonic() - began:.0f} s")
    table = Table(title="Result 结果", title_justify="left", show_header=False)
    for row in scene.rows:
        table.add_row(*row)
    console.print(table)
    broken = [*scene.broken, *(f"{item['invariant']}: {item['subject']}" for item in invariants["violations"])]
    for number, breach in enumerate(broken, start=1):
        console.print(f"{number}. {breach}", style="red", soft_wrap=True)
    console.print(f"violations: {len(broken)}")
    return 1 if broken else 0
