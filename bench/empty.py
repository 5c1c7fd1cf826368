"""The yardstick: a FastAPI application that does nothing, with the bodies and answers of the real one.

Who asks is not checked, nothing is stored, and the answer is ready before the request comes.
"""

from fastapi import FastAPI, status

from app.schemas.groups import ClaimAnswer, ClaimCreate, GroupPublic
from bench.answers import CLAIM_ANSWER, GROUP_ANSWER, frozen

app = FastAPI(lifespan=frozen)


@app.post("/v1/sales/{sale_id}/groups", status_code=status.HTTP_201_CREATED)
async def open_group(sale_id: str, body: ClaimCreate) -> ClaimAnswer:  # noqa: ARG001 - that is the point
    return CLAIM_ANSWER


@app.get("/v1/groups/{group_id}")
async def get_group(group_id: str) -> GroupPublic:  # noqa: ARG001 - that is the point
    return GROUP_ANSWER
