from pydantic import BaseModel, Field


class FriendsIn(BaseModel):
    """Who that you know has paid: people who brought you or whom you brought, and people you have bought together
    with, as far as they allow it.
    """

    names: list[str] = Field(description="Up to three, masked 好友昵称（脱敏）")
    others: int | None = Field(description="How many there are besides; None when it is not told 其他好友人数")
