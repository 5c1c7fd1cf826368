"""Column shapes that several tables share."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Enum, Integer, text
from sqlmodel import Field, SQLModel
from uuid_utils import uuid7

from app.domain.segments import bucket_of

# Set before any table is declared, so that every constraint has a name that migrations can refer to.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

ID_LENGTH = 40


def new_id(prefix: str) -> str:
    """A new id: the prefix and a UUIDv7, so that ids of one kind sort by their time of birth."""
    return f"{prefix}_{uuid7().hex}"


def id_field(prefix: str) -> Any:
    """A primary key that is filled with `new_id(prefix)`."""
    return Field(default_factory=lambda: new_id(prefix), primary_key=True, max_length=ID_LENGTH)


def link_field(target: str, **options: Any) -> Any:
    """A foreign key to `table.id`."""
    return Field(foreign_key=target, max_length=ID_LENGTH, **options)


def loose_link_field(**options: Any) -> Any:
    """The id of a row in another table, on a table that claims insert into: without a foreign key, because checking
    it costs more than the insert. The invariants look after these (docs/decisions/0007).
    """
    return Field(max_length=ID_LENGTH, **options)


def big_field(**options: Any) -> Any:
    """A 64-bit integer: money, event ids."""
    return Field(sa_type=BigInteger().with_variant(Integer, "sqlite"), **options)


def bucket_field(key: str) -> Any:
    """The bucket of the member whose id is in the column `key`, for samples. None in a row that was written past
    SQLAlchemy, until a worker fills it in.
    """

    def bucket(context: Any) -> str:
        return bucket_of(context.get_current_parameters()[key])

    return Field(default=None, nullable=True, max_length=3, sa_column_kwargs={"default": bucket})


def state_field(states: type[StrEnum], **options: Any) -> Any:
    """A state stored as its text, with a CHECK that names every state there is."""
    return Field(
        sa_type=Enum(
            states,
            native_enum=False,
            length=20,
            create_constraint=True,
            name=_snake(states.__name__),
            values_callable=lambda enum: [member.value for member in enum],
        ),
        **options,
    )


def check(name: str, condition: str) -> CheckConstraint:
    """A rule of the domain restated where nothing can go around it."""
    return CheckConstraint(condition, name=name)


def where(condition: str) -> dict[str, Any]:
    """The condition of a partial index."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def quoted(states: Iterable[StrEnum]) -> str:
    """States as a SQL list, in a stable order."""
    return ", ".join(f"'{state.value}'" for state in sorted(states))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
