"""Errors as RFC 9457 problem details."""

from pydantic import BaseModel, ConfigDict, Field


class FieldProblem(BaseModel):
    """What is wrong with one field of the request."""

    location: str = Field(examples=["body.quantity"])
    message: str
    type: str = Field(examples=["greater_than_equal"])


class Problem(BaseModel):
    """`code` is stable and listed in docs/errors.md; `title` follows `Accept-Language`. Some codes bring
    details of their own.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    errors: list[FieldProblem] | None = None
