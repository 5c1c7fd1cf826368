"""The cashier's page as a browser uses it: a form that leads back to the page."""

from tests.service import Service


async def test_a_member_pays_on_the_page(service: Service) -> None:
    sale = await service.sale()
    member = await service.member()
    order = (await member.open(sale)).json()["order"]
    url = await member.start_payment(order["id"])
    chinese = {"accept-language": "zh-CN"}
    page = await service.http.get(url, headers=chinese)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "¥49.00" in page.text
    assert "确认支付" in page.text
    assert "Pay</button>" in (await service.http.get(url)).text

    blank = {"delay_seconds": "0", "duplicates": "0", "amount": "", "refund_failures": "0"}
    refused = await service.http.post(f"{url}/form", data=blank | {"refuse": "true"}, follow_redirects=True)
    assert "Payment refused" in refused.text
    bad = await service.http.post(f"{url}/form", data=blank | {"amount": "minus one"})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_request")
    paid = await service.http.post(f"{url}/form", data=blank, follow_redirects=True)
    assert str(paid.url) == url
    assert "Paid. You can go back now" in paid.text
    again = await service.http.post(f"{url}/form", data=blank, follow_redirects=True)
    assert "Paid. You can go back now" in again.text

    await service.deliver()
    found = await member.order(order["id"])
    assert (found["state"], len(found["payments"])) == ("paid", 1)


async def test_a_page_that_is_over_says_so(service: Service) -> None:
    sale = await service.sale()
    member = await service.member()
    order = (await member.open(sale)).json()["order"]
    url = await member.start_payment(order["id"])
    service.clock.advance(601)
    assert "This payment is closed" in (await service.http.get(url)).text
    reply = await service.http.post(url)
    assert (reply.status_code, reply.json()["code"]) == (410, "payment_closed")
    missing = await service.http.get(f"{service.url}/sandbox/pay/{'x' * 24}")
    assert (missing.status_code, missing.json()["code"]) == (404, "payment_not_found")


async def test_a_form_in_no_character_set_is_refused(service: Service) -> None:
    sale, member = await service.sale(), await service.member()
    url = await member.start_payment((await member.open(sale)).json()["order"]["id"])
    body = b'--x\r\ncontent-disposition: form-data; name="payer"\r\n\r\na\r\n--x--\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x; charset=undefined"}
    reply = await service.http.post(f"{url}/form", content=body, headers=kind)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
