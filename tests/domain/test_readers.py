"""Who asks for an invite's address."""

import pytest

from app.domain.readers import Reader, reader_of

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
ANDROID = "Mozilla/5.0 (Linux; Android 14; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Mobile"


@pytest.mark.parametrize(
    "agent",
    [
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "facebookexternalhit/1.1;line-poker/1.0",
        "Twitterbot/1.0",
        "TelegramBot (like TwitterBot)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "WhatsApp/2.23.20.0",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "DingTalkBot-LinkService/1.0 (+https://open-doc.dingtalk.com/microapp/faquestions/ftpfeu)",
        "Mozilla/5.0 (compatible; LarkUrl2Meta/1.0)",
        "Mozilla/5.0 (Windows NT) SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "kakaotalk-scrap/1.0",
    ],
)
@pytest.mark.parametrize("accept", [None, "*/*", HTML])
def test_what_shows_links_in_chats(agent: str, accept: str | None) -> None:
    assert reader_of(accept, agent) == Reader.PREVIEW
    assert reader_of("application/json", agent) == Reader.PROGRAM


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "",
        ANDROID.format("Pixel 8"),
        ANDROID.format("CUBOT NOTE 20"),
        ANDROID.format("V2183A") + " MicroMessenger/8.0.49 WeChat/arm64 Weixin",
        ANDROID.format("V2183A") + " wxwork/4.1.20 MicroMessenger/7.0.1",
        ANDROID.format("V2183A") + " Lark/7.20.5 LarkLocale/zh_CN ChannelName/Feishu",
        ANDROID.format("V2183A") + " AliApp(DingTalk/7.6.0) com.alibaba.android.rimet",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/470.0]",
    ],
)
def test_people_and_programs(agent: str | None) -> None:
    assert reader_of(HTML, agent) == Reader.PERSON
    assert reader_of(HTML.upper(), agent) == Reader.PERSON
    for accept in (None, "*/*", "application/json"):
        assert reader_of(accept, agent) == Reader.PROGRAM
