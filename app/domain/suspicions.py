"""How likely it is that a referral was made for its reward."""

from dataclasses import dataclass
from enum import StrEnum

WITHHOLD_AT = 50
"""From this score on, of 100, a reward is withheld until an operator has looked."""


class Suspicion(StrEnum):
    """Why a referral is suspected."""

    DEVICE = "device"
    PAYER = "payer"
    PHONE = "phone"


WEIGHTS = {Suspicion.DEVICE: 60, Suspicion.PAYER: 60, Suspicion.PHONE: 60}


@dataclass(frozen=True, slots=True)
class Assessment:
    """A score of 0 to 100, and its reasons."""

    score: int
    reasons: tuple[Suspicion, ...]

    @property
    def withheld(self) -> bool:
        """Whether rewards are withheld."""
        return self.score >= WITHHOLD_AT


def assess(reasons: frozenset[Suspicion]) -> Assessment:
    """The score of what was found: the sum of its weights, at most 100."""
    return Assessment(min(sum(WEIGHTS[reason] for reason in reasons), 100), tuple(sorted(reasons)))
