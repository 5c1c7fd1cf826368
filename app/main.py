"""The application: its routes, its documents, and the lifespan that opens the state."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from app.config import Settings
from app.logs import begin_logging
from app.routers import (
    admissions,
    bargains,
    bindings,
    branches,
    comments,
    communities,
    coupons,
    endpoints,
    entries,
    events,
    facts,
    forecasts,
    groups,
    growth,
    health,
    identities,
    invariants,
    invites,
    jobs,
    ledger,
    links,
    live,
    members,
    memberships,
    notices,
    orders,
    pages,
    payments,
    payouts,
    phones,
    pictures,
    posts,
    probes,
    products,
    pushes,
    reconciliations,
    reminders,
    reports,
    rewards,
    sales,
    sandbox,
    segments,
    sessions,
    slots,
    suspicions,
    tips,
)
from app.routers.lane import Lane
from app.routers.problems import add_problem_handlers
from app.schemas.problems import Problem
from app.services.erased import learning
from app.services.feed import feeding
from app.services.views import forget
from app.state import State, open_state
from app.workers.loop import running_workers

VERSION = "0.1.0"
GARBAGE_THRESHOLD = 20_000
"""Objects made and kept before the youngest of them are searched for cycles; Python's own is 700."""
WEB = Path(__file__).parent / "web"
REF = "#/components/schemas/{model}"
DESCRIPTION = """
Kaituan (开团) runs group buys (拼团) for communities that buy together. 为一起购买的社群提供拼团服务。

**Try it here 在此试用**

1. `POST /v1/sessions` with `{"provider": "dev", "code": "alice"}`, then *Authorize → member* with the
   `access_token`. 登录后在 Authorize 中填入令牌。
2. `GET /v1/sales`: pick a sale and one of its offers. 选择活动与报价。
3. `POST /v1/sales/{sale_id}/groups` with an `Idempotency-Key` of your own. 开团。
4. `POST /v1/orders/{order_id}/payments` with `{"provider": "sandbox"}`, and open the `pay_url`. 支付。

**Habits 约定**

- Money is an integer in minor units (fen 分); time is RFC 3339 in UTC. 金额为最小货币单位整数，时间为 UTC。
- Calls that take stock or money need an `Idempotency-Key`; repeating one is always safe. 占用库存或资金的接口
  需要 `Idempotency-Key`，可安全重试。
- Errors are `application/problem+json` with a stable `code`; `Accept-Language: zh-CN` translates the title.
  错误码稳定，标题随 `Accept-Language` 变化。
- Lists are newest first: pass `next` as `after`. 列表按新到旧，用 `next` 翻页。
"""
TAGS = [
    {"name": "sessions", "description": "Log in 登录"},
    {"name": "sales", "description": "Time-boxed occasions to buy 活动"},
    {"name": "groups", "description": "Members filling one set of seats before a deadline 团"},
    {"name": "bargains", "description": "A price that friends cut 砍价"},
    {"name": "lines", "description": "Draws and waiting lists 抽签与候补"},
    {"name": "orders", "description": "A member's orders and payments 订单与支付"},
    {"name": "reminders", "description": "Told before a sale opens 开抢提醒"},
    {"name": "invites", "description": "Links that bring friends in 邀请"},
    {"name": "coupons", "description": "What takes something off an order 优惠券"},
    {"name": "communities", "description": "People around one clear value 社群"},
    {"name": "posts", "description": "What members write, and how they answer each other 帖子与互动"},
    {"name": "notices", "description": "What one is told: orders, answers, broadcasts 消息"},
    {"name": "money", "description": "Rewards, balance, payouts, tips 奖励、余额、提现与打赏"},
    {"name": "operators: catalog", "description": "Communities and products 社群与商品 · scope `catalog`"},
    {
        "name": "operators: sales",
        "description": "Draw up, publish, pause, end; coupons 活动与优惠券管理 · scope `sales`",
    },
    {
        "name": "operators: orders",
        "description": "Ship, complete, refund; bills of payment providers 订单管理与对账 · scope `orders`",
    },
    {
        "name": "operators: growth",
        "description": "Who brought whom, and how sales spread 邀请与增长 · scope `growth`",
    },
    {
        "name": "operators: rewards",
        "description": "Reward policies, withheld rewards, payouts 奖励与提现管理 · scope `rewards`",
    },
    {
        "name": "operators: communities",
        "description": "Members, posts, segments and health 社群运营 · scope `communities`",
    },
    {
        "name": "operators: events",
        "description": "Everything that happened, to be read or sent to you 事件流与推送 · scope `events`",
    },
    {"name": "operators: invariants", "description": "Prove the promises 对账 · scope `invariants`"},
    {"name": "operators: chat", "description": "Chats on WeCom, Telegram, … 群聊绑定 · scope `chat`"},
    {"name": "hooks", "description": "For payment providers and chat platforms 回调"},
    {"name": "sandbox", "description": "A payment provider to try things with 沙箱收银台"},
    {"name": "health", "description": "Probes 探针"},
]


def create_app(settings: Settings, state: State | None = None) -> FastAPI:
    """The application for these settings; with `state`, one that somebody else opened and will close."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            opened = state if state is not None else await stack.enter_async_context(open_state(settings))
            if state is None and settings.workers_inside:
                await stack.enter_async_context(running_workers(opened))
            await stack.enter_async_context(feeding(opened))
            await stack.enter_async_context(learning(opened))
            stack.enter_context(_leaving_in_order(opened))
            opened.live.heard.append(partial(forget, opened))
            collect_less_garbage()
            yield {"kaituan": opened}

    app = FastAPI(
        title="Kaituan 开团",
        version=VERSION,
        summary="The service behind communities that buy together",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    add_problem_handlers(app)
    for router in (
        *(
            *(sessions.router, sessions.member_router, identities.router, phones.router),
            *(sales.router, admissions.router),
            groups.router,
            entries.router,
            live.router,
            bargains.router,
            *(orders.router, orders.sale_router),
            payments.router,
            *(invites.router, invites.link_router, pages.router, pictures.router),
            *(members.router, branches.router, facts.router, links.router, links.page_router),
            *(communities.router, communities.member_router, memberships.router, pushes.router, health.router),
            *(posts.router, posts.post_router, comments.post_router, comments.router, jobs.router),
            *(reports.subject_router, reports.router),
            *(notices.router, reminders.router),
            coupons.router,
            *(ledger.router, rewards.router, payouts.router, tips.router),
        ),
        *(
            communities.operator_router,
            *(members.operator_router, phones.operator_router),
            *(health.operator_router, health.ranking_router),
            products.operator_router,
            pictures.operator_router,
            sales.operator_router,
            slots.operator_router,
        ),
        *(forecasts.operator_router, coupons.operator_router),
        *(branches.operator_router, growth.operator_router, suspicions.operator_router),
        *(rewards.operator_router, payouts.operator_router),
        *(posts.operator_router, reports.operator_router),
        *(segments.operator_router, segments.preview_router, facts.operator_router),
        *(pushes.operator_router, bindings.operator_router, bindings.hook_router),
        *(events.operator_router, endpoints.operator_router, orders.operator_router),
        *(reconciliations.operator_router, invariants.operator_router, payments.hook_router, probes.router),
    ):
        app.include_router(router)
    if settings.has_sandbox:
        app.include_router(sandbox.router)
    app.mount("/static", StaticFiles(directory=WEB / "static"), name="static")

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Kaituan 开团 API",
            swagger_js_url="/static/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url="/static/swagger-ui/swagger-ui.css",
            swagger_favicon_url="/static/swagger-ui/favicon-32x32.png",
            swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
        )

    app.openapi = lambda: app.openapi_schema or _document(app)  # type: ignore[method-assign]
    return app


def collect_less_garbage() -> None:
    """What is imported by now stays: the collector need not walk it again and again, nor look for cycles after
    every few requests. A batch of claims is gone before it would find any.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def in_front(app: FastAPI, settings: Settings) -> ASGIApp:
    """What the server calls: the application, with the lane and the answers to other origins' pages before it."""
    lane = Lane(app)
    if not settings.cors_origins:
        return lane
    return CORSMiddleware(
        lane,
        allow_origins=settings.cors_origins.replace(" ", "").split(","),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            *("authorization", "content-type", "idempotency-key", "if-none-match", "last-event-id", "x-api-key"),
        ],
        expose_headers=["retry-after", "etag", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
    )


@contextmanager
def _leaving_in_order(state: State) -> Iterator[None]:
    """When the process is told to stop: end live streams at once, because the server waits for them; after a
    SIGTERM go on serving for a moment, in which balancers and clients turn to others. Told again, stop at once.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        told_before = state.live.closing
        loop.call_soon_threadsafe(state.live.close)
        if not callable(handler):
            return
        if number == signal.SIGTERM and not told_before:
            later = partial(loop.call_later, state.settings.linger_seconds, handler, number, frame)
            loop.call_soon_threadsafe(later)
        else:
            handler(number, frame)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problems as they are sent and idempotency keys as they are required."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=REF)
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "idempotency-key":
                    parameter["required"] = True
                    parameter["name"] = "Idempotency-Key"
    document["webhooks"] = events.describe_webhooks()
    app.openapi_schema = document
    return document


def app_from_environment() -> ASGIApp:
    """The factory for `uvicorn --factory app.main:app_from_environment`."""
    begin_logging(logging.INFO)
    settings = Settings()
    return in_front(create_app(settings), settings)
