"""Any mixture of wishes and deadlines: each captured payment ends in a seat, in a sibling's, or in a refund."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.domain.rescues import OnUnfilled
from app.gateways.dealer import Keys
from app.services.dealing import sync
from chaos.check import count_places
from tests.databases import create_database, create_sqlite
from tests.promises.test_rescues import rescue_sale
from tests.service import Member, Sale, Service, running_service

WISHES = st.fixed_dictionaries(
    {"on_unfilled": st.sampled_from([wish.value for wish in OnUnfilled])},
    optional={"quantity": st.just(3), "min_quantity": st.integers(1, 3)},
)
ENDS = {"confirmed", "refunded", "expired"}


class Groups(RuleBasedStateMachine):
    """Members open and join groups of one sale, pay or do not, and time passes."""

    service: Service
    runner: asyncio.Runner

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize(cover=st.integers(0, 1), extend=st.sampled_from([0, 120]), merge=st.booleans())
    def begin(self, cover: int, extend: int, merge: bool) -> None:
        rescue = {"merge": merge, "extend_seconds": extend, "flexible": True, "cover_seats": cover}
        self.rescue = rescue
        self.sale: Sale = self.run(
            rescue_sale(
                self.service,
                rescue=rescue,
                group_ttl_seconds=300,
                hold_ttl_seconds=100,
                stocks=[1000],
                member_limit=100,
            )
        )
        self.orders: list[tuple[Member, str]] = []

    @rule(wish=WISHES, join=st.booleans(), pays=st.sampled_from([1, 1, 1, 0, 2]), pick=st.integers(0, 99))
    def claim(self, wish: dict[str, Any], join: bool, pays: int, pick: int) -> None:
        self.run(self._claim(wish, join, pays, pick))

    @rule(seconds=st.sampled_from([10, 60, 150, 301]))
    def pass_time(self, seconds: int) -> None:
        self.service.clock.advance(seconds)
        self.run(self.service.tick())

    @rule(pick=st.integers(0, 99))
    def refund(self, pick: int) -> None:
        if self.orders:
            _, order_id = self.orders[pick % len(self.orders)]
            self.run(self.service.ops("POST", f"orders/{order_id}/refund", None, **{"idempotency-key": order_id}))

    @invariant()
    def nothing_is_violated(self) -> None:
        assert self.run(self.service.violations()) == []

    def teardown(self) -> None:
        if hasattr(self, "orders"):
            for _ in range(3):
                self.service.clock.advance(301)
                self.run(self.service.tick())
            self.run(self._check_ends())

    async def _claim(self, wish: dict[str, Any], join: bool, pays: int, pick: int) -> None:
        offered = {
            "merge": self.rescue["merge"],
            "extend": self.rescue["extend_seconds"],
            "solo": True,
            "refund": True,
        }
        wish = wish if offered[wish["on_unfilled"]] else wish | {"on_unfilled": "refund"}
        if wish.get("min_quantity", 1) > wish.get("quantity", 1):
            wish = wish | {"quantity": 3}
        reply = await self.service.http.get(f"/v1/sales/{self.sale.id}/groups")
        groups = reply.json()["items"]
        member = await self.service.member()
        if join and groups:
            claim = await member.join(self.sale, groups[pick % len(groups)]["id"], **wish)
        else:
            claim = await member.open(self.sale, **wish)
        if claim.status_code != 201:
            assert claim.json()["code"] in {"group_full", "group_closed", "sold_out"}, claim.text
            return
        order_id = claim.json()["order"]["id"]
        self.orders.append((member, order_id))
        urls = [await member.start_payment(order_id) for _ in range(pays)]
        for url in urls:
            await self.service.http.post(url, json={})
        await self.service.deliver()

    async def _check_ends(self) -> None:
        for member, order_id in self.orders:
            order = await member.order(order_id)
            assert order["state"] in ENDS, order
            outcomes = Counter(payment["outcome"] for payment in order["payments"] if payment["captured_amount"])
            assert outcomes["kept"] == (order["state"] == "confirmed"), order
            assert None not in outcomes, order
            captured = sum(payment["captured_amount"] or 0 for payment in order["payments"])
            back = sum(refund["amount"] for refund in order["refunds"])
            assert {refund["state"] for refund in order["refunds"]} <= {"succeeded"}
            kept = 0
            if order["state"] == "confirmed":
                quantity = order["settled_quantity"] or order["quantity"]
                kept = (order["settled_price"] or order["unit_price"]) * quantity
                assert quantity >= (order["min_quantity"] or order["quantity"])
                group = await self.service.group(order["group_id"])
                assert group["state"] == "succeeded"
                assert group["size"] == 3 or order["on_unfilled"] == "solo"
            assert captured - back == kept, order
        told, counted = await count_places(self.service.state, self.sale.id)
        assert told == counted, "the dealer knows of every move and every unit that came back"
        await self.service.state.dealer.pipe.call("SET", Keys(self.sale.id).compared, "0")
        assert await sync(self.service.state, self.sale.id, self.service.clock()) == 0
        assert await self.service.violations() == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_money_is_lost_whatever_members_wish(
    database: str, valkey: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with asyncio.Runner() as runner:
        url = runner.run(create_sqlite(tmp_path / "rescues.sqlite3"))
        if database == "postgresql":
            url = runner.run(create_database(request.getfixturevalue("postgresql")))
        opened = running_service(url, valkey, tmp_path)
        service = runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(
                type("Groups", (Groups,), {"service": service, "runner": runner}),
                settings=settings(
                    max_examples=6,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
