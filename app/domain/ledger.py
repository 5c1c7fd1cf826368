"""The double-entry book: whose accounts there are, what they may hold, and what makes a transfer balanced."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class AccountKind(StrEnum):
    """What money on an account is. The first three are the service's own, a policy has its budget, a member the
    rest.
    """

    HOUSE = "house"
    """Where money comes from: negative by what was ever put into budgets."""
    PAID_OUT = "paid_out"
    FEES = "fees"
    BUDGET = "budget"
    PENDING = "pending"
    """Earned, but the order may still be refunded."""
    BALANCE = "balance"
    OWED = "owed"
    """What a member has spent of money that was taken back since: never above zero."""
    PAYOUTS = "payouts"
    """On its way to the member."""


OWN_KINDS = frozenset({AccountKind.HOUSE, AccountKind.PAID_OUT, AccountKind.FEES})
FLOORS: Mapping[AccountKind, int | None] = {
    kind: None if kind in {AccountKind.HOUSE, AccountKind.OWED} else 0 for kind in AccountKind
}
CEILINGS: Mapping[AccountKind, int | None] = {kind: 0 if kind == AccountKind.OWED else None for kind in AccountKind}


class TransferKind(StrEnum):
    """Why money was moved."""

    BUDGET = "budget"
    ACCRUED = "accrued"
    REDUCED = "reduced"
    WITHHELD = "withheld"
    RELEASED = "released"
    MATURED = "matured"
    REVERSED = "reversed"
    PAYOUT_ASKED = "payout_asked"
    PAYOUT_PAID = "payout_paid"
    PAYOUT_RETURNED = "payout_returned"
    TIP = "tip"
    FORFEITED = "forfeited"
    """Given up by a member who is erased."""


class AccountKey(NamedTuple):
    """An account: whose it is (a member's or a policy's id; the service's own: nobody's), what it holds."""

    owner: str
    kind: AccountKind
    currency: str

    @property
    def id(self) -> str:
        """Its key in the book, such as `mem_…:balance:CNY`."""
        return ":".join(part for part in self if part)


Entry = tuple[AccountKey, int]
"""What a transfer adds to an account, in minor units; negative: takes from it."""


def own(kind: AccountKind, currency: str) -> AccountKey:
    """An account of the service itself."""
    return AccountKey("", kind, currency)


def check_balanced(entries: Sequence[Entry]) -> None:
    """Raise `ValueError` unless a transfer moves something, names each account once, and creates no money."""
    totals: dict[str, int] = {}
    for key, amount in entries:
        totals[key.currency] = totals.get(key.currency, 0) + amount
    if not entries or any(amount == 0 for _, amount in entries):
        raise ValueError("every entry of a transfer moves something")
    if len({key for key, _ in entries}) < len(entries):
        raise ValueError("a transfer names an account once")
    if any(totals.values()):
        raise ValueError("what a transfer takes is what it gives")


def credit(member_id: str, currency: str, amount: int, owed: int) -> list[Entry]:
    """Give a member money: what they owe (`owed`, not above zero) is paid first, the rest is theirs."""
    repaid = min(amount, -owed)
    return _moving(member_id, currency, {AccountKind.OWED: repaid, AccountKind.BALANCE: amount - repaid})


def take_back(member_id: str, currency: str, amount: int, balance: int) -> list[Entry]:
    """Take money back from a member: from the balance while there is some, the rest they owe."""
    taken = min(amount, balance)
    return _moving(member_id, currency, {AccountKind.BALANCE: -taken, AccountKind.OWED: taken - amount})


def _moving(member_id: str, currency: str, amounts: Mapping[AccountKind, int]) -> list[Entry]:
    return [(AccountKey(member_id, kind, currency), amount) for kind, amount in amounts.items() if amount]
