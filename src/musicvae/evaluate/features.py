"""What a clip is like, in numbers: the features of Yang and Lerch (2020), and those that later papers added.

L.-C. Yang and A. Lerch, On the evaluation of generative models in music, Neural Computing and Applications 32, 2020.

Every function leaves the Score as it is and says what it takes from music in which notes sound together:

- *Pitch* is that of every part but the drums; *rhythm* is that of all parts.
- *Note lengths* are those of every part but the drums, whose notes have none.
- *The line* of a part has one note for each onset: the highest that begins there (of two of one pitch the longer).
  Intervals and transitions lead from one note of a line to the next: never across parts, never within a chord.
- A note belongs to the bar in which it begins, with its whole length. With `by_bar`, each bar is measured as if its
  notes were a clip of their own, so that nothing leads from one bar to the next.

Where there is nothing to measure, a count is 0, a histogram or matrix is all zeros, and anything else is NaN (not a
number). Time is counted in quarter notes, not in seconds, so that tempo and grid change nothing.
`_published` features follow the rules of the published code instead (`musicvae.evaluate.published`), so that figures
can be compared with its.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate import attributes, published
from musicvae.music.score import PARTS, Score

__all__ = [
    "ADDED",
    "FEATURES",
    "LENGTHS",
    "YANG_LERCH",
    "Feature",
    "average_interval",
    "empty_bar_rate",
    "extract",
    "groove_similarity",
    "inter_onset_interval",
    "line",
    "note_count",
    "note_length_histogram",
    "note_length_transitions",
    "pitch_class_entropy",
    "pitch_class_histogram",
    "pitch_class_transitions",
    "pitch_count",
    "pitch_range",
    "plausibility",
    "polyphony",
    "scale_consistency",
]

F64 = NDArray[np.float64]

DRUMS = PARTS.index("drums")
MAJOR = np.array([np.roll(np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11)), key) for key in range(12)], dtype=np.float64)
"""(12, 12) which pitch classes each major scale has; the natural minor scales are the same sets."""
LENGTHS = {
    "whole": 96,
    "half": 48,
    "quarter": 24,
    "8th": 12,
    "16th": 6,
    "dotted half": 72,
    "dotted quarter": 36,
    "dotted 8th": 18,
    "dotted 16th": 9,
    "half triplet": 32,
    "quarter triplet": 16,
    "8th triplet": 8,
}
"""The twelve classes of note lengths in the published order, in 24ths of a quarter note. A note has the nearest class;
of two that are equally near, the first."""


# ---------------------------------------------------------------------------------------------------------- pitch
def pitch_count(score: Score, *, by_bar: bool = False) -> F64:
    """Return the number of different pitches: (), or (bars,)."""
    return _result(_pitches(score, by_bar).sum(axis=1), by_bar)


def pitch_range(score: Score, *, by_bar: bool = False) -> F64:
    """Return the highest − the lowest pitch in semitones: (), or (bars,); NaN without pitches."""
    used = _pitches(score, by_bar)
    high, low = 127 - used[:, ::-1].argmax(axis=1), used.argmax(axis=1)
    return _result(np.where(used.any(axis=1), high - low, np.nan), by_bar)


def pitch_class_histogram(score: Score, *, by_bar: bool = False) -> F64:
    """Return the share of each pitch class, C first, in the sounding time of all notes: (12,), or (bars, 12)."""
    score = _pitched(score)
    return _result(_histogram(score, score.pitch % 12, 12, by_bar, score.duration), by_bar)


def pitch_class_transitions(score: Score, *, by_bar: bool = False) -> F64:
    """Return the share of each step from pitch class to pitch class (from, to) along the lines: (12, 12) of sum 1."""
    return _transitions(_pitched(score), lambda s: s.pitch % 12, by_bar)


def average_interval(score: Score, *, by_bar: bool = False) -> F64:
    """Return the mean |interval| along the lines in semitones: (), or (bars,); NaN where no note follows another."""
    score = _pitched(score)
    top, follows = line(score, by_bar=by_bar)
    steps, where = np.abs(np.diff(score.pitch[top]))[follows], _bar(score, by_bar)[top[:-1][follows]]
    return _result(_mean(steps, where, _groups(score, by_bar)), by_bar)


def scale_consistency(score: Score) -> F64:
    """Return the largest share of the notes that one major or natural minor scale holds, 0–1 (); NaN without pitches.

    Notes count alike, however long they are (Mogren 2016, section 4).
    """
    counts = np.bincount(_pitched(score).pitch % 12, minlength=12)
    return np.asarray((MAJOR @ counts).max() / counts.sum() if counts.any() else np.nan)


def pitch_class_entropy(score: Score, bars: int = 1) -> F64:
    """Return the entropy of the pitch classes of `bars` successive bars in bits, 0 to log2 12 = 3.58 ().

    Notes count alike. The mean over all stretches of so many bars that have a pitch, beginning at every bar; a shorter
    clip is one stretch. NaN without pitches (Wu and Yang 2020, The Jazz Transformer: H1 and H4).
    Raises ConfigError if `bars` is below 1.
    """
    if bars < 1:
        raise ConfigError(f"bars is {bars}; wanted 1 or more")
    pitched = _pitched(score)
    cell = pitched.onset // score.steps_per_bar * 12 + pitched.pitch % 12
    counts = np.bincount(cell, minlength=12 * score.bars).reshape(-1, 12)
    before = np.concatenate([np.zeros((1, 12), dtype=np.int64), np.cumsum(counts, axis=0)])
    width = min(bars, score.bars)
    p = _shares(before[width:] - before[:-width])
    p = p[p.any(axis=1)]
    # −p log2 p of 0 is 0. Adding 0 makes the entropy of a single pitch class 0, not −0.
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1) + 0.0
    return np.asarray(entropy.mean() if len(entropy) else np.nan)


# --------------------------------------------------------------------------------------------------------- rhythm
def note_count(score: Score, *, by_bar: bool = False) -> F64:
    """Return the number of notes, those of chords and drums included: (), or (bars,)."""
    groups = _groups(score, by_bar)
    return _result(np.bincount(_bar(score, by_bar), minlength=groups), by_bar)


def inter_onset_interval(score: Score, *, by_bar: bool = False) -> F64:
    """Return the mean time from an onset to the next in quarter notes: (), or (bars,); NaN with fewer than two.

    Notes that begin together, in whatever parts, are one onset.
    """
    onset = np.unique(score.onset)
    bar = onset // score.steps_per_bar if by_bar else np.zeros_like(onset)
    within = bar[1:] == bar[:-1]
    gaps = np.diff(onset)[within] / score.steps_per_beat
    return _result(_mean(gaps, bar[1:][within], _groups(score, by_bar)), by_bar)


def note_length_histogram(score: Score, *, by_bar: bool = False) -> F64:
    """Return the share of the notes in each class of LENGTHS: (12,), or (bars, 12).

    On a grid of 16ths some lengths lie between the classes of Western notation: five 16ths are nearest to a half
    triplet. Lengths beyond a whole note are whole notes.
    """
    score = _pitched(score)
    return _result(_histogram(score, _length_class(score), 12, by_bar), by_bar)


def note_length_transitions(score: Score, *, by_bar: bool = False) -> F64:
    """Return the share of each step from class to class of LENGTHS (from, to) along the lines: (12, 12) of sum 1."""
    return _transitions(_pitched(score), _length_class, by_bar)


def empty_bar_rate(score: Score) -> F64:
    """Return the share of bars in which no note sounds, 0–1 (); one held from the bar before counts (MuseGAN, 2018)."""
    steps = score.steps_per_bar
    began = np.bincount(score.onset // steps, minlength=score.bars + 1)
    last = (score.onset.astype(np.int64) + score.duration - 1) // steps
    ended = np.bincount(np.minimum(last + 1, score.bars), minlength=score.bars + 1)
    return np.asarray((np.cumsum(began - ended)[:-1] == 0).mean())


def polyphony(score: Score) -> F64:
    """Return the mean number of notes sounding, over the steps where any does (); NaN without notes."""
    return np.asarray(attributes.polyphony(score) if len(score) else np.nan)


def groove_similarity(score: Score) -> F64:
    """Return 1 − the mean share of steps of the bar at which one of two bars has an onset and the other has not ().

    Over all pairs of bars, empty ones included; NaN for a single bar (Wu and Yang 2020: GS). The steps are those of the
    Score's grid, 16 a bar in 4/4 by default, where the paper has 64: a finer grid gives higher values.
    """
    if score.bars < 2:
        return np.asarray(np.nan)
    beats = np.zeros((score.bars, score.steps_per_bar), dtype=np.bool_)
    beats[score.onset // score.steps_per_bar, score.onset % score.steps_per_bar] = True
    having = beats.sum(axis=0)  # of each step: k bars have it and U − k have not, which is k (U − k) pairs
    pairs = score.bars * (score.bars - 1) / 2
    return np.asarray(1 - (having * (score.bars - having)).sum() / pairs / score.steps_per_bar)


# ------------------------------------------------------------------------------------------------------- the table
class Feature(NamedTuple):
    """One thing to measure of a clip."""

    name: str
    description: str
    """What is measured, with its unit, in one line."""
    function: Callable[[Score], F64]
    """The value of a clip, of the same shape for all clips of one length."""
    by_bar: bool = False
    """Whether the value has a row for each bar."""


def _feature(name: str, description: str, function: Callable[..., F64], **settings: Any) -> Feature:
    by_bar = bool(settings.get("by_bar"))
    return Feature(name, description, functools.partial(function, **settings) if settings else function, by_bar)


_NINE = (
    ("pitch_count", "different pitches", pitch_count),
    ("note_count", "notes", note_count),
    ("pitch_class_histogram", "share of sounding time of each pitch class", pitch_class_histogram),
    ("pitch_class_transitions", "share of steps between pitch classes, top notes", pitch_class_transitions),
    ("pitch_range", "highest − lowest pitch, semitones", pitch_range),
    ("average_interval", "mean interval between successive top notes, semitones", average_interval),
    ("inter_onset_interval", "mean time between successive onsets, quarter notes", inter_onset_interval),
    ("note_length_histogram", "share of notes of each length", note_length_histogram),
    ("note_length_transitions", "share of steps between note lengths, top notes", note_length_transitions),
)
_MORE = (
    _feature("scale_consistency", "largest share of notes in one scale, 0–1", scale_consistency),
    _feature("empty_bar_rate", "share of bars in which nothing sounds, 0–1", empty_bar_rate),
    _feature("polyphony", "mean number of notes sounding, silence aside", polyphony),
    _feature("groove_similarity", "how alike the onsets of any two bars are, 0–1", groove_similarity),
    _feature("pitch_class_entropy_1", "entropy of the pitch classes of a bar, bits", pitch_class_entropy, bars=1),
    _feature("pitch_class_entropy_4", "entropy of the pitch classes of 4 bars, bits", pitch_class_entropy, bars=4),
)
_PUBLISHED = (
    ("pitch_class_histogram", "weighted by duration × velocity", published.pitch_class_histogram),
    ("pitch_class_transitions", "counts of notes that begin where one ends", published.pitch_class_transitions),
    ("average_interval", "from note to note, up through chords too", published.average_interval),
    ("inter_onset_interval", "seconds, 0 within chords", published.inter_onset_interval),
)

FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        feature.name: feature
        for feature in (
            *(_feature(*row) for row in _NINE),
            *(_feature(f"{name}_bar", f"{text}, bar by bar", f, by_bar=True) for name, text, f in _NINE),
            *_MORE,
            *(_feature(f"{name}_published", text, function) for name, text, function in _PUBLISHED),
        )
    }
)
"""Everything that can be measured, by name."""

YANG_LERCH = (*(row[0] for row in _NINE), "pitch_count_bar", "note_count_bar", "pitch_class_histogram_bar")
"""The features of Yang and Lerch: nine of the clip and three bar by bar."""
ADDED = tuple(feature.name for feature in _MORE)
"""Those that later papers added."""


def extract(clips: Sequence[Score], names: Sequence[str] = YANG_LERCH + ADDED) -> dict[str, F64]:
    """Return the features of these names: (clips, …), each clip's value in its own shape.

    Raises ConfigError for an unknown name, and DataError if a feature is measured bar by bar and the clips do not have
    the same number of bars.
    """
    if unknown := [name for name in names if name not in FEATURES]:
        raise ConfigError(f"no feature is called {unknown[0]!r}; wanted some of {', '.join(FEATURES)}")
    lengths = sorted({clip.bars for clip in clips})
    if len(lengths) > 1 and (rows := [name for name in names if FEATURES[name].by_bar]):
        raise DataError(
            f"the clips have {lengths[0]} to {lengths[-1]} bars, and {rows[0]} wants one length; "
            "cut them with Score.cut, or leave out the features that end in _bar"
        )
    return {name: np.array([FEATURES[name].function(clip) for clip in clips]) for name in names}


def line(score: Score, *, by_bar: bool = False) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the notes (L,) of all lines, part by part, and whether the next one follows (L − 1,): see above.

    It does not where another part begins or, with `by_bar`, another bar.
    """
    order = np.argsort(score.part, kind="stable")  # then by onset, pitch and duration, as they stand
    part, onset = score.part[order], score.onset[order]
    last = np.append((np.diff(onset) != 0) | (np.diff(part) != 0), True)[: len(score)]
    top = order[last]
    bar = _bar(score, by_bar)[top]
    return top, (np.diff(score.part[top]) == 0) & (np.diff(bar) == 0)


def plausibility(clips: Sequence[Score], reference: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Return for three features the 5 % and 95 % quantiles of the reference, the clips' median, and the share inside.

    They are the note count, the pitch range in semitones and the mean note length in quarter notes. Of the reference
    itself 90 % lie inside, by definition; a clip without notes never does. What the reference has none of (pitches
    of drums) is left out.
    """
    result = {}
    for name, function in (("note_count", note_count), ("pitch_range", pitch_range), ("note_length", _note_length)):
        ours, theirs = (np.array([function(clip) for clip in scores]) for scores in (clips, reference))
        theirs = theirs[~np.isnan(theirs)]
        if len(theirs):
            low, middle, high = np.quantile(theirs, [0.05, 0.5, 0.95])
            known = ours[~np.isnan(ours)]
            result[name] = {
                "low": float(low),
                "high": float(high),
                "reference_median": float(middle),
                "median": float(np.median(known)) if len(known) else 0.0,
                "inside": float(((ours >= low) & (ours <= high)).mean()),
            }
    return result


# --------------------------------------------------------------------------------------------------------- inside
def _note_length(score: Score) -> F64:
    return np.asarray(attributes.length(score) if len(score) else np.nan)


def _pitched(score: Score) -> Score:
    drums = score.part == DRUMS
    return score.select(~drums) if drums.any() else score


def _bar(score: Score, by_bar: bool) -> NDArray[np.int32]:
    """Return the group of each note (N,): its bar, or 0."""
    return score.onset // score.steps_per_bar if by_bar else np.zeros_like(score.onset)


def _groups(score: Score, by_bar: bool) -> int:
    return score.bars if by_bar else 1


def _result(rows: ArrayLike, by_bar: bool) -> F64:
    """Return the rows of all groups, or the only one."""
    values = np.asarray(rows, dtype=np.float64)
    return values if by_bar else values[0, ...]


def _pitches(score: Score, by_bar: bool) -> NDArray[np.bool_]:
    """Return which pitches each group has (groups, 128)."""
    score = _pitched(score)
    used = np.zeros((_groups(score, by_bar), 128), dtype=np.bool_)
    used[_bar(score, by_bar), score.pitch] = True
    return used


def _histogram(
    score: Score, kind: NDArray[np.integer], kinds: int, by_bar: bool, weights: NDArray[np.integer] | None = None
) -> F64:
    """Return the share of each kind in each group (groups, kinds)."""
    groups = _groups(score, by_bar)
    counts = np.bincount(_bar(score, by_bar) * kinds + kind, weights, minlength=groups * kinds)
    return _shares(counts.reshape(groups, kinds))


def _transitions(score: Score, kind_of: Callable[[Score], NDArray[np.integer]], by_bar: bool) -> F64:
    """Return the share of each step from kind to kind along the lines: (12, 12), or (bars, 12, 12)."""
    top, follows = line(score, by_bar=by_bar)
    groups, kind = _groups(score, by_bar), kind_of(score)[top]
    cell = (_bar(score, by_bar)[top[:-1]] * 12 + kind[:-1]) * 12 + kind[1:]
    counts = np.bincount(cell[follows], minlength=groups * 144).reshape(groups, 144)
    return _result(_shares(counts).reshape(groups, 12, 12), by_bar)


def _length_class(score: Score) -> NDArray[np.int64]:
    units = score.duration[:, None].astype(np.int64) * (24 // score.steps_per_beat)
    nearest: NDArray[np.int64] = np.abs(units - np.array(list(LENGTHS.values()))).argmin(axis=1)
    return nearest


def _shares(counts: NDArray[Any]) -> F64:
    """Return counts (groups, kinds) as shares of their row; a row of zeros stays one."""
    total = counts.sum(axis=1, keepdims=True)
    shares: F64 = np.divide(counts, total, out=np.zeros(counts.shape), where=total != 0)
    return shares


def _mean(values: NDArray[Any], group: NDArray[np.integer], groups: int) -> F64:
    """Return the mean of the values of each group (groups,); NaN of nothing."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, values, minlength=groups)
    mean: F64 = np.divide(total, count, out=np.full(groups, np.nan), where=count != 0)
    return mean
