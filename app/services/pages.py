"""Lists are read page by page, newest first: ids grow with time, so the last id of a page is its cursor."""

from typing import Any, TypeVar

from sqlmodel import SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row", bound=SQLModel)


async def read_page(
    session: AsyncSession, model: type[Row], statement: SelectOfScalar[Row], after: str | None, limit: int
) -> tuple[list[Row], str | None]:
    """Up to `limit` rows older than the id `after`, and the cursor of the next page; None when there is none."""
    id_: Any = col(model.id)  # type: ignore[attr-defined]
    if after is not None:
        statement = statement.where(id_ < after)
    rows = (await session.exec(statement.order_by(id_.desc()).limit(limit + 1))).all()
    page = list(rows[:limit])
    return page, page[-1].id if len(rows) > limit else None  # type: ignore[attr-defined]
