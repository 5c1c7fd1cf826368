"""What the service asks of whoever sends members their money, whichever it is."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PayoutRequest:
    """Money to be sent to a member's account at the provider, under our own payout id."""

    payout_id: str
    account: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class PayoutAnswer:
    """The provider's last word. `reference` is None when it refused, and no money left."""

    reference: str | None


class PayoutProvider(Protocol):
    """Every call is repeatable under the same id, and raises `ProviderUnavailable`."""

    async def pay_out(self, request: PayoutRequest) -> PayoutAnswer:
        """Send money, or find that it cannot be sent."""
