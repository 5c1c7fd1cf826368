"""How things are said in a chat: in its language, with amounts and times as people there write them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from babel.dates import format_timedelta
from babel.numbers import format_currency, get_currency_precision

from app.domain.bindings import Language
from app.domain.commands import Verb, say


@dataclass(frozen=True, slots=True)
class Tongue:
    """The language of a chat."""

    language: Language

    @property
    def zh(self) -> bool:
        return self.language == Language.ZH

    def say(self, zh: str, en: str) -> str:
        """Whichever is spoken here."""
        return zh if self.zh else en

    def command(self, verb: Verb, number: int | None = None) -> str:
        """How one says a command here."""
        return say(verb, zh=self.zh, number=number)

    def quoted(self, verb: Verb, number: int | None = None) -> str:
        """The same, within a sentence."""
        return self.say("「{}」", "“{}”").format(self.command(verb, number))

    def money(self, amount: int, currency: str) -> str:
        """An amount of minor units."""
        digits = get_currency_precision(currency)
        value = Decimal(amount).scaleb(-digits)
        return str(format_currency(value, currency, locale=self.say("zh_CN", "en")))

    def until(self, moment: datetime, now: datetime) -> str:
        """How long until a moment: `2 小时`."""
        left = max(moment - now, timedelta())
        return str(format_timedelta(left, threshold=2, locale=self.say("zh_CN", "en")))
