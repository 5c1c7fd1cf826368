"""The envelope of WeCom, WeChat and DingTalk, against what the platforms publish of it."""

from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from app.demo.platforms.errcodes import make_key
from app.domain.errors import SignatureInvalid
from app.gateways.chat import msgcrypt


@dataclass(frozen=True)
class Vector:
    token: str
    key: str
    receive_id: str
    signature: str
    time: str
    nonce: str
    encrypted: str
    message: str

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.time[:10]), UTC)


VECTORS = {
    # developer.work.weixin.qq.com/document/path/90968
    "wecom-url": Vector(
        "QDG6eK",
        "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
        "wx5823bf96d3bd56c7",
        "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
        "1409659589",
        "263014780",
        "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
        "1616140317555161061",
    ),
    # the sample in Python that Tencent publishes for official accounts
    "oa-msg": Vector(
        "spamtest",
        "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
        "wx2c2769f8efd9abc2",
        "5d197aaffba7e9b25a30732f161a50dee96bd5fa",
        "1409735669",
        "1320562132",
        "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2L"
        "dJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6u"
        "x5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJ"
        "pXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCz"
        "pu9GhglF2PE=",
        "<Content><![CDATA[abcdteT]]></Content>",
    ),
    # open.dingtalk.com/document/development/http-callback-overview
    "ding-check": Vector(
        "123456",
        "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij",
        "suite4xxxxxxxxxxxxxxx",
        "5a65ceeef9aab2d149439f82dc191dd6c5cbe2c0",
        "1445827045067",
        "nEXhMP4r",
        "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JV"
        "Ya9VrYeJ5as7XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZc"
        "y0w9lQ==",
        '{"EventType":"check_create_suite_url","Random":"LPIdSnlF","TestSuiteKey":"suite4xxxxxxxxxxxxxxx"}',
    ),
}
vectors = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TIME = str(int(NOW.timestamp()))
KEY = make_key()


@vectors
def test_what_platforms_publish_is_verified_and_read(vector: Vector) -> None:
    signed = (vector.signature, vector.time, vector.nonce, vector.now, vector.encrypted)
    assert msgcrypt.verify([make_key(), vector.token], *signed) == vector.token
    message, key = msgcrypt.decrypt([make_key(), vector.key], ["other", vector.receive_id], vector.encrypted)
    assert (vector.message in message.decode(), key) == (True, vector.key)
    prefix = decipher(vector.key, vector.encrypted)[:16]
    assert msgcrypt.encrypt(vector.key, vector.receive_id, message, prefix) == vector.encrypted


def test_what_tencent_publishes_is_encrypted_alike_and_read() -> None:
    """WXBizMsgCryptTest.testAesEncrypt in Tencent's sample in Java."""
    key, message = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "我是中文abcd123".encode()
    receiver = "wxb11529c136998cb6"
    encrypted = "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="
    assert msgcrypt.encrypt(key, receiver, message, b"aaaabbbbccccdddd") == encrypted
    assert msgcrypt.decrypt([key], [receiver], encrypted) == (message, key)


@vectors
def test_no_bit_of_what_is_published_may_be_another(vector: Vector) -> None:
    for name in ("signature", "time", "nonce", "encrypted"):
        for changed in flips(getattr(vector, name)):
            bad = replace(vector, **{name: changed})
            with pytest.raises(SignatureInvalid):
                msgcrypt.verify([bad.token], bad.signature, bad.time, bad.nonce, vector.now, bad.encrypted)


@vectors
def test_a_bit_that_changed_in_the_last_block_is_seen_behind_the_signature_too(vector: Vector) -> None:
    raw = b64decode(vector.encrypted)
    for place in range(len(raw) - 16, len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(SignatureInvalid):
            msgcrypt.decrypt([vector.key], [vector.receive_id], b64encode(changed).decode())


@vectors
def test_time_has_a_window_both_ways(vector: Vector) -> None:
    signed = (vector.signature, vector.time, vector.nonce)
    for seconds in (-300, 300):
        msgcrypt.verify([vector.token], *signed, vector.now + timedelta(seconds=seconds), vector.encrypted)
    for seconds in (-301, 301, 86400 * 365):
        with pytest.raises(SignatureInvalid):
            msgcrypt.verify([vector.token], *signed, vector.now + timedelta(seconds=seconds), vector.encrypted)


def test_another_token_key_or_receiver_is_refused_and_so_is_none() -> None:
    vector = VECTORS["wecom-url"]
    for tokens in ([], ["other"]):
        with pytest.raises(SignatureInvalid):
            msgcrypt.verify(tokens, vector.signature, vector.time, vector.nonce, vector.now, vector.encrypted)
    for keys, receivers in (
        ([], [vector.receive_id]),
        ([KEY], [vector.receive_id]),
        ([vector.key], []),
        ([vector.key], ["", "\0", vector.receive_id[:-1], vector.receive_id + "a"]),
    ):
        with pytest.raises(SignatureInvalid):
            msgcrypt.decrypt(keys, receivers, vector.encrypted)


@pytest.mark.parametrize(
    "time", ["", "-1409659589", "1409659589.0", "１４０９６５９５８９", " 1409659589", "14096595890"]
)
def test_a_time_has_ten_digits_or_thirteen(time: str) -> None:
    now = datetime.fromtimestamp(1409659589, UTC)
    with pytest.raises(SignatureInvalid):
        msgcrypt.verify(["token"], msgcrypt.sign("token", time, "nonce", "AAAA"), time, "nonce", now, "AAAA")


def test_the_front_of_a_ciphertext_is_no_end_of_a_nonce() -> None:
    """What is signed is joined without borders. Whoever moves three blocks of the ciphertext into the nonce keeps
    the signature, and has the message begin in the middle of what somebody said: with a length that they wrote.
    """
    token, nonce = "!", "2"
    inner = b"<xml><FromUserName>boss</FromUserName></xml>"
    said = b"x" * (128 * 3 // 4 - 4) + len(inner).to_bytes(4) + inner
    tries = (msgcrypt.encrypt(KEY, "corp", said, bytes([number]) * 16) for number in range(256))
    encrypted = next(one for one in tries if one[0] > nonce and one[128] > nonce)
    signature = msgcrypt.sign(token, TIME, nonce, encrypted)
    moved = (nonce + encrypted[:128], encrypted[128:])
    assert msgcrypt.sign(token, TIME, *moved) == signature
    assert msgcrypt.decrypt([KEY], ["corp"], moved[1])[0] == inner
    with pytest.raises(SignatureInvalid):
        msgcrypt.verify([token], signature, TIME, moved[0], NOW, moved[1])


def test_whatever_is_wrong_inside_is_refused_in_the_same_way() -> None:
    """Padding of no byte, of too many, of unlike bytes; half a block; a length beyond the end; no length at all."""
    message = b"m" * 8
    good = b"r" * 16 + len(message).to_bytes(4) + message + b"id"
    for padded in (
        good + b"\0" * 2,
        good + bytes([1] * 33) + bytes([33]),
        good + b"\x01\x02",
        good + bytes([64]) * 34,
        good + bytes([18]) * 18,
        b"r" * 16 + (2**32 - 1).to_bytes(4) + b"id" + bytes([10]) * 10,
        b"r" * 16 + bytes([16]) * 16,
        bytes([32]) * 32,
        b"",
    ):
        for keys in ([KEY], [KEY, make_key()]):
            with pytest.raises(SignatureInvalid) as refused:
                msgcrypt.decrypt(keys, ["id", ""], encipher(KEY, padded))
            assert refused.value.args == ()
            assert refused.value.__cause__ is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: b64encode(raw).decode()))
def test_whatever_is_called_a_ciphertext_is_read_or_refused(encrypted: str) -> None:
    with suppress(SignatureInvalid):
        msgcrypt.decrypt([KEY], ["", "id"], encrypted)


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_called_a_signature_is_refused(signature: str, time: str, nonce: str, encrypted: str) -> None:
    for given_time in (time, TIME):
        with pytest.raises(SignatureInvalid):
            msgcrypt.verify(["token"], signature, given_time, nonce, NOW, encrypted)


@given(st.binary(max_size=500), st.text("abc0", max_size=40), st.binary(min_size=16, max_size=16))
def test_what_is_encrypted_is_read_again(message: bytes, receive_id: str, prefix: bytes) -> None:
    encrypted = msgcrypt.encrypt(KEY, receive_id, message, prefix)
    assert msgcrypt.decrypt([make_key(), KEY], [receive_id], encrypted) == (message, KEY)


def flips(text: str) -> list[str]:
    """The text with each bit of it flipped, one at a time."""
    return [
        text[:place] + chr(ord(sign) ^ 1 << bit) + text[place + 1 :]
        for place, sign in enumerate(text)
        for bit in range(8)
    ]


def encipher(key: str, padded: bytes) -> str:
    secret = b64decode(key + "=")
    encryptor = Cipher(AES256(secret), CBC(secret[:16])).encryptor()
    return b64encode(encryptor.update(padded + b"\0" * (-len(padded) % 16)) + encryptor.finalize()).decode()


def decipher(key: str, encrypted: str) -> bytes:
    secret = b64decode(key + "=")
    decryptor = Cipher(AES256(secret), CBC(secret[:16])).decryptor()
    return decryptor.update(b64decode(encrypted)) + decryptor.finalize()
