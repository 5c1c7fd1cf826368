"""Any history of rewards: each order is rewarded once and reversed once, and the book stays in order."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlmodel import col, func, select

from app.domain.rewards import BOOKED_STATES
from app.models import Account, Posting, Reward, Transfer
from app.schemas.payouts import PayoutCreate
from app.schemas.tips import TipCreate
from app.services import causes, ledger, payouts, rewards, tips
from tests.databases import create_database, create_sqlite
from tests.promises.money import DAY, code, flash, later, policy, top_up
from tests.service import Member, Sale, Service, running_service

picks = st.integers(0, 99)
REFUSALS = {"balance_too_low", "tip_limit", "self_tip", "payout_too_small"}


class Book(RuleBasedStateMachine):
    """Members bring buyers and each other; orders are paid, looked at, refunded; money is tipped and paid out."""

    service: Service
    runner: asyncio.Runner

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize(budget=st.sampled_from([700, 3000, 50_000]), cap=st.none() | st.integers(300, 1500))
    def begin(self, budget: int, cap: int | None) -> None:
        self.run(self._begin(budget, cap))

    async def _begin(self, budget: int, cap: int | None) -> None:
        self.service.clock.offset_seconds = 0
        closes_at = (self.service.clock() + timedelta(days=60)).isoformat()
        self.sale: Sale = await flash(self.service, closes_at=closes_at)
        levels = [{"basis_points": 1000}, {"amount": 111}]
        terms = {"sale_id": self.sale.id, "levels": levels, "day_cap": cap, "mature_days": 1}
        self.policies = [await policy(self.service, budget, **terms)]
        leaders = {"role": "inviter", "levels": [{"amount": 33}], "mature_days": 0}
        self.policies.append(
            await policy(self.service, 10_000, community_id=self.sale.body["community_id"], **leaders)
        )
        self.members: list[Member] = await self.service.members(3)
        self.codes = [await code(member, self.sale) for member in self.members]
        self.orders: list[str] = []
        self.seconds = 0
        self.requests = 0

    @rule(pick=picks, own=st.booleans(), duplicates=st.integers(0, 3), looks=st.booleans())
    def buy(self, pick: int, own: bool, duplicates: int, looks: bool) -> None:
        self.run(self._buy(pick, own, duplicates, looks))

    async def _buy(self, pick: int, own: bool, duplicates: int, looks: bool) -> None:
        await later(self.service, 0, *self.members)
        buyer = self.members[(pick + 1) % 3] if own else await self.service.member()
        claim = await buyer.buy(self.sale, invite_code=self.codes[pick % 3])
        assert claim.status_code == 201, claim.text
        self.orders.append(claim.json()["order"]["id"])
        await buyer.pay(self.orders[-1], duplicates=duplicates, reorder=duplicates > 1)
        if looks:
            await self._look([self.orders[-1]])

    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        if self.orders:
            id_ = self.orders[pick % len(self.orders)]
            self.run(self.service.ops("POST", f"orders/{id_}/refund", **{"idempotency-key": id_}))

    @rule(count=st.integers(1, 6))
    def look_in_parallel(self, count: int) -> None:
        self.run(self._look(self.orders[-count:]))

    async def _look(self, orders: list[str]) -> None:
        state, now = self.service.state, self.service.clock()
        async with state.database.snapshot() as session:
            due = list((await session.exec(select(Reward.id).where(col(Reward.order_id).in_(orders)))).all())
        await asyncio.gather(
            *(causes.handle(state, id_, now) for id_ in orders * 3),
            *(rewards.mature(state, id_, now) for id_ in due * 2),
        )

    @rule(pick=picks, amount=st.integers(1, 900), to=st.sampled_from(["alice", "refuse", "fail-2"]))
    def pay_out(self, pick: int, amount: int, to: str) -> None:
        body, key = PayoutCreate(amount=amount, account=to), self._key()
        member = self.members[pick % 3]
        self._twice(payouts.create_payout(self.service.state, member.id, body, key) for _ in range(3))

    @rule(pick=picks, step=st.integers(0, 2), amount=st.integers(1, 600))
    def tip(self, pick: int, step: int, amount: int) -> None:
        giver, taker = self.members[pick % 3], self.members[(pick + step) % 3]
        body, key = TipCreate(amount=amount), self._key()
        self._twice(tips.tip(self.service.state, giver.id, taker.id, body, key) for _ in range(3))

    def _key(self) -> str:
        self.requests += 1
        return f"request-{self.requests}"

    def _twice(self, calls: Any) -> None:
        """The same request several times at once has one effect or none, and one answer."""

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = self.run(all_at_once())
        if isinstance(answers[0], Exception):
            assert {getattr(answer, "code", repr(answer)) for answer in answers} <= REFUSALS, answers
        else:
            assert answers[0].id == answers[1].id == answers[2].id

    @rule(amount=st.integers(1, 1000))
    def add_budget(self, amount: int) -> None:
        self.run(top_up(self.service, self.policies[0], amount, self._key()))

    @rule(seconds=st.sampled_from([60, DAY // 2, DAY + 1]))
    def pass_time(self, seconds: int) -> None:
        self.run(later(self.service, seconds, *self.members))

    @invariant()
    def nothing_is_violated(self) -> None:
        assert self.run(self.service.violations()) == []

    def teardown(self) -> None:
        if hasattr(self, "requests"):
            for _ in range(3):
                self.run(later(self.service, DAY + 1))
            self.run(self._check_end())

    async def _check_end(self) -> None:
        async with self.service.state.database.snapshot() as session:
            found = (await session.exec(select(Reward).where(col(Reward.order_id).in_(self.orders)))).all()
            for id_ in self.orders:
                refunded = (await self.service.ops("GET", f"orders?sale_id={self.sale.id}&limit=100")).json()[
                    "items"
                ]
                states = {order["id"]: order["state"] for order in refunded}
                mine = {reward.state for reward in found if reward.order_id == id_}
                kept = {"matured", "withheld"}  # who buy by each other's codes are a ring
                assert mine <= ({"reversed"} if states[id_] == "refunded" else kept), (states[id_], mine)
            earned = sum(reward.amount for reward in found if reward.state in BOOKED_STATES)
            for id_ in self.policies:
                assert (await session.get_one(Account, f"{id_}:budget:CNY")).balance >= 0
            spent = await session.exec(
                select(func.coalesce(func.sum(Posting.amount), 0))
                .join(Transfer)
                .where(
                    col(Transfer.subject).in_([reward.id for reward in found]),
                    col(Posting.account_id).in_([f"{id_}:budget:CNY" for id_ in self.policies]),
                )
            )
            assert spent.one() == -earned, "what the budgets gave is what was earned and kept"
        held = 0
        for member in self.members:
            for item in (await ledger.list_balances(self.service.state, member.id)).items:
                assert (item.pending, item.payouts) == (0, 0)
                held += item.balance - item.owed
            sent = await payouts.list_own(self.service.state, member.id, None, 100)
            held += sum(payout.amount for payout in sent.items if payout.state == "paid")
        ids = {member.id for member in self.members}
        assert held == sum(
            reward.amount for reward in found if reward.state == "matured" and reward.member_id in ids
        )
        assert await self.service.violations() == []


@pytest.mark.parametrize(("database", "examples"), [("sqlite", 8), ("postgresql", 3)])
def test_the_book_stays_in_order_whatever_happens(
    database: str, examples: int, valkey: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with asyncio.Runner() as runner:
        url = runner.run(create_sqlite(tmp_path / "book.sqlite3"))
        if database == "postgresql":
            url = runner.run(create_database(request.getfixturevalue("postgresql")))
        opened = running_service(url, valkey, tmp_path)
        service = runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(
                type("Book", (Book,), {"service": service, "runner": runner}),
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=25,
                    deadline=None,
                    phases=[Phase.generate],  # a history is short enough to read as it is
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
