"""Requests to addresses of others: nothing is connected to but what was checked, however it is spelled."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import anyio
import httpcore
import pytest
from anyio.abc import SocketStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.domain.endpoints import Target, parse_url
from app.domain.errors import InvalidTerms
from app.gateways import webhooks
from app.gateways.webhooks import AddressRefused, Webhooks
from tests.receivers import HOST, Receiver, Reply, receiving

PRIVATE_NAMES = {
    "localtest.example": ["127.0.0.1"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "compatible.example": ["::127.0.0.1"],
    "translated.example": ["64:ff9b::7f00:1"],
    "mixed.example": ["93.184.215.14", "127.0.0.1"],
    "mixed-six.example": ["::1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "metadata.example": ["169.254.169.254"],
    "scoped.example": ["fe80::1%lo"],
    "nonsense.example": ["not an address"],
}
LOOPBACK = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.0.0.01", "127.000.000.001", "127.127.127.127"),
    *("2130706433", "017700000001", "0177.0.0.1", "0177.0.0.01", "0177.0000.0000.0001"),
    *("0x7f000001", "0x7F000001", "0x7f.0x0.0x0.0x1", "0x7f.1", "0X7F.0.0.1", "0x0000007f.0x1", "0177.0x1"),
    *("0", "00", "0x0", "0.0.0.0", "localhost", "LOCALHOST", "LocalHost", "localhost."),
    *("①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "localhoſt", "１２７。１", "2130706433."),
    *("::1", "0:0:0:0:0:0:0:1", "0000::0001", "::", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1"),
    *("::ffff:7f00:1", "::ffff:0:127.0.0.1", "0:0:0:0:0:ffff:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:7f00:0001::1", "2001:0:7f00:1::", "2001::80ff:fffe"),
]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1"),
    *("169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "::ffff:169.254.169.254"),
    *("192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "4294967295", "6425673729"),
    *("fe80::1", "fe80::1%lo", "fe80::1%25lo", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1"),
    *("100::1", "2001:db8::1", "3fff::1", "5f00::1", "2002:a9fe:a9fe::1", "64:ff9b::a9fe:a9fe"),
]
CONFUSING = [
    *("user@127.0.0.1", "93.184.215.14@127.0.0.1", "93.184.215.14:80@127.0.0.1", "user:pw@127.0.0.1"),
    *("127.0.0.1#@93.184.215.14", "93.184.215.14#@127.0.0.1", "93.184.215.14\\@127.0.0.1", "127.0.0.1\\@a.example"),
    *("127.0.0.1%00.a.example", "127.0.0.1\x00.a.example", "127%2e0%2e0%2e1", "127.0.0.1\t", "12\n7.0.0.1"),
    *(" 127.0.0.1", "127.0.0.1 ", "127.0.0.1\r\nhost: a.example", "127..0.0.1", ".127.0.0.1", "[::1", "[[::1]]"),
    *("[127.0.0.1]", "[localhost]", "127.0.0.1:80:80", "127.0.0.1,93.184.215.14", "", "*", "a.example;127.0.0.1"),
]
HEADERS = {"webhook-id": "1"}
SPELLINGS = [*LOOPBACK, *PRIVATE, *CONFUSING, *PRIVATE_NAMES]


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that is connected to; below it uvloop leaves Python, so nothing deeper can be listened to."""
    heard: list[Any] = []
    connect: Callable[..., Awaitable[SocketStream]] = anyio.connect_tcp

    async def hear(remote_host: str, remote_port: int, **options: Any) -> SocketStream:
        heard.append((remote_host, remote_port))
        return await connect(remote_host, remote_port, **options)

    monkeypatch.setattr(anyio, "connect_tcp", hear)
    return heard


@pytest.fixture
async def sender() -> AsyncIterator[Webhooks]:
    sender = Webhooks([ip_network(f"{HOST}/32")])
    sender.backend.resolve = resolve
    yield sender
    await sender.close()


async def resolve(host: str, port: int) -> Sequence[str]:
    """As the system does, but without asking a name server."""
    if host in PRIVATE_NAMES:
        return PRIVATE_NAMES[host]
    if host.lower().startswith("localhost"):
        return await webhooks._resolve(host, port)
    loop, numeric = asyncio.get_running_loop(), socket.AI_NUMERICHOST
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    return [str(address[0]) for *_, address in found]


@pytest.fixture
async def inside() -> AsyncIterator[Receiver]:
    """What must not be reached: it listens on every loopback address there is, but that of receivers."""
    async with receiving(host="127.0.0.1") as receiver:
        try:
            six = await asyncio.start_server(receiver.serve, "::1", receiver.port)
        except OSError:  # a machine without IPv6
            six = None
        yield receiver
        if six is not None:
            six.close()


def test_there_are_many_spellings() -> None:
    assert len(set(SPELLINGS)) == len(SPELLINGS) >= 100


async def test_nothing_is_connected_to_that_is_not_public(
    sender: Webhooks, inside: Receiver, connects: list[Any]
) -> None:
    for host in SPELLINGS:
        with pytest.raises((AddressRefused, OSError, UnicodeError)):
            await sender.backend.connect_tcp(host, inside.port)
        if host.isascii():
            answer = await sender.post(Target("http", host, inside.port, "/"), {}, b"{}")
            assert answer.status is None, host
            assert answer.error, host
    assert connects == []
    assert inside.connections == 0


async def test_the_counter_counts(inside: Receiver, connects: list[Any]) -> None:
    """The negative control: where everything may be connected to, most spellings of the loopback get there."""
    everywhere = Webhooks([ip_network("0.0.0.0/0"), ip_network("::/0")])
    everywhere.backend.resolve = resolve
    for host in LOOPBACK[:28]:
        with suppress(OSError, httpcore.ConnectError):  # not every spelling is known to every system
            await (await everywhere.backend.connect_tcp(host, inside.port)).aclose()
    await everywhere.close()
    assert inside.connections >= 15
    assert len(connects) >= inside.connections


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_spellings_are_refused_before_or_are_names(scheme: str) -> None:
    """What is read as a name is looked up each time, and refused by what it leads to."""
    taken = set()
    for host in SPELLINGS:
        written = f"[{host}]" if host.count(":") > 1 and "[" not in host else host
        try:
            taken.add(parse_url(f"{scheme}://{written}:8080/hook", plain=True).host)
        except InvalidTerms:
            continue
    literal = {host for host in taken if host.replace(".", "").isdigit() or ":" in host}
    assert literal <= {*LOOPBACK, *PRIVATE}, "and by nothing but an address in its usual form"
    assert taken - literal == {"localhost", *PRIVATE_NAMES}


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://a.example/",
            "file:///etc/passwd",
            "gopher://a.example/",
            "//a.example/",
            "a.example",
            "http:a.example",
        ),
        *("https://a.example:22/", "https://a.example:0/", "https://a.example:65536/", "https://a.example:/"),
        *("https://a.example?x", "https://a.example/a b", "https://a.example/\r\nx", "https://a.example/#x"),
        *(
            "https://a.example/\\x",
            "https:///x",
            "https://:443/",
            "javascript:alert(1)",
            "https://-\x7f/",
            "data:,x",
        ),
        *("unix:/run/docker.sock", "https://a.example/é", "https://" + "a" * 64 + ".example/"),
        "https://" + ".".join(["a" * 60] * 5) + "/",
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(InvalidTerms):
        parse_url(url, plain=True)


async def test_of_several_addresses_the_next_is_tried(sender: Webhooks, connects: list[Any]) -> None:
    async with receiving() as receiver:

        async def two(_host: str, _port: int) -> list[str]:
            return [HOST, HOST]

        sender.backend.resolve = two
        target = Target("http", "two.example", receiver.port, "/x?y=z")
        assert (await sender.post(target, HEADERS | {"a": "b"}, b"{}")).status == 200
        (request,) = receiver.requests
        assert (request.headers["host"], request.headers["a"]) == (f"two.example:{receiver.port}", "b")
    connects.clear()
    answer = await sender.post(Target("http", "two.example", receiver.port, "/"), {}, b"{}")
    assert answer.status is None
    assert connects == [(HOST, receiver.port)] * 2


async def test_a_connection_is_used_again_and_a_proxy_is_not(
    sender: Webhooks, inside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
    async with receiving() as receiver:
        target = Target("http", HOST, receiver.port, "/")
        assert (await sender.post(target, HEADERS, b"{}")).status == 200
        assert len(receiver.requests) == 1
    assert inside.connections == 0


async def test_whatever_comes_back_is_an_answer_or_an_error(sender: Webhooks) -> None:
    said = b""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(say, HOST, 0)
    target = Target("http", HOST, server.sockets[0].getsockname()[1], "/")
    for said in (
        *(b"", b"HTTP/1.1", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nx" * 100_000),
        *(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: y\r\n\r\n"),
        *(b"HTTP/1.1 -1 OK\r\n\r\n", b"\x16\x03\x01" * 100, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"),
        b"HTTP/1.1 200 OK\r\nretry-after: \xff\r\ncontent-encoding: gzip\r\n\r\n\x00\x01",
    ):
        answer = await sender.post(target, HEADERS, b"{}")
        assert (answer.status is None) == (answer.error is not None), said
        assert len(answer.error or "") <= 200
        assert len(answer.body) <= 1024
    server.close()


async def test_who_cannot_prove_its_name_is_sent_nothing(sender: Webhooks, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "merchant.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "key.pem")
    receiver = Receiver(0, answer=lambda _: Reply())
    server = await asyncio.start_server(receiver.serve, HOST, 0, ssl=context)
    target = Target("https", HOST, server.sockets[0].getsockname()[1], "/")
    answer = await sender.post(target, HEADERS, b"{}")
    assert "CERTIFICATE_VERIFY_FAILED" in (answer.error or "")
    assert receiver.requests == []
    server.close()
