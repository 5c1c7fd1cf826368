"""Every chat platform there is, by its name."""

from app.gateways.chat import dingtalk, discord, feishu, slack, telegram, wechat, wecom
from app.gateways.chat.platform import ChatPlatform

PLATFORMS: dict[str, ChatPlatform] = {
    module.PLATFORM.name: module.PLATFORM for module in (wecom, wechat, feishu, dingtalk, telegram, slack, discord)
}
