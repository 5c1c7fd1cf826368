"""Limits on how often somebody may ask, kept by each process for itself: they cost a dictionary look-up.

With several processes behind a balancer a caller may get as many times the rate as there are processes it reaches.
The promises do not lean on these limits; they keep one caller from taking the time of the others.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from app.domain.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left: of `limit` requests in a row `remaining`, all again after `reset_seconds`;
    `retry_seconds` is 0, or how long to wait because this one was too many.
    """

    limit: int
    remaining: int
    reset_seconds: int
    retry_seconds: int


class Limiter:
    """`rate` requests a second, and `burst` in a row, for each key. A rate of 0 allows everything.

    The generic cell rate algorithm: per key only the moment at which everything it asked for will have been earned.
    """

    SIZE = 100_000

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._earned_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, now: float | None = None) -> int:
        """How many seconds until one more may be asked; 0: now. Counts nothing."""
        if not self.rate:
            return 0
        now = monotonic() if now is None else now
        debt = self._earned_at.get(key, now) - now
        return max(0, math.ceil(debt - (self.burst - 1) / self.rate - 1e-9))

    def count(self, key: str) -> None:
        """Count one request. Raises `RateLimited` for one too many."""
        allowance = self.ask(key)
        if allowance is not None and allowance.retry_seconds:
            raise RateLimited(retry_after_seconds=allowance.retry_seconds)

    @contextmanager
    def counting(self, key: str, miss: type[Exception]) -> Iterator[None]:
        """Let nobody guess: only what ends in a `miss` is counted, and whoever had too many waits before they may
        try again. Raises `RateLimited`.
        """
        if seconds := self.wait(key):
            raise RateLimited(retry_after_seconds=seconds)
        try:
            yield
        except miss:
            self.ask(key)
            raise

    def ask(self, key: str, now: float | None = None) -> Allowance | None:
        """Count one request; None when nothing is limited. What was too many is not counted."""
        if not self.rate:
            return None
        now = monotonic() if now is None else now
        each = 1 / self.rate
        earned_at = max(self._earned_at.get(key, now), now) + each
        debt = earned_at - now
        if debt > self.burst * each + 1e-9:
            return Allowance(self.burst, 0, math.ceil(debt - each), math.ceil(debt - self.burst * each))
        self._earned_at[key] = earned_at
        self._earned_at.move_to_end(key)
        if len(self._earned_at) > self.SIZE:
            self._earned_at.popitem(last=False)  # whoever asked longest ago has most likely earned it all
        return Allowance(self.burst, math.floor(self.burst - debt * self.rate + 1e-9), math.ceil(debt), 0)
