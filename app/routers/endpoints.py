from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, status

from app.deps import OPERATOR_ERRORS, LimitQuery, StateDep, require_scope
from app.domain.errors import BadRequest, DeliveryNotFound, EndpointNotFound, EndpointRefused, InvalidTerms
from app.domain.operators import Scope
from app.routers.examples import ENDPOINT, ENDPOINT_CHANGE, REDELIVERY
from app.routers.problems import problems
from app.schemas.endpoints import (
    DeliveryPublic,
    EndpointChange,
    EndpointCreate,
    EndpointCreated,
    EndpointDetail,
    EndpointPublic,
    EventId,
    RedeliverSince,
    SecretRotated,
    TestSent,
)
from app.schemas.fields import EndpointId, Page
from app.services import deliveries, endpoints

DeliveryPath = Annotated[
    str, Path(pattern="^[1-9][0-9]{0,15}$", description="The id of its event 事件编号", examples=["4711"])
]
operator_router = APIRouter(
    prefix="/v1/ops/endpoints",
    tags=["operators: events"],
    dependencies=[Depends(require_scope(Scope.EVENTS))],
)


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, InvalidTerms),
    summary="Have events sent to you 新建推送端点",
)
async def create_endpoint(
    state: StateDep, body: Annotated[EndpointCreate, Body(openapi_examples=ENDPOINT)]
) -> EndpointCreated:
    """What happens from now on is sent there as JSON, signed as the Standard Webhooks specification says. The
    secret is shown this once.
    """
    return await endpoints.create_endpoint(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="List endpoints 推送端点列表")
async def list_endpoints(
    state: StateDep, after: EndpointId | None = None, limit: LimitQuery = 20
) -> Page[EndpointPublic]:
    return await endpoints.list_endpoints(state, after, limit)


@operator_router.get(
    "/{endpoint_id}", responses=problems(*OPERATOR_ERRORS, EndpointNotFound), summary="Get an endpoint 推送端点详情"
)
async def get_endpoint(state: StateDep, endpoint_id: EndpointId) -> EndpointDetail:
    return await endpoints.get_endpoint(state, endpoint_id)


@operator_router.patch(
    "/{endpoint_id}",
    responses=problems(*OPERATOR_ERRORS, BadRequest, EndpointNotFound, EndpointRefused, InvalidTerms),
    summary="Change, pause or enable an endpoint 修改、暂停或恢复端点",
)
async def change_endpoint(
    state: StateDep,
    endpoint_id: EndpointId,
    body: Annotated[EndpointChange, Body(openapi_examples=ENDPOINT_CHANGE)],
) -> EndpointPublic:
    """While it is paused or disabled nothing is sent and nothing is lost: enabled, it goes on where it was."""
    return await endpoints.change_endpoint(state, endpoint_id, body)


@operator_router.delete(
    "/{endpoint_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound),
    summary="Send nothing there any more 删除端点",
)
async def remove_endpoint(state: StateDep, endpoint_id: EndpointId) -> None:
    """For good."""
    await endpoints.remove_endpoint(state, endpoint_id)


@operator_router.post(
    "/{endpoint_id}/secret",
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound),
    summary="Rotate the secret 轮换密钥",
)
async def rotate_secret(state: StateDep, endpoint_id: EndpointId) -> SecretRotated:
    """The new one is shown this once. For a day what is sent has both signatures."""
    return await endpoints.rotate_secret(state, endpoint_id)


@operator_router.post(
    "/{endpoint_id}/test",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound, EndpointRefused),
    summary="Send a test event 发送测试事件",
)
async def send_test(state: StateDep, endpoint_id: EndpointId) -> TestSent:
    """An event `endpoint.tested` for this endpoint alone, whatever its types. Its delivery shows the answer."""
    return await endpoints.send_test(state, endpoint_id)


@operator_router.post(
    "/{endpoint_id}/redeliveries",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*OPERATOR_ERRORS, BadRequest, EndpointNotFound, InvalidTerms),
    summary="Send everything since … once more 从某处起全部重新推送",
)
async def redeliver_since(
    state: StateDep,
    endpoint_id: EndpointId,
    body: Annotated[RedeliverSince, Body(openapi_examples=REDELIVERY)],
) -> EndpointPublic:
    """With the ids it had. Also what the endpoint was never sent, if it is of its types now."""
    return await endpoints.redeliver_since(state, endpoint_id, body)


@operator_router.get(
    "/{endpoint_id}/deliveries",
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound),
    summary="What was sent, and what was answered 推送记录",
)
async def list_deliveries(
    state: StateDep,
    endpoint_id: EndpointId,
    after: Annotated[EventId | None, Query()] = None,
    limit: LimitQuery = 20,
) -> Page[DeliveryPublic]:
    """The newest events first."""
    return await deliveries.list_deliveries(state, endpoint_id, after, limit)


@operator_router.get(
    "/{endpoint_id}/deliveries/{delivery}",
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound, DeliveryNotFound),
    summary="What became of a delivery 推送结果",
)
async def get_delivery(state: StateDep, endpoint_id: EndpointId, delivery: DeliveryPath) -> DeliveryPublic:
    return await deliveries.get_delivery(state, endpoint_id, int(delivery))


@operator_router.post(
    "/{endpoint_id}/deliveries/{delivery}/redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(*OPERATOR_ERRORS, EndpointNotFound, DeliveryNotFound),
    summary="Send an event once more 重新推送",
)
async def redeliver(state: StateDep, endpoint_id: EndpointId, delivery: DeliveryPath) -> DeliveryPublic:
    """With the id it had."""
    return await deliveries.redeliver(state, endpoint_id, int(delivery))
