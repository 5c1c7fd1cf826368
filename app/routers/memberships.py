from typing import Annotated

from fastapi import APIRouter, Body, Query, status
from fastapi.responses import Response

from app.deps import MEMBER_ERRORS, LimitQuery, MemberDep, RequestKeyDep, StateDep
from app.domain.errors import (
    BadRequest,
    Busy,
    CommunityNotFound,
    CommunityNotOpen,
    DatabaseUnavailable,
    DealerUnavailable,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InviteExpired,
    InviteMismatch,
    InviteNeeded,
    InviteNotFound,
    InviteRevoked,
    InviteUsedUp,
    MemberBlocked,
    MemberLimit,
    MembershipNotFound,
    MembershipRefused,
    NotAllowed,
    NotInAudience,
    Outranked,
    OwnsCommunity,
    RateLimited,
    SaleEnded,
    SalePaused,
    WordsBlocked,
)
from app.domain.memberships import LeaveReason, MembershipState, Role
from app.routers.claims import CLAIM_ANSWER
from app.routers.examples import JOIN, MEMBERSHIP_CHANGE
from app.routers.limits import ClaimHeadersDep
from app.routers.problems import problems
from app.schemas.communities import OwnerSet
from app.schemas.fields import CommunityId, MemberId, Page
from app.schemas.memberships import (
    JoinAnswer,
    JoinCreate,
    MembershipPublic,
    MembershipUpdate,
    RoleSet,
    SaidReason,
)
from app.schemas.profiles import ProfileDetail, ProfilePublic, ProfileSummary
from app.services import memberships, profiles

READ_ERRORS = (*MEMBER_ERRORS, CommunityNotFound, MemberBlocked, NotAllowed)
DECIDE_ERRORS = (*READ_ERRORS, MembershipNotFound, CommunityNotOpen, Outranked, MembershipRefused)
router = APIRouter(prefix="/v1/communities/{community_id}", tags=["communities"])


@router.post(
    "/membership",
    status_code=status.HTTP_201_CREATED,
    responses=CLAIM_ANSWER
    | problems(
        *(*MEMBER_ERRORS, BadRequest, IdempotencyKeyMissing, IdempotencyKeyReused, RateLimited),
        *(CommunityNotFound, CommunityNotOpen, MemberBlocked, NotInAudience, InviteNeeded, MembershipRefused),
        *(InviteNotFound, InviteMismatch, InviteExpired, InviteRevoked, InviteUsedUp),
        *(MemberLimit, SalePaused, SaleEnded, DatabaseUnavailable, DealerUnavailable, Busy),
    ),
    summary="Join a community 加入社群",
)
async def join_community(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    request_key: RequestKeyDep,
    headers: ClaimHeadersDep,
    response: Response,
    body: Annotated[JoinCreate | None, Body(openapi_examples=JOIN)] = None,
) -> JoinAnswer:
    """An `open` community lets you in, one by `invite` with an invite to it from a member; one that wants to
    `approve` you notes your application. A `paid` one answers an order: pay it as any other, and you are in until
    what you paid for runs out. Join again to pay on. Who is in already stays in.
    """
    response.headers.update(headers)
    return await memberships.join_community(state, member_id, community_id, body or JoinCreate(), request_key)


@router.get(
    "/membership",
    responses=problems(*MEMBER_ERRORS, CommunityNotFound, MembershipNotFound),
    summary="My membership 我的成员资格",
)
async def get_membership(state: StateDep, member_id: MemberDep, community_id: CommunityId) -> MembershipPublic:
    return await memberships.get_membership(state, member_id, community_id)


@router.patch(
    "/membership",
    responses=problems(*READ_ERRORS, BadRequest, CommunityNotOpen, MembershipNotFound, WordsBlocked),
    summary="Change how I am seen and told there 修改群昵称、资料与推送偏好",
)
async def update_membership(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    body: Annotated[MembershipUpdate, Body(openapi_examples=MEMBERSHIP_CHANGE)],
) -> MembershipPublic:
    return await memberships.update_membership(state, member_id, community_id, body)


@router.delete(
    "/membership",
    responses=problems(
        *MEMBER_ERRORS, CommunityNotFound, MembershipNotFound, MemberBlocked, OwnsCommunity, MembershipRefused
    ),
    summary="Leave a community 退出社群",
)
async def leave_community(
    state: StateDep, member_id: MemberDep, community_id: CommunityId, reason: SaidReason = LeaveReason.OTHER
) -> MembershipPublic:
    """Or take back an application. What you have paid for stays: come back while it lasts."""
    return await memberships.leave_community(state, member_id, community_id, reason)


@router.get("/members", responses=problems(*READ_ERRORS), summary="Members of a community 成员列表")
async def list_profiles(
    state: StateDep,
    member_id: MemberDep,
    community_id: CommunityId,
    of_state: Annotated[
        MembershipState,
        Query(alias="state", description="Others than `active`: for those who moderate 非正式成员仅管理者可见"),
    ] = MembershipState.ACTIVE,
    role: Role | None = None,
    after: MemberId | None = None,
    limit: LimitQuery = 20,
) -> Page[ProfileDetail | ProfileSummary]:
    """Those who moderate see details."""
    return await profiles.list_profiles(
        state, member_id, community_id, of_state=of_state, role=role, after=after, limit=limit
    )


@router.get(
    "/members/{member_id}",
    responses=problems(*READ_ERRORS, MembershipNotFound),
    summary="A member, and what they chose to show 成员资料",
)
async def get_profile(
    state: StateDep, viewer_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfilePublic:
    return await profiles.get_profile(state, viewer_id, community_id, member_id)


@router.post(
    "/members/{member_id}/approve", responses=problems(*DECIDE_ERRORS), summary="Let an applicant in 通过申请"
)
async def approve_member(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfileDetail:
    return await profiles.decided(state, await memberships.approve(state, by_id, community_id, member_id))


@router.post(
    "/members/{member_id}/decline", responses=problems(*DECIDE_ERRORS), summary="Turn an applicant down 拒绝申请"
)
async def decline_member(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfileDetail:
    return await profiles.decided(state, await memberships.decline(state, by_id, community_id, member_id))


@router.post(
    "/members/{member_id}/remove", responses=problems(*DECIDE_ERRORS), summary="Have a member leave 移出成员"
)
async def remove_member(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfileDetail:
    return await profiles.decided(state, await memberships.remove(state, by_id, community_id, member_id))


@router.post(
    "/members/{member_id}/block",
    responses=problems(*DECIDE_ERRORS),
    summary="Let somebody neither in nor back in 屏蔽成员",
)
async def block_member(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfileDetail:
    return await profiles.decided(state, await memberships.block(state, by_id, community_id, member_id))


@router.post(
    "/members/{member_id}/unblock",
    responses=problems(*DECIDE_ERRORS),
    summary="Let somebody join again 解除屏蔽",
)
async def unblock_member(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId
) -> ProfileDetail:
    return await profiles.decided(state, await memberships.unblock(state, by_id, community_id, member_id))


@router.put(
    "/members/{member_id}/role",
    responses=problems(*DECIDE_ERRORS, BadRequest),
    summary="Give a member a role 设置角色",
)
async def set_role(
    state: StateDep, by_id: MemberDep, community_id: CommunityId, member_id: MemberId, body: RoleSet
) -> ProfileDetail:
    """For the owner."""
    row = await memberships.set_role(state, by_id, community_id, member_id, body.role)
    return await profiles.decided(state, row)


@router.put("/owner", responses=problems(*DECIDE_ERRORS, BadRequest), summary="Hand a community over 移交群主")
async def hand_over(state: StateDep, by_id: MemberDep, community_id: CommunityId, body: OwnerSet) -> ProfileDetail:
    """For the owner, to another member; who hands over leads on."""
    row = await memberships.hand_over(state, by_id, community_id, body.member_id)
    return await profiles.decided(state, row)
