"""接龙: groups and bargains as chats are shown them, from the rows as they are now."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.bargains import BargainState
from app.domain.bindings import Language
from app.domain.commands import Verb
from app.domain.errors import BargainNotFound, GroupNotFound
from app.domain.groups import GroupState
from app.gateways.chat.platform import Button, Card
from app.models import Bargain, Group, Offer, Product, Sale
from app.schemas.bargains import BargainPublic
from app.schemas.groups import GroupPublic
from app.services import bargains, chat_numbers, groups
from app.services.tongues import Tongue
from app.state import State

MOST_NAMES = 50
"""Of a longer list the last are shown."""


async def show_group(
    state: State, community_id: str, group_id: str, language: Language, *, names: bool = True
) -> Card:
    """A group as a card in the chats of a community: how full it is, and who is in it if `names` are wanted:
    masked, as strangers see them. Raises `GroupNotFound`, `Busy`.
    """
    number = (await chat_numbers.number_all(state, community_id, [group_id]))[group_id]
    async with state.database.snapshot() as session:
        group = (await groups.views(session, [group_id])).get(group_id)
        if group is None:
            raise GroupNotFound
        title, currency, prices = await _read_terms(session, group_id)
        merged = group.merged_into
    into = None if merged is None else (await chat_numbers.number_all(state, community_id, [merged]))[merged]
    tongue, now = Tongue(language), state.clock()
    lines = [_stand(tongue, group, into, now)]
    if group.state in {GroupState.OPEN, GroupState.FILLED}:
        lines.append(_price(tongue, group, prices, currency))
    if names:
        lines += _list(tongue, group)
    return Card(
        title=f"{tongue.command(Verb.CHAIN, number)} · {title}",
        lines=tuple(lines),
        buttons=_buttons(tongue, group, number),
    )


async def show_bargain(state: State, community_id: str, bargain_id: str, language: Language) -> Card:
    """The same of a bargain: how far its price is down, and who has cut it. Raises `BargainNotFound`, `Busy`."""
    number = (await chat_numbers.number_all(state, community_id, [bargain_id]))[bargain_id]
    async with state.database.snapshot() as session:
        bargain = (await bargains.views(session, [bargain_id])).get(bargain_id)
        if bargain is None:
            raise BargainNotFound
        found = await session.exec(
            select(Product.title, Sale.currency)
            .join(Offer, col(Offer.product_id) == Product.id)
            .join(Bargain, col(Bargain.offer_id) == Offer.id)
            .join(Sale, col(Sale.id) == Bargain.sale_id)
            .where(Bargain.id == bargain_id),
        )
        title, currency = found.one()
    tongue = Tongue(language)
    lines = [_cut_down(tongue, bargain, currency, state.clock())]
    lines += [f"{cut.number}. {cut.name} −{tongue.money(cut.amount, currency)}" for cut in bargain.cuts]
    command = tongue.command(Verb.CUT, number)
    return Card(
        title=f"{tongue.command(Verb.BARGAIN, number)} · {title} · {bargain.owner_name}",
        lines=tuple(lines),
        buttons=(Button(command, command=command),) if bargain.state == BargainState.CUTTING else (),
    )


async def _read_terms(session: AsyncSession, group_id: str) -> tuple[str, str, Sequence[int]]:
    """What a group buys, in which currency, and what a unit of each offer costs."""
    found = await session.exec(
        select(Product.title, Sale.currency, Offer.price)
        .join(Group, col(Group.product_id) == Product.id)
        .join(Sale, col(Sale.id) == Group.sale_id)
        .join(Offer, (col(Offer.sale_id) == Sale.id) & (col(Offer.product_id) == Product.id))
        .where(Group.id == group_id)
        .order_by(col(Offer.price)),
    )
    rows = found.all()
    return rows[0][0], rows[0][1], [price for _, _, price in rows]


def _stand(tongue: Tongue, group: GroupPublic, into: int | None, now: datetime) -> str:
    """How a group stands, in a line."""
    taken = f"{group.held + group.paid}/{group.size}"
    left, time = group.left, tongue.until(group.deadline_at, now)
    match group.state:
        case GroupState.OPEN:
            return tongue.say(f"{taken} 人，还差 {left} 人，剩余 {time}", f"{taken}, {left} to go, {time} left")
        case GroupState.FILLED:
            waiting = group.held
            return tongue.say(f"{taken} 人，已满，{waiting} 人待付款", f"{taken}, full; {waiting} still to pay")
        case GroupState.SUCCEEDED:
            return tongue.say(f"已成团，共 {group.paid} 人", f"Done: {group.paid} buy together")
        case GroupState.FAILED:
            return tongue.say("未成团，已付款项原路退回", "It did not fill; what was paid goes back")
        case GroupState.MERGED:
            return tongue.say(f"已并入 {into}", f"Moved to {into}")


def _price(tongue: Tongue, group: GroupPublic, prices: Sequence[int], currency: str) -> str:
    """What joining costs, and what more heads would bring."""
    ladder = group.prices[0] if len(group.prices) == 1 else None
    amount = tongue.money(prices[0] if ladder is None else ladder.price, currency)
    several = len(set(prices)) > 1 and ladder is None
    text = tongue.say(f"{amount} 起" if several else amount, f"from {amount}" if several else amount)
    if ladder is not None and ladder.next_price is not None:
        next_price, more = tongue.money(ladder.next_price, currency), ladder.heads_to_next
        text += tongue.say(f"，再付 {more} 人每件 {next_price}", f"; {more} more pay, and it is {next_price}")
    return text


def _list(tongue: Tongue, group: GroupPublic) -> list[str]:
    """Who is in a group, by the numbers of their seats."""
    lines = []
    if (hidden := len(group.members) - MOST_NAMES) > 0:
        lines.append(tongue.say(f"……前 {hidden} 位略", f"… {hidden} before"))
    for seat in group.members[-MOST_NAMES:]:
        notes = [tongue.say("团长", "leader")] if seat.leader else []
        notes += [] if seat.paid else [tongue.say("待付款", "to pay")]
        lines.append(f"{seat.number}. {seat.name}" + (f" ({', '.join(notes)})" if notes else ""))
    return lines


def _buttons(tongue: Tongue, group: GroupPublic, number: int) -> tuple[Button, ...]:
    if group.state not in {GroupState.OPEN, GroupState.FILLED}:
        return ()
    verbs = (Verb.JOIN, Verb.CHAIN) if group.left else (Verb.CHAIN,)
    return tuple(Button(command, command=command) for command in (tongue.command(verb, number) for verb in verbs))


def _cut_down(tongue: Tongue, bargain: BargainPublic, currency: str, now: datetime) -> str:
    """How a bargain stands, in a line."""
    price, floor = (tongue.money(amount, currency) for amount in (bargain.price, bargain.floor_price))
    match bargain.state:
        case BargainState.CUTTING:
            left, time = bargain.left, tongue.until(bargain.deadline_at, now)
            return tongue.say(
                f"现价 {price}，还差 {left} 刀到 {floor}，剩余 {time}",
                f"Now {price}; {left} cuts to {floor}, {time} left",
            )
        case BargainState.WON:
            return tongue.say(f"已砍到底价 {floor}", f"Down to {floor}")
        case BargainState.ORDERED | BargainState.BOUGHT:
            return tongue.say(f"已按 {price} 下单", f"Ordered at {price}")
        case BargainState.EXPIRED:
            return tongue.say("已结束", "It is over")
