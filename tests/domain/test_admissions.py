"""The line of a flash sale: positions, waits and advice, over everything they may be given."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from app.domain.admissions import (
    LONGEST_PAUSE_SECONDS,
    AdmissionState,
    Phase,
    admission_state,
    ask_again,
    expected_wait,
    network_of,
    people_before,
)

NUMBERS, COUNTS = st.integers(1, 10**6), st.integers(0, 10**6)


@given(number=NUMBERS, admitted=COUNTS, more=COUNTS)
def test_who_waits_is_passed_by_nobody(number: int, admitted: int, more: int) -> None:
    now, later = people_before(number, admitted), people_before(number, admitted + more)
    assert 0 <= later <= now < number
    assert people_before(number + 1, admitted) >= now


@given(number=NUMBERS, admitted=COUNTS, rate=st.none() | st.integers(1, 10_000), until=st.floats(-100, 1000))
def test_the_wait_ends_when_the_line_has_moved_that_far(
    number: int, admitted: int, rate: int | None, until: float
) -> None:
    wait = expected_wait(number, admitted, rate, until)
    assert wait >= max(0.0, until)
    moved = admitted + (rate or 10**6) * (wait - max(0.0, until))
    assert moved >= number - 1e-3 or rate is None
    assert expected_wait(number, admitted + 1, rate, until) <= wait
    if number <= admitted and until <= 0:
        assert wait == 0


@given(phase=st.sampled_from(Phase), left=COUNTS, has_ticket=st.booleans())
def test_what_one_is_told_is_so(phase: Phase, left: int, *, has_ticket: bool) -> None:
    told = admission_state(phase, left, has_ticket=has_ticket)
    assert (told == AdmissionState.CLOSED) is (phase == Phase.CLOSED)
    if told == AdmissionState.GONE:
        assert left == 0
    if told == AdmissionState.ADMITTED:
        assert has_ticket
        assert left


@given(state=st.sampled_from(AdmissionState), wait=COUNTS, held=COUNTS)
def test_advice_is_given_where_something_may_change(state: AdmissionState, wait: int, held: int) -> None:
    advice = ask_again(state, wait, held)
    assert (advice is None) is (
        state in {AdmissionState.ADMITTED, AdmissionState.CLOSED} or (state == AdmissionState.GONE and not held)
    )
    assert advice is None or 1 <= advice <= LONGEST_PAUSE_SECONDS


@given(st.ip_addresses())
def test_an_address_is_counted_with_its_network(address: object) -> None:
    found = network_of(str(address))
    assert ip_address(str(address)) in ip_network(found) or "::ffff:" in str(address)
    assert network_of(found.partition("/")[0]) == found


def test_a_host_that_is_no_address_is_counted_as_it_is() -> None:
    assert (network_of("testclient"), network_of("")) == ("testclient", "")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1")
