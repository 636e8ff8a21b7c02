"""The pictures of the page in SVG. Colours and lines are given by the style sheet, so that they follow the theme.

Series differ by more than colour: real music is a filled area and diamonds, generated clips a solid line and discs,
real against real a dashed line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from musicvae.evaluate.distances import FeatureDistances

__all__ = ["Mark", "densities", "sample", "strip"]

F64 = NDArray[np.float64]

POINTS = 120
"""Points of a curve."""
TAIL = 0.004
"""Of the largest density: where all curves stay below this, the picture ends."""
SIZE = 100.0, 44.0
"""Width and height of a picture of densities, which is stretched to the room it has."""
WIDTH, HEIGHT, EDGE = 190, 22, 7
"""Size of a strip in pixels, and its margin."""


class Mark(NamedTuple):
    """A figure on a strip, with its interval."""

    series: str
    """`real` (a diamond), `generated` (a disc) or `baseline` (a ring)."""
    value: float
    low: float
    high: float


def densities(row: FeatureDistances, half: FeatureDistances | None, name: str) -> Markup:
    """Draw the densities of the distances of a feature, and of real against real beside them.

    Nothing but curves: what is to be read stands around the picture, so that it can be of any size.
    """
    curves = {"real": row.density.real, "generated": row.density.inter}
    x = row.density.distance
    if half is not None:
        curves["halves"] = np.interp(x, half.density.distance, half.density.inter, left=0, right=0)
    top = max(float(y.max()) for y in curves.values()) or 1.0
    seen = np.flatnonzero(np.logical_or.reduce([y > TAIL * top for y in curves.values()]) & (x >= 0))
    first, last = (max(float(x[seen[0]]), 0.0), float(x[seen[-1]])) if len(seen) else (0.0, float(x[-1]))
    first = 0.0 if first < 0.2 * last else first
    at = np.linspace(first, last, POINTS)
    across = np.linspace(0, SIZE[0], POINTS)
    lines = {
        series: _line(across, SIZE[1] - 1 - np.interp(at, x, y) / top * (SIZE[1] - 4)) for series, y in curves.items()
    }
    said = f"Densities of the distances of {name}: within real clips, from generated to real clips" + (
        ", and from one half of the real songs to the other" if half is not None else ""
    )
    if np.isfinite(row.figures.overlap):
        said += f". The first two overlap by {row.figures.overlap:.2f}"
    out = [
        Markup(
            '<svg class="densities" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>'
        ).format(int(SIZE[0]), int(SIZE[1]), said),
        Markup('<path class="area" d="{}L100 43L0 43Z"/>').format(lines["real"]),
    ]
    out += [
        Markup('<path class="{}" d="{}"/>').format(series, lines[series])
        for series in ("halves", "generated")
        if series in lines and curves[series].any()
    ]
    ends = Markup("</svg><span>{}</span><span>distance</span><span>{}</span>").format(_short(first), _short(last))
    return Markup('<div class="plot">') + Markup("").join(out) + ends + Markup("</div>")


def strip(marks: Sequence[Mark], said: str, low: float = 0.0, high: float = 1.0, rule: float | None = None) -> Markup:
    """Draw figures with their intervals on one line from `low` to `high`; `rule` is a value to be seen against."""

    def x(figure: float) -> float:
        share = (min(max(figure, low), high) - low) / ((high - low) or 1.0)
        return round(EDGE + share * (WIDTH - 2 * EDGE), 2)

    out = [
        Markup(
            '<svg class="strip" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"><title>{said}</title>'
            '<path class="axis" d="M{a} {y}H{b}"/>'
        ).format(w=WIDTH, h=HEIGHT, said=said, a=x(low), b=x(high), y=HEIGHT / 2)
    ]
    ticks = [low, (low + high) / 2, high] if rule is None else [low, high]
    out += [Markup('<path class="tick" d="M{} {}v5"/>').format(x(tick), HEIGHT / 2 - 2.5) for tick in ticks]
    if rule is not None:
        out.append(Markup('<path class="rule" d="M{} 1V{}"/>').format(x(rule), HEIGHT - 1))
    known = [mark for mark in marks if np.isfinite(mark.value)]
    for mark in known:
        if mark.high > mark.low:
            band = Markup('<path class="interval {}" d="M{} {}H{}"/>')
            out.append(band.format(mark.series, x(mark.low), HEIGHT / 2, x(mark.high)))
    out += [_symbol(mark.series, x(mark.value), HEIGHT / 2) for mark in known]
    return Markup("").join([*out, Markup("</svg>")])


def sample(series: str) -> Markup:
    """Draw what a series looks like, for a legend."""
    head = Markup('<svg class="sample" viewBox="0 0 30 14" width="30" height="14" aria-hidden="true">')
    if series == "area":
        return head + Markup('<path class="area" d="M1 13C9 13 11 2 15 2S21 13 29 13Z"/></svg>')
    if series in ("halves", "line"):
        kind = "generated" if series == "line" else series
        return head + Markup('<path class="{}" d="M1 8H29"/></svg>').format(kind)
    return head + _symbol(series, 15, 7) + Markup("</svg>")


def _symbol(series: str, x: float, y: float) -> Markup:
    if series == "real":
        return Markup('<path class="mark real" d="M{} {}l5.2 5.2l-5.2 5.2l-5.2 -5.2z"/>').format(x, y - 5.2)
    return Markup('<circle class="mark {}" cx="{}" cy="{}" r="4.4"/>').format(series, x, y)


def _line(x: F64, y: F64) -> str:
    return "M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in zip(x, y, strict=True))


def _short(x: float) -> str:
    return "0" if x == 0 else f"{x:.3g}" if x < 1000 else f"{x:,.0f}"
