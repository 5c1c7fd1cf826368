"""The draw of a sale: the seed committed to, the draw itself, and its proof."""

import asyncio
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from secrets import token_bytes

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.draws import SEED_BYTES, Lot, draw, hash_lots, hash_seed, winners
from app.domain.entries import EntryState
from app.domain.errors import DrawNotFound
from app.domain.sales import Allocation, is_draw_due
from app.gateways.dealer import chunks
from app.models import Entry, Offer, Sale
from app.schemas.entries import DrawnOffer, DrawPublic, LotPublic
from app.services.locks import lock_sale
from app.services.terms import published_sale
from app.services.transactions import Work, transaction
from app.state import State


def commit_seed(work: Work, sale: Sale) -> dict[str, str]:
    """What a sale that is published is to keep for its draw: a seed nobody can guess. Only its hash is written down
    elsewhere.
    """
    if sale.allocation != Allocation.DRAW:
        return {}
    seed = token_bytes(SEED_BYTES)
    work.record("sale.seed_made", sale.id, sale_id=sale.id, seed_hash=hash_seed(seed))
    return {"seed": seed.hex()}


async def draw_due(state: State, sale_id: str, now: datetime) -> bool:
    """Draw a sale when its time has come. True when this call did it."""
    async with transaction(state, state.clock()) as work:
        sale = await lock_sale(work.session, sale_id)
        seed = sale.seed if sale is not None and is_draw_due(sale.terms(), now) else None
        if sale is None or seed is None:
            return False
        lots = await _read_lots(work.session, sale.id)
        drawn = await asyncio.to_thread(draw, bytes.fromhex(seed), [lot for lot, _ in lots])
        await _keep_ranks(work.session, drawn)
        for offer in (await work.session.exec(select(Offer).where(Offer.sale_id == sale.id))).all():
            offer.drawn_stock = offer.stock
            work.session.add(offer)
        sale.drawn_at = sale.changed_at = work.now
        sale.entries_hash = hash_lots(drawn)
        work.session.add(sale)
        work.record(
            "sale.drawn",
            sale.id,
            sale_id=sale.id,
            entries=len(drawn),
            entries_hash=sale.entries_hash,
            seed=seed,
        )
        work.forgotten.add(sale.id)
        return True


async def get_draw(state: State, sale_id: str) -> DrawPublic:
    """The proof of a sale's draw; before it, what was committed to. Raises `SaleNotFound`, `DrawNotFound`."""
    async with state.database.snapshot() as session:
        sale = await published_sale(session, sale_id)
        seed_hash, draws_at = sale.seed_hash, sale.draws_at
        if seed_hash is None or draws_at is None:
            raise DrawNotFound
        offers = (await session.exec(select(Offer).where(Offer.sale_id == sale_id).order_by(col(Offer.id)))).all()
        lots = await _read_lots(session, sale_id) if sale.drawn_at else []
    stocks = {offer.id: offer.drawn_stock or 0 for offer in offers}
    return DrawPublic(
        sale_id=sale.id,
        draws_at=draws_at,
        drawn_at=sale.drawn_at,
        seed_hash=seed_hash,
        seed=sale.seed if sale.drawn_at else None,
        entries_hash=sale.entries_hash,
        offers=[DrawnOffer(id=id_, stock=stock) for id_, stock in stocks.items() if sale.drawn_at],
        entries=[
            LotPublic(id=lot.id, offer_id=lot.offer_id, quantity=lot.quantity, weight=lot.weight, rank=rank)
            for lot, rank in lots
            if rank is not None
        ],
        winners=[lot.id for lot in winners((lot for lot, _ in lots), stocks)],
    )


async def _read_lots(session: AsyncSession, sale_id: str) -> list[tuple[Lot, int | None]]:
    """The entries of a sale that are to be drawn, or were, by offer and rank."""
    rows = await session.exec(
        select(Entry)
        .where(
            Entry.sale_id == sale_id,
            Entry.line_id == sale_id,
            (col(Entry.state) == EntryState.WAITING) | col(Entry.rank).is_not(None),
        )
        .order_by(col(Entry.offer_id), col(Entry.rank), col(Entry.id)),
    )
    return [(Lot(row.id, row.offer_id, row.quantity, row.weight), row.rank) for row in rows.all()]


async def _keep_ranks(session: AsyncSession, drawn: list[Lot]) -> None:
    of_offer = attrgetter("offer_id")
    ranks = [
        {"id": lot.id, "rank": rank}
        for _, lots in groupby(sorted(drawn, key=of_offer), of_offer)  # stable: the drawn order stays
        for rank, lot in enumerate(lots, start=1)
    ]
    for some in chunks(ranks):
        await session.exec(update(Entry), params=some)
