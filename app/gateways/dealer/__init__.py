"""The dealer: Redis deals place numbers at memory speed and keeps the live counts.

It decides nothing. What it deals, the database may refuse; what it forgets is loaded from the rows again. All keys
of a sale carry one hash tag, `{sale:<id>}`, and expire a day after the sale.
"""

from app.gateways.dealer.dealer import (
    IN_FLIGHT,
    LUA,
    ClaimRequest,
    Dealer,
    GroupCounts,
    Newcomer,
    Refused,
    Stand,
    Unloaded,
)
from app.gateways.dealer.images import KEEP_AFTER_SALE, Claim, SaleImage, chunks
from app.gateways.dealer.keys import Keys
from app.gateways.dealer.pipe import Pipe

__all__ = [
    "IN_FLIGHT",
    "KEEP_AFTER_SALE",
    "LUA",
    "Claim",
    "ClaimRequest",
    "Dealer",
    "GroupCounts",
    "Keys",
    "Newcomer",
    "Pipe",
    "Refused",
    "SaleImage",
    "Stand",
    "Unloaded",
    "chunks",
]
