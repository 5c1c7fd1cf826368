"""Signed tokens: what all of them have in common."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from typing import Any

import orjson

from app.domain.errors import TokenInvalid

ISSUER = "kaituan"
ALGORITHM = "HS256"


def read_signed(key: bytes, token: str) -> Any:
    """What a token says that this key signed. Raises `TokenInvalid`; `ValueError` when it says nothing.

    Read by hand, because every claim does it. What a token says of its algorithm does not matter: there is one, and
    whatever it signs with our key is ours. The tests hold it against PyJWT.
    """
    content, _, signature = token.rpartition(".")
    signing = _signing(key).copy()
    signing.update(content.encode())
    if not hmac.compare_digest(urlsafe_b64encode(signing.digest()).rstrip(b"="), signature.encode()):
        raise TokenInvalid
    return orjson.loads(urlsafe_b64decode(content.rpartition(".")[2] + "=="))


@cache
def _signing(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")
