"""WeChat Pay's signatures and ciphers, API v3: RSA with SHA-256 both ways, AES-256-GCM for what notices carry.

https://pay.weixin.qq.com/docs/merchant/development/interface-rules/signature-generation.html for requests,
…/build-verify-sign-src.html for answers and notices, …/certificate-callback-decryption.html for ciphers.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from app.domain.errors import SignatureInvalid
from app.gateways.signatures import signed_at

SCHEME = "WECHATPAY2-SHA256-RSA2048"
TIME, NONCE = "wechatpay-timestamp", "wechatpay-nonce"
SIGNATURE, SERIAL = "wechatpay-signature", "wechatpay-serial"


def sign(key: RSAPrivateKey, *lines: str) -> str:
    """The signature of these lines, each with a line break behind it, in base64."""
    return b64encode(key.sign(_message(*lines), PKCS1v15(), SHA256())).decode()


def authorization(
    key: RSAPrivateKey, merchant: str, serial: str, method: str, target: str, body: str, now: datetime
) -> str:
    """The `Authorization` of a request; `target` is its path with the query."""
    time, nonce = str(int(now.timestamp())), token_hex(16)
    signature = sign(key, method, target, time, nonce, body)
    named = {
        "mchid": merchant,
        "nonce_str": nonce,
        "signature": signature,
        "timestamp": time,
        "serial_no": serial,
    }
    return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in named.items())


def verify(keys: Mapping[str, RSAPublicKey], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise `SignatureInvalid` unless one of WeChat Pay's keys, by its serial, vouches for the body, and did so
    within five minutes.
    """
    time, nonce, signature, serial = (headers.get(name, "") for name in (TIME, NONCE, SIGNATURE, SERIAL))
    key = keys.get(serial)
    if key is None:
        raise SignatureInvalid
    signed_at(time, now)
    try:
        raw = b64decode(signature, validate=True)
        if b64encode(raw).decode() != signature:  # the last letter has bits that nothing is made of
            raise SignatureInvalid
        key.verify(raw, _message(time, nonce) + body + b"\n", PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureInvalid from error


def decrypt(key: bytes, nonce: str, associated_data: str, ciphertext: str) -> bytes:
    """What was encrypted under the merchant's API v3 key. Raises `SignatureInvalid`."""
    try:
        sealed = b64decode(ciphertext, validate=True)
        return AESGCM(key).decrypt(nonce.encode(), sealed, associated_data.encode())
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise SignatureInvalid from error


def load_private_key(path: Path) -> RSAPrivateKey:
    """The merchant's key (`apiclient_key.pem`). Raises `OSError`, `ValueError`."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{path}: not an RSA key")  # noqa: TRY004 - the file is wrong, no argument is
    return key


def load_public_keys(named: str) -> dict[str, RSAPublicKey]:
    """WeChat Pay's keys by their serials, from `PUB_KEY_ID_…=key.pem` and `certificate.pem`, with commas.

    Raises `OSError`, `ValueError`.
    """
    keys: dict[str, RSAPublicKey] = {}
    for part in named.replace(" ", "").split(","):
        serial, _, path = part.rpartition("=")
        content = Path(path).read_bytes()
        if serial:
            key = load_pem_public_key(content)
        else:
            certificate = load_pem_x509_certificate(content)
            serial, key = f"{certificate.serial_number:X}", certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise ValueError(f"{path}: not an RSA key")  # noqa: TRY004 - the file is wrong, no argument is
        keys[serial] = key
    return keys


def _message(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
