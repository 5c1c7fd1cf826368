"""The draw: fair, alike for everybody who computes it, and another one when anything is changed."""

import hashlib
from dataclasses import replace

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from app.domain.draws import Lot, draw, hash_lots, hash_seed, weigh, winners
from app.domain.entries import EntryState

SEEDS = [hashlib.sha256(str(number).encode()).digest() for number in range(4000)]


@st.composite
def lots(some: st.DrawFn) -> list[Lot]:
    """Entries of a sale with up to two offers."""
    numbers = some(st.sets(st.integers(0, 10**6), min_size=1, max_size=20))
    return [
        Lot(f"ent_{number}", f"off_{some(st.integers(0, 1))}", some(st.integers(1, 5)), some(st.integers(1, 5)))
        for number in sorted(numbers)
    ]


@seed(1)
@given(lots(), st.binary(min_size=32, max_size=32), st.randoms())
def test_the_order_of_the_input_does_not_matter(entries: list[Lot], secret: bytes, chance: object) -> None:
    shuffled = list(entries)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert draw(secret, shuffled) == draw(secret, entries)
    assert sorted(draw(secret, entries), key=lambda lot: lot.id) == sorted(entries, key=lambda lot: lot.id)


@seed(2)
@given(lots(), st.integers(0, 19), st.sampled_from(["id", "offer_id", "quantity", "weight", "less", "more"]))
def test_any_change_is_another_draw(entries: list[Lot], place: int, change: str) -> None:
    place %= len(entries)
    other = Lot("ent_x", "off_x", 99, 9)
    match change:
        case "less":
            changed = entries[:place] + entries[place + 1 :]
        case "more":
            changed = [*entries, other]
        case field:
            changed = list(entries)
            changed[place] = replace(entries[place], **{field: getattr(other, field)})
    assert hash_lots(changed) != hash_lots(entries)


def test_the_seed_alone_decides() -> None:
    entries = [Lot(f"ent_{number}", "off", 1, 1) for number in range(10)]
    orders = {tuple(lot.id for lot in draw(secret, entries)) for secret in SEEDS[:200]}
    assert len(orders) == 200
    assert len({hash_seed(secret) for secret in SEEDS}) == len(SEEDS)


def test_everybody_is_first_as_often_as_everybody_else() -> None:
    entries = [Lot(f"ent_{number}", "off", 1, 1) for number in range(8)]
    first = [draw(secret, entries)[0].id for secret in SEEDS]
    for lot in entries:
        assert abs(first.count(lot.id) - 500) < 5 * 21, "five standard deviations"


def test_a_weight_is_that_many_chances() -> None:
    """Of tickets 1, 1, 2 and 4, the last entry is drawn first by half of the seeds, and so on down."""
    entries = [Lot(f"ent_{number}", "off", 1, weight) for number, weight in enumerate([1, 1, 2, 4])]
    drawn = [draw(secret, entries) for secret in SEEDS]
    for lot in entries:
        chance = lot.weight / 8
        deviation = (len(SEEDS) * chance * (1 - chance)) ** 0.5
        assert abs(sum(order[0] == lot for order in drawn) - len(SEEDS) * chance) < 5 * deviation
    # Without replacement: when the heaviest was first, the others share what is left by their weights.
    rest = [order[1] for order in drawn if order[0] == entries[3]]
    deviation = (len(rest) * 0.5 * 0.5) ** 0.5
    assert abs(sum(lot == entries[2] for lot in rest) - len(rest) / 2) < 5 * deviation


@settings(max_examples=200)
@seed(3)
@given(lots(), st.dictionaries(st.sampled_from(["off_0", "off_1"]), st.integers(0, 30)))
def test_winners_are_who_the_stock_suffices_for(entries: list[Lot], stocks: dict[str, int]) -> None:
    stocks = {"off_0": 0, "off_1": 0} | stocks
    drawn = draw(SEEDS[0], entries)
    won = winners(drawn, stocks)
    for offer_id, stock in stocks.items():
        of_offer = [lot for lot in drawn if lot.offer_id == offer_id]
        left = stock
        for lot in of_offer:
            assert (lot in won) == (lot.quantity <= left)
            left -= lot.quantity if lot in won else 0
        assert left >= 0


LOST, WON, LAPSED = EntryState.LOST, EntryState.TAKEN, EntryState.LAPSED


def test_a_weight_grows_with_losses_and_starts_anew_with_a_win() -> None:
    assert weigh([], 5) == 1
    assert weigh([LOST, LOST], 5) == 3
    assert weigh([LOST] * 9, 5) == 5
    assert weigh([LOST] * 9, 1) == 1
    assert weigh([LOST, WON, LOST], 5) == 2
    assert weigh([LAPSED, LOST], 5) == 1, "who was drawn and did not pay has won"
