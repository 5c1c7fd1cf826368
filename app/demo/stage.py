"""What members do in a group, booked as they do it; the stories are made of these moves."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from typing import Any

from app.demo.books import BookedGroup, BookedOrder, Books, Receipt
from app.demo.client import Json, Member, Refused, Service
from app.demo.plan import Cast
from app.demo.watchers import Watch, follow_polls, follow_stream

SLOW_MARGIN_SECONDS = 5.0
"""A payment sent later than so long before its deadline may be too late through no fault of the service."""
LATE_BY_SECONDS = 2.0
FIND_TRIES = 20
LOOK_PAUSE_SECONDS = 0.25
LIST_LIMIT = 100
MAX_WATCHERS = 20
WATCH_EVERY = 3
CHANNELS = ("link", "chat", "poster", "qr")


class TooSlow(Exception):
    """The machine did not act before a deadline, so nothing can be said about the service."""


class Unexpected(Exception):
    """The service answered, but not as it should."""


@dataclass(slots=True)
class Stage:
    """One sale at a running service, and the books of this run."""

    service: Service
    watched: Service
    books: Books
    sale_id: str
    offer_id: str
    order_limit: int
    watches: list[Watch] = field(default_factory=list)
    watching: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self, cast: Cast, quantity: int) -> BookedOrder:
        """The leader opens a group and has its first seat."""
        leader, receipt = cast.members[0], self._claim(quantity)
        receipt.answer = await leader.open_group(self.sale_id, receipt.claim, receipt.key)
        found = receipt.answer["group"]
        deadline = _clock() + _seconds(found["opened_at"], found["deadline_at"])
        group = BookedGroup(found["id"], cast, found["size"], deadline)
        self.books.groups.append(group)
        self.books.note(f"{leader.name} opened a group 开团")
        self._watch(group)
        return self._book(receipt, leader, group)

    async def join_by_invite(self, friend: Member, group: BookedGroup, invite: Json, quantity: int) -> BookedOrder:
        """A friend taps the invite and takes a seat in the group it leads to."""
        landing = await friend.tap(invite["url"])
        _hurry(group.deadline - SLOW_MARGIN_SECONDS)
        receipt = self._claim(quantity, invite["code"])
        receipt.answer = answer = await friend.join(landing["group_id"], receipt.claim, receipt.key)
        if answer["group"]["id"] != group.id or answer["order"]["invite_code"] != invite["code"]:
            raise Unexpected("an invite led to another group, or who brought the friend was forgotten")
        self.books.note(f"{friend.name} joined {group.leader} by {invite['channel']} 拼团")
        return self._book(receipt, friend, group)

    async def join_from_list(self, stranger: Member, group: BookedGroup) -> BookedOrder:
        """A stranger finds the group among those about to fill and takes a seat."""
        await self._find_in_list(group)
        _hurry(group.deadline - SLOW_MARGIN_SECONDS)
        receipt = self._claim(1)
        receipt.answer = await stranger.join(group.id, receipt.claim, receipt.key)
        self.books.note(f"{stranger.name}, a stranger, joined {group.leader} 凑团")
        return self._book(receipt, stranger, group)

    async def pay(self, order: BookedOrder, **wish: object) -> None:
        """Pay an order at the cashier and wait until it shows on the order, as people do; so nobody pays
        faster than the service is told. Raises `TooSlow` when the time for it is all but over.
        """
        payment = await self.start_payment(order)
        await self.pay_at_cashier(order, payment, **wish)
        while len(order.captured_payments) < order.charges and _clock() < order.group.deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_PAUSE_SECONDS)

    async def start_payment(self, order: BookedOrder) -> Json:
        """Be sent to the cashier. Raises `TooSlow`."""
        _hurry(order.pay_by)
        return await order.member.start_payment(order.id)

    async def pay_at_cashier(self, order: BookedOrder, payment: Json, **wish: object) -> None:
        """Pay one of the order's payments. Raises `TooSlow`."""
        _hurry(order.pay_by)
        await order.member.pay(payment["pay_url"], **wish)
        order.charges += 1
        self.books.note(f"{order.member.name} paid at the cashier 支付")

    async def pay_too_late(self, order: BookedOrder) -> None:
        """Pay in time, but with money that arrives only after the group's deadline."""
        payment = await self.start_payment(order)
        delay = order.group.deadline + LATE_BY_SECONDS - _clock()
        await self.pay_at_cashier(order, payment, delay_seconds=max(delay, 0.0))
        order.expected_state, order.expected_refunds = "expired", ["late"]

    async def cancel(self, order: BookedOrder) -> None:
        """Leave before paying."""
        await order.member.cancel(order.id)
        order.expected_state, order.expected_refunds = "cancelled", []
        self.books.note(f"{order.member.name} cancelled 取消")

    async def expect_refusal(self, what: str, expected: str, attempt: Coroutine[Any, Any, Any]) -> None:
        """Try what must be refused with this status and code."""
        try:
            await attempt
        except Refused as refusal:
            if f"{refusal.status} {refusal.code}" == expected:
                self.books.refusals += 1
                self.books.note(f"rightly refused: {what} 已拒绝")
                return
            got = f"{refusal.status} {refusal.code}"
        else:
            got = "accepted"
        self.books.breach(f"{what}: expected {expected}, got {got}")

    async def expect_same_answer(self, order: BookedOrder) -> None:
        """Send the order's claim again with its key: the answer must be the one it got."""
        receipt = order.receipt
        again = await order.member.join(order.group.id, receipt.claim, receipt.key)
        if again != receipt.answer:
            self.books.breach(f"order {order.id}: the same Idempotency-Key got another answer")

    async def wait_final(self, group: BookedGroup) -> None:
        """Wait until the books show the end of a group, at the longest until its deadline."""
        while not group.final and _clock() < group.deadline:  # noqa: ASYNC110 - the books are kept elsewhere
            await asyncio.sleep(LOOK_PAUSE_SECONDS)

    async def _find_in_list(self, group: BookedGroup) -> None:
        path = f"/v1/sales/{self.sale_id}/groups?state=open&limit={LIST_LIMIT}"
        for _ in range(FIND_TRIES):
            listed = (await self.service.call("GET", path))["items"]
            # A full list may leave it out: then the stranger was told of it elsewhere.
            if len(listed) >= LIST_LIMIT or any(item["id"] == group.id for item in listed):
                return
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
        raise Unexpected("a group with a free seat is not in the list of groups about to fill")

    def _claim(self, quantity: int, invite_code: str | None = None) -> Receipt:
        """What to take: units of the offer, at most as many as one order may."""
        claim: Json = {"offer_id": self.offer_id, "quantity": min(quantity, self.order_limit)}
        if invite_code is not None:
            claim["invite_code"] = invite_code
        return Receipt(key=token_hex(8), claim=claim, asked_at=_clock())

    def _book(self, receipt: Receipt, member: Member, group: BookedGroup) -> BookedOrder:
        found = receipt.answer["order"]
        seconds = _seconds(found["created_at"], found["hold_expires_at"])
        succeeds = group.cast.story.succeeds
        order = BookedOrder(
            id=found["id"],
            member=member,
            group=group,
            receipt=receipt,
            pay_by=receipt.asked_at + seconds - min(SLOW_MARGIN_SECONDS, seconds / 4),
            expected_state="confirmed" if succeeds else "refunded",
            expected_refunds=[] if succeeds else ["group_failed"],
        )
        self.books.orders.append(order)
        group.filled = group.filled or receipt.answer["group"]["state"] == "filled"
        return order

    def _watch(self, group: BookedGroup) -> None:
        """Let somebody watch every third group: twice by events, the second time over a bad line, then twice
        by long poll.
        """
        turn, left_over = divmod(group.cast.number, WATCH_EVERY)
        if left_over or len(self.watches) >= MAX_WATCHERS:
            return
        by_events, bad_line = turn % 4 < 2, turn % 4 == 1  # noqa: PLR2004
        watch = Watch(group, self.books, "server-sent events" if by_events else "long poll")
        self.watches.append(watch)
        following = (
            follow_stream(self.watched, watch, loses_line=bad_line)
            if by_events
            else follow_polls(self.watched, watch)
        )
        self.watching.append(asyncio.create_task(following))


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _hurry(by: float) -> None:
    """Raises `TooSlow` when it is later than `by`."""
    if _clock() > by:
        raise TooSlow


def _seconds(start: str, end: str) -> float:
    """Between two times of the service; its clock is never compared with ours."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
