"""What the forms of the landing page send."""

import unicodedata
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.domain.sales import MAX_ORDER_LIMIT
from app.schemas.fields import GroupId, Name, OfferId, OrderId, Prose, SaleId

Place = Annotated[str, Field(pattern=r"^(/groups/grp_[0-9a-f]{32}|/sales/sal_[0-9a-f]{32})?$")]
"""Where one is below the invite's own page."""
FormKey = Annotated[str, Field(pattern="^web_[0-9a-f]{32}$")]
"""New with every page that is shown: whatever is sent from it twice is done once."""


class SentForm(BaseModel):
    """Fields are texts; what a form does not know, it refuses."""

    model_config = ConfigDict(extra="forbid")


class LoginForm(SentForm):
    name: Name
    place: Place = ""

    @property
    def account(self) -> str:
        """The name as the `dev` provider's code: its letters and digits."""
        return "".join(letter if letter in "_.@-" or _is_plain(letter) else "-" for letter in self.name)


def _is_plain(letter: str) -> bool:
    """Whether everybody takes it for a letter or a decimal digit."""
    return unicodedata.category(letter) in {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"}


class LogoutForm(SentForm):
    place: Place = ""


class JoinForm(SentForm):
    """Name a group to join, or a sale to open one in."""

    offer_id: OfferId
    quantity: Annotated[int, Field(ge=1, le=MAX_ORDER_LIMIT)] = 1
    group_id: GroupId | None = None
    sale_id: SaleId | None = None
    key: FormKey

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.group_id is None) == (self.sale_id is None):
            raise ValueError("name either group_id or sale_id")
        return self

    @property
    def place(self) -> str:
        """The page it was sent from, below the invite's own."""
        return f"/sales/{self.sale_id}" if self.group_id is None else f"/groups/{self.group_id}"


class EnrolForm(SentForm):
    application: Prose = ""
    key: FormKey


class ShareForm(SentForm):
    group_id: GroupId


class PayForm(SentForm):
    order_id: OrderId
    key: FormKey
