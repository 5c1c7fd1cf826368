"""The envelope that WeCom, WeChat and DingTalk put their messages in: SHA-1 over a sorted list, AES-256-CBC inside.

Specifications: developer.work.weixin.qq.com/document/path/90968,
developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Technical_Plan.html,
open.dingtalk.com/document/development/http-callback-overview.

What is signed is joined without anything between the parts, so that a part may lend its end to the next one and the
signature still fits. Time has a length, therefore, and the nonce may not grow by as much as one could take from
the front of a ciphertext and leave whole blocks: 128 characters of base64 are the first such piece.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from app.domain.errors import SignatureInvalid
from app.gateways import signatures

TIME = re.compile(r"[0-9]{10}([0-9]{3})?")
"""Seconds, or milliseconds, since 1970."""
SECONDS = 10
"""Digits of the seconds in it."""
NONCE = re.compile(r"[\x21-\x7e]{1,64}")
KEY_PATTERN = r"^[A-Za-z0-9]{43}$"
"""An EncodingAESKey: 32 bytes in base64 without its last sign."""
BLOCK = 32
"""Padded by PKCS #7 to this, though a block of AES has 16 bytes."""
NOBODY = "\0"
PREFIX = 16
"""Random bytes before the length of the message."""


def sign(token: str, *parts: str) -> str:
    """The signature of time, nonce and ciphertext: 40 hex digits."""
    return hashlib.sha1("".join(sorted((token, *parts))).encode()).hexdigest()  # noqa: S324 - theirs, and keyed


def verify(tokens: Sequence[str], signature: str, time: str, nonce: str, now: datetime, *parts: str) -> str:
    """The token that vouches for time, nonce and the parts. Raises `SignatureInvalid`."""
    if not (TIME.fullmatch(time) and NONCE.fullmatch(nonce) and all(part.isascii() for part in parts)):
        raise SignatureInvalid
    signatures.signed_at(time[:SECONDS], now)
    fits = [signatures.matches(signature, [sign(token, time, nonce, *parts)]) for token in tokens]
    if True not in fits:
        raise SignatureInvalid
    return tokens[fits.index(True)]


def decrypt(keys: Sequence[str], receive_ids: Sequence[str], encrypted: str) -> tuple[bytes, str]:
    """The message and the EncodingAESKey that opened it.

    Raises `SignatureInvalid`, the same whether it is for another receiver, or padding or length do not fit.
    """
    for key in keys:
        message, receiver = _open(key, encrypted)
        if signatures.matches(receiver, receive_ids):
            return message, key
    raise SignatureInvalid


def encrypt(key: str, receive_id: str, message: bytes, prefix: bytes) -> str:
    """A message for a receiver, in base64. The prefix is 16 random bytes."""
    content = prefix + len(message).to_bytes(4) + message + receive_id.encode()
    pad = BLOCK - len(content) % BLOCK
    encryptor = _cipher(key).encryptor()
    return b64encode(encryptor.update(content + bytes([pad]) * pad) + encryptor.finalize()).decode()


def _open(key: str, encrypted: str) -> tuple[bytes, str]:
    """Message and receiver; the receiver of what is not in order is called as nobody is."""
    try:
        decryptor = _cipher(key).decryptor()
        padded = decryptor.update(b64decode(encrypted, validate=True)) + decryptor.finalize()
    except ValueError:
        padded = b""
    pad = padded[-1] if padded else 0
    content = padded[PREFIX : len(padded) - pad]
    length = int.from_bytes(content[:4])
    is_padded = len(padded) % BLOCK == 0 and 1 <= pad <= BLOCK and padded.endswith(bytes([pad]) * pad)
    if not is_padded or len(content) < 4 + length:
        return b"", NOBODY
    return content[4 : 4 + length], content[4 + length :].decode(errors="replace")


def _cipher(key: str) -> Cipher[CBC]:
    secret = b64decode(key + "=")
    return Cipher(AES256(secret), CBC(secret[:16]))
