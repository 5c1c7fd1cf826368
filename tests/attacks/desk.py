"""Attacks on who one is and what operators do: sessions, keys, sales and their stock."""

from uuid import uuid4

from app.domain.bindings import PlatformName
from app.domain.operators import Scope
from app.services.links import create_link
from app.services.operators import create_key, list_keys, revoke_key
from tests.attacks.arena import Arena, Call, Outcome, attack, post, won


@attack
async def log_in_a_hundred_times(arena: Arena) -> Outcome:
    """Be two members with one login, so that every limit counts twice."""
    code = uuid4().hex
    answers = won(
        await arena.fire(post("/v1/sessions", {"provider": "dev", "code": code}) for _ in range(arena.calls))
    )
    members = await arena.count("identities WHERE provider = 'dev' AND subject = :code", code=code)
    ids = {answer.json()["member"]["id"] for answer in answers}
    return Outcome(members > 1 or len(ids) > 1, len(answers) == arena.calls)


@attack
async def refresh_with_one_token(arena: Arena) -> Outcome:
    """Make two sessions of one with a refresh token that was copied: use it a hundred times at once, then what came
    of it, and the copy once more when who lost an answer has long asked again.
    """
    session = await arena.ask(post("/v1/sessions", {"provider": "dev", "code": uuid4().hex}))

    def refresh(token: str) -> Call:
        return post("/v1/sessions/refresh", {"refresh_token": token})

    answers = won(await arena.fire(refresh(session["refresh_token"]) for _ in range(arena.calls)))
    following = {answer.json()["refresh_token"] for answer in answers}
    (newest,) = following if len(following) == 1 else ("",)
    after = won(await arena.fire(refresh(newest) for _ in range(3)))
    arena.service.clock.advance(31)
    late = won(await arena.fire([refresh(session["refresh_token"])]))
    last = won(await arena.fire(refresh(answer.json()["refresh_token"]) for answer in after))
    return Outcome(len(following) != 1 or bool(late or last), len(answers) == arena.calls and bool(after))


@attack
async def use_a_key_while_it_is_revoked(arena: Arena) -> Outcome:
    """Act as an operator with a key after its end was confirmed."""
    state = arena.service.state
    key = await create_key(state, f"attack {uuid4().hex}", [Scope.CATALOG])
    key_id = (await list_keys(state))[-1].id
    calls = [arena.ops("communities", {"name": "团"}, key=key) for _ in range(arena.calls)]
    before = await arena.fire(calls[:50], revoke_key(state, key_id))
    after = await arena.fire(calls[50:])
    refused = {answer.status_code for answer in [*before, *after] if not answer.is_success}
    return Outcome(bool(won(after)), refused == {401})


@attack
async def reach_beyond_the_scopes_of_a_key(arena: Arena) -> Outcome:
    """Refund, ship and end with a key that may only look after the catalog."""
    key = await create_key(arena.service.state, f"attack {uuid4().hex}", [Scope.CATALOG])
    sale, orders = await arena.paid_group(2)
    paths = [f"orders/{orders[0]['id']}/{verb}" for verb in ("refund", "ship", "complete")]
    paths += [f"sales/{sale.id}/{verb}" for verb in ("pause", "end")]
    answers = await arena.fire(arena.ops(path, key=key) for path in paths * 5)
    moved = await arena.count("orders WHERE sale_id = :sale AND state <> 'confirmed'", sale=sale.id)
    return Outcome(bool(won(answers)) or moved > 0, {answer.status_code for answer in answers} == {403})


@attack
async def sell_on_after_the_end(arena: Arena) -> Outcome:
    """Bring a sale back to life, or end it twice, by every change of its state and its end at once."""
    sale = await arena.sale(publish=False)
    await arena.fire(arena.ops(f"sales/{sale.id}/publish") for _ in range(10))
    closes_at = "2150-01-01T00:00:00Z"
    calls = [arena.ops(f"sales/{sale.id}/{verb}") for verb in ("pause", "resume", "publish", "end") * 20]
    calls += [arena.ops(f"sales/{sale.id}", {"closes_at": closes_at}, method="PATCH") for _ in range(20)]
    await arena.fire(calls[::2] + calls[1::2])
    late = await arena.fire([arena.ops(f"sales/{sale.id}/resume"), arena.open(arena.me, sale)])
    ended = await arena.count("events WHERE subject = :sale AND type = 'sale.ended'", sale=sale.id)
    over = "sales WHERE id = :sale AND state = 'ended' AND closes_at < '2149-01-01'"
    return Outcome(ended > 1 or bool(won(late)), ended == 1 and await arena.count(over, sale=sale.id) == 1)


@attack
async def shrink_the_stock_while_it_sells(arena: Arena) -> Outcome:
    """Have sold more than there is, by a smaller stock, price or limit while members buy."""
    sale = await arena.sale(stocks=[30])
    sku = sale.body["offers"][0]["sku_id"]
    changes = [
        *({"offers": [{"sku_id": sku, "stock": stock}]} for stock in (1, 10, 31, 35, 40)),
        {"offers": [{"sku_id": sku, "price": 1}]},
        {"group_size": 2},
        {"member_limit": 1},
    ]
    calls = [arena.open(member, sale) for member in arena.members]
    calls[::10] = [arena.ops(f"sales/{sale.id}", changes[number % 8], method="PATCH") for number in range(10)]
    await arena.fire(calls)
    await arena.fire(arena.open(member, sale) for member in arena.members[::10])
    sold = await arena.count("units WHERE offer_id = :offer", offer=sale.offer)
    stock = await arena.sum("stock", "offers WHERE id = :offer", offer=sale.offer)
    cheap = await arena.count("orders WHERE sale_id = :sale AND unit_price <> 4900", sale=sale.id)
    return Outcome(sold > stock or stock < 30 or cheap > 0, sold == stock == 40)


@attack
async def publish_and_shrink_at_once(arena: Arena) -> Outcome:
    """Buy from a draft's larger stock or at its lower price, in the moment it changes and is published."""
    sale = await arena.sale(publish=False, stocks=[50])
    sku = sale.body["offers"][0]["sku_id"]
    change = {"offers": [{"sku_id": sku, "stock": 5, "price": 9900}]}
    calls = [arena.open(member, sale) for member in arena.members[:90]]
    calls[10:10] = [arena.ops(f"sales/{sale.id}", change, method="PATCH") for _ in range(5)]
    calls[15:15] = [arena.ops(f"sales/{sale.id}/publish") for _ in range(5)]
    await arena.fire(calls)
    await arena.fire(arena.open(member, sale, "again") for member in arena.members[90:])
    sold = await arena.count("units WHERE offer_id = :offer", offer=sale.offer)
    stock = await arena.sum("stock", "offers WHERE id = :offer", offer=sale.offer)
    price = await arena.sum("price", "offers WHERE id = :offer", offer=sale.offer)
    cheap = await arena.count("orders WHERE sale_id = :sale AND unit_price <> :price", sale=sale.id, price=price)
    return Outcome(sold > stock or cheap > 0, sold >= min(stock, 5))


@attack
async def be_whom_a_link_was_given_to(arena: Arena) -> Outcome:
    """Be taken for somebody in a chat whose link was passed on: a hundred members open it in the same moment."""
    sender = uuid4().hex
    token = (await create_link(arena.service.state, PlatformName.SLACK, sender)).rsplit("/", 1)[-1]
    body = {"provider": "chat", "code": token}
    calls = [post("/v1/members/me/identities", body, **member.headers) for member in arena.members]
    linked = won(await arena.fire(calls))
    known = await arena.count("identities WHERE provider = 'slack' AND subject = :sender", sender=sender)
    return Outcome(len(linked) > 1 or known > 1, len(linked) == known == 1)
