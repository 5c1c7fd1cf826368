"""Everything the service keeps open while it runs, opened once and passed to every use case."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import httpx
from redis.asyncio import Redis

from app.batching import CROWD, Batches
from app.config import Settings
from app.domain.identities import Login
from app.gateways.chat.transport import ChatHttp
from app.gateways.database import Database, database_url, is_outage, open_database
from app.gateways.dealer import Dealer, Pipe
from app.gateways.horizon import Horizon
from app.gateways.live import Live
from app.gateways.logins.dev import DevLogins
from app.gateways.logins.provider import LoginProvider, PhoneProvider
from app.gateways.logins.telegram import TelegramLogins
from app.gateways.logins.wechat import HOST as WECHAT_HOST
from app.gateways.logins.wechat import WeChatLogins
from app.gateways.payments.biller import Biller
from app.gateways.payments.payer import PayoutProvider
from app.gateways.payments.provider import PaymentProvider
from app.gateways.payments.sandbox import SandboxProvider
from app.gateways.payments.stripe import Stripe
from app.gateways.payments.wechatpay import WechatPay, open_wechatpay
from app.gateways.valkey import embedded_valkey
from app.gateways.webhooks import Webhooks
from app.limiting import Limiter
from app.remembering import Memory

PROVIDER_TIMEOUT_SECONDS = 10
SALES_READ_AT_ONCE = 2
BURST_SECONDS = 4
"""How much of a rate limit may be used up at once."""
INVITE_MISSES_IN_A_ROW = 30
LINK_CODES_PER_SECOND, LINK_CODES_IN_A_ROW = 1 / 60, 5
LINK_MISSES_PER_SECOND, LINK_MISSES_IN_A_ROW = 1 / 120, 5
"""How many codes a member may make, and how often somebody in a chat may say a wrong one."""
CHAT_MESSAGES_PER_SECOND, CHAT_MESSAGES_IN_A_ROW = 1 / 10, 10
"""How much somebody in a chat may say to us: less than a robot may answer, so that others are answered, too."""
BINDING_TESTS_PER_SECOND, BINDING_TESTS_IN_A_ROW = 1 / 6, 3
EXPORTS_PER_SECOND, EXPORTS_IN_A_ROW = 1 / 60, 5
"""How often a member may have everything of theirs read."""
DRAWINGS_IN_A_ROW = 30
Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class State:
    """The service's neighbours, its settings and its clock, and what this process does together and remembers."""

    settings: Settings
    database: Database
    horizon: Horizon
    dealer: Dealer
    live: Live
    http: httpx.AsyncClient
    chat_http: ChatHttp
    """The way to the chat platforms."""
    webhooks: Webhooks
    providers: dict[str, PaymentProvider]
    clock: Callable[[], datetime]
    member_claims: Limiter
    address_claims: Limiter
    address_drawings: Limiter
    invite_misses: Limiter
    """Codes of invites there are not, by the address that asks for them."""
    member_exports: Limiter
    member_links: Limiter
    link_misses: Limiter
    """Codes that are none, by who said them in a chat."""
    chat_senders: Limiter
    binding_tests: Limiter
    logins: dict[str, LoginProvider] = field(default_factory=dict)
    phones: dict[str, PhoneProvider] = field(default_factory=dict)
    """Who confirms members and their numbers here, by the name of the provider."""
    payer: PayoutProvider | None = None
    """Who sends members their money; None where nobody does yet: then payouts wait."""
    billers: dict[str, Biller] = field(default_factory=dict)
    """Providers that keep bills, by their names."""
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SALES_READ_AT_ONCE))
    """Held while all rows of a sale are read."""
    forecasting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held while a sale is simulated, which takes the processor for a while."""
    committing: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Requests whose claims are being committed: whoever repeats one waits for it."""
    known_members: set[str] = field(default_factory=set)
    """Members that were seen to exist; they are never deleted, but see `erased`."""
    erased: dict[str, datetime] = field(default_factory=dict)
    """Members who were erased while tokens of theirs may still be about, and when; see `services/erased.py`."""
    ended: dict[str, datetime] = field(default_factory=dict)
    """Sessions that ended while access tokens of theirs may still be about, and when; see the same."""
    looked_at: datetime | None = None
    """When it was last looked for those."""
    queues: dict[str, Any] = field(default_factory=dict)
    """Who waits here for their turn in a flash sale: a `Queue` of `services/queues.py` by sale."""
    drawings: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    """What was drawn a while ago, by all that can be seen in it; the least used first."""
    _batches: dict[Any, Batches[Any, Any, Any]] = field(default_factory=dict)
    _memories: dict[Any, Memory[Any, Any]] = field(default_factory=dict)

    def batches(
        self,
        work: Callable[["State", Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        size: int = 500,
        limit: int = 5000,
        lanes: int = 1,
        crowd: int = CROWD,
    ) -> Batches[Any, Item, Result]:
        """The one queue of this process for `work(state, items)`: see `Batches`."""
        found = self._batches.get(work)
        if found is None:
            found = Batches(partial(work, self), size=size, limit=limit, lanes=lanes, crowd=crowd)
            self._batches[work] = found
        return found

    def memory(
        self,
        load: Callable[["State", Sequence[Key]], Awaitable[Sequence[Result | BaseException]]],
        *,
        seconds: float = 1.0,
    ) -> Memory[Key, Result]:
        """What this process remembers of `load(state, keys)`. While the database is away it may be older."""
        found = self._memories.get(load)
        if found is None:
            found = Memory(partial(load, self), seconds=seconds, may_be_old=is_outage)
            self._memories[load] = found
        return found

    async def drain(self) -> None:
        """Send everybody in line on their way, and wait until every batch is done."""
        for queue in self.queues.values():
            await queue.close()
        for batches in list(self._batches.values()):
            await batches.drain()


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


@asynccontextmanager
async def open_state(
    settings: Settings, clock: Callable[[], datetime] = utc_now, *, share: bool = False
) -> AsyncIterator[State]:
    """Open everything, in order, and close it again in reverse.

    In development the database is migrated and a Valkey server started if none is named; `share` uses the one of
    a service that is running on the same data. Raises `DatabaseNotReady` when the database does not answer or lacks
    a migration, `FolderInUse` when another service has the data and `share` is not set, `ProviderNotReady` when a
    payment provider's keys cannot be used.
    """
    async with AsyncExitStack() as stack:
        if settings.is_sqlite:
            settings.data.mkdir(parents=True, exist_ok=True)
        database = await stack.enter_async_context(
            open_database(database_url(settings), settings.database_pool_size),
        )
        if settings.is_sqlite:
            await database.migrate()
        await database.check_ready()

        redis_url = settings.redis_url or stack.enter_context(
            embedded_valkey(settings.data / "valkey", share=share)
        )
        pipe = Pipe(redis_url)
        stack.callback(pipe.close)
        client = Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
        stack.push_async_callback(client.aclose)
        subscriber = Redis.from_url(redis_url, socket_timeout=None, socket_connect_timeout=2)
        stack.push_async_callback(subscriber.aclose)
        live = Live(client, subscriber)
        listening = asyncio.create_task(live.run())
        stack.push_async_callback(_cancel, listening)

        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PROVIDER_TIMEOUT_SECONDS))
        chat_http = ChatHttp(settings.chat_stand_in_url)
        stack.push_async_callback(chat_http.aclose)
        webhooks = Webhooks(settings.webhook_networks)
        stack.push_async_callback(webhooks.close)
        providers: dict[str, PaymentProvider] = {}
        payer: PayoutProvider | None = None
        if settings.has_sandbox:
            payer = sandbox = SandboxProvider(settings, http, clock)
            providers[sandbox.name] = sandbox
        logins, phones = _open_logins(settings, chat_http.to({WECHAT_HOST}))
        billers = _billers(settings, http, clock)
        state = State(
            settings=settings,
            database=database,
            horizon=Horizon(database),
            dealer=Dealer(pipe),
            live=live,
            http=http,
            chat_http=chat_http,
            webhooks=webhooks,
            providers=providers | billers,
            payer=payer,
            billers={**billers},
            logins=logins,
            phones=phones,
            clock=clock,
            member_claims=_limiter(settings.member_claims_per_second),
            address_claims=_limiter(settings.address_claims_per_second),
            address_drawings=Limiter(settings.address_drawings_per_second, DRAWINGS_IN_A_ROW),
            invite_misses=Limiter(settings.invite_misses_per_second, INVITE_MISSES_IN_A_ROW),
            member_exports=Limiter(EXPORTS_PER_SECOND, EXPORTS_IN_A_ROW),
            member_links=Limiter(LINK_CODES_PER_SECOND, LINK_CODES_IN_A_ROW),
            link_misses=Limiter(LINK_MISSES_PER_SECOND, LINK_MISSES_IN_A_ROW),
            chat_senders=Limiter(CHAT_MESSAGES_PER_SECOND, CHAT_MESSAGES_IN_A_ROW),
            binding_tests=Limiter(BINDING_TESTS_PER_SECOND, BINDING_TESTS_IN_A_ROW),
        )
        stack.push_async_callback(state.drain)
        yield state


def _open_logins(
    settings: Settings, http: httpx.AsyncClient
) -> tuple[dict[str, LoginProvider], dict[str, PhoneProvider]]:
    """Who confirms members, and who their numbers: `dev`, where that is allowed, and what is set up."""
    logins: dict[str, LoginProvider] = {}
    phones: dict[str, PhoneProvider] = {}
    if settings.has_sandbox:
        logins[Login.DEV] = phones[Login.DEV] = DevLogins()
    if settings.wechat_app_id:
        wechat = WeChatLogins(settings.wechat_app_id, settings.wechat_app_secret, http)
        logins[Login.WECHAT] = phones[Login.WECHAT] = wechat
    if settings.telegram_bot_token:
        window = timedelta(seconds=settings.telegram_login_seconds)
        logins[Login.TELEGRAM] = TelegramLogins(settings.telegram_bot_token, window)
    return logins, phones


def _billers(
    settings: Settings, http: httpx.AsyncClient, clock: Callable[[], datetime]
) -> dict[str, WechatPay | Stripe]:
    """The real payment providers whose settings are there, by their names."""
    found: list[WechatPay | Stripe] = []
    if settings.has_wechatpay:
        found.append(open_wechatpay(settings, http, clock))
    if settings.has_stripe:
        found.append(Stripe(settings, http))
    return {provider.name: provider for provider in found}


def _limiter(rate: float) -> Limiter:
    return Limiter(rate, burst=max(1, round(rate * BURST_SECONDS)))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
