"""Charts as self-contained SVG. They have no script, only classes for the style of the page, and every text is escaped.

Points are rounded to pixels and each pixel is drawn once, so the size of a chart is limited for any number of experiments.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.format import clipped
from studio.format import number as label
from studio.reporting.scales import Point, Scale, best_so_far, even_ticks, value_scale

LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 28  # margins in pixels
MAX_POINTS = 1500  # of one chart
MAX_NAMED = 20  # best points that show number and value under the mouse; at most a tenth of all points
LETTER_WIDTH = 7  # pixels


@dataclass(frozen=True)
class Frame:
    """The size of a chart in pixels, and the pixels of its points. A result beyond the value axis is drawn at the edge."""

    width: int
    height: int
    values: Scale  # the value axis

    def x(self, at: float) -> int:
        return LEFT + round((self.width - LEFT - RIGHT) * min(1.0, max(0.0, at)))

    def y(self, value: float) -> int:
        at = self.values.place(value) or 0.0
        return TOP + round((self.height - TOP - BOTTOM) * (1 - min(1.0, max(0.0, at))))

    def beyond(self, value: float) -> int:
        """Return 1 for a value above the value axis, -1 for one below it, else 0."""
        at = self.values.place(value) or 0.0
        return (at > 1) - (at < 0)


def best_chart(points: Sequence[Point], sign: float, metric: str) -> str:
    """Return a chart of every result by the number of its experiment. A line of steps shows the best result so far."""
    first, last = points[0].number, max(points[-1].number, points[0].number + 1)
    frame = Frame(860, 280, value_scale(points, sign, metric))

    def place(point: Point) -> tuple[int, int]:
        return frame.x((point.number - first) / (last - first)), frame.y(point.value)

    steps = best_so_far(points, sign)
    line = "".join(f"{'H' if at else 'M'}{x}{'V' if at else ' '}{y}" for at, (x, y) in enumerate(map(place, steps)))
    body = [
        *_results([(point, *place(point)) for point in thinned(points, sign)], frame),
        f'<path class="line" d="{line}H{frame.x(1.0)}"/>',
        _named([(point, *place(point)) for point in steps[-MAX_NAMED:] if not frame.beyond(point.value)]),
    ]
    ticks = [((at - first) / (last - first), label(at)) for at in even_ticks(first, last, 8) if at == round(at)]
    return _chart(f"best {metric} so far, by experiment", frame, body, ticks)


def slice_chart(scale: Scale, points: Sequence[Point], sign: float, metric: str) -> str:
    """Return a chart of every result by the value of one hyperparameter."""
    frame = Frame(420, 220, value_scale(points, sign, metric))
    placed: list[tuple[Point, int, int]] = []
    for point in thinned(points, sign):
        at = scale.place(point.values[scale.axis.name]) if scale.axis.name in point.values else None
        if at is None:
            continue
        placed.append((point, frame.x(at + scale.spread(point.number)), frame.y(point.value)))
    best = sorted(placed, key=lambda dot: -sign * dot[0].value)[: max(1, min(MAX_NAMED, len(placed) // 10))]
    body = [*_results(placed, frame), _named([dot for dot in best[::-1] if not frame.beyond(dot[0].value)])]
    return _chart(f"{metric} by {scale.axis.label}", frame, body, scale.ticks(5))


def thinned(points: Sequence[Point], sign: float) -> list[Point]:
    """Return at most `MAX_POINTS` points in their order: the best points, and others at even intervals."""
    if len(points) <= MAX_POINTS:
        return list(points)
    best = sorted(points, key=lambda point: -sign * point.value)[:MAX_NAMED]
    step = math.ceil(len(points) / (MAX_POINTS - MAX_NAMED))
    return sorted({point.number: point for point in [*points[::step], *best]}.values(), key=lambda point: point.number)


def _chart(title: str, frame: Frame, body: Sequence[str], ticks: Sequence[tuple[float, str]]) -> str:
    name, right = html.escape(clipped(title, 100)), frame.width - RIGHT
    parts = [f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{name}"><title>{name}</title>']
    for at, text in frame.values.ticks(6):
        y = frame.height - BOTTOM - round((frame.height - TOP - BOTTOM) * at)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{right}"/>')
        parts.append(f'<text class="side" x="{LEFT - 6}" y="{y + 4}">{text}</text>')
    letters = max(4, int((right - LEFT) / max(1, len(ticks)) / LETTER_WIDTH))
    for at, text in ticks:
        short = html.escape(clipped(text, letters))
        parts.append(f'<text class="below" x="{frame.x(at)}" y="{frame.height - BOTTOM + 18}">{short}</text>')
    return "".join([*parts, *body, "</svg>"])


def _results(placed: Sequence[tuple[Point, int, int]], frame: Frame) -> list[str]:
    """Return a dot for each result on the value axis, and a triangle that points outwards for each result beyond it."""
    dots = _dots([(x, y) for point, x, y in placed if not frame.beyond(point.value)])
    triangles = [
        f'<path class="beyond" d="M{x - 4} {y}h8l-4 {-7 * side}z"><title>#{point.number}: {label(point.value)}</title></path>'
        for point, x, y in placed
        if (side := frame.beyond(point.value))
    ]
    return [dots, *triangles]


def _dots(places: Iterable[tuple[int, int]]) -> str:
    """Return one path for all points. Each point is a line of length 0 with round ends, which is drawn as a dot."""
    return f'<path class="dots" d="{"".join(f"M{x} {y}h0" for x, y in sorted(set(places)))}"/>'


def _named(dots: Iterable[tuple[Point, int, int]]) -> str:
    """Return circles that show number and value under the mouse."""
    return "".join(
        f'<circle class="best" cx="{x}" cy="{y}" r="3"><title>#{point.number}: {label(point.value)}</title></circle>'
        for point, x, y in dots
    )
