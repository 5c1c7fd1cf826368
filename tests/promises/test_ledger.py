"""The double-entry book: what is booked is booked once, balanced, within limits, and stays."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.domain.errors import BalanceTooLow
from app.domain.ledger import AccountKey, AccountKind, Entry, TransferKind, own
from app.services import ledger
from app.services.transactions import transaction
from tests.promises.money import account, brought, earn, flash, has, later, policy
from tests.service import Member, Service


def move(source: AccountKey, target: AccountKey, amount: int) -> list[Entry]:
    return [(source, -amount), (target, amount)]


async def post(service: Service, cause: str, entries: Sequence[Entry]) -> str:
    """Book a transfer in a transaction of its own; returns its id."""
    async with transaction(service.state, service.clock()) as work:
        transfer = await ledger.post(work, TransferKind.BUDGET, cause, entries, subject="test")
    return transfer.id


async def alter(service: Service, statement: str, **values: Any) -> None:
    """Go around the service, into its tables."""
    async with service.state.database.transaction() as session:
        await (await session.connection()).execute(text(statement), values)


def purse(currency: str = "CNY") -> AccountKey:
    """A budget of nobody's, which this test alone uses."""
    return AccountKey(f"pol_{uuid4().hex}", AccountKind.BUDGET, currency)


HOUSE = own(AccountKind.HOUSE, "CNY")


async def test_a_cause_is_booked_once_however_many_try_at_once(service: Service) -> None:
    target, cause = purse(), uuid4().hex
    ids = await asyncio.gather(*(post(service, cause, move(HOUSE, target, 100)) for _ in range(20)))
    assert len(set(ids)) == 1
    assert await post(service, cause, move(HOUSE, target, 70)) == ids[0], "the first one counts"
    assert await account(service, target.id) == 100
    assert await service.violations() == []


async def test_what_is_not_balanced_is_not_booked(service: Service) -> None:
    target, dollars = purse(), purse("USD")
    for wrong in (
        [],
        [(target, 100)],
        [(HOUSE, -100), (target, 99)],
        [(HOUSE, -100), (dollars, 100)],
        [(HOUSE, 0), (target, 0)],
        [(target, -100), (target, 100)],
    ):
        with pytest.raises(ValueError, match="transfer"):
            await post(service, uuid4().hex, wrong)
    two = [*move(HOUSE, target, 5), *move(own(AccountKind.HOUSE, "USD"), dollars, 7)]
    await post(service, uuid4().hex, two)
    assert (await account(service, target.id), await account(service, dollars.id)) == (5, 7)
    assert await service.violations() == []


async def test_no_account_is_overdrawn_however_many_take_at_once(service: Service) -> None:
    source, target = purse(), purse()
    await post(service, uuid4().hex, move(HOUSE, source, 1000))
    done = await asyncio.gather(
        *(post(service, uuid4().hex, move(source, target, 150)) for _ in range(20)), return_exceptions=True
    )
    refused = [one for one in done if isinstance(one, BaseException)]
    assert {type(one) for one in refused} == {BalanceTooLow}
    assert len(refused) == 14
    assert (await account(service, source.id), await account(service, target.id)) == (100, 900)
    assert await service.violations() == []


async def test_transfers_back_and_forth_do_not_wait_for_each_other(service: Service) -> None:
    left, right = purse(), purse()
    for one in (left, right):
        await post(service, uuid4().hex, move(HOUSE, one, 1000))
    pairs = [(left, right), (right, left)] * 30
    await asyncio.gather(*(post(service, uuid4().hex, move(*pair, 10)) for pair in pairs))
    assert (await account(service, left.id), await account(service, right.id)) == (1000, 1000)
    assert await service.violations() == []


@pytest.mark.parametrize("table", ["transfers", "postings"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
async def test_what_is_written_in_the_book_stays(service: Service, table: str, change: str) -> None:
    await post(service, uuid4().hex, move(HOUSE, purse(), 1))
    column = {"transfers": "created_at", "postings": "amount"}[table]
    with pytest.raises(IntegrityError, match="only ever added to"):
        await alter(service, change.format(table, column, column))
    assert await service.violations() == []


async def test_the_database_itself_refuses_an_overdraft(service: Service) -> None:
    source = purse()
    await post(service, uuid4().hex, move(HOUSE, source, 10))
    for change in ("balance = -1", "floor = 11"):
        with pytest.raises(IntegrityError, match="ck_accounts_floor"):
            await alter(service, f"UPDATE accounts SET {change} WHERE id = :id", id=source.id)


WRONG = {
    "UPDATE accounts SET balance = balance + 1 WHERE id = :id": {"I12 accounts", "I12 total"},
    "UPDATE accounts SET lines = lines + 1 WHERE id = :id": {"I12 accounts"},
    "UPDATE accounts SET floor = NULL WHERE id = :id": {"I12 limits"},
    "INSERT INTO transfers SELECT 'tfr_nothing', kind, 'nothing', 'nothing', NULL, created_at"
    " FROM transfers WHERE id = :transfer": {"I12"},
    "INSERT INTO postings SELECT transfer_id, 9, account_id, line + 1, amount, balance_after"
    " FROM postings WHERE transfer_id = :transfer AND account_id = :id": {"I12", "I12 accounts", "I12 lines"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_the_invariants_find_what_is_wrong(own_service: Service, wrong: str) -> None:
    source = purse()
    transfer = await post(own_service, uuid4().hex, move(HOUSE, source, 10))
    assert await own_service.violations() == []
    async with own_service.state.database.transaction() as session:
        query = text(wrong)
        values = {
            name: value for name, value in {"id": source.id, "transfer": transfer}.items() if f":{name}" in wrong
        }
        await (await session.connection()).execute(query, values)
    assert {found.invariant for found in await own_service.violations()} == WRONG[wrong]


async def test_a_statement_is_read_page_by_page(service: Service) -> None:
    sale, inviter = await flash(service), await service.member()
    await policy(service, sale_id=sale.id, mature_days=0)
    for _ in range(5):
        await brought(service, inviter, sale)
    await service.work()
    path, after, lines = "/v1/members/me/statement?account=pending&limit=3", "", []
    while True:
        page = (await inviter.get(f"{path}{after}")).json()
        lines += page["items"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [line["line"] for line in lines] == list(range(10, 0, -1))
    for newer, older in pairwise(lines):
        assert newer["balance_after"] - newer["amount"] == older["balance_after"]
    assert lines[0]["balance_after"] == 0
    assert (await inviter.get("/v1/members/me/statement?currency=USD")).json() == {"items": [], "next": None}
    assert await service.violations() == []


async def test_what_comes_back_from_a_payout_pays_what_is_owed(service: Service) -> None:
    """A reward is taken back while its money is on its way out; then the payout fails."""
    sale, inviter = await flash(service), await service.member()
    await policy(service, sale_id=sale.id, mature_days=0)
    order_id = await brought(service, inviter, sale)
    await service.work()
    reply = await inviter.post("/v1/payouts", {"amount": 300, "account": "fail-2"})
    assert reply.status_code == 201, reply.text
    await service.work()
    assert await has(inviter) == (190, 0, 300, 0)
    key = {"idempotency-key": "once"}
    assert (await service.ops("POST", f"orders/{order_id}/refund", **key)).is_success
    await service.work()
    assert await has(inviter) == (0, 0, 300, 300)
    await later(service, 60)
    await later(service, 60)
    assert await has(inviter) == (0, 0, 0, 300), "it was paid, and is owed"
    await earn(service, inviter, 500)
    assert await has(inviter) == (200, 0, 0, 0)
    await other_way(service, inviter)
    assert await service.violations() == []


async def other_way(service: Service, inviter: Member) -> None:
    sale = await flash(service)
    await policy(service, sale_id=sale.id, mature_days=0)
    order_id = await brought(service, inviter, sale)
    await service.work()
    asked = await inviter.post("/v1/payouts", {"amount": 690, "account": "refuse"})
    assert asked.status_code == 201, asked.text
    assert (await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": "o"})).is_success
    await service.work()
    assert await has(inviter) == (200, 0, 0, 0), "refused: 690 came back, of which 490 were owed"
