"""Small line plots as SVG, two to a row: figures over days, a line for each community, named where it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 470, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 92, 44, 34
INK, PALE, GRID = "#1f2933", "#66727f", "#e4e8ec"
COLOURS = ("#c2410c", "#0f766e", "#4338ca")
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans CJK SC', 'WenQuanYi Micro Hei', sans-serif"
STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000)


@dataclass(frozen=True, slots=True)
class Plot:
    """`lines` are values by day from the first on, by name; None: not known on that day."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[float | None]]
    top: float | None = None


def draw(plots: Sequence[Plot], title: str) -> str:
    """A page of plots."""
    rows = (len(plots) + 1) // 2
    width, height = 2 * WIDTH, rows * HEIGHT + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="{FONT}" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="30" font-size="17" font-weight="600" fill="{INK}">{escape(title)}</text>',
    ]
    for number, plot in enumerate(plots):
        across, down = number % 2 * WIDTH, number // 2 * HEIGHT + 46
        parts.append(f'<g transform="translate({across} {down})">')
        parts += _plot(plot)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _plot(plot: Plot) -> list[str]:
    days = max(len(line) for line in plot.lines.values())
    top, step = _scale(plot)
    inner, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(day: int, value: float) -> tuple[float, float]:
        return LEFT + inner * day / max(days - 1, 1), TOP + tall * (1 - value / top)

    parts = [
        f'<text x="{LEFT}" y="20" font-weight="600" fill="{INK}">{escape(plot.title)}</text>',
        f'<text x="{LEFT}" y="35" font-size="11" fill="{PALE}">{escape(plot.unit)}</text>',
    ]
    for value in range(0, round(top) + 1, step):
        x, y = at(0, value)
        parts.append(f'<path d="M{x:.1f} {y:.1f}h{inner}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end" fill="{PALE}">{value}</text>')
    for day in range(0, days + 1, 30 if days > 45 else 10):
        x, y = at(max(day - 1, 0), 0)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 19:.1f}" text-anchor="middle" fill="{PALE}">'
            f"{'day 1' if day == 0 else day}</text>"
        )
    ends: list[tuple[float, float, str, str]] = []
    for colour, (name, line) in zip(COLOURS, plot.lines.items(), strict=False):
        points = [(day, value) for day, value in enumerate(line) if value is not None]
        if not points:
            continue
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(day, min(value, top)) for day, value in points))
        parts.append(
            f'<polyline points="{shown}" fill="none" stroke="{colour}" stroke-width="2"'
            ' stroke-linejoin="round" stroke-linecap="round"/>'
        )
        x, y = at(points[-1][0], min(points[-1][1], top))
        ends.append((y, x, colour, name))
    last = -100.0
    for y, x, colour, name in sorted(ends):  # names that would lie upon each other move apart
        last = max(y + 4, last + 15)
        parts.append(
            f'<text x="{x + 7:.1f}" y="{last:.1f}" font-weight="600" fill="{colour}">{escape(name)}</text>'
        )
    return parts


def _scale(plot: Plot) -> tuple[float, int]:
    """Where the scale ends, and its steps: at most five of them."""
    most = plot.top or max(
        (value for line in plot.lines.values() for value in line if value is not None), default=1
    )
    step = next((step for step in STEPS if most / step <= 5), STEPS[-1])
    return max(-(-most // step) * step, step), step
