"""Which addresses are addresses, and which are public."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.endpoints import UNICAST, may_connect, parse_url, wants
from app.domain.errors import InvalidTerms

label = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


@given(st.text())
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    for url in (
        text,
        f"https://{text}",
        f"https://{text}/",
        f"http://a.example:{text}/",
        f"https://a.example/{text}",
    ):
        try:
            target = parse_url(url, plain=True)
        except InvalidTerms:
            continue
        else:
            assert target.host.isascii()
            assert not set(target.host + target.path) & set(" #\\@\r\n\t\x00") - {"@"}
            assert "@" not in target.host


@given(st.lists(label, min_size=1, max_size=4), st.none() | st.sampled_from([80, 443, 1024, 65535]), st.booleans())
def test_a_usual_address_is_read_as_it_is(labels: list[str], port: int | None, shout: bool) -> None:
    host = ".".join([*labels, "example"])
    shown = host.upper() if shout else host
    target = parse_url(f"https://{shown}{'' if port is None else f':{port}'}/a?b=c", plain=False)
    assert (target.scheme, target.host, target.port, target.path) == ("https", host, port or 443, "/a?b=c")
    assert target.authority == (host if port in {None, 443} else f"{host}:{port}")


def test_the_host_header_of_an_ip_address() -> None:
    assert parse_url("https://[2606:2800::1]/", plain=False).authority == "[2606:2800::1]"
    assert parse_url("http://[2606:2800::1]:8080", plain=True).authority == "[2606:2800::1]:8080"


def test_plain_http_only_where_it_is_allowed() -> None:
    assert parse_url("http://a.example/", plain=True).port == 80
    with pytest.raises(InvalidTerms):
        parse_url("http://a.example/", plain=False)


@given(st.ip_addresses(v=4))
def test_no_dress_of_an_ipv4_address_is_public(address: IPv4Address) -> None:
    number = int(address)
    for dress in (number, 0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not may_connect(str(IPv6Address(dress)), [])


@given(st.ip_addresses())
def test_what_is_public_is_global_and_not_special(address: IPv4Address | IPv6Address) -> None:
    public = may_connect(str(address), [])
    if public:
        assert address.is_global
        assert not any([address.is_multicast, address.is_private, address.is_reserved, address.is_loopback])
        assert address.version == 4 or address in UNICAST
    assert may_connect(str(address), [ip_network(address)])


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "1.2.3.4.", "1.2.3.4 ", "::g", "1.2.3"])
def test_what_is_no_ip_address_is_not_connected_to(text: str) -> None:
    assert not may_connect(text, [ip_network("0.0.0.0/0"), ip_network("::/0")])


def test_a_listed_network_is_of_its_own_kind() -> None:
    listed = [ip_network("10.1.0.0/16")]
    assert may_connect("10.1.2.3", listed)
    assert not may_connect("10.2.0.1", listed)
    assert not may_connect("::ffff:10.1.2.3", listed)
    assert ip_address("::ffff:10.1.2.3").version == 6


def test_who_wants_what() -> None:
    assert wants("ept_1", [], "order.paid", "ord_1")
    assert wants("ept_1", ["order.paid"], "order.paid", "ord_1")
    assert not wants("ept_1", ["order.paid"], "order.held", "ord_1")
