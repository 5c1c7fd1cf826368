"""What stories about rewards are told with: policies, inviters, buyers, and who has what."""

from typing import Any
from uuid import uuid4

import jwt
from sqlmodel import select

from app.domain.ledger import AccountKey, AccountKind, TransferKind, own
from app.models import Account
from app.services import ledger
from app.services.sessions import AUDIENCE
from app.services.tokens import ALGORITHM, ISSUER
from app.services.transactions import transaction
from tests.service import FLASH, Member, Sale, Service

DAY = 86_400
PRICE = 4900


async def policy(service: Service, budget: int = 100_000, **terms: Any) -> str:
    """A new reward policy with a budget: 10 % to the inviter, unless told otherwise. Returns its id."""
    body = {"title": "邀请有礼", "role": "inviter", "levels": [{"basis_points": 1000}], "mature_days": 7} | terms
    reply = await service.ops("POST", "reward-policies", body)
    assert reply.status_code == 201, reply.text
    if budget:
        await top_up(service, reply.json()["id"], budget)
    return str(reply.json()["id"])


async def top_up(service: Service, policy_id: str, amount: int, key: str = "first") -> None:
    path = f"reward-policies/{policy_id}/budget"
    reply = await service.ops("POST", path, {"amount": amount}, **{"idempotency-key": key})
    assert reply.status_code == 200, reply.text


async def budget(service: Service, policy_id: str) -> int:
    """What is left of a policy's budget."""
    return int((await service.ops("GET", f"reward-policies/{policy_id}")).json()["budget"])


async def flash(service: Service, **terms: Any) -> Sale:
    """A sale in which every paid order is confirmed at once."""
    wanted: dict[str, Any] = FLASH | {"stocks": [1000], "member_limit": 100} | terms
    return await service.sale(**wanted)


async def code(inviter: Member, sale: Sale) -> str:
    """An inviter's code to a sale."""
    reply = await inviter.post("/v1/invites", {"sale_id": sale.id})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["code"])


async def brought(service: Service, inviter: Member, sale: Sale, buyer: Member | None = None, **wish: Any) -> str:
    """An order that a buyer has paid whom the inviter brought, before any worker has looked at it."""
    buyer = buyer or await service.member("buyer")
    claim = await buyer.buy(sale, invite_code=await code(inviter, sale))
    assert claim.status_code == 201, claim.text
    order_id = str(claim.json()["order"]["id"])
    await buyer.pay(order_id, **wish)
    return order_id


async def refund(service: Service, order_id: str) -> None:
    """Have an operator refund an order, and the money arrive."""
    reply = await service.ops("POST", f"orders/{order_id}/refund", **{"idempotency-key": order_id})
    assert reply.status_code == 200, reply.text
    await service.work()


async def later(service: Service, seconds: float, *members: Member) -> None:
    """Let time pass and the workers work; these members log in again."""
    service.clock.advance(seconds)
    log_in_again(service, *members)
    await service.work()


def log_in_again(service: Service, *members: Member) -> None:
    """Give members tokens that are good from now on."""
    now, key = int(service.clock().timestamp()), service.state.settings.key_for("access token")
    for member in members:
        claims = {"sub": member.id, "iat": now, "exp": now + DAY, "aud": AUDIENCE, "iss": ISSUER}
        member.token = jwt.encode(claims, key, ALGORITHM)


async def has(member: Member, currency: str = "CNY") -> tuple[int, int, int, int]:
    """A member's balance, what is pending, what is being paid out, and what they owe."""
    reply = await member.get("/v1/members/me/balance")
    assert reply.status_code == 200, reply.text
    for item in reply.json()["items"]:
        if item["currency"] == currency:
            return item["balance"], item["pending"], item["payouts"], item["owed"]
    return 0, 0, 0, 0


async def rewards(service: Service, policy_id: str) -> list[dict[str, Any]]:
    """Every reward of a policy, oldest first."""
    reply = await service.ops("GET", f"rewards?policy_id={policy_id}&limit=100")
    assert reply.status_code == 200, reply.text
    return list(reversed(reply.json()["items"]))


async def earn(service: Service, member: Member, amount: int) -> None:
    """Have a member earn so much, into their balance."""
    product = (await service.ops("POST", "products", {"title": "普洱", "skus": ["饼"]})).json()
    offer = {"sku_id": product["skus"][0]["id"], "price": max(amount, 100), "stock": 10}
    sale = await flash(service, offers=[offer])
    await policy(service, amount, sale_id=sale.id, levels=[{"amount": amount}], mature_days=0)
    await brought(service, member, sale)
    await service.work()


async def give(service: Service, member: Member, amount: int) -> None:
    """Put money of the house straight into a member's balance."""
    source, target = own(AccountKind.HOUSE, "CNY"), AccountKey(member.id, AccountKind.BALANCE, "CNY")
    async with transaction(service.state, service.clock()) as work:
        entries = [(source, -amount), (target, amount)]
        await ledger.post(work, TransferKind.BUDGET, f"gift {uuid4().hex}", entries, subject="gift")


async def account(service: Service, id_: str) -> int:
    """What is on an account."""
    async with service.state.database.snapshot() as session:
        return (await session.exec(select(Account.balance).where(Account.id == id_))).one_or_none() or 0
