"""Whose turn it is: in order, whole parties, no more than there is."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.entries import Room, Waiting, take_turns

GROUPS = ["grp_a", "grp_b"]


@st.composite
def lines(draw: st.DrawFn) -> list[Waiting]:
    """People in line; a member may wait for more than one thing."""
    return [
        Waiting(f"ent_{number}", f"mem_{draw(st.integers(0, 8))}", draw(st.integers(1, 4)), draw(group_ids))
        for number in range(draw(st.integers(0, 12)))
    ]


group_ids = st.sampled_from([None, *GROUPS])
rooms = st.dictionaries(st.sampled_from([*GROUPS, "grp_c"]), st.integers(0, 3).map(Room))


@given(lines(), st.integers(0, 20), rooms, st.integers(2, 4), st.integers(1, 4))
def test_nobody_gets_what_is_not_there(
    line: list[Waiting], free: int, running: dict[str, Room], size: int, enough: int
) -> None:
    turns = take_turns(line, free, running, size=size, enough=min(enough, size))
    called = [one for one, _ in turns.joins] + [one for party in turns.openings for one in party]
    assert sum(one.quantity for one in called) <= free
    assert len({one.member_id for one in called}) == len(called)
    for group_id, room in running.items():
        joined = [one for one, target in turns.joins if target == group_id]
        assert len(joined) <= room.seats
    for one, group_id in turns.joins:
        assert one.group_id in {None, group_id}
    for party in turns.openings:
        assert 1 <= len(party) <= size
        assert len(party) >= min(enough, size) or all(one.group_id is None for one in party)


@given(lines(), st.integers(0, 20))
def test_alone_the_first_that_fit_are_served_in_order(line: list[Waiting], free: int) -> None:
    line = [Waiting(one.id, one.id, one.quantity) for one in line]
    turns = take_turns(line, free, {}, size=1, enough=1)
    expected, left = [], free
    for one in line:
        if one.quantity <= left:
            expected.append(one)
            left -= one.quantity
    assert [one for (one,) in turns.openings] == expected
    assert not turns.joins


def waiting(*group_ids: str | None, quantity: int = 1) -> list[Waiting]:
    return [Waiting(f"ent_{n}", f"mem_{n}", quantity, group_id) for n, group_id in enumerate(group_ids)]


def test_enough_who_wait_for_full_groups_open_one() -> None:
    line = waiting("grp_a", "grp_b", "grp_a", "grp_a")
    assert take_turns(line[:2], 9, {}, size=3, enough=3).openings == []
    assert take_turns(line, 9, {}, size=3, enough=3).openings == [line[:3]]
    assert take_turns(line, 2, {}, size=3, enough=3).openings == [], "for whom there are not enough units"
    assert take_turns(line, 2, {}, size=3, enough=2).openings == [line[:2]]
    assert take_turns(line[:1] * 3, 9, {}, size=3, enough=2).openings == [], "one member thrice is no company"


def test_who_waits_for_an_offer_joins_the_group_nearest_to_full() -> None:
    line = waiting(None, None, None)
    running = {"grp_a": Room(2), "grp_b": Room(1, ["mem_0"]), "grp_c": Room(1)}
    turns = take_turns(line, 9, running, size=3, enough=3)
    assert turns.joins == [(line[0], "grp_c"), (line[1], "grp_b"), (line[2], "grp_a")]
    alone = take_turns(line, 9, {"grp_a": Room(0)}, size=2, enough=2)
    assert alone.openings == [line[:2], line[2:]], "or opens one, also alone"


def test_a_freed_seat_is_for_those_who_wait_for_it() -> None:
    line = waiting(None, "grp_a")
    turns = take_turns(line, 9, {"grp_a": Room(1)}, size=3, enough=3)
    assert turns.joins == [(line[1], "grp_a")]
    assert turns.openings == [[line[0]]]
