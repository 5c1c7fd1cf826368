"""The service refuses to start wrongly, and says which setting is wrong."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.config import DEVELOPMENT_SECRET, Settings
from app.gateways.database import DatabaseNotReady, async_url, is_outage, open_database
from app.gateways.payments.wechatpay import ProviderNotReady
from app.state import open_state, utc_now
from tests.cashiers.wechatpay import Cashier
from tests.databases import create_database
from tests.service import free_port

GOOD: dict[str, Any] = {
    "environment": "production",
    "secret_key": "x" * 32,
    "database_url": "postgresql://user@host/name",
    "redis_url": "redis://host",
    "public_url": "https://example.com",
    "workers_inside": False,
}
WECHATPAY: dict[str, Any] = {
    "wechatpay_app_id": "wx8888888888888888",
    "wechatpay_merchant_id": "1900000109",
    "wechatpay_api_key": "k" * 32,
    "wechatpay_private_key": "apiclient_key.pem",
    "wechatpay_serial": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
    "wechatpay_public_keys": "PUB_KEY_ID_01=pub_key.pem",
}
STRIPE: dict[str, Any] = {
    "stripe_secret_key": "sk_live_1",
    "stripe_webhook_secrets": "whsec_1",
    "stripe_return_url": "https://shop.example.com/paid",
}


def test_good_settings_pass() -> None:
    settings = Settings(**GOOD)
    assert not settings.has_sandbox
    assert Settings(**GOOD | {"environment": "staging"}).has_sandbox
    assert Settings().has_sandbox


def test_a_payment_provider_is_there_when_all_of_it_is_set() -> None:
    bare, both = Settings(**GOOD), Settings(**GOOD, **WECHATPAY, **STRIPE)
    assert (bare.has_wechatpay, bare.has_stripe) == (False, False)
    assert (both.has_wechatpay, both.has_stripe) == (True, True)
    login = {"wechat_app_id": WECHATPAY["wechatpay_app_id"], "wechat_app_secret": "s"}
    assert Settings(**GOOD, **WECHATPAY, **login).has_wechatpay
    for provider in (WECHATPAY, STRIPE):
        for name in provider:
            with pytest.raises(ValidationError, match=f"{name.upper()}: must be set too"):
                Settings(**GOOD, **{other: value for other, value in provider.items() if other != name})


async def test_the_service_opens_the_providers_that_are_set(postgresql: str, valkey: str, tmp_path: Path) -> None:
    database_url = await create_database(postgresql)
    good = GOOD | {"database_url": database_url, "redis_url": valkey}
    keys = Cashier(utc_now).settings(Settings(**good), tmp_path)
    chosen = {name: getattr(keys, name) for name in WECHATPAY}
    async with open_state(Settings(**good, **chosen, **STRIPE)) as state:
        assert set(state.providers) == set(state.billers) == {"wechatpay", "stripe"}
        assert state.payer is None
    async with open_state(Settings(**good)) as state:
        assert not state.providers
    (tmp_path / "apiclient_key.pem").write_text("no key")
    with pytest.raises(ProviderNotReady, match="WECHATPAY_PRIVATE_KEY"):
        async with open_state(Settings(**good, **chosen)):
            pass


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"secret_key": DEVELOPMENT_SECRET}, "SECRET_KEY"),
        ({"secret_key": "short"}, "SECRET_KEY"),
        ({"database_url": ""}, "DATABASE_URL"),
        ({"database_url": "sqlite:///x", "processes": 2}, "DATABASE_URL"),
        ({"redis_url": ""}, "REDIS_URL"),
        ({"public_url": "http://example.com"}, "PUBLIC_URL"),
        ({"chat_stand_in_url": "http://127.0.0.1:8100"}, "CHAT_STAND_IN_URL"),
        ({"environment": "development", "database_url": "", "processes": 2}, "PROCESSES"),
        ({"environment": "development", "redis_url": "", "processes": 2}, "PROCESSES"),
        ({"port": 0}, "port"),
        (WECHATPAY | {"wechatpay_api_key": "short"}, "WECHATPAY_API_KEY"),
        (WECHATPAY | {"wechat_app_id": "wx1111111111111111", "wechat_app_secret": "s"}, "WECHATPAY_APP_ID"),
        (WECHATPAY | {"wechatpay_url": "http://example.com"}, "WECHATPAY_URL"),
        (STRIPE | {"stripe_url": "http://example.com"}, "STRIPE_URL"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(**GOOD | change)


def test_keys_for_different_purposes_differ() -> None:
    settings = Settings(**GOOD)
    assert settings.key_for("a") != settings.key_for("b")
    assert settings.key_for("a") != Settings(**GOOD | {"secret_key": "y" * 32}).key_for("a")


@pytest.mark.parametrize("url", ["mysql://x", "x", ""])
def test_an_unknown_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseNotReady, match="DATABASE_URL"):
        async_url(url)


async def test_an_unreachable_or_outdated_database_is_refused(postgresql: str) -> None:
    async with open_database(f"postgresql://127.0.0.1:{free_port()}/nowhere", 1) as database:
        with pytest.raises(DatabaseNotReady, match="DATABASE_URL: the database does not answer"):
            await database.check_ready()
    async with open_database(await create_database(postgresql, migrated=False), 1) as database:
        with pytest.raises(DatabaseNotReady, match="run `python -m app migrate`"):
            await database.check_ready()
        await database.migrate()
        await database.check_ready()


@pytest.mark.parametrize(
    ("code", "outage"),
    [("57P03", True), ("53300", True), ("40P01", True), ("08006", True), ("22012", False), ("42P01", False)],
)
async def test_an_outage_is_told_from_a_wrong_statement(postgresql: str, code: str, outage: bool) -> None:
    async with open_database(postgresql, 1) as database:
        with pytest.raises(DBAPIError) as caught:
            async with database.engine.connect() as connection:
                await connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
    assert is_outage(caught.value) == outage
