"""What is there before a run: tables, members, sales, as many and as full as a measurement wants."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.config import Settings
from app.gateways.database import open_database
from app.schemas.communities import CommunityCreate
from app.schemas.products import ProductCreate
from app.schemas.sales import OfferCreate, SaleCreate
from app.services.communities import create_community, open_community
from app.services.dealing import load
from app.services.products import create_product
from app.services.sales import create_sale, publish_sale
from app.state import State, open_state
from bench.servers import Postgresql

BIRTH = "019a0c5e7d0a70008"
"""How the ids of seeded rows begin, after their prefix: like a UUIDv7, all of one moment."""
DIGITS = 15
DAY = 24 * 3600
PRICE, MEMBER_LIMIT = 4900, 20
ANSWER_LENGTH = 1000
HOUR_AGO, IN_A_DAY = "now() - interval '1 hour'", "now() + interval '1 day'"

COMMUNITY = CommunityCreate(
    name="bench", audience="many", need="one", benefits="fast", sustained_by="nothing", posting_rules="none"
)


@dataclass(frozen=True, slots=True)
class Sale:
    """A published sale, and the one offer and product it has."""

    id: str
    offer_id: str
    product_id: str = ""
    stock: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What happened in a sale before: `groups` groups of `size` seats. Of each, `taken` seats are taken by members
    of their own with a unit each, `paid` for or not. Groups are numbered from `first` on, orders and members from
    `first` × `taken`.
    """

    sale: Sale
    groups: int
    size: int
    taken: int
    paid: bool = False
    first: int = 0

    @property
    def orders(self) -> int:
        """How many orders there are."""
        return self.groups * self.taken


@dataclass(frozen=True, slots=True)
class World:
    """A migrated database, and the Valkey that belongs to it."""

    postgresql: Postgresql
    database_url: str
    redis_url: str
    data: Path

    def open(self) -> AbstractAsyncContextManager[State]:
        """The service's state, for as long as something is prepared or checked. Not during a run: it listens."""
        return open_state(Settings(database_url=self.database_url, redis_url=self.redis_url, data=self.data))

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of one query."""
        return await self.postgresql.fetch(self.database_url, query, *arguments)

    async def add_members(self, count: int) -> None:
        """Members number 0 … count - 1; `seeded_id("mem", number)` is their id."""
        await self.add(
            "members",
            {
                "id": seeded("mem", "i"),
                "name": "'member' || i",
                "created_at": "now()",
                "bucket": f"right({seeded('mem', 'i')}, 3)",
            },
            f"generate_series(0, {count - 1}) AS i",
        )

    async def add_sale(self, *, stock: int, **terms: Any) -> Sale:
        """A sale that is live for two days, of a product of its own; `terms` are those of `SaleCreate`."""
        async with self.open() as state:
            community = await create_community(state, COMMUNITY)
            await open_community(state, community.id)
            product = await create_product(state, ProductCreate(title="bench", skus=["one"]))
            now = state.clock()
            given: dict[str, Any] = {
                "opens_at": now - timedelta(seconds=1),
                "closes_at": now + timedelta(days=2),
                "group_size": 3,
                "group_ttl_seconds": DAY,
                "hold_ttl_seconds": DAY,
                "member_limit": MEMBER_LIMIT,
            } | terms
            offers = [OfferCreate(sku_id=product.skus[0].id, price=PRICE, stock=stock)]
            body = SaleCreate(community_id=community.id, title="bench", offers=offers, **given)
            sale = await create_sale(state, body)
            await publish_sale(state, sale.id)
        return Sale(sale.id, sale.offers[0].id, product.id, stock)

    async def make_sure(self, sale: Sale) -> None:
        """Load the sale into Redis for good, as the worker does half a minute after the first load."""
        async with self.open() as state:
            await load(state, sale.id, state.clock(), sure=True)

    async def add_past(self, past: Past) -> None:
        """Groups and orders with all their places and events, and the money of those that are paid for."""
        for table, values, counted in _rows(past):
            span = past.groups if counted == "g" else past.orders
            first = past.first if counted == "g" else past.first * past.taken
            await self.add(table, values, f"generate_series({first}, {first + span - 1}) AS {counted}")

    async def add(self, table: str, values: Mapping[str, str], source: str) -> None:
        """Rows in bulk: an expression for every column, over what `source` selects.

        Columns the table does not have are left out, so that the measurement outlives a change of the tables. Keys
        are not followed while writing: rows that belong together must be right by themselves.
        """
        there = {
            row["column_name"]
            for row in await self.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table
            )
        }
        chosen = {name: value for name, value in values.items() if name in there}
        columns = ", ".join(f'"{name}"' for name in chosen)
        await self.postgresql.execute(
            self.database_url,
            f"SET session_replication_role = replica;"
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(chosen.values())} FROM {source}",
        )


async def migrated(postgresql: Postgresql) -> str:
    """A new database with every table and no row. Returns its address; it is good as a template."""
    url = await postgresql.create()
    async with open_database(url, 1) as database:
        await database.migrate()
    return url


def seeded(prefix: str, number: str) -> str:
    """The id of a seeded row as an SQL expression; `number` is one of an integer."""
    return f"'{prefix}_{BIRTH}' || lpad(to_hex({number}), {DIGITS}, '0')"


def seeded_id(prefix: str, number: int) -> str:
    """The id of a seeded row."""
    return f"{prefix}_{BIRTH}{number:0{DIGITS}x}"


def _rows(past: Past) -> Iterator[tuple[str, dict[str, str], str]]:
    """Tables, an expression for each of their columns, and what these count: groups as `g` or orders as `i`."""
    sale_id, offer_id = f"'{past.sale.id}'", f"'{past.sale.offer_id}'"
    group, order, member, payment = (
        *(seeded("grp", f"i / {past.taken}"), seeded("ord", "i")),
        *(seeded("mem", "i"), seeded("pay", "i")),
    )
    leader = seeded("mem", f"g * {past.taken}")
    number, seat = f"i - {past.first * past.taken} + 1", f"i % {past.taken} + 1"
    price, currency, size = str(PRICE), "'CNY'", str(past.size)
    filled = past.taken == past.size
    yield (
        "groups",
        {
            "id": seeded("grp", "g"),
            "sale_id": sale_id,
            "product_id": f"'{past.sale.product_id}'",
            "state": "'filled'" if filled else "'open'",
            "size": size,
            "leader_id": leader,
            "opened_at": HOUR_AGO,
            "deadline_at": f"{HOUR_AGO} + interval '{DAY} seconds'",
        },
        "g",
    )
    yield (
        "orders",
        {
            "id": order,
            "sale_id": sale_id,
            "group_id": group,
            "offer_id": offer_id,
            "member_id": member,
            "seat_number": seat,
            "quantity": "1",
            "unit_price": price,
            "amount": price,
            "currency": currency,
            "state": "'paid'" if past.paid else "'held'",
            "hold_expires_at": f"{HOUR_AGO} + interval '{DAY} seconds'",
            "paid_at": HOUR_AGO if past.paid else "NULL::timestamptz",
            "created_at": HOUR_AGO,
            "changed_at": HOUR_AGO,
            "request_key": "'seeded'",
            "request_hash": "repeat('0', 64)",
            "answer": f"repeat('x', {ANSWER_LENGTH})",
        },
        "i",
    )
    yield (
        "units",
        {"offer_id": offer_id, "number": number, "stock": str(past.sale.stock), "order_id": order},
        "i",
    )
    yield (
        "seats",
        {"group_id": group, "number": seat, "size": size, "member_id": member, "order_id": order},
        "i",
    )
    yield (
        "purchases",
        {
            "sale_id": sale_id,
            "member_id": member,
            "number": "1",
            "member_limit": str(MEMBER_LIMIT),
            "order_id": order,
        },
        "i",
    )
    yield _event("group.opened", seeded("grp", "g"), (None, "open"), sale_id, seeded("grp", "g"), leader, "g")
    yield _event("order.held", order, (None, "held"), sale_id, group, member, "i")
    if filled:
        yield _event(
            "group.filled", seeded("grp", "g"), ("open", "filled"), sale_id, seeded("grp", "g"), leader, "g"
        )
    if not past.paid:
        return
    yield (
        "payments",
        {
            "id": payment,
            "order_id": order,
            "provider": "'sandbox'",
            "amount": price,
            "currency": currency,
            "state": "'captured'",
            "outcome": "'kept'",
            "pay_url": "'seeded'",
            "provider_ref": f"'sandbox-' || {payment}",
            "captured_amount": price,
            "captured_currency": currency,
            "captured_at": HOUR_AGO,
            "refunded_amount": "0",
            "expires_at": IN_A_DAY,
            "check_at": HOUR_AGO,
            "created_at": HOUR_AGO,
            "request_key": "'seeded'",
        },
        "i",
    )
    yield (
        "sandbox_charges",
        {
            "id": payment,
            "token": payment,
            "description": "'seeded'",
            "amount": price,
            "currency": currency,
            "state": "'paid'",
            "paid_amount": price,
            "settles_at": HOUR_AGO,
            "refund_failures": "0",
            "notify_url": "'seeded'",
            "expires_at": IN_A_DAY,
            "created_at": HOUR_AGO,
        },
        "i",
    )
    yield _event("payment.created", payment, (None, "created"), sale_id, None, member, "i")
    yield _event("payment.captured", payment, ("created", "captured"), sale_id, None, member, "i")
    yield _event("order.paid", order, ("held", "paid"), sale_id, group, member, "i")


def _event(
    kind: str,
    subject: str,
    states: tuple[str | None, str],
    sale_id: str,
    group: str | None,
    member: str,
    counted: str,
) -> tuple[str, dict[str, str], str]:
    before, after = states
    return (
        "events",
        {
            "type": f"'{kind}'",
            "subject": subject,
            "from_state": "NULL" if before is None else f"'{before}'",
            "to_state": f"'{after}'",
            "sale_id": sale_id,
            "group_id": "NULL" if group is None else group,
            "member_id": member,
            "data": "'{}'",
            "created_at": HOUR_AGO,
        },
        counted,
    )
