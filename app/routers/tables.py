"""Figures as a table for spreadsheets, for whoever asks for it."""

import csv
import io
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi.responses import Response

from app.domain.growth import cell

CSV = "text/csv"


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


AS_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
FormatQuery = Annotated[Format | None, Query(alias="format", description="Instead of `Accept: text/csv` 格式")]
AcceptHeader = Annotated[str, Header(include_in_schema=False)]


def wants_csv(as_: Format | None, accept: str) -> bool:
    """Whether a table is asked for."""
    return CSV in accept if as_ is None else as_ == Format.CSV


def as_csv(columns: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> Response:
    """Lines as CSV. What a line does not have is left empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns))
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in line.items()} for line in lines)
    # The mark at the beginning is how spreadsheets know UTF-8.
    return Response(f"\ufeff{out.getvalue()}", media_type=f"{CSV}; charset=utf-8")
