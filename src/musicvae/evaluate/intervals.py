"""How sure a figure is: intervals for shares and for figures that are added up over songs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import ConfigError, DataError

__all__ = ["Interval", "bootstrap", "wilson"]

WEIGHTS = 2**22
"""Weights drawn at once: 32 MiB; more songs are resampled in more rounds, with the same result."""
Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


class Interval(NamedTuple):
    """A figure and the ends of its interval; arrays of one shape."""

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def bootstrap(
    sums: ArrayLike, totals: ArrayLike, rng: np.random.Generator, *, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return Σ sums / Σ totals for k figures (k,) with percentile bootstrap intervals over songs (Efron 1979).

    `sums` and `totals` (songs, k) hold what each song adds to the numerators and denominators. Clips of one song are
    alike, so whole songs are drawn with replacement, and a song keeps its weight: the ratio is that of the sums, not a
    mean of ratios. Accuracy: right and all; F1: 2 · hit and estimate + reference; the mean of one value a clip: its sum
    and the number of clips. All k figures see the same draws. A ratio whose total is 0, in a resample too, is 0. With
    fewer than about 20 songs the intervals are too narrow; with one they have no width.

    Raises DataError if the shapes differ and ConfigError if `resamples` or `level` is out of range.
    """
    sums, totals = np.asarray(sums, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if sums.ndim != 2 or sums.shape != totals.shape:
        raise DataError(f"bootstrap: sums are {sums.shape} and totals {totals.shape}; wanted (songs, figures) for both")
    if resamples < 1 or not 0 < level < 1:
        raise ConfigError(f"bootstrap: {resamples} resamples at level {level}; wanted 1 or more, and 0 < level < 1")
    songs, k = sums.shape
    estimate = _ratio(sums.sum(axis=0), totals.sum(axis=0))
    if not songs:
        return Interval(estimate, estimate.copy(), estimate.copy())
    ratios = np.empty((resamples, k))
    rows = max(WEIGHTS // songs, 1)
    for i in range(0, resamples, rows):
        # How often each of the songs is drawn: one row a resample.
        weights = rng.multinomial(songs, np.full(songs, 1 / songs), size=min(rows, resamples - i)).astype(np.float64)
        ratios[i : i + rows] = _ratio(weights @ sums, weights @ totals)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(estimate, low, high)


def wilson(hits: ArrayLike, total: ArrayLike) -> Interval:
    """Return the shares hits / total with their 95 % score intervals (Wilson 1927).

    Unlike the normal approximation it stays within 0–1 and has a width at 0 and 1 too. Of nothing at all the share is 0
    and the interval 0–1.
    """
    hits, n = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(total, dtype=np.float64))
    share = _ratio(hits, n)
    middle = _ratio(hits + Z95**2 / 2, n + Z95**2)
    half = Z95 / (n + Z95**2) * np.sqrt(n * share * (1 - share) + Z95**2 / 4)
    # At 0 and 1 an end of the interval is the share itself, save for rounding.
    return Interval(share, np.clip(middle - half, 0, share), np.clip(middle + half, share, 1))


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)
