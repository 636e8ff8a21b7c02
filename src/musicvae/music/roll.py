"""Draw a Score as a piano roll, in SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from musicvae.music.score import PARTS, Score

__all__ = ["BOTTOM", "LEFT", "RIGHT", "TOP", "roll_svg"]

_COLOURS = {"piano": "#2f6db5", "melody": "#c8553d", "bass": "#4c8a5b", "drums": "#7d6ba8"}
_BLACK_KEYS = frozenset({1, 3, 6, 8, 10})
LEFT, TOP, RIGHT, BOTTOM = 38.0, 24.0, 12.0, 12.0
"""Pixels around the notes."""
_FEWEST_KEYS = 25  # two octaves, so that a single note is not as high as the picture


def roll_svg(score: Score, *, width: int = 960, height: int = 320, title: str = "") -> str:
    """Return an SVG picture of `width` × `height` pixels.

    Time runs to the right with a line a beat and a stronger, numbered line a bar; pitch runs upwards with
    the rows of the black keys shaded and every C named (C4 is middle C). Notes are coloured by part and
    paler where they are softer. The picture brings its own light background.
    """
    low, high = _key_range(score)
    steps = score.bars * score.steps_per_bar
    across = (width - LEFT - RIGHT) / steps
    row = (height - TOP - BOTTOM) / (high - low + 1)
    right, bottom = width - RIGHT, height - BOTTOM

    def x(step: float) -> str:
        return f"{LEFT + step * across:.2f}"

    def y(pitch: int) -> str:
        return f"{TOP + (high - pitch) * row:.2f}"

    what = title or f"Piano roll: {len(score)} notes in {score.bars} bars of {score.meter[0]}/{score.meter[1]}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" font-family="system-ui, sans-serif" font-size="10">',
        f"<title>{escape(what)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#faf9f6"/>',
        f'<rect x="{x(0)}" y="{TOP}" width="{steps * across:.2f}" height="{bottom - TOP:.2f}" fill="#ffffff"/>',
    ]
    out.append('<g fill="#f0eee8">')
    out += [
        f'<rect x="{x(0)}" y="{y(pitch)}" width="{steps * across:.2f}" height="{row:.2f}"/>'
        for pitch in range(low, high + 1)
        if pitch % 12 in _BLACK_KEYS
    ]
    out.append("</g>")
    out += _time_lines(score, x, right, bottom)
    for pitch in range(low + (-low) % 12, high + 1, 12):
        line = f"{TOP + (high - pitch + 1) * row:.2f}"
        out.append(f'<path d="M{x(0)} {line}H{right}" stroke="#cfcabd" stroke-width="0.8"/>')
        out.append(f'<text x="{LEFT - 6}" y="{line}" text-anchor="end" fill="#6b675e">C{pitch // 12 - 1}</text>')
    out += _notes(score, x, y, across, row)
    out.append("</svg>\n")
    return "\n".join(out)


def _key_range(score: Score) -> tuple[int, int]:
    """Return the lowest and highest key to draw: all notes and a margin, two octaves at least."""
    low, high = (int(score.pitch.min()) - 2, int(score.pitch.max()) + 2) if len(score) else (60, 60)
    lacking = max(_FEWEST_KEYS - (high - low + 1), 0)
    low, high = low - lacking // 2, high + (lacking + 1) // 2
    shift = max(-low, 0) - max(high - 127, 0)
    return max(low + shift, 0), min(high + shift, 127)


def _time_lines(score: Score, x: Callable[[float], str], right: float, bottom: float) -> list[str]:
    """Return beat lines, bar lines and the numbers of the bars."""
    per_bar = score.steps_per_bar
    beat = 4 * score.steps_per_beat / score.meter[1]
    pixels = (right - LEFT) / score.bars
    out = []
    if pixels / score.meter[0] >= 4:  # closer lines would be a grey haze
        beats = (x(bar * per_bar + i * beat) for bar in range(score.bars) for i in range(1, score.meter[0]))
        path = "".join(f"M{at} {TOP}V{bottom}" for at in beats)
        out.append(f'<path d="{path}" stroke="#e3dfd5" stroke-width="0.6"/>')
    every = next(n for n in (1, 2, 4, 8, 16, 64, 256, 1024, score.bars) if n * pixels >= 18 or n >= score.bars)
    path = "".join(f"M{x(bar * per_bar)} {TOP}V{bottom}" for bar in range(0, score.bars + 1, every))
    out.append(f'<path d="{path}" stroke="#b9b3a4" stroke-width="0.9"/>')
    out += [
        f'<text x="{x((bar + min(every, score.bars - bar) / 2) * per_bar)}" y="{TOP - 8}" text-anchor="middle"'
        f' fill="#6b675e">{bar + 1}</text>'
        for bar in range(0, score.bars, every)
    ]
    return out


def _notes(
    score: Score, x: Callable[[float], str], y: Callable[[int], str], across: float, row: float
) -> Iterator[str]:
    end = score.bars * score.steps_per_bar
    for onset, pitch, duration, velocity, part in zip(*(c.tolist() for c in score.columns), strict=True):
        length = min(duration, end - onset) * across
        opacity = 0.35 + 0.65 * velocity / 127
        # A little short, so that a repeated note shows as two.
        yield (
            f'<rect x="{x(onset)}" y="{y(pitch)}" width="{max(length - 0.6, 0.6):.2f}" height="{row:.2f}"'
            f' rx="{min(row, length, 5.0) / 2.5:.2f}" fill="{_COLOURS[PARTS[part]]}" fill-opacity="{opacity:.2f}"/>'
        )
