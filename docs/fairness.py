"""Who gets the units: a thousand bots that ignore the rules against a thousand people. `python -m docs.fairness`.

It starts the service as `make run` does, without the limit per address (bots come from many), and plays the same
crowd with each way to sell. Prints the table of fairness.md.
"""

import argparse
import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from app.demo.crowd import Crowd, Reply, open_crowd
from app.domain.keys import SAMPLE_KEY

EARLY_SECONDS, PEOPLE_SECONDS, WINDOW_SECONDS = 0.5, 5.0, 30.0
"""Bots come so long before the opening, people within so long after it; a draw is so long after it."""
AGAIN = {"sale_not_open", "rate_limited", "busy", "database_unavailable"}
"""Refusals after which one asks again."""
LEAD_SECONDS = 15.0
"""How long before its opening a sale is drawn up: publishing it may take a while."""
CONNECTIONS = 1000
"""Of the bots, and of the people."""
HANDS = 3
"""Requests that each bot has under way at the same time, all with keys of their own."""
COMMUNITY = {
    "name": "公平",
    "audience": "想买龙井的人",
    "need": "限量的好茶",
    "benefits": "公平的机会",
    "sustained_by": "每单的毛利",
    "posting_rules": "只谈茶",
}
Json = dict[str, Any]


@dataclass(slots=True)
class Someone:
    """A bot or a person, logged in."""

    crowd: Crowd
    number: int
    bot: bool
    token: str = ""
    units: int = 0

    async def post(self, path: str, body: Json) -> Reply:
        """Ask the service for something, once, with a key of its own."""
        reply, _ = await self.crowd.ask("POST", path, self.number, token=self.token, key=uuid4().hex, body=body)
        return reply


Ask = Callable[[Someone, Json], Awaitable[bool]]
"""One attempt to get a unit of a sale; True when it need not be repeated. A new way to sell is one more of these.
"""


@dataclass(slots=True)
class Shop:
    """A running service, its operator, and the crowd."""

    http: httpx.AsyncClient
    crowd: list[Someone]
    entries: dict[str, Someone] = field(default_factory=dict)

    async def operate(self, path: str, body: Json | None = None) -> Json:
        reply = await self.http.post(f"/v1/ops/{path}", json=body, headers={"x-api-key": SAMPLE_KEY})
        reply.raise_for_status()
        return dict(reply.json())

    async def sale(self, stock: int, *, drawn: bool = False) -> tuple[Json, datetime]:
        """A flash sale of so many units, and when it opens."""
        community = await self.operate("communities", COMMUNITY)
        await self.operate(f"communities/{community['id']}/open")
        product = await self.operate("products", {"title": "龙井", "skus": ["罐"]})
        opens_at = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS)
        draws_at = (opens_at + timedelta(seconds=WINDOW_SECONDS)).isoformat()
        body = {
            "community_id": community["id"],
            "kind": "flash",
            "title": "公平",
            "opens_at": opens_at.isoformat(),
            "closes_at": (opens_at + timedelta(hours=1)).isoformat(),
            "hold_ttl_seconds": 3000,
            "offers": [{"sku_id": product["skus"][0]["id"], "price": 100, "stock": stock}],
        }
        sale = await self.operate("sales", body | ({"allocation": "draw", "draws_at": draws_at} if drawn else {}))
        return await self.operate(f"sales/{sale['id']}/publish"), opens_at

    async def buy(self, someone: Someone, sale: Json) -> bool:
        """Ask for a ticket at the entrance, and buy with it."""
        path = f"/v1/sales/{sale['id']}"
        status, found = await someone.post(f"{path}/admission", {})
        if found.get("state") == "admitted":
            wish = {"offer_id": sale["offers"][0]["id"], "ticket": found["ticket"]}
            status, found = await someone.post(f"{path}/orders", wish)
        if found.get("state") == "waiting":
            return False
        someone.units += status == httpx.codes.CREATED
        return found.get("code") not in AGAIN

    async def enter(self, someone: Someone, sale: Json) -> bool:
        """Enter the draw."""
        status, found = await someone.post(f"/v1/sales/{sale['id']}/entries", {"offer_id": sale["offers"][0]["id"]})
        if status == httpx.codes.CREATED:
            self.entries[found["id"]] = someone
        return found.get("code") not in AGAIN

    async def fastest(self, stock: int) -> None:
        """Everybody buys."""
        sale, opens_at = await self.sale(stock)
        await rush(self.crowd, sale, opens_at, self.buy)

    async def draw(self, stock: int) -> None:
        """Everybody enters, and is drawn or not."""
        sale, opens_at = await self.sale(stock, drawn=True)
        await rush(self.crowd, sale, opens_at, self.enter)
        drawn: Json = {"winners": []}
        while not drawn["winners"]:
            await asyncio.sleep(0.5)
            drawn = (await self.http.get(f"/v1/sales/{sale['id']}/draw")).json()
        for entry_id in drawn["winners"]:
            self.entries[entry_id].units += 1


async def rush(crowd: list[Someone], sale: Json, opens_at: datetime, ask: Ask) -> None:
    """Let everybody come: bots early and with many hands, people when they get there."""

    async def come(someone: Someone) -> None:
        seconds = -EARLY_SECONDS if someone.bot else random.uniform(0, PEOPLE_SECONDS)  # noqa: S311 - no secret
        await asyncio.sleep(max(0, (opens_at - datetime.now(UTC)).total_seconds() + seconds))
        hands = HANDS if someone.bot else 1
        await asyncio.gather(*(_insist(someone) for _ in range(hands)))

    async def _insist(someone: Someone) -> None:
        while not await ask(someone, sale):  # noqa: ASYNC110 - that is what they do
            await asyncio.sleep(0.1 if someone.bot else 1)

    await asyncio.gather(*map(come, crowd))


async def gather_crowd(bots: Crowd, people: Crowd, each: int) -> list[Someone]:
    """So many bots and so many people, who do not stand in each other's way before they reach the service."""

    async def log_in(number: int) -> Someone:
        bot = number % 2 == 0
        someone = Someone(bots if bot else people, number, bot)
        session = await someone.post("/v1/sessions", {"provider": "dev", "code": f"crowd-{number}"})
        someone.token = session.body["access_token"]
        return someone

    return list(await asyncio.gather(*map(log_in, range(2 * each))))


@asynccontextmanager
async def running(port: int) -> AsyncIterator[str]:
    """A service of our own, as `make run` starts it."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="kaituan-fairness-") as folder:
        service = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "run", "--port", str(port), "--data", folder),
            env=os.environ | {"ADDRESS_CLAIMS_PER_SECOND": "0"},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient() as http:
                for _ in range(300):
                    try:
                        if (await http.get(f"{url}/readyz")).is_success:
                            break
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
            yield url
        finally:
            service.terminate()
            await service.wait()


async def main(each: int, stock: int, port: int) -> None:
    """Print who got how much."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))  # the service inherits it
    print(f"{each} bots, {each} people, {stock} units")
    print()
    print("| allocation | units people got | their share |")
    print("|---|---|---|")
    async with (
        running(port) as url,
        open_crowd(url, CONNECTIONS) as bots,
        open_crowd(url, CONNECTIONS) as people,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        shop = Shop(http, await gather_crowd(bots, people, each))
        for name, sell in (("fastest", shop.fastest), ("draw", shop.draw)):
            for someone in shop.crowd:
                someone.units = 0
            began = time.monotonic()
            await sell(stock)
            got = sum(someone.units for someone in shop.crowd if not someone.bot)
            total = sum(someone.units for someone in shop.crowd)
            print(f"| `{name}` | {got} of {total} | {got / max(total, 1):.0%} |", flush=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=1000, help="bots, and people")
    parser.add_argument("--stock", type=int, default=200)
    parser.add_argument("--port", type=int, default=8123)
    asked = parser.parse_args()
    asyncio.run(main(asked.each, asked.stock, asked.port))
