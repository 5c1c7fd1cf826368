"""The double-entry book: transfers are written, accounts are read."""

from collections.abc import Iterable, Sequence

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from app.domain.errors import BalanceTooLow
from app.domain.ledger import (
    CEILINGS,
    FLOORS,
    OWN_KINDS,
    AccountKey,
    AccountKind,
    Entry,
    TransferKind,
    check_balanced,
    credit,
    take_back,
)
from app.models import Account, Posting, Transfer, new_id
from app.schemas.fields import Page
from app.schemas.ledger import Balance, Balances, StatementLine
from app.services.locks import lock_accounts
from app.services.transactions import Work
from app.state import State


async def post(
    work: Work,
    kind: TransferKind,
    cause: str,
    entries: Sequence[Entry],
    *,
    subject: str,
    order_id: str | None = None,
) -> Transfer:
    """Book a transfer for a cause, once: when it was booked before, that transfer is returned and nothing changes.

    Accounts are opened when they are first used, and moved in the order of their ids. Raises `ValueError` when the
    entries are not balanced, `BalanceTooLow` when an account would leave its limits; then the transaction cannot
    go on.
    """
    check_balanced(entries)
    booked = await work.session.exec(
        work.database.insert_unless_there(Transfer, ["cause"])
        .values(id=new_id("tfr"), kind=kind, cause=cause, subject=subject, order_id=order_id, created_at=work.now)
        .returning(Transfer),
    )
    transfer: Transfer | None = booked.scalar_one_or_none()
    if transfer is None:
        return (await work.session.exec(select(Transfer).where(Transfer.cause == cause))).one()
    for number, (key, amount) in enumerate(sorted(entries, key=lambda entry: entry[0].id), 1):
        balance, line = await _move(work, key, amount)
        work.session.add(
            Posting(
                transfer_id=transfer.id,
                number=number,
                account_id=key.id,
                line=line,
                amount=amount,
                balance_after=balance,
            )
        )
    await work.session.flush()
    return transfer


async def _move(work: Work, key: AccountKey, amount: int) -> tuple[int, int]:
    """Add to an account, which is opened if there is none; returns its balance and its number of lines."""
    statement = (
        update(Account)
        .where(col(Account.id) == key.id)
        .values(balance=Account.balance + amount, lines=Account.lines + 1)
        .returning(col(Account.balance), col(Account.lines))
        .execution_options(synchronize_session=False, autoflush=False)
    )
    try:
        moved = (await work.session.exec(statement)).one_or_none()
        if moved is None:
            await _open(work, [key])
            moved = (await work.session.exec(statement)).one()
    except IntegrityError as error:
        raise BalanceTooLow from error
    return moved[0], moved[1]


async def _open(work: Work, keys: Iterable[AccountKey]) -> None:
    rows = [
        {
            "id": key.id,
            "kind": key.kind,
            "member_id": key.owner if key.kind not in OWN_KINDS | {AccountKind.BUDGET} else None,
            "currency": key.currency,
            "balance": 0,
            "floor": FLOORS[key.kind],
            "ceiling": CEILINGS[key.kind],
            "lines": 0,
        }
        for key in sorted(keys, key=lambda key: key.id)
    ]
    await work.session.exec(work.database.insert_unless_there(Account, ["id"]).values(rows))


async def lock(work: Work, *keys: AccountKey) -> list[int]:
    """Lock accounts, and see what is on them; nobody else moves them before the transaction ends."""
    await _open(work, keys)
    rows = {row.id: row.balance for row in await lock_accounts(work.session, [key.id for key in keys])}
    return [rows[key.id] for key in keys]


async def crediting(work: Work, source: AccountKey, member_id: str, amount: int) -> list[Entry]:
    """The entries that give a member money from another account; their accounts are locked."""
    owed = AccountKey(member_id, AccountKind.OWED, source.currency)
    balance = AccountKey(member_id, AccountKind.BALANCE, source.currency)
    _, _, owes = await lock(work, source, balance, owed)
    return [(source, -amount), *credit(member_id, source.currency, amount, owes)]


async def taking_back(work: Work, target: AccountKey, member_id: str, amount: int) -> list[Entry]:
    """The entries that take money back from a member; what is not there any more they owe."""
    owed = AccountKey(member_id, AccountKind.OWED, target.currency)
    balance = AccountKey(member_id, AccountKind.BALANCE, target.currency)
    _, has, _ = await lock(work, target, balance, owed)
    return [(target, amount), *take_back(member_id, target.currency, amount, has)]


async def balance_of(work: Work, key: AccountKey) -> int:
    """What is on an account; nothing, when it was never used."""
    found = await work.session.exec(select(Account.balance).where(Account.id == key.id))
    return found.one_or_none() or 0


async def list_balances(state: State, member_id: str) -> Balances:
    """What a member has, by currency."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Account).where(Account.member_id == member_id).order_by(col(Account.currency)),
        )
        rows = found.all()
    by_currency: dict[str, dict[str, int]] = {}
    for row in rows:
        by_currency.setdefault(row.currency, {})[row.kind] = row.balance
    return Balances(
        items=[
            Balance(
                currency=currency,
                balance=kinds.get(AccountKind.BALANCE, 0),
                pending=kinds.get(AccountKind.PENDING, 0),
                payouts=kinds.get(AccountKind.PAYOUTS, 0),
                owed=-kinds.get(AccountKind.OWED, 0),
            )
            for currency, kinds in by_currency.items()
        ]
    )


async def read_statement(
    state: State, member_id: str, kind: AccountKind, currency: str, after: int | None, limit: int
) -> Page[StatementLine]:
    """The lines of one of a member's accounts, newest first."""
    account_id = AccountKey(member_id, kind, currency).id
    statement = select(Posting, Transfer).join(Transfer).where(Posting.account_id == account_id)
    if after is not None:
        statement = statement.where(Posting.line < after)
    async with state.database.snapshot() as session:
        rows = (await session.exec(statement.order_by(col(Posting.line).desc()).limit(limit + 1))).all()
    items = [
        StatementLine(
            line=posting.line,
            kind=transfer.kind,
            amount=posting.amount,
            balance_after=posting.balance_after,
            subject=transfer.subject,
            order_id=transfer.order_id,
            created_at=transfer.created_at,
        )
        for posting, transfer in rows[:limit]
    ]
    return Page[StatementLine](items=items, next=str(items[-1].line) if len(rows) > limit else None)
