"""Who an invite is for, and until when it works."""

from datetime import datetime
from enum import StrEnum

from app.domain.errors import InviteExpired, InviteMismatch

INVITE_TTL_DAYS = 30


class InviteChannel(StrEnum):
    LINK = "link"
    CHAT = "chat"
    POSTER = "poster"
    QR = "qr"


def check_invite(
    *,
    expires_at: datetime,
    now: datetime,
    targets: tuple[str | None, str | None, str | None],
    claim: tuple[str | None, str, str],
) -> None:
    """Refuse an invite that is over or was made for something else.

    `targets` and `claim` are (group id, sale id, community id); a target of None allows any. Raises
    `InviteExpired`, `InviteMismatch`.
    """
    if now >= expires_at:
        raise InviteExpired
    if any(target is not None and target != wanted for target, wanted in zip(targets, claim, strict=True)):
        raise InviteMismatch
