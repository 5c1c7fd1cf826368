from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.bindings import Language, PlatformName
from app.schemas.fields import Body, CommunityId

Platform = Annotated[PlatformName, Field(strict=False, description="平台")]
ChatLanguage = Annotated[Language, Field(strict=False, description="What is spoken in the chat 群聊语言")]
ChatId = Annotated[
    str,
    Field(
        pattern="^[\\x21-\\x7e]{1,200}$",
        description="The group chat, as the platform calls it; without it, the first in which a command is said to"
        " us 群聊标识，留空则由首条群聊命令确定",
        examples=["oc_a0553eda9014c201e6969b478895c230"],
    ),
]
CredentialName = Annotated[str, Field(pattern="^[a-z_]{1,40}$")]
Secret = Annotated[str, Field(min_length=1, max_length=4000)]
Credentials = Annotated[
    dict[CredentialName, Secret],
    Field(
        max_length=20,
        description="The platform's keys and secrets, by the names in the guide; they are never shown again"
        " 平台凭证，保存后不再显示",
        examples=[{"token": "spamtest"}],
    ),
]


class BindingCreate(Body):
    """A robot or an app on a chat platform that is to speak for a community."""

    platform: Platform
    community_id: CommunityId
    chat_id: ChatId | None = None
    language: ChatLanguage = Language.ZH
    credentials: Credentials


class BindingUpdate(Body):
    """A secret that is named becomes the newest; where the platform lets two be active, the one before stays good
    until it is retired.
    """

    chat_id: ChatId | None = None
    language: ChatLanguage | None = None
    credentials: Credentials | None = None
    retire: Annotated[list[CredentialName], Field(max_length=20)] = Field(
        default_factory=list, description="Secrets of which only the newest stays good 停用旧凭证"
    )


class BindingPublic(BaseModel):
    id: str
    platform: PlatformName
    community_id: str
    chat_id: str | None
    language: Language
    hook_url: str = Field(description="Paste it into the platform's console 填入平台后台的回调地址")
    secrets: dict[str, int] = Field(description="How many of each secret are active 各凭证的有效数量")
    tested_at: datetime | None
    test_result: str | None = Field(description="What came of the last test 最近一次测试结果")
    failed_at: datetime | None = Field(description="When the platform refused a message last 最近一次发送失败")
    last_error: str | None
    created_at: datetime


class BindingTest(BaseModel):
    """Whether the test card was taken, and what the platform said otherwise."""

    sent: bool
    result: str
