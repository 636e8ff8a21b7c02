"""What a clip is like, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicvae.music.score import Score

__all__ = ["FEATURES", "features", "plausibility"]

FEATURES = ("note_count", "pitch_range", "note_length")
"""Notes a clip; highest − lowest pitch in semitones; mean duration in quarter notes."""


def features(score: Score) -> NDArray[np.float64]:
    """Return the FEATURES of a clip (3,); a clip without notes has zeros."""
    if not len(score):
        return np.zeros(len(FEATURES))
    return np.array([len(score), np.ptp(score.pitch), score.duration.mean() / score.steps_per_beat], dtype=np.float64)


def plausibility(clips: Sequence[Score], reference: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Return for each feature the 5 % and 95 % quantiles of the reference, the clips' median, and the share inside.

    Of the reference itself 90 % lie inside, by definition.
    """
    ours, theirs = np.stack([features(c) for c in clips]), np.stack([features(c) for c in reference])
    low, high = np.quantile(theirs, [0.05, 0.95], axis=0)
    inside = ((ours >= low) & (ours <= high)).mean(axis=0)
    rows = zip(FEATURES, low, high, np.median(theirs, axis=0), np.median(ours, axis=0), inside, strict=True)
    return {
        name: {"low": float(a), "high": float(b), "reference_median": float(m), "median": float(o), "inside": float(i)}
        for name, a, b, m, o, i in rows
    }
