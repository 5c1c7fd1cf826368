"""The promises, checked on what the members were told; and the service's own proof."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import httpx

from app.demo.books import BookedGroup, BookedOrder, Books
from app.demo.client import Json, Refused, Service
from app.demo.watchers import Watch


async def ask_invariants(service: Service, key: str) -> Json:
    """The service's own answer. Raises `Refused`, `httpx.TransportError`."""
    return await service.call("GET", "/v1/ops/invariants", headers={"x-api-key": key})


async def check_promises(books: Books, watches: Iterable[Watch], service: Service, key: str) -> Json | None:
    """Enter every broken promise in the books. Returns the service's own answer, None when it has none."""
    _excuse_slow_groups(books)
    for order in books.orders:
        for breach in _order_breaches(order):
            books.breach(f"order {order.id} ({order.group.cast.story}): {breach}")
    for group in books.groups:
        for breach in _group_breaches(group, [order for order in books.orders if order.group is group]):
            books.breach(f"group {group.id} ({group.cast.story}): {breach}")
    for breach in _money_breaches(books):
        books.breach(breach)
    for watch in watches:
        for breach in watch.breaches():
            books.breach(breach)
    try:
        return await ask_invariants(service, key)
    except (Refused, httpx.TransportError) as error:
        books.breach(f"the invariants could not be asked for: {error!r}")
        return None


def _excuse_slow_groups(books: Books) -> None:
    """Money that was paid in time but told to the service after the hold is late, and goes back: on a machine
    that cannot keep up that is as promised, though not as the story wants it.
    """
    for order in books.orders:
        told_late = any(
            datetime.fromisoformat(payment["captured_at"]) >= datetime.fromisoformat(order.told["hold_expires_at"])
            for payment in order.captured_payments
        )
        if told_late and "late" not in order.expected_refunds and not order.group.abandoned:
            order.group.abandoned = True
            books.too_slow += 1


def _order_breaches(order: BookedOrder) -> Iterator[str]:
    if not order.settled:
        yield f"is not settled: {order.state}, {_tell_money(order)}"
        return
    captured = order.captured_payments
    if len(captured) != order.charges:
        yield f"the cashier took {order.charges} payments, the service knows of {len(captured)}"
    for payment in captured:
        yield from _payment_breaches(order, payment)
    kept = [payment["captured_amount"] for payment in captured if payment["outcome"] == "kept"]
    if kept != ([order.told["amount"]] if order.state == "confirmed" else []):
        yield f"is {order.state} and keeps {kept} of {order.told['amount']}"
    if order.group.abandoned:
        return
    if order.state != order.expected_state:
        yield f"expected {order.expected_state}, is {order.state}"
    reasons = [refund["reason"] for refund in order.refunds]
    if sorted(reasons) != sorted(order.expected_refunds):
        yield f"expected refunds {order.expected_refunds}, there are {reasons}"


def _payment_breaches(order: BookedOrder, payment: Json) -> Iterator[str]:
    refunds = [refund for refund in order.refunds if refund["payment_id"] == payment["id"]]
    amounts = [refund["amount"] for refund in refunds if refund["state"] == "succeeded"]
    match payment["outcome"]:
        case "kept" if refunds:
            yield f"payment {payment['id']} is kept and refunded"
        case "refunded" if amounts != [payment["captured_amount"]]:
            yield f"payment {payment['id']} of {payment['captured_amount']} was refunded by {amounts}"
        case "kept" | "refunded":
            return
        case other:
            yield f"payment {payment['id']} ended in {other}: neither kept nor refunded"


def _group_breaches(group: BookedGroup, orders: list[BookedOrder]) -> Iterator[str]:
    if not group.final:
        yield f"is not final: {group.state}"
        return
    confirmed = sum(order.state == "confirmed" for order in orders)
    if group.state == "failed" and confirmed:
        yield f"failed with {confirmed} confirmed orders"
    if group.abandoned:
        return
    expected = "succeeded" if group.cast.story.succeeds else "failed"
    if group.state != expected:
        yield f"expected to have {expected}, has {group.state} ({group.told.get('fail_reason')})"
    if group.state == "succeeded" and confirmed != group.size:
        yield f"succeeded with {confirmed} confirmed orders of {group.size}"


def _money_breaches(books: Books) -> Iterator[str]:
    if books.kept != books.captured - books.refunded:
        yield f"kept {books.kept} is not captured {books.captured} less refunded {books.refunded}"
    due = sum(order.told["amount"] for order in books.orders if order.state == "confirmed")
    if books.settled and books.kept != due:
        yield f"kept {books.kept}, but confirmed orders cost {due}"


def _tell_money(order: BookedOrder) -> str:
    payments = [f"{payment['state']}/{payment['outcome']}" for payment in order.told.get("payments", [])]
    refunds = [refund["state"] for refund in order.refunds]
    return f"{order.charges} charges, payments {payments}, refunds {refunds}"
