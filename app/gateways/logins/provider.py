"""What the service asks of a login provider, whichever it is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Whom a provider confirms."""

    subject: str
    """What it calls them, always."""
    name: str | None = None
    union: str | None = None
    """What it calls them in all apps of our owner, if it says so."""


class LoginProvider(Protocol):
    """Raises `LoginRefused` for a code that it did not give out, or that is too old or used; `LoginUnavailable`
    when it does not answer, or would not whatever the code. Neither has a secret in it.
    """

    async def confirm(self, code: str, now: datetime) -> Confirmed:
        """Who brings this code."""


class PhoneProvider(Protocol):
    """Raises as `LoginProvider` does."""

    async def confirm_phone(self, code: str, now: datetime) -> str:
        """The phone number of who brings this code, in E.164: `+`, the country's code and the number."""
