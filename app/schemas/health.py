from datetime import date

from pydantic import BaseModel, Field

from app.domain.health import Part, Verdict
from app.schemas.growth import RatioPublic


class WordsPublic(BaseModel):
    """The same in English and in Chinese."""

    en: str
    zh: str


class ComponentPublic(BaseModel):
    """A part of the score, and why it is what it is."""

    part: Part
    score: int = Field(description="0 to 100 得分")
    weight: int = Field(description="Beside the weights of the other parts that are known 权重")
    lost: float = Field(description="Points that the score loses by it 扣分")
    reason: WordsPublic


class AdvicePublic(BaseModel):
    part: Part
    lost: float = Field(description="Points to be won 可挽回的分")
    advice: WordsPublic


class CohortPublic(BaseModel):
    """Those who bought first in a week, and how many of them bought again within 30 days."""

    week: date = Field(description="Its Monday 周一")
    again: RatioPublic


class TriadPublic(BaseModel):
    conversion: RatioPublic = Field(description="Members who bought in the last 28 days ÷ members 转化")
    repurchase: RatioPublic = Field(description="Of the cohorts, who bought again within 30 days 复购")
    cohorts: list[CohortPublic] = Field(description="Those whose 30 days were over in the window 按首购周")
    spread: RatioPublic = Field(description="New members whom others brought ÷ active members 裂变")


class BalancePublic(BaseModel):
    """Both sides in points, by what for."""

    given: dict[str, int] = Field(description="To members 成员得到的")
    taken: dict[str, int] = Field(description="From members 取自成员的")
    ratio: RatioPublic = Field(description="given ÷ taken 平衡")


class SharesPublic(BaseModel):
    """Of the members at the end of the last day that is over. The four add up to all."""

    members: int
    active: int = Field(description="Acted within 30 days 活跃")
    silent: int = Field(description="Only looked, or just joined, within 30 days 沉默")
    dormant: int = Field(description="Neither for 30 days, but within 90 沉睡")
    zombie: int = Field(description="Neither for 90 days 僵尸")


class AnswersPublic(BaseModel):
    questions: int
    answered: int = Field(description="Questions that had their first answer 已答复")
    answered_in_time: int = Field(description="Of them, within the promise; 0 where there is none 按时答复")
    seconds: int | None = Field(description="Median until the first answer 答复时长中位数")


class HealthPublic(BaseModel):
    """Whether a community is alive. The definitions are in docs/metrics.md."""

    community_id: str
    name: str
    since: date
    until: date = Field(description="Not included 不含")
    days: int = Field(description="Days of the window that are over and were counted 已统计天数")
    score: int | None = Field(description="0 to 100; null: too little is known 健康分")
    before: int | None = Field(description="The score of the window before 上一期得分")
    verdict: Verdict | None
    words: WordsPublic
    components: list[ComponentPublic]
    advice: list[AdvicePublic] = Field(description="What would help, what costs most first 改进建议")
    triad: TriadPublic
    balance: BalancePublic
    shares: SharesPublic | None = Field(description="null: no day of the window is over 成员构成")
    leave_reasons: dict[str, int]
    answers: AnswersPublic
    figures: dict[str, int] = Field(description="Sums over the window 各项合计")


class DayPublic(BaseModel):
    day: date
    whole: bool = Field(description="It is over, and was counted as a whole 已收盘")
    score: int | None = Field(description="Of the 28 days up to it 健康分")
    value: int = Field(description="Points of value given to members 价值分")
    figures: dict[str, int]


class DaysPublic(BaseModel):
    community_id: str
    since: date
    until: date
    items: list[DayPublic]


class RankedPublic(BaseModel):
    community_id: str
    name: str
    score: int
    members: int
    active: int
    silent: int
    zombie: int
    value: int = Field(description="Points of value given on the day 当日价值分")


class RankingPublic(BaseModel):
    """Communities by their score of a day, those that need help most first."""

    day: date
    items: list[RankedPublic]
    next: str | None = Field(description="Pass it as `after` to read on 下一页")
