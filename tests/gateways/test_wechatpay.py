"""WeChat Pay's side of a payment: what is published is understood, what is not in order is refused."""

import base64
import hashlib
import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config import Settings
from app.domain.errors import ProviderRefused, ProviderUnavailable, SignatureInvalid
from app.domain.reconciliations import LineKind, LineState
from app.gateways.payments import wechatpay_signing as signing
from app.gateways.payments.provider import ChargeRequest, ChargeState, Notice, RefundRequest
from app.gateways.payments.wechatpay import ProviderNotReady, WechatPay, open_wechatpay
from app.gateways.payments.wechatpay_bill import read_lines
from tests.cashiers.wechatpay import APP, BEIJING, KEY_ID, MERCHANT, Cashier, Problem, key
from tests.http.test_payment_hook import flipped

VECTORS = json.loads((Path(__file__).parent / "wechatpay.json").read_text())
NOW = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
PAYMENT, REFUND = f"pay_{'0' * 31}1", f"ref_{'0' * 31}2"
WISH = ChargeRequest(PAYMENT, 4900, "CNY", "三人团", NOW + timedelta(minutes=10), "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
BACK = RefundRequest(REFUND, PAYMENT, 4900, "CNY", total=4900)


@pytest.fixture
def cashier() -> Cashier:
    return Cashier(lambda: NOW)


@pytest.fixture
def provider(cashier: Cashier, tmp_path: Path) -> WechatPay:
    return cashier.provider(Settings(), tmp_path)


@pytest.fixture(scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cashier, WechatPay]:
    """A cashier that was paid, for tests that change nothing in it."""
    cashier = Cashier(lambda: NOW)
    provider = cashier.provider(Settings(), tmp_path_factory.mktemp("keys"))
    await provider.create(WISH)
    cashier.pay(PAYMENT)
    return cashier, provider


def test_the_published_notice_is_verified_and_decrypted() -> None:
    vector = VECTORS["notice"]
    certificate = load_pem_x509_certificate(vector["certificate"].encode())
    keys = {f"{certificate.serial_number:X}": certificate.public_key()}
    assert list(keys) == [vector["serial"]]
    body, now = vector["body"].encode(), datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    headers = {f"wechatpay-{name}": vector[name] for name in ("nonce", "timestamp", "signature", "serial")}
    signing.verify(keys, headers, body, now + timedelta(seconds=300))  # type: ignore[arg-type]
    for late in (301, -301):
        with pytest.raises(SignatureInvalid):
            signing.verify(keys, headers, body, now + timedelta(seconds=late))  # type: ignore[arg-type]
    sealed = json.loads(body)["resource"]
    content = signing.decrypt(
        vector["api_key"].encode(), sealed["nonce"], sealed["associated_data"], sealed["ciphertext"]
    )
    assert content.decode() == vector["plaintext"]


def test_the_published_cipher_is_opened() -> None:
    vector = VECTORS["aes_gcm"]
    opened = signing.decrypt(
        vector["apiv3_key"].encode(), vector["nonce"], vector["associated_data"], vector["ciphertext"]
    )
    assert opened.decode() == vector["plaintext"]


def test_the_published_bill_is_read() -> None:
    vector = VECTORS["bill"]
    assert hashlib.sha1(vector["text"].encode()).hexdigest() == vector["sha1"]  # noqa: S324 - as they do
    lines = read_lines(
        vector["text"].removeprefix("\ufeff"), "wx81be3101902f7cb2", "1601959334", str.lower, BEIJING
    )
    assert [(line.subject, line.amount, line.currency, line.state) for line in lines] == [
        ("s20210128170702357723", 1, "CNY", LineState.DONE),
        ("s20210128153505214586", 1, "CNY", LineState.DONE),
        ("s20210128165824499930", 1, "CNY", LineState.DONE),
    ]
    assert lines[0].at == datetime(2021, 1, 28, 9, 7, 11, tzinfo=UTC)
    assert read_lines(vector["text"].removeprefix("\ufeff"), "another app", "1601959334", str, BEIJING) == []


async def test_an_order_is_made_with_what_the_front_end_needs(cashier: Cashier, provider: WechatPay) -> None:
    charge = await provider.create(WISH)
    assert (charge.state, charge.pay_url, charge.handle) == (ChargeState.PENDING, None, None)
    params = charge.pay_params or {}
    order = cashier.orders[PAYMENT.removeprefix("pay_")]
    assert (params["appId"], params["signType"]) == (APP, "RSA")
    assert params["package"] == f"prepay_id={order.prepay_id}"
    signed = "".join(f"{params[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package")).encode()
    key("merchant").public_key().verify(base64.b64decode(params["paySign"]), signed, PKCS1v15(), SHA256())
    assert order.body["notify_url"] == "http://127.0.0.1:8000/hooks/payments/wechatpay"
    assert order.body["time_expire"] == "2026-11-26T12:10:00+08:00"
    again = await provider.create(WISH)
    assert (again.pay_params or {})["package"] == params["package"]


@pytest.mark.parametrize("code", ["PARAM_ERROR", "NO_AUTH"])
async def test_an_order_that_is_refused_says_why(cashier: Cashier, provider: WechatPay, code: str) -> None:
    cashier.troubles.append(Problem(400 if code == "PARAM_ERROR" else 403, code))
    with pytest.raises(ProviderRefused) as refusal:
        await provider.create(WISH)
    assert refusal.value.reason == code


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503])
async def test_trouble_that_passes_is_no_refusal(cashier: Cashier, provider: WechatPay, status: int) -> None:
    calls: list[Any] = [
        lambda: provider.create(WISH),
        lambda: provider.query(PAYMENT),
        lambda: provider.close(PAYMENT),
        lambda: provider.refund(BACK),
        lambda: provider.query_refund(BACK),
        lambda: provider.read_bill(date(2026, 11, 25)),
    ]
    for call in calls:
        cashier.troubles.append(Problem(status, "SYSTEM_ERROR"))
        with pytest.raises(ProviderUnavailable):
            await call()


async def test_an_answer_that_nobody_vouches_for_is_none(cashier: Cashier, provider: WechatPay) -> None:
    await provider.create(WISH)
    cashier.unsigned = True
    for call in (provider.create(WISH), provider.query(PAYMENT), provider.close(PAYMENT)):
        with pytest.raises(ProviderUnavailable):
            await call


async def test_what_became_of_an_order(cashier: Cashier, provider: WechatPay) -> None:
    assert (await provider.query(PAYMENT)).state == ChargeState.PENDING
    assert (await provider.close(PAYMENT)).state == ChargeState.CLOSED
    await provider.create(WISH)
    assert (await provider.query(PAYMENT)).state == ChargeState.PENDING
    cashier.pay(PAYMENT)
    paid = await provider.query(PAYMENT)
    assert (paid.state, paid.amount, paid.currency) == (ChargeState.CAPTURED, 4900, "CNY")
    assert (paid.payer, paid.paid_at) == (WISH.payer_account, NOW)
    assert await provider.close(PAYMENT) == paid
    other = f"pay_{'0' * 31}3"
    await provider.create(ChargeRequest(other, 1, "CNY", "`a`\nb", WISH.expires_at, WISH.payer_account))
    assert cashier.orders[other.removeprefix("pay_")].body["description"] == "'a' b"
    for _ in range(2):
        assert (await provider.close(other)).state == ChargeState.CLOSED
    assert (await provider.query(other)).state == ChargeState.CLOSED
    for state, meant in (("REVOKED", "closed"), ("PAYERROR", "failed"), ("USERPAYING", "pending")):
        cashier.orders[other.removeprefix("pay_")].state = state
        assert (await provider.query(other)).state == meant
    cashier.orders[other.removeprefix("pay_")].state = "NOTPAY"
    cashier.troubles.append(Problem(400, "ORDERPAID"))
    with pytest.raises(ProviderUnavailable):
        await provider.close(other)


async def test_a_refund_is_made_once_and_may_take_its_time(cashier: Cashier, provider: WechatPay) -> None:
    await provider.create(WISH)
    cashier.pay(PAYMENT)
    assert await provider.query_refund(BACK) is None
    cashier.refund_status, cashier.lost = "PROCESSING", 1
    with pytest.raises(ProviderUnavailable):
        await provider.refund(BACK)
    under_way = await provider.refund(BACK)
    assert (under_way.is_done, under_way.amount, under_way.accepted_at) == (False, 4900, NOW)
    assert await provider.query_refund(BACK) == under_way
    cashier.settle(REFUND)
    done = await provider.refund(BACK)
    assert (done.is_done, done.reference) == (True, under_way.reference)
    assert len(cashier.refunds) == 1
    for lost in ("ABNORMAL", "CLOSED"):
        cashier.settle(REFUND, lost)
        with pytest.raises(ProviderUnavailable) as failure:
            await provider.refund(BACK)
        assert str(failure.value.__cause__) == f"200 {lost}"
        assert await provider.query_refund(BACK) is None


def read(provider: WechatPay, headers: dict[str, str], body: bytes, seconds: float = 0) -> Notice | None:
    return provider.parse_notice(headers, body, NOW + timedelta(seconds=seconds))


def refused(provider: WechatPay, headers: dict[str, str], body: bytes, seconds: float = 0) -> None:
    with pytest.raises(SignatureInvalid):
        read(provider, headers, body, seconds)


async def test_a_notice_of_a_payment(lasting: tuple[Cashier, WechatPay]) -> None:
    cashier, provider = lasting
    headers, body = cashier.paid_notice(PAYMENT)
    notice = read(provider, headers, body)
    assert notice is not None
    assert notice.charge == await provider.query(PAYMENT)
    assert notice.notice_id == json.loads(body)["id"]
    assert read(provider, headers, body, 299) == notice
    for seconds in (-302, 302, 86_400):
        refused(provider, headers, body, seconds)


def test_every_flipped_bit_of_a_notice_is_noticed(lasting: tuple[Cashier, WechatPay]) -> None:
    cashier, provider = lasting
    headers, body = cashier.paid_notice(PAYMENT)
    for bit in range(len(body) * 8):
        refused(provider, headers, flipped(body, bit))
    signature = base64.b64decode(headers[signing.SIGNATURE])
    for bit in range(len(signature) * 8):
        changed = base64.b64encode(flipped(signature, bit)).decode()
        refused(provider, headers | {signing.SIGNATURE: changed}, body)
    for name in (signing.TIME, signing.NONCE, signing.SERIAL, signing.SIGNATURE):
        own = headers[name]
        for place in range(len(own)):
            other = "1" if own[place] != "1" else "2"
            refused(provider, headers | {name: f"{own[:place]}{other}{own[place + 1 :]}"}, body)
        refused(provider, {other: value for other, value in headers.items() if other != name}, body)


def test_a_notice_of_somebody_else_is_refused(lasting: tuple[Cashier, WechatPay]) -> None:
    cashier, provider = lasting
    _, body = cashier.paid_notice(PAYMENT)
    refused(provider, cashier.signature(body, name="somebody"), body)
    refused(provider, {**cashier.signature(body), signing.SIGNATURE: f"WECHATPAY/SIGNTEST/{'A' * 320}"}, body)
    for changes in ({"mchid": "1900000110"}, {"appid": "wx1"}, {"mchid": None}):
        refused(provider, *cashier.paid_notice(PAYMENT, **changes))
    content = {"mchid": "1900000110", "out_refund_no": REFUND, "refund_status": "SUCCESS"}
    refused(provider, *cashier.notice("REFUND.SUCCESS", content))
    refused(provider, *cashier.notice("TRANSACTION.SUCCESS", {}, api_key="x" * 32))


BROKEN: dict[str, Any] = {
    "no JSON inside": b"{",
    "not UTF-8": b'{"appid": "\xff"}',
    "a list": [],
    "no amount": {"amount": None},
    "no total": {"amount": {}},
    "nothing paid": {"amount": {"total": 0, "currency": "CNY"}},
    "huge": {"amount": {"total": 10**30, "currency": "CNY"}},
    "no currency": {"amount": {"total": 1, "currency": "yuan"}},
    "no transaction": {"transaction_id": None},
    "no number": {"out_trade_no": None},
    "a number with a NUL": {"out_trade_no": "a\0b"},
    "a long number": {"out_trade_no": "1" * 33},
    "no time": {"success_time": "today"},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_rightly_signed_nonsense_inside(lasting: tuple[Cashier, WechatPay], broken: Any) -> None:
    cashier, provider = lasting
    if isinstance(broken, dict):
        refused(provider, *cashier.paid_notice(PAYMENT, **broken))
    else:
        refused(provider, *cashier.notice("TRANSACTION.SUCCESS", broken))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "x" * 65},
        {"event_type": None},
        {"resource": None},
        {"resource": {"algorithm": "AEAD_AES_128_GCM", "ciphertext": "", "nonce": "x" * 12}},
        {"resource": {"algorithm": "AEAD_AES_256_GCM", "ciphertext": "%", "nonce": "x" * 12}},
        {"resource": {"algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": ""}},
        {"resource": {"algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": "x" * 200}},
    ],
)
def test_rightly_signed_nonsense_around(lasting: tuple[Cashier, WechatPay], changes: dict[str, Any]) -> None:
    cashier, provider = lasting
    refused(provider, *cashier.notice("TRANSACTION.SUCCESS", {}, **changes))


def test_a_notice_of_something_else_is_left_alone(lasting: tuple[Cashier, WechatPay]) -> None:
    cashier, provider = lasting
    assert read(provider, *cashier.notice("PAYSCORE.USER_OPEN_SERVICE", {"mchid": MERCHANT})) is None


async def test_a_notice_of_a_refund(cashier: Cashier, provider: WechatPay) -> None:
    await provider.create(WISH)
    cashier.pay(PAYMENT)
    await provider.refund(BACK)
    for status, is_lost in (("SUCCESS", False), ("ABNORMAL", True), ("CLOSED", True)):
        cashier.settle(REFUND, status)
        notice = read(provider, *cashier.refund_notice(REFUND))
        assert notice is not None
        assert notice.refund is not None
        assert (notice.refund.refund_id, notice.refund.is_lost) == (REFUND, is_lost)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps({"id": text}).encode()),
    headers=st.dictionaries(
        st.sampled_from([signing.TIME, signing.NONCE, signing.SIGNATURE, signing.SERIAL, "x"]),
        st.text(max_size=400) | st.just(KEY_ID) | st.just(str(int(NOW.timestamp()))) | st.just("A" * 344),
    ),
)
def test_nothing_crashes_the_parser(
    lasting: tuple[Cashier, WechatPay], body: bytes, headers: dict[str, str]
) -> None:
    refused(lasting[1], headers, body)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_nothing_that_is_signed_crashes_the_parser(lasting: tuple[Cashier, WechatPay], body: bytes) -> None:
    cashier, provider = lasting
    refused(provider, cashier.signature(body), body)
    refused(provider, *cashier.notice("TRANSACTION.SUCCESS", body))
    refused(provider, *cashier.notice("REFUND.SUCCESS", body))


@settings(max_examples=200)
@given(text=st.text() | st.text().map(lambda text: VECTORS["bill"]["text"].replace("0.01", text)))
def test_nothing_crashes_the_reader_of_bills(text: str) -> None:
    with suppress(ValueError):
        read_lines(text, "wx81be3101902f7cb2", "1601959334", str, BEIJING)


async def test_a_bill_has_every_charge_and_refund_of_its_day(cashier: Cashier, provider: WechatPay) -> None:
    midnight = datetime(2026, 11, 25, 16, 0, tzinfo=UTC)
    ids = [f"pay_{number:032x}" for number in range(4)]
    moments = [midnight - timedelta(seconds=1), midnight, midnight + timedelta(hours=23, minutes=59, seconds=59)]
    for id_, at in zip(ids, [*moments, midnight + timedelta(days=1)], strict=True):
        await provider.create(ChargeRequest(id_, 1999, "CNY", "a,b", WISH.expires_at, WISH.payer_account))
        cashier.pay(id_, at=at)
    cashier.refund_status = "PROCESSING"
    await provider.refund(RefundRequest(REFUND, ids[0], 1000, "CNY", total=1999))
    cashier.clock = provider._clock = lambda: NOW + timedelta(days=1)
    lines = await provider.read_bill(date(2026, 11, 26))
    assert [(line.kind, line.subject, line.amount, line.state) for line in lines] == [
        (LineKind.CHARGE, ids[1], 1999, LineState.DONE),
        (LineKind.CHARGE, ids[2], 1999, LineState.DONE),
        (LineKind.REFUND, REFUND, 1000, LineState.PENDING),
    ]
    assert [line.at for line in lines] == [midnight, moments[2], NOW]
    assert await provider.read_bill(date(2026, 11, 24)) == []
    cashier.planted = lambda rows: rows[0].update({"公众账号ID": "wx-of-others"})
    assert len(await provider.read_bill(date(2026, 11, 26))) == 2
    for part in (slice(5), slice(-9), slice(12), slice(0), slice(1, None)):
        cashier.torn = lambda file, part=part: file[part]  # type: ignore[misc]
        with pytest.raises(ProviderUnavailable):
            await provider.read_bill(date(2026, 11, 26))
    cashier.torn, cashier.broken_bill = bytes, True
    with pytest.raises(ProviderUnavailable):
        await provider.read_bill(date(2026, 11, 26))
    with pytest.raises(ProviderUnavailable):
        await provider.read_bill(date(2026, 11, 27))


async def test_nothing_but_our_own_address_is_asked_for_a_bill(cashier: Cashier, tmp_path: Path) -> None:
    hosts = []

    class Watching(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            hosts.append(request.url.host)
            return await super().handle_async_request(request)

    base = Settings(wechatpay_url="https://api2.mch.weixin.qq.com")
    http = httpx.AsyncClient(transport=Watching(cashier.app()))
    provider = WechatPay(cashier.settings(base, tmp_path), http, cashier.clock)
    await provider.create(WISH)
    cashier.pay(PAYMENT, at=NOW - timedelta(days=1))
    assert len(await provider.read_bill(date(2026, 11, 25))) == 1
    assert set(hosts) == {"api2.mch.weixin.qq.com"}


async def test_keys_may_change_while_both_are_known(cashier: Cashier, tmp_path: Path) -> None:
    """A platform certificate names itself by its serial; two keys verify at the same time."""
    certificate = tmp_path / "platform.pem"
    certificate.write_text(VECTORS["notice"]["certificate"])
    wanted = cashier.settings(Settings(), tmp_path)
    both = wanted.model_copy(
        update={"wechatpay_public_keys": f"{certificate}, {wanted.wechatpay_public_keys}"},
    )
    provider = WechatPay(both, httpx.AsyncClient(transport=httpx.ASGITransport(cashier.app())), cashier.clock)
    assert list(provider._keys) == [VECTORS["notice"]["serial"], KEY_ID]
    assert (await provider.create(WISH)).pay_params


def test_files_that_are_no_keys_stop_the_start(cashier: Cashier, tmp_path: Path) -> None:
    good = cashier.settings(Settings(), tmp_path)
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("-----BEGIN NOTHING-----")
    public = Path(good.wechatpay_public_keys.partition("=")[2])
    for change in (
        {"wechatpay_private_key": ""},
        {"wechatpay_private_key": str(nothing)},
        {"wechatpay_private_key": str(public)},
        {"wechatpay_private_key": str(tmp_path / "missing")},
        {"wechatpay_public_keys": str(nothing)},
        {"wechatpay_public_keys": f"{KEY_ID}={nothing}"},
        {"wechatpay_public_keys": ""},
    ):
        with pytest.raises(ProviderNotReady, match="WECHATPAY"):
            open_wechatpay(good.model_copy(update=change), httpx.AsyncClient(), lambda: NOW)
