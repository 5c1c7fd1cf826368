"""Who asks for the address of an invite: a person, what makes a preview of it for a chat, or a program."""

import re
from enum import StrEnum

PREVIEWS = re.compile(
    r"facebookexternalhit|meta-external|whatsapp|url2meta|linkservice|unfurl|embedly|iframely|onebox|vkshare|scrap"
    r"|preview|crawler|spider|(?<!cu)bot(?![a-z])",
    re.IGNORECASE,
)
"""What those that fetch a link to show it in a chat call themselves: Slackbot, Discordbot, TelegramBot, Twitterbot,
DingTalkBot-LinkService and so on. The browsers inside WeChat, Feishu and DingTalk are people, with MicroMessenger,
Lark or AliApp in their names; so are those whose phone was made by Cubot.
"""
HTML, JSON = "text/html", "application/json"


class Reader(StrEnum):
    PERSON = "person"
    PREVIEW = "preview"
    PROGRAM = "program"


def reader_of(accept: str | None, user_agent: str | None) -> Reader:
    """Who sends these headers. Whoever wants JSON and no page is a program, whatever it is called."""
    wants = (accept or "").lower()
    if JSON in wants and HTML not in wants:
        return Reader.PROGRAM
    if PREVIEWS.search(user_agent or ""):
        return Reader.PREVIEW
    return Reader.PERSON if HTML in wants else Reader.PROGRAM
