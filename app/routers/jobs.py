from fastapi import APIRouter

from app.deps import MemberDep, StateDep
from app.domain.errors import BadRequest, CommunityNotOpen, InvalidTerms, JobRefused, MemberNotFound
from app.routers.posts import AT_POST
from app.routers.problems import problems
from app.schemas.fields import PostId
from app.schemas.posts import HandOn, PostPublic
from app.services import jobs, posts

AT_JOB = (*AT_POST, CommunityNotOpen, JobRefused)
router = APIRouter(prefix="/v1/posts/{post_id}", tags=["posts"])


@router.post("/take", responses=problems(*AT_JOB), summary="Take a job 接任务")
async def take_job(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    """One member takes it, however many try."""
    await jobs.take(state, member_id, post_id)
    return await posts.get_post(state, member_id, post_id)


@router.post(
    "/hand-on",
    responses=problems(*AT_JOB, BadRequest, InvalidTerms, MemberNotFound),
    summary="Hand a job on 转交任务",
)
async def hand_job_on(state: StateDep, member_id: MemberDep, post_id: PostId, body: HandOn) -> PostPublic:
    """To another member of the community, who is told."""
    await jobs.hand_on(state, member_id, post_id, body.member_id)
    return await posts.get_post(state, member_id, post_id)


@router.post("/finish", responses=problems(*AT_JOB), summary="Say that a job of yours is done 确认任务完成")
async def finish_job(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    await jobs.finish(state, member_id, post_id)
    return await posts.get_post(state, member_id, post_id)


@router.post("/withdraw", responses=problems(*AT_JOB), summary="Withdraw a job of yours 撤回任务")
async def withdraw_job(state: StateDep, member_id: MemberDep, post_id: PostId) -> PostPublic:
    await jobs.withdraw(state, member_id, post_id)
    return await posts.get_post(state, member_id, post_id)
