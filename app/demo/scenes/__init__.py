"""Scenes: each shows one way to sell at a running service, over HTTP, and checks what it promises.

A scene is a module with `play(scene)`; it is named here.
"""

from collections.abc import Awaitable, Callable

from app.demo.scenes import bargain, chat, community, coupons, draw, flash, invite, ladder, rescue, slots
from app.demo.scenes.scene import Scene

SCENES: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "bargain": bargain.play,
    "chat": chat.play,
    "community": community.play,
    "coupons": coupons.play,
    "draw": draw.play,
    "flash": flash.play,
    "invite": invite.play,
    "ladder": ladder.play,
    "rescue": rescue.play,
    "slots": slots.play,
}
