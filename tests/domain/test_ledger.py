"""The book's rules: nothing is made or lost, whoever owes pays first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ledger import (
    CEILINGS,
    FLOORS,
    AccountKey,
    AccountKind,
    Entry,
    check_balanced,
    credit,
    own,
    take_back,
)

amounts = st.integers(1, 10**12)
keys = st.builds(AccountKey, st.sampled_from(["mem_1", "mem_2", ""]), st.sampled_from(AccountKind), st.just("CNY"))


@given(st.dictionaries(keys, st.integers(-(10**6), 10**6), max_size=5))
def test_only_what_sums_to_zero_is_balanced(amounts: dict[AccountKey, int]) -> None:
    entries = list(amounts.items())
    if entries and all(amounts.values()) and sum(amounts.values()) == 0:
        check_balanced(entries)
    else:
        with pytest.raises(ValueError, match="transfer"):
            check_balanced(entries)


@given(keys, keys, amounts)
def test_a_move_between_two_accounts_is_balanced(source: AccountKey, target: AccountKey, amount: int) -> None:
    entries: list[Entry] = [(source, -amount), (target, amount)]
    if source == target:
        with pytest.raises(ValueError, match="once"):
            check_balanced(entries)
    else:
        check_balanced(entries)
    with pytest.raises(ValueError, match="transfer"):
        check_balanced([(source, -amount), (target._replace(currency="USD"), amount)])


@given(amounts, st.integers(-(10**12), 0))
def test_what_comes_in_pays_what_is_owed_first(amount: int, owed: int) -> None:
    parts = {key.kind: part for key, part in credit("mem_1", "CNY", amount, owed)}
    assert sum(parts.values()) == amount
    assert all(part > 0 for part in parts.values())
    left = owed + parts.get(AccountKind.OWED, 0)
    assert left <= 0
    assert left == 0 or AccountKind.BALANCE not in parts, "a balance only once nothing is owed"


@given(amounts, st.integers(0, 10**12))
def test_what_is_taken_back_comes_from_the_balance_first(amount: int, balance: int) -> None:
    parts = {key.kind: part for key, part in take_back("mem_1", "CNY", amount, balance)}
    assert sum(parts.values()) == -amount
    assert all(part < 0 for part in parts.values())
    left = balance + parts.get(AccountKind.BALANCE, 0)
    assert left >= 0
    assert left == 0 or AccountKind.OWED not in parts


def test_names_of_accounts_and_their_limits() -> None:
    assert AccountKey("mem_1", AccountKind.BALANCE, "CNY").id == "mem_1:balance:CNY"
    assert own(AccountKind.HOUSE, "CNY").id == "house:CNY"
    assert {kind for kind, floor in FLOORS.items() if floor is None} == {AccountKind.HOUSE, AccountKind.OWED}
    assert [kind for kind, ceiling in CEILINGS.items() if ceiling is not None] == [AccountKind.OWED]
