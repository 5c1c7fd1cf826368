"""What is told of friends: masked names of those who allow it, numbers of enough, and nothing of the hidden."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.members import SeenBy, mask_name
from app.domain.trust import LEAST_COUNTED, MOST_NAMES, Friend, show_friends

friends = st.lists(st.builds(Friend, st.text(min_size=1, max_size=6), st.sampled_from(SeenBy)), max_size=9)


@given(friends)
def test_no_more_is_told_than_is_allowed(friends: list[Friend]) -> None:
    named = [mask_name(friend.name) for friend in friends if friend.seen_by_friends == SeenBy.NAMED]
    counted = [friend for friend in friends if friend.seen_by_friends == SeenBy.COUNTED]
    shown = show_friends(friends)
    if shown is None:
        assert not named
        assert len(counted) < LEAST_COUNTED
        return
    names, others = shown
    assert names == named[:MOST_NAMES]
    assert others != 0
    beyond = len(named) - len(names)
    assert (others or 0) == beyond + (len(counted) if len(counted) >= LEAST_COUNTED else 0)


@given(friends)
def test_who_is_hidden_makes_no_difference(friends: list[Friend]) -> None:
    seen = [friend for friend in friends if friend.seen_by_friends != SeenBy.HIDDEN]
    assert show_friends(friends) == show_friends(seen)


@given(friends, st.integers(0, LEAST_COUNTED - 1))
def test_few_who_are_counted_make_no_difference(friends: list[Friend], few: int) -> None:
    others = [friend for friend in friends if friend.seen_by_friends != SeenBy.COUNTED]
    assert show_friends(others + [Friend("x", SeenBy.COUNTED)] * few) == show_friends(others)
