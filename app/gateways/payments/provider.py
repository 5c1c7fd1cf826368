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
    payer_account: str | None = None
    """Who is to pay, as the provider calls them; see `PaymentProvider.payer_identity`."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider knows of a payment. `amount`, `currency` and `reference` are set once it is captured."""

    payment_id: str
    state: ChargeState
    pay_url: str | None = None
    """The page to pay on, or"""
    pay_params: dict[str, str] | None = None
    """what the front end hands to the provider's own cashier."""
    handle: str | None = None
    """What the provider calls the charge, where it cannot be asked about by our id."""
    amount: int | None = None
    currency: str | None = None
    reference: str | None = None
    payer: str | None = None
    """The account it was paid from, as the provider calls it."""
    paid_at: datetime | None = None
    """When, by the provider's clock: it decides on the bill of which day it is, and nothing else."""


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money to be given back, under our own refund id; of a payment of `total`, which the provider calls
    `reference`.
    """

    refund_id: str
    payment_id: str
    amount: int
    currency: str
    total: int
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class RefundAnswer:
    """A refund that the provider has accepted. `is_done`: the money is back; otherwise it is on its way."""

    reference: str
    amount: int
    is_done: bool = True
    accepted_at: datetime | None = None
    """When, by the provider's clock: it decides on the bill of which day it is, and nothing else."""


@dataclass(frozen=True, slots=True)
class RefundNews:
    """Something became of a refund. `is_lost`: the money could not be given back, or came back again."""

    refund_id: str
    is_lost: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A provider's message whose signature was checked: of a charge, or of a refund. `notice_id` is the same in
    every repetition.
    """

    notice_id: str
    charge: Charge | None = None
    refund: RefundNews | None = None


class Refused(Exception):
    """A provider understood, and will not: with this status and its own code, such as `ORDER_NOT_EXIST`."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


class PaymentProvider(Protocol):
    """Every call is repeatable under the same id. Those that ask the provider raise `ProviderUnavailable`."""

    name: str
    payer_identity: str | None
    """Where members log in whose name for them this provider wants to know (`identities`); None: it asks them."""

    def takes(self, currency: str) -> bool:
        """Whether it takes money of this currency, in the minor units that ISO 4217 says."""

    async def create(self, request: ChargeRequest) -> Charge:
        """Ask for money; the charge says where, or with what, to pay. Raises `ProviderRefused`."""

    async def query(self, payment_id: str, handle: str | None = None) -> Charge:
        """What became of a charge; one that the provider never heard of is pending."""

    async def close(self, payment_id: str, handle: str | None = None) -> Charge:
        """Let nobody pay it any more. The charge is `closed`, or `captured` when it was too late; one that the
        provider never heard of is closed.
        """

    async def refund(self, request: RefundRequest) -> RefundAnswer:
        """Give money back, or see how far that is."""

    async def query_refund(self, request: RefundRequest) -> RefundAnswer | None:
        """What became of a refund; None when the provider has none that is done or on its way."""

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice | None:
        """Check and read a notification; None when it is of something else than our charges and refunds. Raises
        `SignatureInvalid` for anything that is not in order.
        """
