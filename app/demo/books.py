"""What this run did and what came of it, as its members are told."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field

import httpx

from app.demo.client import Json, Member, Refused, Service
from app.demo.plan import Cast

LOOK_SECONDS = 1.0
LOOKS_AT_ONCE = 6
EVENTS_SHOWN = 8
FINAL_GROUP_STATES = {"succeeded", "failed"}
FINAL_ORDER_STATES = {"confirmed", "expired", "cancelled", "refunded"}


@dataclass(slots=True)
class BookedGroup:
    """A group of this run. `deadline` is the event loop's time; `told` is the service's last word of it.

    `abandoned`: its story broke off, so that nobody knows how it should end.
    """

    id: str
    cast: Cast
    size: int
    deadline: float
    filled: bool = False
    abandoned: bool = False
    told: Json = field(default_factory=dict)

    @property
    def leader(self) -> str:
        return self.cast.members[0].name

    @property
    def state(self) -> str:
        return str(self.told.get("state", "open"))

    @property
    def final(self) -> bool:
        return self.state in FINAL_GROUP_STATES

    async def ask(self, service: Service) -> Json:
        """What the service says of it now. Raises `Refused`, `httpx.TransportError`."""
        return await service.call("GET", f"/v1/groups/{self.id}", patience=0)


@dataclass(slots=True)
class Receipt:
    """A claim as it was sent, and its answer."""

    key: str
    claim: Json
    asked_at: float
    answer: Json = field(default_factory=dict)


@dataclass(slots=True)
class BookedOrder:
    """An order of this run: what the cashier took for it, and how it must end."""

    id: str
    member: Member
    group: BookedGroup
    receipt: Receipt
    pay_by: float
    expected_state: str
    expected_refunds: list[str]
    charges: int = 0
    told: Json = field(default_factory=dict)

    @property
    def state(self) -> str:
        return str(self.told.get("state", "held"))

    @property
    def captured_payments(self) -> list[Json]:
        return [payment for payment in self.told.get("payments", []) if payment["state"] == "captured"]

    @property
    def refunds(self) -> list[Json]:
        return list(self.told.get("refunds", []))

    @property
    def settled(self) -> bool:
        """Nothing will happen to it any more: every charge has arrived, every refund has succeeded."""
        return (
            self.state in FINAL_ORDER_STATES
            and len(self.captured_payments) >= self.charges
            and all(payment["outcome"] is not None for payment in self.captured_payments)
            and all(refund["state"] == "succeeded" for refund in self.refunds)
        )

    async def ask(self, service: Service) -> Json:
        """What the service tells its member of it now. Raises `Refused`, `httpx.TransportError`."""
        return await service.call("GET", f"/v1/orders/{self.id}", token=self.member.token, patience=0)


@dataclass(slots=True)
class Books:
    """Everything the display shows and the promises are checked against."""

    members_wanted: int
    members: int = 0
    groups_wanted: int = 0
    groups: list[BookedGroup] = field(default_factory=list)
    orders: list[BookedOrder] = field(default_factory=list)
    refusals: int = 0
    too_slow: int = 0
    without_turn: int = 0
    changes_seen: int = 0
    broken: list[str] = field(default_factory=list)
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))

    def breach(self, explanation: str) -> None:
        """An expectation is broken. The same one counts once."""
        if explanation not in self.broken:
            self.broken.append(explanation)

    def note(self, event: str) -> None:
        """Something worth showing has happened."""
        self.latest.append(event)

    def group_states(self) -> Counter[str]:
        return Counter(group.state for group in self.groups)

    def order_states(self) -> Counter[str]:
        return Counter(order.state for order in self.orders)

    @property
    def seats_paid(self) -> int:
        return sum(order.told.get("paid_at") is not None for order in self.orders)

    @property
    def captured(self) -> int:
        return sum(payment["captured_amount"] for order in self.orders for payment in order.captured_payments)

    @property
    def refunded(self) -> int:
        succeeded = (refund for order in self.orders for refund in order.refunds if refund["state"] == "succeeded")
        return sum(refund["amount"] for refund in succeeded)

    @property
    def kept(self) -> int:
        kept = (
            payment for order in self.orders for payment in order.captured_payments if payment["outcome"] == "kept"
        )
        return sum(payment["captured_amount"] for payment in kept)

    @property
    def settled(self) -> bool:
        return all(group.final for group in self.groups) and all(order.settled for order in self.orders)


async def keep_books(books: Books, service: Service) -> None:
    """Ask again and again about every group and order that can still change, until cancelled."""
    gate = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def look_at(booked: BookedGroup | BookedOrder) -> None:
        async with gate:
            try:
                told = await booked.ask(service)
            except Refused as refusal:
                books.breach(str(refusal))
            except httpx.TransportError:
                return  # there is a next round
            else:
                _write(books, booked, told)

    while True:
        running: list[BookedGroup | BookedOrder] = [group for group in books.groups if not group.final]
        running += [order for order in books.orders if not order.settled]
        await asyncio.gather(*map(look_at, running))
        await asyncio.sleep(LOOK_SECONDS)


async def wait_settled(books: Books, service: Service, give_up_at: float) -> None:
    """Wait until nothing of this run can change any more, the service is gone, or patience ends."""
    clock = asyncio.get_running_loop().time
    while not books.settled and not service.is_away and clock() < give_up_at:  # noqa: ASYNC110 - looks come from another task
        await asyncio.sleep(LOOK_SECONDS / 4)


def _write(books: Books, booked: BookedGroup | BookedOrder, told: Json) -> None:
    booked.told = told
    if isinstance(booked, BookedGroup) and booked.final:
        end = "succeeded 成团" if booked.state == "succeeded" else "failed, everybody is refunded 未成团，退款"
        books.note(f"the group of {booked.leader} {end}")
