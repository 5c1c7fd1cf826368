"""Signatures between the service and the sandbox cashier: Ed25519 over time, nonce and raw body.

Each side has a key pair of its own and knows the other's public key, as with a real provider.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from secrets import token_hex

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.config import Settings
from app.domain.errors import SignatureInvalid
from app.gateways.signatures import signed_at

TIME = "sandbox-timestamp"
NONCE = "sandbox-nonce"
SIGNATURE = "sandbox-signature"
MAX_HEADER_LENGTH = 200


def merchant_key(settings: Settings) -> Ed25519PrivateKey:
    """The key the service signs its requests to the cashier with."""
    return Ed25519PrivateKey.from_private_bytes(settings.key_for("sandbox merchant"))


def cashier_key(settings: Settings) -> Ed25519PrivateKey:
    """The key the cashier signs its notifications with."""
    return Ed25519PrivateKey.from_private_bytes(settings.key_for("sandbox cashier"))


def sign(key: Ed25519PrivateKey, body: bytes, now: datetime) -> dict[str, str]:
    """The headers that vouch for a body."""
    time, nonce = str(int(now.timestamp())), token_hex(16)
    return {
        TIME: time,
        NONCE: nonce,
        SIGNATURE: base64.b64encode(key.sign(_message(time, nonce, body))).decode(),
    }


def verify(key: Ed25519PublicKey, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise `SignatureInvalid` unless the headers vouch for the body and were made within five minutes."""
    time, nonce, signature = (headers.get(name, "") for name in (TIME, NONCE, SIGNATURE))
    if max(map(len, (time, nonce, signature))) > MAX_HEADER_LENGTH:
        raise SignatureInvalid
    signed_at(time, now)
    try:
        key.verify(base64.b64decode(signature, validate=True), _message(time, nonce, body))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureInvalid from error


def _message(time: str, nonce: str, body: bytes) -> bytes:
    return f"{time}.{nonce}.".encode() + body
