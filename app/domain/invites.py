"""Who an invite is for, and until when it works."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import InvalidTerms, InviteExpired, InviteMismatch, InviteRevoked, InviteUsedUp

INVITE_TTL_DAYS = 30
MAX_INVITE_DAYS = 365
MAX_INVITES_A_DAY = 100
"""How many one member may make, by UTC."""
MAX_USES = 10_000


class InviteChannel(StrEnum):
    LINK = "link"
    CHAT = "chat"
    POSTER = "poster"
    QR = "qr"


def find_expiry(wanted: datetime | None, now: datetime) -> datetime:
    """Until when an invite made now works. Raises `InvalidTerms`."""
    if wanted is None:
        return now + timedelta(days=INVITE_TTL_DAYS)
    if not now < wanted <= now + timedelta(days=MAX_INVITE_DAYS):
        raise InvalidTerms(field="expires_at", reason=f"must be within the next {MAX_INVITE_DAYS} days")
    return wanted


def check_usable(
    *, expires_at: datetime, revoked_at: datetime | None, used_up_at: datetime | None, now: datetime
) -> None:
    """Refuse an invite that is over. Raises `InviteRevoked`, `InviteUsedUp`, `InviteExpired`."""
    if revoked_at is not None:
        raise InviteRevoked
    if used_up_at is not None:
        raise InviteUsedUp
    if now >= expires_at:
        raise InviteExpired


def check_target(targets: tuple[str | None, str | None, str | None], claim: tuple[str | None, str, str]) -> None:
    """Refuse an invite that was made for something else. Both are (group id, sale id, community id); a target of
    None allows any. Raises `InviteMismatch`.
    """
    if any(target is not None and target != wanted for target, wanted in zip(targets, claim, strict=True)):
        raise InviteMismatch
