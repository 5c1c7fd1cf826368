"""Rules over what is known of members: read, asked, put in words; and what a sample tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidTerms, MembersOnly, NotInSegment
from app.domain.gates import Entrance, Gate, refusal
from app.domain.segments import BUCKETS, DeviceKind, Estimate, Known, describe, device_of, estimate, evaluate, parse

NOW = datetime(2026, 12, 12, tzinfo=UTC)
ANYBODY = Known(member_since=NOW)
anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["all", "any", "not", "fact", "is", "value", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(tree=anything)
def test_whatever_is_no_rule_is_refused(tree: Any) -> None:
    try:
        rule = parse(tree)
    except InvalidTerms as refused:
        told = refused.field
    else:
        told = f"rule, which says {evaluate(rule, ANYBODY, NOW)}"
    assert told.startswith("rule")


@pytest.mark.parametrize(
    ("tree", "fits"),
    [
        ({"fact": "days_since_last_order", "is": "at_most", "value": 36_500}, False),
        ({"not": {"fact": "days_since_last_order", "is": "at_most", "value": 36_500}}, True),
        ({"fact": "night_share", "is": "at_least", "value": 0}, False),
        ({"fact": "city", "is": "one_of", "value": ["杭州"]}, False),
        ({"fact": "orders", "is": "exactly", "value": 0}, True),
        ({"fact": "member_days", "is": "exactly", "value": 0}, True),
    ],
)
def test_what_is_not_known_fits_no_comparison(tree: Any, *, fits: bool) -> None:
    assert evaluate(parse(tree), ANYBODY, NOW) is fits


def test_a_day_is_over_when_it_is_over() -> None:
    week = parse({"fact": "member_days", "is": "at_least", "value": 7})
    since = Known(member_since=NOW - timedelta(days=7))
    assert evaluate(week, since, NOW)
    assert not evaluate(week, since, NOW - timedelta(microseconds=1))


def test_a_rule_in_words() -> None:
    tree = {
        "all": [
            {"fact": "spent", "is": "at_least", "value": 100_050},
            {
                "any": [
                    {"fact": "device", "is": "one_of", "value": ["phone", "tablet"]},
                    {"not": {"any": [{"fact": "night_share", "is": "at_most", "value": 49}]}},
                ]
            },
            {"fact": "community", "is": "one_of", "value": [f"com_{'a' * 32}"]},
        ]
    }
    words = describe(parse(tree), {f"com_{'a' * 32}": "跑团"})
    assert words.en == (
        "spent at least 1000.50 yuan and (device phone or tablet or not (share of check-ins at night at most 49 %))"
        " and member of 跑团"
    )
    assert words.zh == "累计消费不少于1000.50元且（设备为手机或平板或非（夜间打卡占比不超过49%））且所属社群为跑团"


@given(sampled=st.integers(1, 5000), share=st.floats(0, 1), buckets=st.sampled_from([1, 2, 16, 1024, BUCKETS]))
def test_an_estimate_lies_in_its_range(sampled: int, share: float, buckets: int) -> None:
    fitting = round(sampled * share)
    found = estimate(fitting, sampled, buckets)
    assert fitting <= found.low <= found.count <= found.high
    if buckets == BUCKETS:
        assert found == Estimate(fitting, fitting, fitting)


def test_an_estimate_is_as_good_as_its_sample() -> None:
    rough, fine = estimate(20, 200, 16), estimate(400, 4000, 16)
    assert (rough.high - rough.low) / rough.count > 3 * (fine.high - fine.low) / fine.count
    assert estimate(0, 4000, 64).high > 0, "nobody in a sample is not nobody"


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Mobile MicroMessenger/8.0", DeviceKind.PHONE),
        ("Mozilla/5.0 (Linux; Android 16; Pixel 10) Chrome/140 Mobile Safari", DeviceKind.PHONE),
        ("Mozilla/5.0 (Linux; Android 16; SM-X900) Chrome/140 Safari", DeviceKind.TABLET),
        ("Mozilla/5.0 (iPad; CPU OS 19_0 like Mac OS X)", DeviceKind.TABLET),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", DeviceKind.DESKTOP),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0)", DeviceKind.DESKTOP),
        ("curl/8.0", None),
        ("", None),
    ],
)
def test_what_a_browser_says_it_runs_on(agent: str, kind: DeviceKind | None) -> None:
    assert device_of(agent) is kind


def test_a_gate() -> None:
    gate = Gate((Entrance("a", "vip"), Entrance("b")), members_only=True, segment_ids=("x", "y"))
    assert isinstance(refusal(gate, {"c"}, {"vip", "x"}), MembersOnly)
    assert isinstance(refusal(gate, {"a"}, {"x"}), NotInSegment)
    assert isinstance(refusal(gate, {"b"}, {"vip"}), NotInSegment)
    assert refusal(gate, {"a"}, {"vip", "x"}) is None
    assert refusal(gate, {"b"}, {"y"}) is None
    assert not gate.is_open
    assert gate.asked_segments == {"vip", "x", "y"}
    assert Gate((Entrance("a", "vip"), Entrance("b"))).is_open
    assert not Gate((Entrance("a", "vip"),)).is_open
