"""Settings, read once from the environment. `docs/settings.md` is the table of them."""

import hashlib
import hmac
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_SECRET = "development-only-secret-never-use-it-in-production"  # noqa: S105 - published on purpose
MIN_SECRET_LENGTH = 32
MAX_PORT = 65535
API_KEY_BYTES = 32
WECHATPAY = (
    *("wechatpay_app_id", "wechatpay_merchant_id", "wechatpay_api_key", "wechatpay_private_key"),
    *("wechatpay_serial", "wechatpay_public_keys"),
)
STRIPE = ("stripe_secret_key", "stripe_webhook_secrets", "stripe_return_url")


class Environment(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Where the service runs and with what. Raises `ValidationError` naming the setting that is wrong."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore", frozen=True)

    environment: Environment = Field(
        default=Environment.DEVELOPMENT,
        description="`development`, `staging` (production's rules, with `dev` login and sandbox payments)"
        " or `production`",
    )
    data: Path = Field(
        default=Path("data"),
        description="Folder of the SQLite file and the embedded Valkey, in development",
    )
    database_url: str = Field(
        default="",
        description="`postgresql://…` in production; empty: a SQLite file in `DATA`",
    )
    redis_url: str = Field(
        default="",
        description="`redis://…` or `rediss://…`; empty: an embedded Valkey, started and stopped by the service"
        " (development only)",
    )
    secret_key: str = Field(
        default=DEVELOPMENT_SECRET,
        repr=False,
        description="At least 32 characters; signs tokens, hashes operator keys and seals what is kept sealed, such"
        " as phone numbers. Changing it logs everybody out, and nobody can read what was sealed before",
    )
    public_url: str = Field(
        default="http://127.0.0.1:8000",
        description="The address under which members and payment providers reach the service",
    )
    mini_program_url: str = Field(
        default="",
        pattern=r"^$|^[a-z][a-z0-9+.-]*://[!-~]*\{code\}[!-~]*$",
        description="Opens an invite in your mini-program, with `{code}` in it; empty: pages have no such button",
    )
    sandbox_url: str = Field(
        default="",
        description="Where the service itself reaches the sandbox cashier, when that is not `PUBLIC_URL`",
    )
    chat_stand_in_url: str = Field(
        default="",
        pattern=r"^$|^https?://[!-~]+$",
        description="Where stand-ins play the chat platforms, each below the name of its host; empty: the platforms"
        " themselves. Never in production",
    )
    host: str = Field(default="127.0.0.1", description="Interface to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on")
    processes: int = Field(default=1, ge=1, le=64, description="API processes; more than one needs PostgreSQL")
    workers_inside: bool = Field(
        default=True,
        description="Run the workers inside the API process; set to `false` where `python -m app worker` runs",
    )
    database_pool_size: int = Field(default=10, ge=8, le=200, description="Connections per process")
    access_token_seconds: int = Field(default=3600, ge=60, le=86400, description="Life of an access token")
    wechat_app_id: str = Field(
        default="",
        pattern="^(wx[0-9a-z]{16})?$",
        description="Your WeChat mini-program, to log in with `wechat`; empty: nobody does",
    )
    wechat_app_secret: str = Field(default="", repr=False, description="Its secret (AppSecret)")
    telegram_bot_token: str = Field(
        default="",
        repr=False,
        pattern="^([0-9]{1,20}:[0-9A-Za-z_-]{1,100})?$",
        description="The bot whose Mini App logs in with `telegram`; empty: nobody does",
    )
    telegram_login_seconds: int = Field(
        default=300,
        ge=30,
        le=3600,
        description="How long after Telegram has opened the Mini App its `initData` logs in",
    )
    refresh_token_seconds: int = Field(
        default=30 * 86400,
        ge=3600,
        le=365 * 86400,
        description="Life of a refresh token; each use starts it anew",
    )
    live_stream_seconds: int = Field(
        default=900,
        ge=5,
        le=86400,
        description="Longest life of one live stream; clients reconnect where they were",
    )
    member_claims_per_second: float = Field(
        default=5,
        ge=0,
        le=1000,
        description="Claims a member may make in each process, four seconds' worth in a row; 0: no limit",
    )
    address_claims_per_second: float = Field(
        default=200,
        ge=0,
        le=100_000,
        description="The same for an address; many members may share one",
    )
    address_drawings_per_second: float = Field(
        default=3,
        ge=0,
        le=1000,
        description="Posters, previews and QR codes an address may have drawn in each process, 30 in a row; what is"
        " kept does not count; 0: no limit",
    )
    invite_misses_per_second: float = Field(
        default=0.2,
        ge=0,
        le=1000,
        description="Codes of invites that do not exist an address may ask for in each process, thirty in a row;"
        " beyond that it may ask for none. 0: no limit",
    )
    live_connections: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Live streams, WebSockets and long polls at the same time in one process; each is an open file",
    )
    live_connections_per_address: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="How many of them from one address other than this machine's; 0: any number. Name proxies in"
        " front in `FORWARDED_ALLOW_IPS`, or all clients have their address",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="Proxies that are believed whom they forward (`X-Forwarded-For`): addresses or networks, with"
        " commas",
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose web pages may call the API, e.g. `http://localhost:5173`; several with commas",
    )
    payout_minimum: int = Field(default=100, ge=1, description="Least that is paid out at a time, in minor units")
    payout_fee_basis_points: int = Field(
        default=0, ge=0, lt=10_000, description="What a payout costs its member, in hundredths of a percent"
    )
    payout_approval_above: int = Field(
        default=50_000, ge=0, description="Payouts above this wait for an operator, in minor units"
    )
    wechatpay_app_id: str = Field(
        default="",
        description="The app that members pay in. WeChat Pay is there when all `WECHATPAY_…` are set; see"
        " [payments.md](payments.md)",
    )
    wechatpay_merchant_id: str = Field(default="", description="The merchant's number, 商户号")
    wechatpay_api_key: str = Field(default="", repr=False, description="The merchant's APIv3 key, 32 characters")
    wechatpay_private_key: str = Field(
        default="", description="File with the merchant's private key, `apiclient_key.pem`"
    )
    wechatpay_serial: str = Field(default="", description="Serial number of the merchant's certificate")
    wechatpay_public_keys: str = Field(
        default="",
        description="Files with WeChat Pay's own keys: `PUB_KEY_ID_…=pub_key.pem`, or a platform certificate;"
        " several with commas",
    )
    wechatpay_url: str = Field(
        default="https://api.mch.weixin.qq.com", description="Where WeChat Pay's API is reached"
    )
    stripe_secret_key: str = Field(
        default="", repr=False, description="The account's secret key. Stripe is there when all `STRIPE_…` are set"
    )
    stripe_webhook_secrets: str = Field(
        default="",
        repr=False,
        description="`whsec_…` of the webhook endpoint; two with a comma while it is rotated",
    )
    stripe_return_url: str = Field(
        default="",
        description="Where Stripe's page sends members back to; `{payment_id}` in it becomes the payment's id",
    )
    stripe_url: str = Field(default="https://api.stripe.com", description="Where Stripe's API is reached")
    linger_seconds: float = Field(
        default=1,
        ge=0,
        le=300,
        description="How long a process that was sent SIGTERM goes on serving, with `/readyz` at 503 and each"
        " connection closed after its answer, so that balancers turn to others",
    )
    webhook_private_networks: str = Field(
        default="",
        description="Networks that are not public and may yet be sent events, e.g. `10.1.0.0/16`, with commas",
    )
    drain_seconds: int = Field(
        default=5,
        ge=1,
        le=300,
        description="How long a stopping process waits for requests in flight",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_development:
            return self
        if self.secret_key == DEVELOPMENT_SECRET:
            raise ValueError("SECRET_KEY: the default secret is public; set your own")
        if len(self.secret_key) < MIN_SECRET_LENGTH:
            raise ValueError(f"SECRET_KEY: must have at least {MIN_SECRET_LENGTH} characters")
        if not self.database_url.startswith("postgresql"):
            raise ValueError("DATABASE_URL: production needs a postgresql:// address")
        if not self.redis_url:
            raise ValueError("REDIS_URL: production needs a redis:// address")
        if self.environment == Environment.PRODUCTION and not self.public_url.startswith("https://"):
            raise ValueError("PUBLIC_URL: production needs an https:// address")
        if self.environment == Environment.PRODUCTION and self.chat_stand_in_url:
            raise ValueError("CHAT_STAND_IN_URL: production speaks to the platforms themselves")
        return self

    @model_validator(mode="after")
    def _check_logins(self) -> Self:
        if bool(self.wechat_app_id) != bool(self.wechat_app_secret):
            raise ValueError("WECHAT_APP_SECRET: set both WECHAT_APP_ID and WECHAT_APP_SECRET, or neither")
        return self

    @model_validator(mode="after")
    def _check_payments(self) -> Self:
        for named in (WECHATPAY, STRIPE):
            missing = [name.upper() for name in named if not getattr(self, name)]
            if missing and len(missing) < len(named):
                raise ValueError(f"{missing[0]}: must be set too, when others of the same provider are")
        if self.has_wechatpay and len(self.wechatpay_api_key.encode()) != API_KEY_BYTES:
            raise ValueError(f"WECHATPAY_API_KEY: must have {API_KEY_BYTES} characters")
        # The payer is whom WeChat confirmed at the login: an openid is good in its own app only.
        if self.has_wechatpay and self.wechat_app_id not in {"", self.wechatpay_app_id}:
            raise ValueError("WECHATPAY_APP_ID: must be WECHAT_APP_ID, whose members pay")
        for name in ("wechatpay_url", "stripe_url"):
            if self.environment == Environment.PRODUCTION and not getattr(self, name).startswith("https://"):
                raise ValueError(f"{name.upper()}: production needs an https:// address")
        return self

    @model_validator(mode="after")
    def _check_processes(self) -> Self:
        if self.processes > 1 and self.is_sqlite:
            raise ValueError("PROCESSES: SQLite serves one process; set DATABASE_URL to PostgreSQL")
        if self.processes > 1 and not self.redis_url:
            raise ValueError("PROCESSES: the embedded Valkey serves one process; set REDIS_URL")
        return self

    @model_validator(mode="after")
    def _check_networks(self) -> Self:
        try:
            _ = self.webhook_networks
        except ValueError as error:
            raise ValueError(f"WEBHOOK_PRIVATE_NETWORKS: {error}") from error
        return self

    @property
    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `webhook_private_networks`."""
        return tuple(ip_network(text.strip()) for text in self.webhook_private_networks.split(",") if text.strip())

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return not self.database_url.startswith("postgresql")

    @property
    def is_development(self) -> bool:
        """Whether what is allowed is what a laptop needs."""
        return self.environment == Environment.DEVELOPMENT

    @property
    def has_sandbox(self) -> bool:
        """Whether `dev` login and the sandbox cashier exist here. Never in production."""
        return self.environment != Environment.PRODUCTION

    @property
    def has_wechatpay(self) -> bool:
        """Whether members can pay with WeChat Pay."""
        return all(getattr(self, name) for name in WECHATPAY)

    @property
    def has_stripe(self) -> bool:
        """Whether members can pay with Stripe."""
        return all(getattr(self, name) for name in STRIPE)

    @property
    def cashier_url(self) -> str:
        """Where the service and the sandbox cashier reach each other."""
        return (self.sandbox_url or self.public_url).rstrip("/")

    def key_for(self, purpose: str) -> bytes:
        """A 32-byte key of its own for each purpose, derived from `SECRET_KEY`."""
        return _derived_key(self.secret_key, purpose)


def stand_in_port(port: int) -> int:
    """Where stand-ins play the chat platforms for a service of `make run` that listens on this port."""
    return port + 1 if port < MAX_PORT else port - 1


@cache
def _derived_key(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
