"""What the service asks of a provider that keeps bills, to compare them with its own rows."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from app.domain.reconciliations import Line


class Biller(Protocol):
    """A payment provider that says, for each day that is over, what it has taken and given back."""

    name: str
    zone: ZoneInfo
    """Where its days begin and end."""

    async def read_bill(self, day: date) -> Sequence[Line]:
        """Every charge and refund of ours on that day. Raises `ProviderUnavailable`, also while it is not made."""
