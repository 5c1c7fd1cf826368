"""What was said to us in a chat: kept until it is answered, and a while longer, so that it is answered once."""

from enum import StrEnum

from app.domain.machines import Table

MAX_ATTEMPTS = 5
"""How often a message is worked on before it is given up."""


class MessageState(StrEnum):
    RECEIVED = "received"
    ANSWERED = "answered"
    GIVEN_UP = "given_up"


MESSAGE_TRANSITIONS: Table[MessageState] = {
    MessageState.RECEIVED: frozenset({MessageState.ANSWERED, MessageState.GIVEN_UP}),
    MessageState.ANSWERED: frozenset(),
    MessageState.GIVEN_UP: frozenset(),
}
