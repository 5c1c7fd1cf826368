from pydantic import BaseModel, Field


class Violation(BaseModel):
    invariant: str = Field(examples=["I1"])
    rule: str
    subject: str = Field(description="Id of what breaks the rule")
    detail: str


class InvariantsPublic(BaseModel):
    """The answer of every invariant; `ok` when none is broken."""

    ok: bool
    checked: list[str]
    violations: list[Violation]
