"""XML as it is sent, and as it is sent by who means harm."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import SignatureInvalid
from app.gateways.chat.xmlfields import read_fields

BILLION = (
    """<!DOCTYPE xml [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><Content>&b;</Content></xml>"""
)
REFUSED = {
    "nothing": "",
    "no XML": "{}",
    "entities": BILLION,
    "a file": '<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><A>&a;</A></xml>',
    "an address": '<!DOCTYPE xml SYSTEM "http://127.0.0.1/x.dtd"><xml><A>a</A></xml>',
    "a parameter entity": '<!DOCTYPE xml [<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;]><xml/>',
    "an empty type": "<!DOCTYPE xml><xml><A>a</A></xml>",
    "an unknown entity": "<xml><A>&a;</A></xml>",
    "twice": "<xml><A>a</A><A>b</A></xml>",
    "an attribute": "<xml><A a='b'>a</A></xml>",
    "a comment": "<xml><!-- a --><A>a</A></xml>",
    "an instruction": "<xml><?php echo 1 ?><A>a</A></xml>",
    "text between": "<xml>a<A>a</A></xml>",
    "text after": "<xml><A>a</A></xml>a",
    "two": "<xml><A>a</A></xml><xml><A>a</A></xml>",
    "open": "<xml><A>a",
    "deep": "<xml>" + "<A>" * 100 + "</A>" * 100 + "</xml>",
    "another encoding": '<?xml version="1.0" encoding="utf-16"?><xml><A>\ud800</A></xml>',
}


def test_fields_have_text_and_what_has_fields_has_none() -> None:
    body = "<xml>\n<A><![CDATA[<b>&amp;]]></A> <B>1 &lt; 2</B><C/><D><E>deep</E></D></xml>"
    assert read_fields(body.encode()) == {"A": "<b>&amp;", "B": "1 < 2", "C": "", "D": ""}
    assert read_fields("<xml><内容>开团</内容></xml>".encode()) == {"内容": "开团"}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_whatever_no_platform_sends_is_refused(body: str) -> None:
    with pytest.raises(SignatureInvalid):
        read_fields(body.encode(errors="surrogatepass"))


@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("<>/xml!?[]&;DOCTYPE -'\"=A"), max_size=200).map(str.encode)
    | st.text(max_size=50).map(lambda text: f"<xml><A>{text}</A></xml>".encode(errors="surrogatepass"))
)
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with suppress(SignatureInvalid):
        assert all(isinstance(text, str) for text in read_fields(body).values())
