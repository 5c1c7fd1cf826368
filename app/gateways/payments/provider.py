"""What the service asks of a payment provider, whichever it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ChargeState(StrEnum):
    PENDING = "pending"
    CAPTURED = "captured"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Money to be asked for: `amount` in minor units of `currency`, under our own payment id."""

    payment_id: str
    amount: int
    currency: str
    description: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider knows of a payment. `amount` and `reference` are set once it is captured."""

    payment_id: str
    state: ChargeState
    pay_url: str | None = None
    amount: int | None = None
    currency: str | None = None
    reference: str | None = None
    payer: str | None = None
    """The account it was paid from, as the provider calls it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A provider's message whose signature was checked. `notice_id` is the same in every repetition."""

    notice_id: str
    charge: Charge


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money to be given back, under our own refund id."""

    refund_id: str
    payment_id: str
    amount: int
    currency: str


class PaymentProvider(Protocol):
    """Every call is repeatable under the same id. All but `parse_notice` raise `ProviderUnavailable`."""

    name: str

    async def create(self, request: ChargeRequest) -> Charge:
        """Ask for money; the charge has the address of the page to pay on."""

    async def query(self, payment_id: str) -> Charge:
        """What became of a charge."""

    async def close(self, payment_id: str) -> Charge:
        """Let nobody pay it any more. The charge is `closed`, or `captured` when it was too late; one that the
        provider never heard of is closed.
        """

    async def refund(self, request: RefundRequest) -> str:
        """Give money back; returns the provider's reference."""

    async def query_refund(self, refund_id: str) -> str | None:
        """The provider's reference of a refund it has made, or None."""

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Check and read a notification. Raises `SignatureInvalid` for anything that is not in order."""
