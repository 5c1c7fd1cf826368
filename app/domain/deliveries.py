"""Deliveries of events to endpoints, as https://github.com/standard-webhooks/standard-webhooks specifies them:
how they are signed, and what becomes of one that was answered, or was not.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.domain.endpoints import DisabledReason

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES = 32
RETRY_AFTER = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""How long after each failed attempt the next one comes; after one more the endpoint is disabled."""
JITTER = 0.1
"""Up to so much longer, so that what failed together does not come again together."""
LONGEST_WAIT = timedelta(hours=24)
"""How long a receiver may ask us to wait."""
FREE_FAILURES = 5
"""Attempts in a row that may fail before an endpoint is given pauses."""
LONGEST_PAUSE = timedelta(minutes=5)
MAX_ANSWER = 1024
"""Bytes of an answer that are read and kept."""
SUCCESS = range(200, 300)
GONE = 410
ASK_TO_WAIT = {429, 503}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery that was tried."""

    delivered: bool = False
    wait: timedelta = timedelta(0)
    """Until the next attempt."""
    hold: timedelta = timedelta(0)
    """For which the receiver wants to hear nothing at all."""
    disabled: DisabledReason | None = None


def judge(status: int | None, retry_after: str | None, failures: int, now: datetime, chance: float) -> Verdict:
    """What an answer means for a delivery that failed so often before. `status` is None when there was no answer;
    `chance` of 0..1 spreads the retries. Any other status than 2xx is a failure, redirects too.
    """
    if status in SUCCESS:
        return Verdict(delivered=True)
    if status == GONE:
        return Verdict(disabled=DisabledReason.GONE)
    if failures >= len(RETRY_AFTER):
        return Verdict(disabled=DisabledReason.FAILED)
    hold = _asked(retry_after, now) if status in ASK_TO_WAIT else timedelta(0)
    return Verdict(wait=max(hold, RETRY_AFTER[failures] * (1 + JITTER * chance)), hold=hold)


def _asked(retry_after: str | None, now: datetime) -> timedelta:
    """What a Retry-After header asks for, a number of seconds or a date (RFC 9110, 10.2.3); nothing if it is
    neither, and no more than `LONGEST_WAIT`.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return timedelta(0)
    return min(max(moment.replace(tzinfo=moment.tzinfo or UTC) - now, timedelta(0)), LONGEST_WAIT)


def pause(failures: int) -> timedelta:
    """For how long an endpoint is sent nothing after so many failures in a row: doubling from two seconds up to
    five minutes, so that one that is down is not asked for each of the thousand things it has missed.
    """
    if failures <= FREE_FAILURES:
        return timedelta(0)
    return min(timedelta(seconds=2 ** min(failures - FREE_FAILURES, 20)), LONGEST_PAUSE)


def write_secret(key: bytes) -> str:
    """A secret as receivers are given it."""
    return SECRET_PREFIX + b64encode(key).decode()


def sign(secrets: Sequence[str], id_: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: HMAC-SHA256 over id, time and body by each secret that lives."""
    message = f"{id_}.{timestamp}.".encode() + body
    keys = [b64decode(secret.removeprefix(SECRET_PREFIX)) for secret in secrets]
    return " ".join(f"v1,{b64encode(hmac.digest(key, message, 'sha256')).decode()}" for key in keys)
