"""What a clip is like in one number at a time, and which way in the latent space it grows.

The first five attributes, the vectors and the table of their effects are those of the MusicVAE paper (Roberts et al.
2018, figure 4 and appendix C), whose code was not published; register, polyphony, loudness and length are added.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate.intervals import wilson
from musicvae.music.score import PARTS, Score

__all__ = [
    "ATTRIBUTES",
    "PAPER",
    "Attribute",
    "Effect",
    "attribute_vectors",
    "attributes_for",
    "effect",
    "effect_table",
    "measure",
]

C_MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
DRUMS = PARTS.index("drums")
ROWS = 2**16
"""Latent vectors added up at once: their copies in double precision stay small."""


class Attribute(NamedTuple):
    """One thing to measure of a clip."""

    name: str
    description: str
    """What is measured, with its unit, in one line."""
    parts: tuple[str, ...]
    """Parts that it describes when a clip has only them; see `attributes_for`."""
    function: Callable[[Score], float]
    """The value of a clip; 0 where the clip has no note to measure."""


def diatonic(score: Score) -> float:
    """Return the share of notes whose pitch class lies in C major, 0–1, drums aside."""
    pitch = score.pitch[score.part != DRUMS]
    return float(C_MAJOR[pitch % 12].mean()) if len(pitch) else 0.0


def density(score: Score) -> float:
    """Return the notes a 16th: the paper's onsets a step, the same on every grid. Rests count as time."""
    return len(score) * _sixteenth(score) / (score.bars * score.steps_per_bar)


def interval(score: Score) -> float:
    """Return the mean |interval| in semitones between successive notes, drums aside.

    Where notes begin together the highest of them counts. Parts are lines of their own: the intervals within each are
    averaged together, and there is none from the bass to the melody.
    """
    steps = []
    for part in np.unique(score.part[score.part != DRUMS]):
        line = score.part == part
        onset, pitch = score.onset[line], score.pitch[line]
        highest = np.append(np.diff(onset) != 0, True)  # notes of one onset and part stand in order of pitch
        steps.append(np.abs(np.diff(pitch[highest])))
    every = np.concatenate([*steps, np.zeros(0)])
    return float(every.mean()) if len(every) else 0.0


def syncopation_16(score: Score) -> float:
    """Return the share of onsets on an even 16th of the bar (the 2nd, 4th, …) with no onset on the 16th before, 0–1.

    Notes that begin together are one onset. Onsets between the 16ths of a finer grid are never syncopated.
    """
    sixteenth = _sixteenth(score)
    return _syncopated(score, sixteenth, (sixteenth,))


def syncopation_8(score: Score) -> float:
    """Return the share of onsets on an off-beat 8th with no onset on the 16th or on the 8th before, 0–1.

    Notes that begin together are one onset. Onsets between the 16ths of a finer grid are never syncopated.
    """
    sixteenth = _sixteenth(score)
    return _syncopated(score, 2 * sixteenth, (sixteenth, 2 * sixteenth))


def register(score: Score) -> float:
    """Return the mean pitch as a MIDI note number, drums aside."""
    pitch = score.pitch[score.part != DRUMS]
    return float(pitch.mean()) if len(pitch) else 0.0


def polyphony(score: Score) -> float:
    """Return the mean number of notes that sound, over the steps of the clip where any does."""
    end = score.bars * score.steps_per_bar
    began = np.bincount(score.onset, minlength=end + 1)
    ended = np.bincount(np.minimum(score.onset.astype(np.int64) + score.duration, end), minlength=end + 1)
    sounding = np.cumsum(began - ended)[:end]
    return float(sounding.sum() / np.count_nonzero(sounding)) if len(score) else 0.0


def loudness(score: Score) -> float:
    """Return the mean MIDI velocity."""
    return float(score.velocity.mean()) if len(score) else 0.0


def length(score: Score) -> float:
    """Return the mean length of a note in quarter notes; what sounds beyond the last bar counts."""
    return float(score.duration.mean()) / score.steps_per_beat if len(score) else 0.0


_PITCHED = ("piano", "melody", "bass")

ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        name: Attribute(name, description, parts, function)
        for name, description, parts, function in (
            ("diatonic", "share of notes in C major, 0–1", _PITCHED, diatonic),
            ("density", "notes a 16th", PARTS, density),
            ("interval", "mean interval between successive (top) notes, semitones", _PITCHED, interval),
            ("syncopation_16", "share of onsets on even 16ths, none on the 16th before", PARTS, syncopation_16),
            ("syncopation_8", "share of onsets on off-beat 8ths, none on the 16th or 8th before", PARTS, syncopation_8),
            ("register", "mean pitch, MIDI note number", _PITCHED, register),
            ("polyphony", "mean number of notes sounding, silence aside", ("piano", "drums"), polyphony),
            ("loudness", "mean MIDI velocity", ("piano",), loudness),
            ("length", "mean length of a note, quarter notes", _PITCHED, length),
        )
    }
)
"""Everything that can be measured, the paper's five first. A clip without notes has 0 of everything."""

PAPER = ("diatonic", "density", "interval", "syncopation_16", "syncopation_8")
"""The paper's five."""


def attributes_for(parts: Collection[str]) -> tuple[str, ...]:
    """Return the names of the ATTRIBUTES that describe clips of these parts, in their order.

    Clips of one part: those whose `parts` name it; pitch means nothing to drums. Clips of several parts, such as trios:
    the paper's five, where pitch is that of all notes but the drums' and rhythm that of all notes.
    Raises ConfigError for an unknown part, or none.
    """
    names = set(parts)
    if not names or not names <= set(PARTS):
        raise ConfigError(f"parts are {sorted(names)}; wanted one or more of {', '.join(PARTS)}")
    if len(names) > 1:
        return PAPER
    return tuple(a.name for a in ATTRIBUTES.values() if names <= set(a.parts))


def measure(clips: Sequence[Score], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the attributes of these names for each clip: (clips, names). Raises ConfigError for an unknown name."""
    if unknown := [name for name in names if name not in ATTRIBUTES]:
        raise ConfigError(f"no attribute is called {unknown[0]!r}; wanted some of {', '.join(ATTRIBUTES)}")
    functions = [ATTRIBUTES[name].function for name in names]
    values = [[function(clip) for function in functions] for clip in clips]
    return np.array(values, dtype=np.float64).reshape(len(clips), len(names))


def attribute_vectors(z: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return for each attribute the mean z of the top third of the clips − the mean z of the bottom third (A, Z).

    `z` (n, Z) are the clips' latent vectors, `values` (n, A) what `measure` says of the clips. Clips that are equal at
    the border of a third share the places that are left in it, so that the order of the clips changes nothing: many
    clips have no syncopation at all. Clips without notes are better left out.
    Raises DataError if the shapes do not fit, a value is not finite, or an attribute is the same for all clips.
    """
    if z.ndim != 2 or values.ndim != 2 or len(z) != len(values):
        raise DataError(f"attribute vectors: z is {z.shape}, values {values.shape}; wanted (clips, Z), (clips, A)")
    if len(z) < 3:
        raise DataError(f"attribute vectors: {len(z)} clips have no thirds; wanted 3 or more")
    if not np.isfinite(values).all():
        raise DataError("attribute vectors: a value is not a finite number; measure the clips again")
    if (same := np.flatnonzero(np.ptp(values, axis=0) == 0)).size:
        raise DataError(
            f"attribute vectors: attribute {same[0]} is {values[0, same[0]]:g} for all {len(z)} clips, so it has no "
            "direction; leave it out, or take more and other clips"
        )
    weights = np.stack([_bottom_third(-column) - _bottom_third(column) for column in values.T])  # (A, n)
    vectors = np.zeros((values.shape[1], z.shape[1]))
    for i in range(0, len(z), ROWS):
        vectors += weights[:, i : i + ROWS] @ z[i : i + ROWS].astype(np.float64)
    return vectors.astype(np.float32)


class Effect(NamedTuple):
    """What moving along each vector does to each attribute: the paper's figure 4, in numbers."""

    names: tuple[str, ...]
    """The attributes measured (A), the columns."""
    vectors: tuple[str, ...]
    """The attributes whose vectors were applied (V), the rows."""
    change: NDArray[np.float64]
    """(V, A) change of each attribute's mean, in % of the mean before; ±∞ if that was 0."""
    moved: NDArray[np.float64]
    """(V,) share of samples whose own attribute moved the way it was meant to, 0–1; those that stayed did not."""
    low: NDArray[np.float64]
    """(V,) lower end of the 95 % interval of `moved` (Wilson)."""
    high: NDArray[np.float64]
    """(V,) its upper end."""


def effect(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    names: Sequence[str],
    vectors: Sequence[str] | None = None,
    *,
    added: bool = True,
) -> Effect:
    """Compare samples before and after each of V vectors was applied to their z.

    `before` (n, A) and `after` (V, n, A) are measures of the same samples in the same order; `names` (A) are their
    columns and `vectors` (V) the rows, by default the same. `added` is False where the vectors were subtracted.
    Raises DataError if the shapes do not fit and ConfigError if a vector's own attribute was not measured.
    """
    vectors = names if vectors is None else vectors
    if missing := [v for v in vectors if v not in names]:
        raise ConfigError(f"effect: the vector {missing[0]!r} has no column; measure it too (got {', '.join(names)})")
    n = len(before)
    if not n or before.shape != (n, len(names)) or after.shape != (len(vectors), *before.shape):
        wanted = f"(n, {len(names)}) and ({len(vectors)}, n, {len(names)}), n at least 1"
        raise DataError(f"effect: before is {before.shape} and after {after.shape}; wanted {wanted}")
    was, now = before.mean(axis=0, dtype=np.float64), after.mean(axis=1, dtype=np.float64)
    gone = np.where(now == was, 0.0, np.copysign(np.inf, now - was))
    change = np.divide(100 * (now - was), np.abs(was), out=gone, where=was != 0)
    own = [names.index(v) for v in vectors]
    step = (after - before)[np.arange(len(own)), :, own]  # (V, n)
    share = wilson((step > 0 if added else step < 0).sum(axis=1), n)
    return Effect(tuple(names), tuple(vectors), change, share.estimate, share.low, share.high)


def effect_table(result: Effect) -> str:
    """Return an effect as a Markdown table: a row a vector, its own attribute in bold, changes in %."""
    lines = [f"| vector | {' | '.join(result.names)} | moved as meant |", f"|---|{'---:|' * (len(result.names) + 1)}"]
    for row, vector in enumerate(result.vectors):
        cells = []
        for name, percent in zip(result.names, result.change[row], strict=True):
            text = f"{percent:+.1f} %".replace("-", "−").replace("inf", "∞")
            cells.append(f"**{text}**" if name == vector else text)
        moved = f"{result.moved[row]:.1%} ({100 * result.low[row]:.1f}–{100 * result.high[row]:.1f})".replace("%", " %")
        lines.append(f"| {vector} | {' | '.join(cells)} | {moved} |")
    return "\n".join(lines) + "\n"


def _sixteenth(score: Score) -> int:
    """Return the steps of a 16th: a whole number on each of the GRIDS."""
    return score.steps_per_beat // 4


def _syncopated(score: Score, unit: int, before: tuple[int, ...]) -> float:
    """Return the share of onsets at odd multiples of `unit` steps in their bar, with none `before` steps earlier."""
    onsets = np.unique(score.onset)
    if not len(onsets):
        return 0.0
    # An odd position is never the first of its bar, so that what lies before it is in the same bar.
    syncopated = onsets % score.steps_per_bar % (2 * unit) == unit
    for steps in before:
        syncopated &= ~np.isin(onsets - steps, onsets)
    return float(syncopated.mean())


def _bottom_third(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return weights (n,) of sum 1: even over the lowest third, shared by those that are equal at its border."""
    k = len(values) // 3
    border = np.partition(values, k - 1)[k - 1]
    below, equal = values < border, values == border
    weights: NDArray[np.float64] = (below + equal * ((k - below.sum()) / equal.sum())) / k
    return weights
