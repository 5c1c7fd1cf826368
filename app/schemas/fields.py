"""Field types that several schemas share."""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from app.domain.members import TURNING
from app.domain.money import MAX_AMOUNT
from app.domain.phones import normalise

Item = TypeVar("Item")
MAX_PAGE = 100
FIRST_YEAR, LAST_YEAR = 2000, 2199


def printable(value: str) -> str:
    for letter in value:
        if letter in TURNING or (unicodedata.category(letter) in {"Cc", "Cs"} and letter not in "\n\t"):
            raise ValueError("must not contain control characters")
    return value


def _written_out(value: object) -> object:
    # A bare number would be read as a Unix time, in seconds or milliseconds by its size.
    if isinstance(value, datetime) or (isinstance(value, str) and "-" in value):
        return value
    raise ValueError("must be an RFC 3339 date and time")


def _a_day(value: object) -> object:
    if isinstance(value, date) or (isinstance(value, str) and re.fullmatch(r"2[01]\d\d-\d\d-\d\d", value)):
        return value
    raise ValueError(f"must be a date, YYYY-MM-DD, between the years {FIRST_YEAR} and {LAST_YEAR}")


def _in_utc(value: datetime) -> datetime:
    # Near the ends of the calendar another time zone is another era, which nothing can express.
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return value.astimezone(UTC)


def _in_e164(value: str) -> str:
    number = normalise(value)
    if number is None:
        raise ValueError("must be a phone number, with `+` and the country's code unless it is Chinese")
    return number


PRINTABLE = Field(
    json_schema_extra={"pattern": "^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]*$"}
)
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=60),
    AfterValidator(printable),
    PRINTABLE,
]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
    AfterValidator(printable),
    PRINTABLE,
]
Prose = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=500),
    AfterValidator(printable),
    PRINTABLE,
]
PushText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(printable),
    PRINTABLE,
]
LongProse = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=2000),
    AfterValidator(printable),
    PRINTABLE,
]
PictureUrl = Annotated[
    str,
    Field(pattern="^https://[!-~]{1,500}$", description="图片地址", examples=["https://cdn.example.com/tea.jpg"]),
]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, description="Minor units, e.g. fen 分", examples=[4900])]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217", examples=["CNY"])]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_out),
    AfterValidator(_in_utc),
    Field(strict=False, description="RFC 3339 with a time zone", examples=["2026-12-12T00:00:00Z"]),
]

Day = Annotated[
    date,
    BeforeValidator(_a_day),
    Field(strict=False, description="YYYY-MM-DD", examples=["2026-12-12"]),
]

TimeOfDay = Annotated[
    str,
    Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM 时分", examples=["10:00"]),
]
Timezone = Annotated[
    str,
    Field(pattern="^[A-Za-z0-9_+/-]{1,40}$", description="IANA name 时区", examples=["Asia/Shanghai"]),
]


def id_of(prefix: str) -> object:
    """The pattern of an id with this prefix."""
    return Field(pattern=f"^{prefix}_[0-9a-f]{{32}}$", examples=[f"{prefix}_019a0c5e7d0a7b3c8f21a4d5e6f70812"])


CommunityId = Annotated[str, id_of("com")]
ProductId = Annotated[str, id_of("prd")]
SkuId = Annotated[str, id_of("sku")]
SaleId = Annotated[str, id_of("sal")]
OfferId = Annotated[str, id_of("off")]
GroupId = Annotated[str, id_of("grp")]
BargainId = Annotated[str, id_of("bgn")]
OrderId = Annotated[str, id_of("ord")]
CouponId = Annotated[str, id_of("cpn")]
EntryId = Annotated[str, id_of("ent")]
PolicyId = Annotated[str, id_of("pol")]
RewardId = Annotated[str, id_of("rwd")]
PayoutId = Annotated[str, id_of("pyt")]
MemberId = Annotated[str, id_of("mem")]
PostId = Annotated[str, id_of("pst")]
CommentId = Annotated[str, id_of("cmt")]
SubjectId = Annotated[
    str, Field(pattern="^(pst|cmt)_[0-9a-f]{32}$", examples=["pst_019a0c5e7d0a7b3c8f21a4d5e6f70812"])
]
"""The id of a post or a comment."""
ReportId = Annotated[str, id_of("rpt")]
SegmentId = Annotated[str, id_of("seg")]
PushId = Annotated[str, id_of("psh")]
NoticeId = Annotated[str, id_of("ntc")]
BindingId = Annotated[str, id_of("bnd")]
IdentityId = Annotated[str, id_of("idn")]
SessionId = Annotated[str, Field(pattern="^(current|ses_[0-9a-f]{32})$", examples=["current"])]
EndpointId = Annotated[str, id_of("ept")]
ReconciliationId = Annotated[str, id_of("rcn")]
InviteCode = Annotated[str, Field(pattern="^[0-9A-Za-z]{8,20}$", examples=["7Yp2KqXw3N"])]

CouponCode = Annotated[str, Field(pattern="^[0-9A-Za-z]{4,20}$", examples=["TEA20"]), AfterValidator(str.upper)]
"""Whoever types it need not mind capitals."""
Device = Annotated[str, Field(pattern="^[!-~]{1,128}$", examples=["a1b2c3d4e5f6"])]
VisitorToken = Annotated[
    str, Field(pattern="^[0-9A-Za-z_.-]{1,1000}$", examples=["eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"])
]
PhoneNumber = Annotated[
    str,
    StringConstraints(pattern=r"^[+0-9０-９＋][0-9０-９ .\-]{4,29}$"),
    AfterValidator(_in_e164),
    Field(
        description="E.164, `+` and the country's code first; a number without is Chinese 手机号",
        examples=["+8613800138000"],
    ),
]
Ticket = Annotated[str, Field(pattern="^[0-9A-Za-z_.-]{1,1000}$", examples=["eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"])]


class Body(BaseModel):
    """A request body: what it does not know, it refuses; `true` is no number and `"2"` is none either."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Page(BaseModel, Generic[Item]):
    """A part of a list, newest first. Pass `next` as `after` to read on; None when there is no more."""

    items: list[Item]
    next: str | None = None
