"""Request bodies to try, as the documentation offers them. The ids are placeholders; the rest works as it is."""

from fastapi.openapi.models import Example

OFFER, SALE, GROUP = (f"{prefix}_019a0c5e7d0a7b3c8f21a4d5e6f70812" for prefix in ("off", "sal", "grp"))
COMMUNITY, SKU = (f"{prefix}_019a0c5e7d0a7b3c8f21a4d5e6f70812" for prefix in ("com", "sku"))
NOTICE = "ntc_019a0c5e7d0a7b3c8f21a4d5e6f70812"

LOGIN: dict[str, Example] = {
    "dev": {
        "summary": "As anybody you like 任意昵称",
        "value": {"provider": "dev", "code": "alice", "name": "爱丽丝"},
    },
}
IDENTITY: dict[str, Example] = {
    "dev": {"summary": "Under another name 另一个昵称", "value": {"provider": "dev", "code": "alice-at-work"}},
}
PHONE: dict[str, Example] = {
    "dev": {"summary": "Any number you like 任意手机号", "value": {"provider": "dev", "code": "+8613800138000"}},
}
PHONE_SEARCH: dict[str, Example] = {
    "number": {"summary": "A number 手机号", "value": {"phone": "138 0013 8000"}},
}
CLAIM: dict[str, Example] = {
    "one": {"summary": "One unit 一件", "value": {"offer_id": OFFER}},
    "invited": {
        "summary": "Brought by a friend 受邀参团",
        "value": {"offer_id": OFFER, "quantity": 1, "invite_code": "7Yp2KqXw3N"},
    },
    "coupon": {"summary": "With a coupon 使用优惠券", "value": {"offer_id": OFFER, "coupon_code": "TEA20"}},
}
BARGAIN: dict[str, Example] = {"offer": {"summary": "For an offer 选择报价", "value": {"offer_id": OFFER}}}
PURCHASE: dict[str, Example] = {
    "one": {
        "summary": "One unit, with the ticket you were given 凭入场券购买",
        "value": {"offer_id": OFFER, "ticket": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"},
    },
}
BINDING: dict[str, Example] = {
    "telegram": {
        "summary": "A Telegram bot Telegram 机器人",
        "value": {
            "platform": "telegram",
            "community_id": COMMUNITY,
            "language": "zh",
            "credentials": {
                "secret_token": "a-secret-of-your-own",
                "bot_token": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
                "bot_username": "KaituanBot",
            },
        },
    },
}
BINDING_UPDATE: dict[str, Example] = {
    "language": {"summary": "Speak English 改用英文", "value": {"language": "en"}},
}
ADMISSION: dict[str, Example] = {
    "plain": {"summary": "Where nothing is asked 直接排队", "value": {}},
    "device": {"summary": "With the id of your device 携带设备标识", "value": {"device": "a1b2c3d4e5f6"}},
}
ENTRY: dict[str, Example] = {
    "one": {"summary": "One unit 一件", "value": {"offer_id": OFFER}},
    "party": {"summary": "Two, or none 两件，要么全有", "value": {"offer_id": OFFER, "quantity": 2}},
}
INVITE: dict[str, Example] = {
    "group": {"summary": "To a group 邀请入团", "value": {"group_id": GROUP, "channel": "chat"}},
    "sale": {"summary": "To a sale 分享活动", "value": {"sale_id": SALE, "channel": "poster"}},
    "community": {"summary": "To a community 邀请入群", "value": {"community_id": COMMUNITY}},
    "limited": {
        "summary": "For ten members 限十人使用",
        "value": {"sale_id": SALE, "channel": "qr", "max_uses": 10},
    },
}
ME: dict[str, Example] = {
    "named": {"summary": "By my masked name 显示脱敏昵称", "value": {"seen_by_friends": "named"}},
    "hidden": {"summary": "Not at all 隐藏", "value": {"seen_by_friends": "hidden"}},
}
FACTS: dict[str, Example] = {
    "phone": {
        "summary": "Agree to two, and tell 授权并填写",
        "value": {"consents": ["device", "city"], "device": "phone", "city": "杭州"},
    },
    "tags": {
        "summary": "Words of your own, and of operators 自选标签与运营标签",
        "value": {"consents": ["own_tags", "tags"], "own_tags": ["夜跑"]},
    },
    "nothing": {"summary": "Withdraw 撤回", "value": {"consents": []}},
}
TAGS: dict[str, Example] = {"none": {"summary": "Take all off 清空标签", "value": {"tags": []}}}
SEGMENT: dict[str, Example] = {
    "new": {
        "summary": "Who has not bought yet 新客",
        "value": {"name": "新客", "rule": {"fact": "orders", "is": "exactly", "value": 0}},
    },
    "vip": {
        "summary": "Who kept 1,000 yuan paid, and bought within 90 days 高价值老客",
        "value": {
            "name": "VIP",
            "rule": {
                "all": [
                    {"fact": "spent", "is": "at_least", "value": 100_000},
                    {"fact": "days_since_last_order", "is": "at_most", "value": 90},
                ]
            },
        },
    },
    "night": {
        "summary": "Who checks in at night, on a phone 夜跑族",
        "value": {
            "name": "夜跑族",
            "rule": {
                "all": [
                    {"fact": "night_check_ins", "is": "at_least", "value": 3},
                    {
                        "any": [
                            {"fact": "device", "is": "one_of", "value": ["phone"]},
                            {"not": {"fact": "night_share", "is": "at_most", "value": 49}},
                        ]
                    },
                ]
            },
        },
    },
    "list": {
        "summary": "A list of members 指定名单",
        "value": {
            "name": "试用名单",
            "kind": "static",
            "member_ids": ["mem_019a0c5e7d0a7b3c8f21a4d5e6f70812"],
        },
    },
}
PREVIEW: dict[str, Example] = {
    "all": {
        "summary": "Among all members 全部成员",
        "value": {"rule": {"fact": "member_days", "is": "at_most", "value": 7}},
    },
    "community": {
        "summary": "In one community 某个社群内",
        "value": {"rule": {"fact": "orders", "is": "exactly", "value": 0}, "community_id": COMMUNITY},
    },
}
ERASURE: dict[str, Example] = {
    "nothing": {"summary": "With nothing left 无余额", "value": {"confirm": "erase"}},
    "forfeit": {
        "summary": "Giving up the balance 放弃余额",
        "value": {"confirm": "erase", "forfeit_balance": True},
    },
}
SALE_DRAFT: dict[str, Example] = {
    "group": {
        "summary": "Three buy together within a day 三人团",
        "value": {
            "community_id": COMMUNITY,
            "title": "三人团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 3,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "order_limit": 2,
            "member_limit": 1,
            "attribution": {"touch": "first", "window_days": 14},
            "offers": [{"sku_id": SKU, "price": 4900, "list_price": 6900, "stock": 300}],
        },
    },
    "rescue": {
        "summary": "Groups that do not fill are rescued 救团",
        "value": {
            "community_id": COMMUNITY,
            "title": "救团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 5,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "order_limit": 3,
            "rescue": {"merge": True, "extend_seconds": 7200, "flexible": True, "cover_seats": 1},
            "offers": [{"sku_id": SKU, "price": 4900, "solo_price": 5900, "stock": 300}],
        },
    },
    "flash": {
        "summary": "A hundred at eight o'clock, one each 秒杀",
        "value": {
            "community_id": COMMUNITY,
            "kind": "flash",
            "title": "秒杀 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "hold_ttl_seconds": 300,
            "admission": {"admit_per_second": 50, "per_address": 20},
            "offers": [{"sku_id": SKU, "price": 1900, "list_price": 6900, "stock": 100}],
        },
    },
    "members": {
        "summary": "For members only, those a segment fits 成员专享",
        "value": {
            "community_id": COMMUNITY,
            "kind": "flash",
            "title": "成员专享 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "hold_ttl_seconds": 300,
            "members_only": True,
            "segment_ids": ["seg_019a0c5e7d0a7b3c8f21a4d5e6f70812"],
            "offers": [{"sku_id": SKU, "price": 1900, "list_price": 6900, "stock": 100}],
        },
    },
    "bargain": {
        "summary": "Ten cuts from 99 to 49, a new friend makes two 砍价",
        "value": {
            "community_id": COMMUNITY,
            "kind": "bargain",
            "title": "砍价 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "bargain": {"slots": 10, "daily_helps": 3, "new_member_days": 7, "new_member_weight": 2},
            "offers": [{"sku_id": SKU, "price": 4900, "list_price": 9900, "stock": 100}],
        },
    },
    "draw": {
        "summary": "Entered until eight o'clock, then drawn 抽签",
        "value": {
            "community_id": COMMUNITY,
            "kind": "flash",
            "title": "抽签 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "allocation": "draw",
            "draws_at": "2099-12-30T12:00:00Z",
            "max_weight": 3,
            "hold_ttl_seconds": 300,
            "offers": [{"sku_id": SKU, "price": 1900, "list_price": 6900, "stock": 100}],
        },
    },
    "ladder": {
        "summary": "Two are enough, and more pay less 阶梯团",
        "value": {
            "community_id": COMMUNITY,
            "title": "阶梯团 · 明前龙井",
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "group_size": 10,
            "min_size": 2,
            "group_ttl_seconds": 86_400,
            "hold_ttl_seconds": 900,
            "offers": [
                {
                    "sku_id": SKU,
                    "price": 6000,
                    "stock": 300,
                    "ladder": [{"heads": 3, "price": 5000}, {"heads": 5, "price": 4500}],
                }
            ],
        },
    },
}
SALE_CHANGE: dict[str, Example] = {
    "stock": {"summary": "More stock 加库存", "value": {"offers": [{"sku_id": SKU, "stock": 500}]}},
    "end": {"summary": "A later end 延长活动", "value": {"closes_at": "2100-12-31T16:00:00Z"}},
}
SLOTS: dict[str, Example] = {
    "week": {
        "summary": "A week, three times a day 每天三场，共七天",
        "value": {
            "first_day": "2098-12-01",
            "last_day": "2098-12-07",
            "times": ["10:00", "14:00", "20:00"],
            "minutes": 60,
            "timezone": "Asia/Shanghai",
        },
    },
}
REMINDER: dict[str, Example] = {
    "five": {"summary": "Five minutes before 提前五分钟", "value": {}},
    "day": {"summary": "A day before 提前一天", "value": {"minutes_before": 1440}},
}
COUPON: dict[str, Example] = {
    "fixed": {
        "summary": "20 yuan off 99, a hundred times 满减券",
        "value": {
            "title": "满 99 减 20",
            "kind": "fixed",
            "value": 2000,
            "min_spend": 9900,
            "community_id": COMMUNITY,
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "total": 100,
        },
    },
    "percent": {
        "summary": "10 % off, at most 50 yuan, for those it is granted to 折扣券",
        "value": {
            "granted": True,
            "title": "老团员九折",
            "kind": "percent",
            "value": 10,
            "max_discount": 5000,
            "opens_at": "2026-01-01T00:00:00Z",
            "closes_at": "2099-12-31T16:00:00Z",
            "total": 1000,
            "member_limit": 2,
        },
    },
}
GRANT: dict[str, Example] = {
    "one": {
        "summary": "To one member 发放给一位成员",
        "value": {"member_ids": ["mem_019a0c5e7d0a7b3c8f21a4d5e6f70812"]},
    }
}
FORECAST: dict[str, Example] = {
    "curve": {
        "summary": "A slow start, then word gets around 需求曲线",
        "value": {
            "curve": [{"members": 10, "paying_percent": 60}, {"members": 100}, {"members": 1000}],
            "coupon_percent": 20,
            "coupon_discount": 1000,
            "reward_percent": 5,
        },
    },
    "what if": {
        "summary": "With less stock and another ladder 试算其他库存与阶梯价",
        "value": {
            "curve": [{"members": 200}],
            "group_size": 5,
            "min_size": 2,
            "offers": [
                {
                    "offer_id": OFFER,
                    "stock": 150,
                    "price": 6000,
                    "list_price": 6900,
                    "ladder": [{"heads": 4, "price": 5000}],
                }
            ],
        },
    },
}
POLICY: dict[str, Example] = {
    "inviters": {
        "summary": "5 % to who brought the buyer, 1 % to who brought them 两级邀请奖励",
        "value": {
            "title": "邀请有礼",
            "sale_id": SALE,
            "role": "inviter",
            "levels": [{"basis_points": 500}, {"basis_points": 100}],
            "order_cap": 2000,
            "day_cap": 10_000,
            "mature_days": 7,
        },
    },
    "leaders": {
        "summary": "One yuan to the leader for every order, in all sales of a community 团长奖励",
        "value": {
            "title": "团长奖励",
            "community_id": COMMUNITY,
            "role": "leader",
            "levels": [{"amount": 100}],
        },
    },
}
TOP_UP: dict[str, Example] = {"ten": {"summary": "A thousand yuan 一千元", "value": {"amount": 100_000}}}
PAYOUT: dict[str, Example] = {
    "one": {"summary": "One yuan 提现一元", "value": {"amount": 100, "account": "alice"}},
    "refused": {
        "summary": "To an account that refuses 收款账户拒收",
        "value": {"amount": 100, "account": "refuse"},
    },
}
RECONCILIATION: dict[str, Example] = {
    "a day": {"summary": "Once more 重新对账", "value": {"provider": "wechatpay", "day": "2026-01-31"}},
}
POST: dict[str, Example] = {
    "text": {"summary": "A few words 文字", "value": {"body": "今天的新茶到了"}},
    "question": {"summary": "A question 提问", "value": {"kind": "question", "body": "明前龙井用多少度的水？"}},
    "pictures": {
        "summary": "Pictures, and somebody who is told 图片与提及",
        "value": {"body": "看汤色", "pictures": ["https://cdn.example.com/tea.jpg"]},
    },
    "check in": {"summary": "A check-in, once a day 打卡", "value": {"kind": "check_in", "body": "今日阅读 30 页"}},
    "job": {"summary": "Work for somebody else 任务", "value": {"kind": "job", "body": "周六帮忙设计一张海报"}},
    "flash card": {
        "summary": "A flash sale, live 秒杀卡片",
        "value": {"kind": "flash_card", "body": "今晚八点", "sale_id": SALE},
    },
    "group card": {
        "summary": "A group, live 拼团卡片",
        "value": {"kind": "group_card", "body": "还差一人", "group_id": GROUP},
    },
}
COMMENT: dict[str, Example] = {
    "answer": {"summary": "An answer 回答", "value": {"body": "水温 80 度即可"}},
}
TIP: dict[str, Example] = {
    "thanks": {"summary": "Half a yuan 五毛", "value": {"amount": 50, "note": "谢谢团长"}},
    "in a community": {
        "summary": "In a community 社群内打赏",
        "value": {"amount": 50, "note": "谢谢回答", "community_id": COMMUNITY},
    },
}
PUSH: dict[str, Example] = {
    "all": {"summary": "To everybody, at once 发给所有人", "value": {"text": "明前龙井今晚八点开抢"}},
    "sale": {"summary": "With a sale 附带活动", "value": {"text": "明前龙井今晚八点开抢", "sale_id": SALE}},
}
NOTICES_READ: dict[str, Example] = {
    "up to": {"summary": "Up to this one 读到此条", "value": {"notice_id": NOTICE}},
}
PAY: dict[str, Example] = {
    "at once": {"summary": "At once, in full 立即全额支付", "value": {}},
    "account": {"summary": "From an account of yours 指定付款账户", "value": {"payer": "alice-bank-1"}},
    "twice told": {
        "summary": "Told twice, late, out of order 重复、延迟、乱序通知",
        "value": {
            "delay_seconds": 2,
            "duplicates": 3,
            "reorder": True,
        },
    },
    "wrong amount": {"summary": "Another amount, which is refunded 金额不符（将退款）", "value": {"amount": 1}},
    "refused": {"summary": "Refused 拒绝支付", "value": {"refuse": True}},
}
STATEMENT = {
    "audience": "爱茶的人",
    "need": "喝到当季的好茶",
    "benefits": "一起买更便宜，有人一起聊",
    "sustained_by": "每单的毛利",
    "posting_rules": "只谈茶",
}
COMMUNITY_DRAFT: dict[str, Example] = {
    "sales": {
        "summary": "Deals for members, in a forum 团购社群",
        "value": {"name": "西湖茶友", **STATEMENT},
    },
    "flash": {
        "summary": "For one occasion: it dissolves by itself, and what was written is erased 快闪社群",
        "value": {
            "name": "双十二快闪",
            "form": "chat",
            "lifespan": "flash",
            "closes_at": "2099-12-13T00:00:00Z",
            "on_dissolve": "erase",
            **STATEMENT,
        },
    },
    "service": {
        "summary": "Answers within two hours; members are approved 问答社群",
        "value": {
            "name": "儿科问答",
            "purpose": "service",
            "answer_minutes": 120,
            "join_mode": "approve",
            **STATEMENT,
        },
    },
    "paid": {
        "summary": "Paid, month by month 付费社群",
        "value": {
            "name": "每日一课",
            "purpose": "growth",
            "join_mode": "paid",
            "plan": {"price": 1990, "period_days": 30},
            **STATEMENT,
        },
    },
}
COMMUNITY_CHANGE: dict[str, Example] = {
    "rules": {
        "summary": "What one must not write, and when nothing is sent 规则与免打扰",
        "value": {
            "posting_rules": "只谈茶，不发广告",
            "blocked_words": ["加微信"],
            "quiet_from": "21:30",
            "quiet_to": "08:30",
        },
    },
}
JOIN: dict[str, Example] = {
    "alone": {"summary": "By yourself 直接加入", "value": {}},
    "application": {"summary": "Saying why 申请加入", "value": {"application": "我也爱喝茶"}},
}
MEMBERSHIP_CHANGE: dict[str, Example] = {
    "profile": {
        "summary": "What others see 对外展示",
        "value": {"nickname": "小满", "bio": "喜欢龙井", "shown": ["joined_day"]},
    },
    "pushes": {"summary": "One digest a day 只收摘要", "value": {"push_wish": "digest"}},
}
ENDPOINT: dict[str, Example] = {
    "orders": {
        "summary": "What becomes of orders 订单事件",
        "value": {
            "url": "https://erp.merchant.example/kaituan",
            "types": ["order.paid", "order.confirmed", "order.refunded"],
        },
    },
    "all": {"summary": "Everything 全部事件", "value": {"url": "https://erp.merchant.example/kaituan"}},
}
ENDPOINT_CHANGE: dict[str, Example] = {
    "pause": {"summary": "Pause 暂停", "value": {"paused": True}},
    "enable": {"summary": "Go on, paused or disabled as it is 恢复", "value": {"paused": False}},
    "types": {"summary": "Other types 更换事件类型", "value": {"types": ["group.succeeded", "group.failed"]}},
}
REDELIVERY: dict[str, Example] = {
    "event": {"summary": "From an event on 从某事件起", "value": {"since_event_id": 1}},
    "moment": {"summary": "From a moment on 从某时刻起", "value": {"since": "2026-01-01T00:00:00Z"}},
}
