"""What every chat platform's stand-in can do, whichever platform it plays."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from starlette.applications import Starlette

from app.gateways.chat.platform import HookReply, HookRequest

StandInRequest = HookRequest
"""A webhook as the platform sends it. Names of headers are in lower case; a GET has an empty body."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something the platform was made to say, as people in the chat read it."""

    chat_id: str
    text: str
    """A card's title and lines are lines of it."""
    message_id: str
    buttons: tuple[str, ...] = ()
    """Their labels."""
    edited: bool = False
    """Whether it took the place of what the message said before."""
    only_to: str | None = None
    """Who alone reads it, in a chat of several."""


class Busy:
    """What every stand-in keeps: the first two of what a `StandIn` shows."""

    def __init__(self) -> None:
        self.transcript: list[Said] = []
        self.busy = 0

    def is_busy(self) -> bool:
        """Whether a call is refused because there were too many; then there is one less to refuse."""
        self.busy -= (was := self.busy > 0)
        return was


class StandIn(Protocol):
    """A platform of which every chat and every person exists.

    What it takes it checks as the real one does: a token it did not give, a signature that does not fit, or an
    answer to what nobody said is refused with the platform's own error.
    """

    name: str
    transcript: list[Said]
    """Everything it was made to say, oldest first."""
    busy: int
    """How many of the next calls are refused because there were too many, in the platform's own way. Each of them
    takes one off.
    """

    def credentials(self) -> dict[str, list[str]]:
        """What an operator enters for the binding, by the names of the platform's `credentials`, newest first."""

    def say(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        text: str,
        message_id: str,
        now: datetime,
        *,
        is_private: bool = False,
    ) -> StandInRequest:
        """The webhook for what somebody says, signed and encrypted as the platform does.

        In a chat that others read too it is addressed to the robot, the way people there do that.
        """

    def press(
        self,
        chat_id: str,
        sender_id: str,
        sender_name: str,
        command: str,
        message_id: str,
        now: datetime,
        *,
        is_private: bool = False,
    ) -> StandInRequest:
        """The webhook for a pressed button; where pressing one only says its command, the one for that."""

    def handshake(self, now: datetime) -> StandInRequest:
        """The request by which the platform tries out a webhook's address before it uses it."""

    def check_handshake(self, reply: HookReply) -> bool:
        """Whether the platform accepts this answer to the last handshake."""

    def app(self) -> Starlette:
        """The platform's own API. Paths begin with the host: `/qyapi.weixin.qq.com/cgi-bin/gettoken`."""
