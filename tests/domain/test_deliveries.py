"""How deliveries are signed, judged and repeated."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.deliveries import FREE_FAILURES, RETRY_AFTER, judge, pause, sign, write_secret
from app.domain.endpoints import DisabledReason

NOW = datetime(2026, 12, 12, 8, tzinfo=UTC)
VECTOR = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": 1614265330,
    "body": b'{"test": 2432232314}',
    "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""Of the tests of https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries/python."""
statuses = st.none() | st.integers(100, 599)


def test_published_vector() -> None:
    signed = sign([VECTOR["secret"]], VECTOR["id"], VECTOR["timestamp"], VECTOR["body"])  # type: ignore[arg-type, list-item]
    assert signed == VECTOR["signature"]


@given(st.binary(min_size=24, max_size=64), st.binary(min_size=24, max_size=64), st.binary(), st.integers(0, 2**40))
def test_each_secret_signs_for_itself(one: bytes, other: bytes, body: bytes, timestamp: int) -> None:
    secrets = [write_secret(one), write_secret(other)]
    both = sign(secrets, "1", timestamp, body).split(" ")
    assert both == [sign([secret], "1", timestamp, body) for secret in secrets]
    assert sign(secrets, "1", timestamp + 1, body) != sign(secrets, "2", timestamp, body)


def test_the_table_of_the_specification() -> None:
    waits = [judge(500, None, failures, NOW, 0).wait for failures in range(len(RETRY_AFTER))]
    hours = [0.083, 0.5, 2, 5, 10, 14, 20, 24]
    assert waits == [timedelta(seconds=5), timedelta(minutes=5), *(timedelta(hours=h) for h in hours[1:])]
    assert judge(500, None, len(RETRY_AFTER), NOW, 0).disabled == DisabledReason.FAILED


@given(statuses, st.none() | st.text(), st.integers(0, 20), st.floats(0, 1))
def test_every_answer_has_one_meaning(status: int | None, header: str | None, failures: int, chance: float) -> None:
    verdict = judge(status, header, failures, NOW, chance)
    assert verdict.delivered == (status is not None and 200 <= status < 300)
    assert (verdict.delivered, verdict.disabled is not None, verdict.wait > timedelta(0)).count(True) == 1
    if verdict.wait:
        assert RETRY_AFTER[failures] <= verdict.wait <= max(RETRY_AFTER[failures] * 1.1, timedelta(hours=24))
        assert timedelta(0) <= verdict.hold <= verdict.wait
    assert (status == 410) == (verdict.disabled == DisabledReason.GONE)


@pytest.mark.parametrize(
    ("status", "header", "held"),
    [
        *((429, "120", 120), (503, " 7 ", 7), (503, format_datetime(NOW + timedelta(minutes=3), usegmt=True), 180)),
        *((503, format_datetime(NOW + timedelta(minutes=3)), 180), (429, "999999999999", 86_400), (500, "120", 0)),
        *((429, format_datetime(NOW - timedelta(minutes=3), usegmt=True), 0), (429, "soon", 0), (429, "-5", 0)),
        *((429, "١٢", 0), (429, "", 0), (429, "Fri, 31 Dec 9999 23:59:59 GMT", 86_400), (429, "1.5", 0)),
        *((429, "Mon, 99 Foo 2026 99:99:99 GMT", 0), (429, "Sat, 12 Dec 2026 08:00:30 -0000", 30)),
    ],
)
def test_what_a_receiver_asks_for(status: int, header: str, held: int) -> None:
    assert judge(status, header, 0, NOW, 0).hold == timedelta(seconds=held)


@given(st.integers(0, 10**9))
def test_pauses_grow_up_to_five_minutes(failures: int) -> None:
    assert timedelta(0) <= pause(failures) <= pause(failures + 1) <= timedelta(minutes=5)
    assert (pause(failures) == timedelta(0)) == (failures <= FREE_FAILURES)


def test_the_vector_is_the_one_that_is_published() -> None:
    assert json.loads(str(VECTOR["body"], "utf-8")) == {"test": 2432232314}  # type: ignore[call-overload]
