"""Jobs: work that a member offers, another takes, and may hand on, until it is done."""

from enum import StrEnum

from app.domain.machines import Table

MAX_HANDS = 20
"""Hands a job may go through."""


class JobState(StrEnum):
    OFFERED = "offered"
    TAKEN = "taken"
    DONE = "done"
    WITHDRAWN = "withdrawn"


JOB_TRANSITIONS: Table[JobState] = {
    JobState.OFFERED: frozenset({JobState.TAKEN, JobState.WITHDRAWN}),
    JobState.TAKEN: frozenset({JobState.DONE, JobState.WITHDRAWN}),
    JobState.DONE: frozenset(),
    JobState.WITHDRAWN: frozenset(),
}
