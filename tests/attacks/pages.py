"""Attacks on the forms of the page behind an invite."""

from urllib.parse import urlencode

from app.domain.payments import MAX_OPEN_PAYMENTS
from app.routers.pages import SESSION
from tests.attacks.arena import Arena, Call, Outcome, attack
from tests.service import Member


def form(member: Member, path: str, **fields: str) -> Call:
    """A form as a browser sends it."""
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "text/html",
        "cookie": f"{SESSION}={member.token}",
        "sec-fetch-site": "same-origin",
    }
    return Call(path, urlencode(fields).encode(), headers)


@attack
async def join_by_the_button_of_one_page(arena: Arena) -> Outcome:
    """Have two seats, or two payments, by pressing the button of one page a hundred times in two browsers."""
    sale = await arena.sale(group_size=10)
    opened = (await arena.others[0].open(sale)).json()["group"]["id"]
    code = (await arena.others[0].post("/v1/invites", {"group_id": opened})).json()["code"]
    wish = {"offer_id": sale.offer, "group_id": opened, "key": f"web_{'a' * 32}"}
    answers = await arena.fire(form(session, f"/i/{code}/join", **wish) for session in arena.sessions())
    seats = await arena.count("seats WHERE group_id = :group", group=opened)
    payments = await arena.count(
        "payments JOIN orders ON orders.id = payments.order_id WHERE sale_id = :sale", sale=sale.id
    )
    led = {answer.headers.get("location") for answer in answers}
    return Outcome(seats > 2 or payments > 1 or len(led) > 1, seats == 2 and payments == 1)


@attack
async def pay_by_the_buttons_of_a_hundred_pages(arena: Arena) -> Outcome:
    """Have more payments of one order open than may be, by pressing to pay on a hundred pages."""
    sale = await arena.sale(group_size=10)
    order = (await arena.me.open(sale)).json()["order"]
    code = (await arena.me.post("/v1/invites", {"sale_id": sale.id})).json()["code"]
    answers = await arena.fire(
        form(session, f"/i/{code}/pay", order_id=order["id"], key=f"web_{number:032x}")
        for number, session in enumerate(arena.sessions())
    )
    payments = await arena.count("payments WHERE order_id = :order", order=order["id"])
    led = sum(answer.status_code == 303 for answer in answers)
    return Outcome(payments > MAX_OPEN_PAYMENTS, payments == led == MAX_OPEN_PAYMENTS)
