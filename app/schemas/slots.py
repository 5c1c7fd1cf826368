from typing import Annotated

from pydantic import Field

from app.domain.slots import MAX_MINUTES, MAX_SLOTS
from app.schemas.fields import Body, Day, TimeOfDay, Timezone


class SlotsCreate(Body):
    """The times of a day at which it opens, on each of the days."""

    first_day: Day
    last_day: Day
    times: Annotated[
        list[TimeOfDay],
        Field(min_length=1, max_length=MAX_SLOTS, description="HH:MM in the time zone 每日开场时间"),
    ]
    minutes: Annotated[int, Field(ge=1, le=MAX_MINUTES, description="How long each is open 每场时长（分钟）")]
    timezone: Timezone
