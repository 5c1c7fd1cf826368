"""Claims that are committed together: none harms another, none is answered too early, none is lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event, text

from app.gateways.dealer import Keys
from app.services import commits
from tests.service import Service


async def test_a_refused_row_harms_no_neighbour(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis believes that a sold unit is free: one of many claims in a batch is dealt it."""
    sale = await service.sale(stocks=[50])
    members = await service.members(40)
    for member in members[:5]:
        await member.open(sale)
    pipe, name = service.state.dealer.pipe, Keys(sale.id)
    await pipe.call("SETBIT", name.units(sale.offer), 2, 0)
    await pipe.call("HINCRBY", name.offer(sale.offer), "taken", -1)
    await pipe.call("HSET", name.offer(sale.offer), "low", 0)
    batches: list[int] = []
    commit = commits._commit

    async def counted(state: Any, drafts: Sequence[Any], **options: Any) -> Any:
        batches.append(len(drafts))
        return await commit(state, drafts, **options)

    monkeypatch.setattr(commits, "_commit", counted)
    replies = await asyncio.gather(*(member.open(sale) for member in members[5:]))
    assert [reply.status_code for reply in replies] == [201] * 35
    assert max(batches) > 1, "they were committed together"
    assert 1 in batches, "and the one that was refused, alone"
    assert await service.left(sale) == [10]
    assert await service.violations() == []


async def test_a_batch_waits_for_no_group_but_its_own(service: Service) -> None:
    """Somebody holds the lock of a group: joining it waits, everything else goes on."""
    if service.state.database.is_sqlite:
        pytest.skip("SQLite has one writer and no row locks")
    sale = await service.sale(group_size=3)
    leader, friend, *others = await service.members(22)
    group_id = (await leader.open(sale)).json()["group"]["id"]
    async with service.state.database.engine.connect() as connection:
        await connection.execute(text(f"SELECT id FROM groups WHERE id = '{group_id}' FOR NO KEY UPDATE"))
        joining = asyncio.create_task(friend.join(sale, group_id))
        for _ in range(3):
            replies = await asyncio.gather(*(member.open(sale) for member in others))
            assert [reply.status_code for reply in replies] == [201] * 20
        assert not joining.done()
        await connection.rollback()
    assert (await joining).status_code == 201
    assert (await service.group(group_id))["held"] == 2
    assert await service.violations() == []


async def test_beyond_the_queue_nothing_is_taken(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sale = await service.sale(stocks=[100])
    members = await service.members(12)
    queue = service.state.batches(commits.commit_all)
    monkeypatch.setattr(queue, "_limit", 4)
    gate = asyncio.Event()
    commit = commits._commit

    async def slow(*arguments: Any, **options: Any) -> Any:
        await gate.wait()
        return await commit(*arguments, **options)

    monkeypatch.setattr(commits, "_commit", slow)
    claims = [asyncio.create_task(member.open(sale, key="mine")) for member in members]
    while sum(claim.done() for claim in claims) < 7:
        await asyncio.sleep(0.01)
    gate.set()
    replies = await asyncio.gather(*claims)
    taken = [reply for reply in replies if reply.status_code == 201]
    refused = [reply for reply in replies if reply.status_code == 503]
    assert len(taken) + len(refused) == 12
    assert refused
    assert {reply.json()["code"] for reply in refused} == {"busy"}
    assert {reply.headers["retry-after"] for reply in refused} == {"1"}
    assert await service.left(sale) == [100 - len(taken)]
    again = await asyncio.gather(*(member.open(sale, key="mine") for member in members[:4]))
    assert [reply.status_code for reply in again] == [201] * 4, "the same key may come again"
    assert await service.violations() == []


async def test_a_twin_is_answered_after_the_commit_of_the_first(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dealer knows the request already; its order is not durable yet."""
    sale = await service.sale(stocks=[100])
    member = await service.member()
    await (await service.member()).open(sale)
    gate = asyncio.Event()
    commit = commits._commit
    begun = 0

    async def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        await gate.wait()
        return await commit(*arguments, **options)

    monkeypatch.setattr(commits, "_commit", slow)
    first = asyncio.create_task(member.open(sale, key="mine"))
    while not begun:
        await asyncio.sleep(0.01)
    twins = [asyncio.create_task(member.open(sale, key="mine")) for _ in range(10)]
    await asyncio.sleep(0.3)
    assert not any(twin.done() for twin in twins)
    gate.set()
    answers = {(await claim).text for claim in (first, *twins)}
    assert len(answers) == 1
    assert (begun, (await first).status_code) == (1, 201)
    assert await service.left(sale) == [98]


async def test_a_hundred_claims_are_few_transactions(service: Service) -> None:
    sale = await service.sale(stocks=[200])
    members = await service.members(100)
    await members[0].open(sale)
    commits_seen = 0

    def on_commit(_connection: object) -> None:
        nonlocal commits_seen
        commits_seen += 1

    work = commits._commit
    batches: list[int] = []

    async def counted(state: Any, drafts: Sequence[Any], **options: Any) -> Any:
        batches.append(len(drafts))
        return await work(state, drafts, **options)

    engine = service.state.database.engine.sync_engine
    event.listen(engine, "commit", on_commit)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commits, "_commit", counted)
            replies = await asyncio.gather(*(member.open(sale) for member in members))
    finally:
        event.remove(engine, "commit", on_commit)
    assert [reply.status_code for reply in replies] == [201] * 100
    assert sum(batches) == 100
    assert len(batches) <= 50
    assert commits_seen <= len(batches)


async def test_a_token_of_nobody_takes_nothing(service: Service) -> None:
    """The member of a good token is not in the rows: the database was set back, the key stayed."""
    from tests.service import Member  # noqa: PLC0415

    sale = await service.sale(stocks=[10])
    somebody = await service.member()
    ghost = await service.member("ghost")
    async with service.state.database.engine.begin() as connection:
        for rows in ("sessions WHERE member_id", "identities WHERE member_id", "members WHERE id"):
            await connection.execute(text(f"DELETE FROM {rows} = :id"), {"id": ghost.id})
    ghost = Member(service, ghost.id, "ghost", ghost.token)
    replies = await asyncio.gather(*(member.open(sale) for member in (ghost, somebody)))
    assert [reply.status_code for reply in replies] == [401, 201]
    assert replies[0].json()["code"] == "token_invalid"
    assert await service.left(sale) == [9]
    assert await service.violations() == []
