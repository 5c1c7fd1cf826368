"""What is known of members: counted from their orders and check-ins, and told by them, with their consent.

Orders are counted anew, all of a buyer's at a time, under the lock of the buyer's row: whoever counts later sees no
less. Check-ins are added by the transaction that writes them.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, case, delete, func, insert, tuple_, update
from sqlmodel import col, select

from app.domain.errors import ConsentMissing, TokenInvalid
from app.domain.orders import PAID_SEAT_STATES
from app.domain.payments import PaymentOutcome
from app.domain.segments import Consented, DeviceKind, bucket_of, device_of
from app.models import Cause, Community, Consent, Facts, Member, Membership, Order, Payment, Sale, Tag
from app.schemas.facts import FactKept, FactsKept, FactsUpdate
from app.services.days import local_day, note_day
from app.services.locks import lock_facts
from app.services.transactions import Work, transaction
from app.state import State

CURRENCY = "CNY"
"""What `spent` is counted in."""
MANY = 500
NOTHING = {"orders": 0, "spent": 0, "check_ins": 0, "night_check_ins": 0}


async def count_orders(state: State, now: datetime) -> int:
    """Count anew what is known of the buyers of orders that were paid or refunded since they were counted, and have
    the days on which these orders were paid counted again. Returns how many orders. An order waits until its
    rewards are decided: they are counted on its day, too.

    Days come first, in a transaction of their own: nobody waits for a day who holds what is known of a member.
    """
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(  # type: ignore[call-overload]
                Cause.order_id, Cause.version, Order.member_id, Order.paid_at, Sale.community_id
            )
            .join(Order, col(Order.id) == Cause.order_id)
            .join(Sale, col(Sale.id) == Order.sale_id)
            .where(col(Cause.counted) < Cause.version, col(Cause.handled) == Cause.version)
            .order_by(col(Cause.order_id))
            .limit(MANY),
        )
        rows = found.all()
    if not rows:
        return 0
    async with transaction(state, now) as work:
        await _note_days(
            work, {(community_id, paid_at) for *_, paid_at, community_id in rows if paid_at is not None}
        )
    async with transaction(state, now) as work:
        await _count(work, sorted({member_id for _, _, member_id, *_ in rows}))
        # Whose version has grown since it was read is counted again.
        await work.session.exec(
            update(Cause)
            .where(
                tuple_(col(Cause.order_id), col(Cause.version)).in_([(id_, version) for id_, version, *_ in rows]),
            )
            .values(counted=Cause.version)
            .execution_options(synchronize_session=False),
        )
    return len(rows)


async def _note_days(work: Work, paid: Collection[tuple[str, datetime]]) -> None:
    ids = {community_id for community_id, _ in paid}
    found = await work.session.exec(select(Community).where(col(Community.id).in_(ids)))
    communities = {community.id: community for community in found.all()}
    days = {(id_, local_day(communities[id_], moment)): moment for id_, moment in paid}
    for (community_id, _), moment in sorted(days.items()):
        await note_day(work, communities[community_id], moment)


async def _count(work: Work, member_ids: Sequence[str]) -> None:
    """Count the orders of these members anew; of who was erased nothing is known."""
    here = select(Member.id).where(col(Member.id).in_(member_ids), col(Member.erased_at).is_(None))
    member_ids = sorted((await work.session.exec(here)).all())
    if not member_ids:
        return
    await keep_row(work, *member_ids)
    rows = await lock_facts(work.session, member_ids)
    money = case((col(Order.currency) == CURRENCY, Payment.captured_amount - Payment.refunded_amount), else_=0)  # type: ignore[operator]
    found = await work.session.exec(
        select(  # type: ignore[call-overload]
            Order.member_id,
            func.count(),
            func.coalesce(func.sum(money), 0),
            func.min(Order.paid_at),
            func.max(Order.paid_at),
        )
        .join(Payment, (col(Payment.order_id) == Order.id) & (col(Payment.outcome) == PaymentOutcome.KEPT))
        .where(col(Order.member_id).in_(member_ids), col(Order.state).in_(PAID_SEAT_STATES))
        .group_by(col(Order.member_id)),
    )
    names = ("orders", "spent", "first_order_at", "last_order_at")
    counted = {member_id: dict(zip(names, values, strict=True)) for member_id, *values in found.all()}
    nothing = dict(zip(names, (0, 0, None, None), strict=True))
    for row in rows:
        row.sqlmodel_update(counted.get(row.member_id, nothing))
        work.session.add(row)
    await work.session.flush()


async def count_check_in(work: Work, member_id: str, *, night: bool) -> None:
    """Count a check-in that is written in this transaction."""
    await keep_row(work, member_id)
    await work.session.exec(
        update(Facts)
        .where(col(Facts.member_id) == member_id)
        .values(check_ins=Facts.check_ins + 1, night_check_ins=Facts.night_check_ins + int(night))
        .execution_options(synchronize_session=False),
    )


async def keep_row(work: Work, *member_ids: str) -> None:
    """Have a row for each of these members."""
    rows = [{"member_id": member_id} | NOTHING for member_id in member_ids]
    await work.session.exec(work.database.insert_unless_there(Facts, ["member_id"]).values(rows))


async def fill_buckets(state: State, now: datetime) -> int:
    """Name the bucket in rows that were written past us, by hand or by an older version. Returns how many."""
    filled = 0
    for model, key in ((Member, Member.id), (Membership, Membership.member_id)):
        lacking = select(key).where(col(model.bucket).is_(None)).limit(MANY)
        async with state.database.snapshot() as session:
            ids = set((await session.exec(lacking)).all())
        if ids:
            async with transaction(state, now) as work:
                connection = await work.session.connection()
                await connection.execute(
                    update(model).where(col(key) == bindparam("key")).values(bucket=bindparam("named")),
                    [{"key": id_, "named": bucket_of(id_)} for id_ in sorted(ids)],
                )
        filled += len(ids)
    return filled


async def see_device(work: Work, member_id: str, user_agent: str) -> None:
    """Keep what a member's browser says it runs on, if they have agreed to that."""
    kind, rows = device_of(user_agent), await lock_facts(work.session, [member_id])
    if rows and kind is not None and Consented.DEVICE in await _consents(work, member_id):
        await _write(work, member_id, device=kind)


async def get_kept(state: State, member_id: str) -> FactsKept:
    """What is kept of a member. Raises `TokenInvalid` when there is no such member."""
    async with state.database.snapshot() as session:
        member = await session.get(Member, member_id)
        if member is None:
            raise TokenInvalid
        facts = await session.get(Facts, member_id) or Facts(member_id=member_id)
        tags = (await session.exec(select(Tag).where(Tag.member_id == member_id).order_by(Tag.tag))).all()
        given = (await session.exec(select(Consent).where(Consent.member_id == member_id))).all()
    given_at = {consent.fact: consent.given_at for consent in given}
    values = {
        Consented.DEVICE: facts.device,
        Consented.CITY: facts.city,
        Consented.OWN_TAGS: [tag.tag for tag in tags if tag.own],
        Consented.TAGS: [tag.tag for tag in tags if not tag.own],
    }
    return FactsKept(
        member_since=member.created_at,
        **facts.model_dump(exclude={"member_id", "device", "city"}),
        consented=[
            FactKept(fact=fact, value=value, consent_given_at=given_at.get(fact)) for fact, value in values.items()
        ],
    )


async def update_kept(state: State, member_id: str, body: FactsUpdate) -> FactsKept:
    """Change what a member agrees to, and what they say of themselves. What is no longer agreed to is forgotten in
    the same transaction. Raises `ConsentMissing`, `TokenInvalid`.
    """
    async with transaction(state, state.clock()) as work:
        await _lock(work, member_id)
        if body.consents is not None:
            await _agree(work, member_id, set(body.consents))
        agreed = await _consents(work, member_id)
        said = {Consented.DEVICE: body.device, Consented.CITY: body.city, Consented.OWN_TAGS: body.own_tags}
        for fact, value in said.items():
            if value is not None and fact not in agreed:
                raise ConsentMissing(fact=fact)
        if body.device is not None:
            await _write(work, member_id, device=body.device)
        if body.city is not None:
            await _write(work, member_id, city=body.city)
        if body.own_tags is not None:
            await forget_tags(work, member_id, own=True)
            for tag in dict.fromkeys(body.own_tags):
                work.session.add(Tag(member_id=member_id, tag=tag, own=True, created_at=work.now))
    return await get_kept(state, member_id)


async def forget_kept(state: State, member_id: str) -> None:
    """Withdraw every consent of a member, and forget what was kept by it. Raises `TokenInvalid`."""
    async with transaction(state, state.clock()) as work:
        await _lock(work, member_id)
        await _agree(work, member_id, set())


async def _lock(work: Work, member_id: str) -> None:
    if await work.session.get(Member, member_id) is None:
        raise TokenInvalid
    await keep_row(work, member_id)
    await lock_facts(work.session, [member_id])


async def _agree(work: Work, member_id: str, wanted: set[Consented]) -> None:
    """Let a member's consents be these, and forget what is kept by others."""
    given = await _consents(work, member_id)
    for fact in sorted(wanted - given):
        await work.session.exec(insert(Consent).values(member_id=member_id, fact=fact, given_at=work.now))
        work.record("consent.given", member_id, member_id=member_id, fact=fact)
    withdrawn = given - wanted
    await work.session.exec(
        delete(Consent).where(col(Consent.member_id) == member_id, col(Consent.fact).in_(withdrawn))
    )
    if Consented.DEVICE in withdrawn:
        await _write(work, member_id, device=None)
    if Consented.CITY in withdrawn:
        await _write(work, member_id, city=None)
    for fact, own in ((Consented.OWN_TAGS, True), (Consented.TAGS, False)):
        if fact in withdrawn:
            await forget_tags(work, member_id, own=own)
    for fact in sorted(withdrawn):
        work.record("consent.withdrawn", member_id, member_id=member_id, fact=fact)


async def _consents(work: Work, member_id: str) -> set[Consented]:
    found = await work.session.exec(select(Consent.fact).where(Consent.member_id == member_id))
    return {Consented(fact) for fact in found.all()}


async def _write(work: Work, member_id: str, **values: DeviceKind | str | None) -> None:
    await work.session.exec(
        update(Facts)
        .where(col(Facts.member_id) == member_id)
        .values(**values)
        .execution_options(synchronize_session=False),
    )


async def forget_tags(work: Work, member_id: str, *, own: bool) -> None:
    """Forget the words on a member: their own, or those of operators."""
    await work.session.exec(delete(Tag).where(col(Tag.member_id) == member_id, col(Tag.own).is_(own)))
