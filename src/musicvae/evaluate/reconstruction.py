"""How much of a clip comes back: note onsets and durations, as the note-tree papers score them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.music.score import Score

__all__ = ["NoteCounts", "count_notes", "previous_bar", "rest"]


class NoteCounts(NamedTuple):
    """Counts over clips; add them up, then ask for the figures (micro average)."""

    matched: int = 0
    """Notes with the right pitch at the right onset step."""
    reference: int = 0
    """Notes of the originals."""
    estimate: int = 0
    """Notes of the reconstructions."""
    overlap: int = 0
    """Σ min(duration, duration') over matched notes, in steps."""
    reference_steps: int = 0
    """Σ duration of matched notes in the originals, in steps."""
    estimate_steps: int = 0
    """Σ duration of matched notes in the reconstructions, in steps."""

    def __add__(self, other: object) -> NoteCounts:  # type: ignore[override]
        """Add counts up."""
        assert isinstance(other, NoteCounts)
        return NoteCounts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def onset(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of note onsets: exact pitch and exact onset step."""
        return _prf(self.matched, self.estimate, self.reference)

    @property
    def duration(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of durations, on notes whose onset and pitch are right."""
        return _prf(self.overlap, self.estimate_steps, self.reference_steps)


def count_notes(reference: Score, estimate: Score) -> NoteCounts:
    """Compare two Scores on one grid, note by note; parts are not told apart."""
    (a, a_duration), (b, b_duration) = _keys(reference), _keys(estimate)
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    left, right = a_duration[in_a], b_duration[in_b]
    return NoteCounts(len(in_a), len(a), len(b), int(np.minimum(left, right).sum()), int(left.sum()), int(right.sum()))


def rest(tokens: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return the all-rest baseline for tokens (…, S, F): every bar ends at once."""
    silent = np.zeros_like(tokens)
    silent[..., 0] = end
    return silent


def previous_bar(tokens: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return the baseline that repeats the bar before, for tokens (B, U, S, F); the first bar is a rest."""
    shifted = rest(tokens, end)
    shifted[:, 1:] = tokens[:, :-1]
    return shifted


def _keys(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one number for each (onset, pitch) and the longest duration there."""
    key = score.onset.astype(np.int64) * 128 + score.pitch
    order = np.lexsort((-score.duration.astype(np.int64), key))
    unique, first = np.unique(key[order], return_index=True)
    return unique, score.duration[order][first].astype(np.int64)


def _prf(hit: int, estimate: int, reference: int) -> tuple[float, float, float]:
    precision = hit / estimate if estimate else 0.0
    recall = hit / reference if reference else 0.0
    return precision, recall, 2 * hit / (estimate + reference) if estimate + reference else 0.0
