"""Visitors: people whose browser or program we know again, before and after they log in.

A visitor is a signed id and no row: what one did is kept with the touches.
"""

import jwt

from app.domain.errors import TokenInvalid, VisitorInvalid
from app.models import new_id
from app.services.tokens import ALGORITHM, ISSUER, read_signed
from app.state import State

AUDIENCE = "kaituan-visitors"
PURPOSE = "visitor"
VISITOR_DAYS = 180


def issue_visitor(state: State) -> tuple[str, str]:
    """A new visitor: its id, and the token it shows again."""
    visitor_id = new_id("vis")
    claims = {
        "sub": visitor_id,
        "exp": int(state.clock().timestamp()) + VISITOR_DAYS * 86_400,
        "aud": AUDIENCE,
        "iss": ISSUER,
    }
    return visitor_id, jwt.encode(claims, state.settings.key_for(PURPOSE), algorithm=ALGORITHM)


def read_visitor(state: State, token: str) -> str:
    """The id of the visitor a token was issued to. Raises `VisitorInvalid`, also when it is too old."""
    try:
        claims = read_signed(state.settings.key_for(PURPOSE), token)
        visitor_id, expires_at = claims["sub"], claims["exp"]
        meant_for_us = claims["aud"] == AUDIENCE and claims["iss"] == ISSUER
    except (TokenInvalid, ValueError, TypeError, KeyError) as error:
        raise VisitorInvalid from error
    if not (meant_for_us and isinstance(visitor_id, str) and isinstance(expires_at, int)):
        raise VisitorInvalid
    if expires_at <= state.clock().timestamp():
        raise VisitorInvalid
    return visitor_id
