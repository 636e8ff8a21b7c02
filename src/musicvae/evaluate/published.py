"""Features by the rules of the published code of Yang and Lerch (MGEval), to compare figures with it.

Its rules were made for single lines. In piano music a mean interval leads up through every chord, the time between
onsets is 0 within chords, and transitions depend on the tempo. Its errors are not repeated: the code takes a bar of 4/4
to be half as long as it is, and looks for one feature at the first track and for another at the second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicvae.music.score import PARTS, Score

__all__ = ["average_interval", "inter_onset_interval", "pitch_class_histogram", "pitch_class_transitions"]

THRESHOLD = 0.05
"""Seconds between the end of a note and the beginning of another, below which there is a transition."""


def pitch_class_histogram(score: Score) -> NDArray[np.float64]:
    """Return the share of each pitch class, C first, in the sum of duration × velocity (12,); drums aside."""
    pitch, weight = _pitch(score), _columns(score, score.duration) * _columns(score, score.velocity)
    sums = np.bincount(pitch % 12, weight, minlength=12)
    return sums / (sums.sum() or 1)


def pitch_class_transitions(score: Score) -> NDArray[np.float64]:
    """Return how many pairs of notes of a part lead from pitch class to pitch class (from, to): counts (12, 12).

    A pair is any two notes, chords included, of which the second begins within THRESHOLD seconds of the end of the
    first: what overlaps or leaves a gap is not counted. Drums aside.
    """
    near = round(THRESHOLD * score.steps_per_beat * score.tempo / 60, 9)  # in steps; 0.05 has no exact double
    pitch, part = _pitch(score) % 12, _columns(score, score.part)
    start = _columns(score, score.onset)
    end = start + _columns(score, score.duration)
    counts = np.zeros((12, 12))
    for mine in (part == p for p in np.unique(part)):
        if mine.sum() > 1:
            source, target = np.nonzero(np.abs(np.subtract.outer(end[mine], start[mine])) < near)
            np.add.at(counts, (pitch[mine][source], pitch[mine][target]), 1)
    return counts


def average_interval(score: Score) -> NDArray[np.float64]:
    """Return the mean |interval| in semitones of each note of a part to the next (); NaN of nothing.

    Notes that begin together follow each other from the lowest up. Drums aside.
    """
    part = _columns(score, score.part)
    order = np.argsort(part, kind="stable")
    steps = np.abs(np.diff(_pitch(score)[order]))[np.diff(part[order]) == 0]
    return np.asarray(steps.mean() if len(steps) else np.nan)


def inter_onset_interval(score: Score) -> NDArray[np.float64]:
    """Return the mean time from each note to the next in seconds (), 0 within a chord; NaN with fewer than two."""
    gaps = np.diff(score.onset)
    return np.asarray(gaps.mean() / score.steps_per_beat * 60 / score.tempo if len(gaps) else np.nan)


def _pitch(score: Score) -> NDArray[np.int64]:
    return _columns(score, score.pitch)


def _columns(score: Score, column: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return a column without the drums, wide enough for products."""
    pitched: NDArray[np.int64] = column[score.part != PARTS.index("drums")].astype(np.int64)
    return pitched
