"""Secrets of others that we have to keep and to use again: encrypted at rest, and found without being read.

AES-256-GCM with a fresh nonce each time (NIST SP 800-38D). The context, such as row and column, is authenticated
with it, so that what is sealed for one row opens in no other.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = "v1"
NONCE_BYTES = 12


class SealBroken(Exception):
    """What was read was sealed under another key or for another context, or was changed."""


def seal(key: bytes, text: str, context: str) -> str:
    """A text as only `unseal` with the same 32-byte key and context reads it: `v1.` and URL-safe base64."""
    nonce = token_bytes(NONCE_BYTES)
    sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), context.encode())
    return f"{VERSION}.{urlsafe_b64encode(sealed).decode()}"


def unseal(key: bytes, sealed: str, context: str) -> str:
    """The text that was sealed. Raises `SealBroken`."""
    version, _, encoded = sealed.partition(".")
    try:
        content = urlsafe_b64decode(encoded)
        if version != VERSION or len(content) <= NONCE_BYTES:
            raise SealBroken
        return AESGCM(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], context.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise SealBroken from error


def blind_index(key: bytes, text: str) -> str:
    """What a text is found by without being kept: HMAC-SHA256 in hex. Normalise the text before."""
    return hmac.new(key, text.encode(), "sha256").hexdigest()
