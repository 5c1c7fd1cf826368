"""Settings, read once from the environment. `docs/settings.md` is the table of them."""

import hashlib
import hmac
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_SECRET = "development-only-secret-never-use-it-in-production"  # noqa: S105 - published on purpose
MIN_SECRET_LENGTH = 32


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
        description="At least 32 characters; signs tokens and hashes operator keys. Changing it logs everybody out",
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
    host: str = Field(default="127.0.0.1", description="Interface to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on")
    processes: int = Field(default=1, ge=1, le=64, description="API processes; more than one needs PostgreSQL")
    workers_inside: bool = Field(
        default=True,
        description="Run the workers inside the API process; set to `false` where `python -m app worker` runs",
    )
    database_pool_size: int = Field(default=10, ge=8, le=200, description="Connections per process")
    access_token_seconds: int = Field(default=3600, ge=60, le=86400, description="Life of an access token")
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
    linger_seconds: float = Field(
        default=1,
        ge=0,
        le=300,
        description="How long a process that was sent SIGTERM goes on serving, with `/readyz` at 503 and each"
        " connection closed after its answer, so that balancers turn to others",
    )
    drain_seconds: int = Field(
        default=5,
        ge=1,
        le=300,
        description="How long a stopping process waits for requests in flight",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.environment == Environment.DEVELOPMENT:
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
        return self

    @model_validator(mode="after")
    def _check_processes(self) -> Self:
        if self.processes > 1 and self.is_sqlite:
            raise ValueError("PROCESSES: SQLite serves one process; set DATABASE_URL to PostgreSQL")
        if self.processes > 1 and not self.redis_url:
            raise ValueError("PROCESSES: the embedded Valkey serves one process; set REDIS_URL")
        return self

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return not self.database_url.startswith("postgresql")

    @property
    def has_sandbox(self) -> bool:
        """Whether `dev` login and the sandbox cashier exist here. Never in production."""
        return self.environment != Environment.PRODUCTION

    @property
    def cashier_url(self) -> str:
        """Where the service and the sandbox cashier reach each other."""
        return (self.sandbox_url or self.public_url).rstrip("/")

    def key_for(self, purpose: str) -> bytes:
        """A 32-byte key of its own for each purpose, derived from `SECRET_KEY`."""
        return _derived_key(self.secret_key, purpose)


@cache
def _derived_key(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
