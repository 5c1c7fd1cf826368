from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.domain.admissions import AdmissionState
from app.schemas.fields import Body, Device


class AdmissionCreate(Body):
    """Where a member comes from, and the work they have done for it, as far as the sale asks."""

    device: Device | None = Field(default=None, description="An id of the device, the same each time 设备标识")
    proof: Annotated[str, Field(pattern="^[0-9A-Za-z+/=_-]{1,4000}$")] | None = Field(
        default=None,
        description="The solution of the sale's challenge, as an ALTCHA widget gives it 工作量证明",
        examples=["eyJjaGFsbGVuZ2UiOnt9fQ=="],
    )


class AdmissionPublic(BaseModel):
    """How it stands with you in the line of a flash sale."""

    state: AdmissionState = Field(
        description="`waiting`; `admitted`: buy now, with the ticket; `gone`: nothing is left; `closed`: it is over"
    )
    position: int | None = Field(description="People who are let in before you; it never grows 前面人数")
    expected_wait_seconds: int | None = Field(description="预计等待（秒）")
    left: int = Field(description="Units that can be claimed now 剩余")
    held: int = Field(
        description="Once it is `gone`: units that wait for their payment, and come back if it fails 待支付"
    )
    ticket: str | None = Field(description="Send it with your order; it buys once 入场券")
    ticket_expires_at: datetime | None
    opens_at: datetime
    ask_again_seconds: int | None = Field(
        description="When to ask again, if you cannot wait on the line; null when nothing will change 建议轮询间隔"
    )


class ChallengePublic(BaseModel):
    """A challenge for an ALTCHA widget."""

    parameters: dict[str, Any] = Field(description="What to solve")
    signature: str = Field(description="Sent back with the solution")
