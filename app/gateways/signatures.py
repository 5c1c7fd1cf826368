"""What checks of signatures have in common, whoever signed: when it was signed, and whether it is one of ours."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hmac import compare_digest

from app.domain.errors import SignatureInvalid

WINDOW_SECONDS = 300
"""How far the time that was signed may be from ours, either way."""


def signed_at(time: str, now: datetime) -> datetime:
    """The time that was signed, Unix seconds in decimal. Raises `SignatureInvalid` when that is not about now."""
    if not re.fullmatch("[0-9]{1,12}", time):
        raise SignatureInvalid
    if abs(int(time) - now.timestamp()) > WINDOW_SECONDS:
        raise SignatureInvalid
    return datetime.fromtimestamp(int(time), UTC)


def matches(given: str, wanted: Iterable[str]) -> bool:
    """Whether it is one of these; how long that takes says nothing of how close it was, or to which."""
    return sum(compare_digest(_raw(given), _raw(one)) for one in wanted) > 0


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
