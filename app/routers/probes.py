from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.deps import StateDep
from app.domain.errors import DealerUnavailable
from app.routers.problems import problems

router = APIRouter(tags=["health"])
TOO_LARGE: dict[int | str, dict[str, Any]] = {413: problems()[413]}


class Health(BaseModel):
    """`dealer: false` is not an outage: places and counts then come from the rows. `leaving`: told to stop."""

    database: bool = True
    dealer: bool = True
    leaving: bool = False


@router.get("/livez", responses=TOO_LARGE, summary="Is the process alive 存活探针")
async def livez() -> Health:
    """Answers as long as the process does; asks nobody else."""
    return Health()


@router.get(
    "/readyz",
    response_model=Health,
    responses={**TOO_LARGE, 503: {"model": Health, "description": "Not ready 未就绪"}},
    summary="Can it serve 就绪探针",
)
async def readyz(state: StateDep) -> JSONResponse:
    """Ready when the database answers, and the process was not told to stop."""
    health = Health(leaving=state.live.closing)
    try:
        await state.database.ping()
    except (SQLAlchemyError, OSError):
        health.database = False
    try:
        await state.dealer.ping()
    except DealerUnavailable:
        health.dealer = False
    return JSONResponse(health.model_dump(), 200 if health.database and not health.leaving else 503)
