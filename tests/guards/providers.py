"""Guards of real payment providers: whom is believed, and what is no answer."""

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from app.domain.errors import ProviderRefused, ProviderUnavailable, SignatureInvalid
from app.gateways.payments import wechatpay_signing as signing
from app.gateways.payments.provider import ChargeRequest, RefundRequest
from app.gateways.payments.stripe import SIGNATURE, Stripe
from app.gateways.payments.wechatpay import WechatPay
from app.gateways.payments.wechatpay_bill import read_lines
from tests.cashiers import stripe, wechatpay
from tests.cashiers.wechatpay import APP, BEIJING, KEY_ID, MERCHANT, SUMS
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World

WECHATPAY, SIGNING = "app.gateways.payments.wechatpay", "app.gateways.payments.wechatpay_signing"
STRIPE, BILL = "app.gateways.payments.stripe", "app.gateways.payments.wechatpay_bill"
PAYMENT, REFUND = f"pay_{'0' * 32}", f"ref_{'0' * 32}"
VERIFIED = "signing.verify(self._keys, reply.headers, reply.content, self._clock())"


def wish(world: World, currency: str = "CNY") -> ChargeRequest:
    return ChargeRequest(PAYMENT, 4900, currency, "茶", world.service.clock() + timedelta(minutes=5), "openid")


def back(reference: str | None = None) -> RefundRequest:
    return RefundRequest(REFUND, PAYMENT, 4900, "CNY", total=4900, reference=reference)


async def paid_with_wechat(world: World) -> tuple[wechatpay.Cashier, WechatPay]:
    """A cashier where something was paid yesterday, and our side of it."""
    cashier = wechatpay.Cashier(world.service.clock)
    with TemporaryDirectory() as folder:
        provider = cashier.provider(world.state.settings, Path(folder))
    await provider.create(wish(world))
    cashier.pay(PAYMENT, at=world.service.clock() - timedelta(days=1))
    return cashier, provider


async def paid_with_stripe(world: World) -> tuple[stripe.Cashier, Stripe]:
    """The same."""
    cashier = stripe.Cashier(world.service.clock)
    provider = cashier.provider(world.state.settings)
    await provider.create(wish(world, "USD"))
    cashier.pay(PAYMENT)
    return cashier, provider


def refused(world: World, read: Callable[..., Any], *notices_: tuple[dict[str, str], bytes]) -> None:
    for headers, body in notices_:
        with pytest.raises(SignatureInvalid):
            read(headers, body, world.service.clock())


@notices(
    Cut(f"{WECHATPAY}.WechatPay.parse_notice", "signing.verify(self._keys, headers, body, now)", "None"),
    Cut(
        f"{SIGNING}.verify", "key.verify(raw, _message(time, nonce) + body + b'\\n', PKCS1v15(), SHA256())", "None"
    ),
    Cut(f"{SIGNING}.verify", "signed_at(time, now)", "None"),
    *cuts(f"{SIGNING}.verify", "b64encode(raw).decode() != signature"),
    *cuts(
        f"{WECHATPAY}.WechatPay._charge",
        "(transaction.appid, transaction.mchid) != (self._app, self._merchant)",
        "transaction.amount is None",
        "transaction.transaction_id is None",
    ),
    *cuts(f"{WECHATPAY}.WechatPay._news", "notice.mchid != self._merchant"),
)
async def wechat_pay_alone_is_believed_what_it_says_of_us(world: World) -> None:
    cashier, provider = await paid_with_wechat(world)
    headers, body = cashier.paid_notice(PAYMENT)
    own = headers[signing.SIGNATURE]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    alike = own[:-3] + letters[letters.index(own[-3]) ^ 1] + own[-2:]
    assert base64.b64decode(alike) == base64.b64decode(own)
    of_others = {"mchid": "1900000110", "out_refund_no": REFUND, "refund_status": "SUCCESS"}
    refused(
        world,
        provider.parse_notice,
        (headers, body + b" "),
        (cashier.signature(body, name="somebody"), body),
        (cashier.signature(body, seconds=-302), body),
        (headers | {signing.TIME: "²"}, body),
        (headers | {signing.TIME: "9" * 400}, body),
        (headers | {signing.SIGNATURE: alike}, body),
        cashier.paid_notice(PAYMENT, appid="wx0"),
        cashier.paid_notice(PAYMENT, amount=None),
        cashier.paid_notice(PAYMENT, transaction_id=None),
        cashier.notice("REFUND.SUCCESS", of_others),
    )
    assert provider.parse_notice(headers, body, world.service.clock())


@notices(Cut(f"{WECHATPAY}.WechatPay._ask", VERIFIED, "None"))
async def an_answer_without_a_voucher_is_none(world: World) -> None:
    cashier, provider = await paid_with_wechat(world)
    cashier.unsigned = True
    with pytest.raises(ProviderUnavailable):
        await provider.query(PAYMENT)


@notices(
    *cuts(f"{WECHATPAY}.WechatPay._send", "reply.status_code in FINAL"),
    *cuts(f"{WECHATPAY}.WechatPay.query_refund", "error.status == HTTPStatus.NOT_FOUND"),
    *cuts(f"{WECHATPAY}._accepted", "refund.status not in {DONE, UNDER_WAY}"),
)
async def what_wechat_pay_refuses_is_told_from_what_it_gave_up(world: World) -> None:
    cashier, provider = await paid_with_wechat(world)
    assert await provider.query_refund(back()) is None
    cashier.refund_status = "ABNORMAL"
    with pytest.raises(ProviderUnavailable):
        await provider.refund(back())
    with pytest.raises(ProviderRefused):
        await provider.create(wish(world))


@notices(
    *cuts(
        f"{WECHATPAY}.WechatPay._download",
        "not hmac.compare_digest(digest, place.hash_value.lower())",
    ),
    *cuts(f"{BILL}._rows", "not set(columns) >= COLUMNS", "not line.startswith(MARK)"),
)
async def a_bill_is_what_its_digest_says(world: World) -> None:
    cashier, provider = await paid_with_wechat(world)
    day = (world.service.clock() - timedelta(days=1)).astimezone(BEIJING).date()
    assert len(await provider.read_bill(day)) == 1
    cashier.broken_bill = True
    with pytest.raises(ProviderUnavailable):
        await provider.read_bill(day)
    with pytest.raises(ValueError, match="not a bill"):
        read_lines(f"{SUMS}\n", APP, MERCHANT, str, BEIJING)


@notices(
    *cuts(f"{SIGNING}.load_private_key", "not isinstance(key, RSAPrivateKey)"),
    *cuts(f"{SIGNING}.load_public_keys", "not isinstance(key, RSAPublicKey)"),
)
async def keys_are_rsa(world: World) -> None:
    cashier = wechatpay.Cashier(world.service.clock)
    with TemporaryDirectory() as folder:
        good = cashier.settings(world.state.settings, Path(folder))
        private, public = Path(folder) / "private.pem", Path(folder) / "public.pem"
        private.write_text(ED25519_PRIVATE)
        public.write_text(ED25519_PUBLIC)
        for change in (
            {"wechatpay_private_key": str(private)},
            {"wechatpay_public_keys": f"{KEY_ID}={public}"},
        ):
            with pytest.raises(ValueError, match="not an RSA key"):
                WechatPay(good.model_copy(update=change), world.state.http, world.service.clock)


ED25519_PRIVATE = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
ED25519_PUBLIC = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
"""From RFC 8410, sections 10.1 and 10.3."""


@notices(
    Cut(f"{STRIPE}.Stripe.parse_notice", "self._verify(headers.get(SIGNATURE, ''), body, now)", "None"),
    Cut(f"{STRIPE}.Stripe._verify", "signed_at(time, now)", "None"),
    *cuts(f"{STRIPE}.Stripe._verify", "not any([matches(value, own) for name, _, value in parts if name == 'v1'])"),
    *cuts(f"{STRIPE}._charge", "session.amount_total is None", "session.currency is None"),
)
async def stripe_alone_is_believed_what_it_says(world: World) -> None:
    cashier, provider = await paid_with_stripe(world)
    headers, body = cashier.paid_notice(PAYMENT)
    v1 = headers[SIGNATURE].split(",")[1]
    refused(
        world,
        provider.parse_notice,
        (headers, body + b" "),
        (cashier.signature(body, secret="whsec_other"), body),
        (cashier.signature(body, seconds=-302), body),
        ({SIGNATURE: f"t=²,{v1}"}, body),
        ({SIGNATURE: f"t={'9' * 400},{v1}"}, body),
        cashier.paid_notice(PAYMENT, amount_total=None),
        cashier.paid_notice(PAYMENT, currency=None),
    )
    assert provider.parse_notice(headers, body, world.service.clock())


@notices(
    *cuts(f"{STRIPE}.Stripe._ask", "reply.status_code in FINAL"),
    *cuts(f"{STRIPE}.Stripe._list", "not (has_more and rows)"),
    *cuts(f"{STRIPE}.Stripe.refund", "refund.status not in REFUND_STATES"),
)
async def what_stripe_refuses_is_told_from_what_it_gave_up(world: World) -> None:
    cashier, provider = await paid_with_stripe(world)
    cashier.refund_status = "failed"
    with pytest.raises(ProviderUnavailable):
        await provider.refund(back(cashier.charges[0]["payment_intent"]))
    cashier.troubles.append(stripe.Problem(400, "amount_too_small"))
    with pytest.raises(ProviderRefused):
        await provider.create(wish(world, "USD"))
