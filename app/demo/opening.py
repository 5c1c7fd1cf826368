"""Before the run: is there a service, may we ask it for its proof, and which sale is for trying out."""

from datetime import UTC, datetime, timedelta

import httpx

from app.demo.client import Json, Refused, Service
from app.demo.promises import ask_invariants

MAX_GROUP_SECONDS = 60
SALE_MARGIN = timedelta(minutes=5)
ADVICE = {
    401: "The operator key is refused. Make one with `make key SCOPES=invariants` and pass it: `make demo KEY=…`",
    403: "The operator key lacks a scope. Make one with `make key SCOPES=invariants`"
    " and pass it: `make demo KEY=…`",
}


class CannotPlay(Exception):
    """The run cannot begin; the text says what to do."""


async def choose_sale(service: Service, key: str, member_count: int) -> Json:
    """The live group sale whose groups have the least time. Raises `CannotPlay`."""
    address = service.http.base_url
    try:
        sales = await _live_sales(service)
        await ask_invariants(service, key)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CannotPlay(
            f"No service answers at {address} ({error or type(error).__name__}).\n"
            "Start one in another shell with `make run`, or name one that runs: `make demo URL=http://…`"
        ) from error
    except Refused as refusal:
        advice = ADVICE.get(refusal.status, f"Is the service at {address} Kaituan?")
        raise CannotPlay(f"{refusal}.\n{advice}") from refusal
    if not sales:
        raise CannotPlay(
            f"The service at {address} has no live group sale to try out.\n"
            "Start one with sample data: `make run` in an empty folder, or publish a sale with short groups."
        )
    sale = min(sales, key=lambda sale: sale["group_ttl_seconds"])
    _check(sale, member_count)
    return sale


async def _live_sales(service: Service) -> list[Json]:
    """Live group sales that will not close while the run goes on."""
    found: list[Json] = []
    path = "/v1/sales?state=live&limit=100"
    page = await service.call("GET", path, patience=0)
    found += page["items"]
    while page["next"] is not None:
        page = await service.call("GET", f"{path}&after={page['next']}")
        found += page["items"]
    soonest = datetime.now(UTC) + SALE_MARGIN
    return [
        sale
        for sale in found
        if sale["kind"] == "group" and sale["offers"] and datetime.fromisoformat(sale["closes_at"]) > soonest
    ]


def _check(sale: Json, member_count: int) -> None:
    title, seconds = sale["title"], sale["group_ttl_seconds"]
    if seconds > MAX_GROUP_SECONDS:
        raise CannotPlay(
            f"The shortest live sale, “{title}”, gives groups {seconds} s to fill; the demo cannot wait for that.\n"
            f"Publish a sale with groups of at most {MAX_GROUP_SECONDS} s, or start with sample data:"
            " `make run` in an empty folder."
        )
    needed = member_count * min(2, sale["order_limit"])
    left = max(offer["left"] for offer in sale["offers"])
    if left < needed:
        raise CannotPlay(
            f"“{title}” has {left} units left, {member_count} members may want {needed}.\n"
            "Add stock, or let fewer take part: `make demo MEMBERS=…`"
        )
