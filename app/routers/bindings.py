from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import (
    BadRequest,
    BindingNotFound,
    ChatTaken,
    ChatUnknown,
    CommunityNotFound,
    InvalidTerms,
    RateLimited,
    SignatureInvalid,
)
from app.domain.operators import Scope
from app.gateways.chat.platform import HookRequest
from app.routers.examples import BINDING, BINDING_UPDATE
from app.routers.problems import problems
from app.schemas.bindings import BindingCreate, BindingPublic, BindingTest, BindingUpdate
from app.schemas.fields import BindingId, CommunityId, Page
from app.services import bindings, messages

operator_router = APIRouter(
    prefix="/v1/ops/bindings",
    tags=["operators: chat"],
    dependencies=[Depends(require_scope(Scope.CHAT))],
)
hook_router = APIRouter(prefix="/hooks/chat", tags=["hooks"])


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, CommunityNotFound, ChatTaken, InvalidTerms),
    summary="Bind a chat 绑定群聊",
)
async def create_binding(
    state: StateDep, body: Annotated[BindingCreate, Body(openapi_examples=BINDING)]
) -> BindingPublic:
    """Then paste `hook_url` into the platform's console; the guide says where."""
    return await bindings.create_binding(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="List bindings 绑定列表")
async def list_bindings(
    state: StateDep, community_id: CommunityId | None = None, after: BindingId | None = None, limit: LimitQuery = 20
) -> Page[BindingPublic]:
    return await bindings.list_bindings(state, community_id, after, limit)


@operator_router.get(
    "/{binding_id}", responses=problems(*OPERATOR_ERRORS, BindingNotFound), summary="Get a binding 绑定详情"
)
async def get_binding(state: StateDep, binding_id: BindingId) -> BindingPublic:
    return await bindings.get_binding(state, binding_id)


@operator_router.patch(
    "/{binding_id}",
    responses=problems(*OPERATOR_ERRORS, BadRequest, BindingNotFound, ChatTaken, InvalidTerms),
    summary="Change a binding, rotate its secrets 修改绑定",
)
async def update_binding(
    state: StateDep, binding_id: BindingId, body: Annotated[BindingUpdate, Body(openapi_examples=BINDING_UPDATE)]
) -> BindingPublic:
    return await bindings.update_binding(state, binding_id, body)


@operator_router.delete(
    "/{binding_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*OPERATOR_ERRORS, BindingNotFound),
    summary="Remove a binding 解除绑定",
)
async def remove_binding(state: StateDep, binding_id: BindingId) -> None:
    """It listens and speaks no more, and its secrets are gone."""
    await bindings.remove_binding(state, binding_id)


@operator_router.post(
    "/{binding_id}/test",
    responses=problems(*OPERATOR_ERRORS, BindingNotFound, ChatUnknown, RateLimited),
    summary="Say something in the chat 发送测试卡片",
)
async def try_binding(state: StateDep, binding_id: BindingId) -> BindingTest:
    """What the platform said is shown, and kept with the binding."""
    return await bindings.try_out(state, binding_id)


@hook_router.get(
    "/{platform}/{binding_id}",
    responses=problems(SignatureInvalid),
    summary="Set-up of chat webhooks 群聊回调验证",
    response_class=Response,
)
async def verify_chat_hook(state: StateDep, request: Request, platform: str, binding_id: str) -> Response:
    """For chat platforms that try out the address before they use it."""
    return await _receive(state, request, platform, binding_id, b"")


@hook_router.post(
    "/{platform}/{binding_id}",
    responses=problems(SignatureInvalid),
    summary="Chat webhooks 群聊回调",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "description": "The platform's own message; its signature is checked over the raw bytes",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    },
)
async def receive_chat_hook(state: StateDep, request: Request, platform: str, binding_id: str) -> Response:
    """For chat platforms. Answers at once; what was said is worked on later, once however often it comes."""
    return await _receive(state, request, platform, binding_id, await request.body())


async def _receive(state: StateDep, request: Request, platform: str, binding_id: str, body: bytes) -> Response:
    asked = HookRequest(request.method, dict(request.query_params), dict(request.headers), body)
    reply = await messages.receive(state, platform, binding_id, asked)
    return Response(reply.body, reply.status, media_type=reply.content_type)
