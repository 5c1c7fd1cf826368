from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.domain.segments import MAX_CITY, MAX_TAG, MAX_TAGS, Consented, DeviceKind
from app.schemas.fields import Body


def _plain(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable, on one line")
    return value


ONE_LINE = Field(json_schema_extra={"pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$"})
City = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CITY),
    AfterValidator(_plain),
    ONE_LINE,
]
Word = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TAG),
    AfterValidator(_plain),
    ONE_LINE,
]


class FactsUpdate(Body):
    """What you agree to, and what you say of yourself. What is not named stays as it is."""

    consents: (
        Annotated[
            list[Annotated[Consented, Field(strict=False)]],
            Field(
                max_length=len(Consented),
                description="All that may be kept of you from now on; what was kept by another consent is forgotten"
                " 同意保存的信息，未列出的将立即删除",
            ),
        ]
        | None
    ) = None
    device: Annotated[DeviceKind, Field(strict=False, description="What you mostly use 常用设备")] | None = None
    city: City | None = Field(default=None, description="Where you live 所在城市", examples=["杭州"])
    own_tags: (
        Annotated[
            list[Word], Field(max_length=MAX_TAGS, description="Words of your own about you, all of them 自选标签")
        ]
        | None
    ) = None


class FactKept(BaseModel):
    fact: Consented
    value: str | list[str] | None
    consent_given_at: datetime | None = Field(description="None: nothing of it is kept 未同意则不保存")


class FactsKept(BaseModel):
    """What is known of you, for the rules that say who sees, joins and buys what: counted from what you do here,
    and told by you, with your consent.
    """

    member_since: datetime
    orders: int = Field(description="Paid and not refunded; for offers to new and to regular customers 有效订单数")
    spent: int = Field(description="Fen you kept paid, in CNY; for offers to those who buy much 累计消费（分）")
    first_order_at: datetime | None
    last_order_at: datetime | None
    check_ins: int = Field(description="For communities of those who keep at it 打卡次数")
    night_check_ins: int
    consented: list[FactKept]


class TagsPut(Body):
    tags: Annotated[
        list[Word],
        Field(max_length=MAX_TAGS, description="All of the operators' words 全部标签", examples=[["老客"]]),
    ]


class TagsPublic(BaseModel):
    """What operators have put on a member, who has agreed to that."""

    member_id: str
    tags: list[str]
