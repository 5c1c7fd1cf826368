"""The checker sees what it is there to see."""

from typing import Any

import pytest

from chaos.check import webhooks_astray
from chaos.ledger import Heard

WANTED = [(1, "refund.created", "rfd_a"), (2, "refund.created", "rfd_b"), (3, "refund.succeeded", "rfd_a")]


def heard(id_: int, **other: Any) -> Heard:
    (type_, subject) = next((type_, subject) for known, type_, subject in WANTED if known == id_)
    return Heard(id_, {"id": id_, "type": type_, "subject": subject, "data": {}} | other)


@pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3), (1, 1, 3, 2, 3)])
def test_webhooks_in_the_order_of_their_subjects_are_as_they_should_be(order: tuple[int, ...]) -> None:
    assert webhooks_astray([heard(id_) for id_ in order], WANTED) == []


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ([heard(1), heard(2)], "3 was not told"),
        ([heard(3), heard(1), heard(2)], "1 was told after 3"),
        ([heard(1), heard(3), heard(1), heard(2)], "1 was told after 3"),
        ([heard(1), heard(1, data={"amount": 1}), heard(2), heard(3)], "1 was told as"),
        ([heard(1, type="refund.failed"), heard(2), heard(3)], "1 was told as"),
        ([heard(1, subject="rfd_b"), heard(2), heard(3)], "1 was told as"),
        ([heard(1, id=2), heard(2), heard(3)], "1 was told as"),
        ([Heard(4, heard(3).event), heard(1), heard(2), heard(3)], "4 was told as"),
    ],
)
def test_webhooks_that_are_lost_late_or_false_are_seen(told: list[Heard], complaint: str) -> None:
    assert any(found.startswith(complaint) for found in webhooks_astray(told, WANTED))
