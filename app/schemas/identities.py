from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from app.domain.identities import may_be_code
from app.schemas.fields import Body

Code = Annotated[
    str,
    StringConstraints(pattern=r"^[\w!-~]+$", max_length=4096),
    Field(
        examples=["alice"],
        description="What the provider gave the client: of `wechat` the code of `wx.login`, of `telegram` the Mini"
        " App's whole `initData`, of `chat` the end of the link that was given to you there, of `dev` any name you"
        " like 登录凭证",
    ),
]


class IdentityCreate(Body):
    """Something else to log in with."""

    provider: Annotated[Literal["dev", "wechat", "telegram", "chat"], Field(examples=["dev"])]
    code: Code

    @model_validator(mode="after")
    def _check_code(self) -> Self:
        if not may_be_code(self.provider, self.code):
            raise ValueError("code: none of this provider's")
        return self


class IdentityPublic(BaseModel):
    """One name by which you are known: who logs in with it, or speaks in a chat under it, is you."""

    id: str = Field(description="Unlink it by this")
    provider: str
    subject: str = Field(description="What the provider calls you")
    linked_at: datetime
