"""The key of a piece, by how long each pitch class sounds.

This is the Krumhansl–Schmuckler algorithm (Krumhansl, Cognitive Foundations of Musical Pitch, 1990, chapter 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KEYS", "PROFILES", "Keys", "find_keys"]

_NAMES = ("C", "D♭", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
KEYS = (*(f"{name} major" for name in _NAMES), *(f"{name} minor" for name in _NAMES))
"""Names of the 24 keys, major ones first."""

PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
"""(2, 12) how well each pitch class fits C major and C minor (Krumhansl and Kessler 1982)."""


class Keys(NamedTuple):
    """The keys of n pieces."""

    key: NDArray[np.int64]
    """(n,) index into KEYS; −1 where no pitch class sounds longer than another."""
    correlation: NDArray[np.float64]
    """(n,) how well the key fits, −1 to 1; 0 where there is none."""


def find_keys(sounding: ArrayLike) -> Keys:
    """Return the keys of pieces in which pitch classes (n, 12), C first, sound for so long, in any unit.

    The key is the one whose profile correlates best (Pearson), of equals the first of KEYS.
    """
    heard = np.asarray(sounding, dtype=np.float64)
    heard = heard - heard.mean(axis=1, keepdims=True)
    # Row k of the 24: what C stands for in a key on k semitones above it comes k places later.
    profiles = np.concatenate([[np.roll(profile, tonic) for tonic in range(12)] for profile in PROFILES])
    profiles = profiles - profiles.mean(axis=1, keepdims=True)
    size = np.linalg.norm(heard, axis=1)
    fits = heard @ profiles.T / np.linalg.norm(profiles, axis=1)
    fits = np.divide(fits, size[:, None], out=np.zeros_like(fits), where=size[:, None] > 1e-9)
    key = fits.argmax(axis=1)
    found = size > 1e-9
    return Keys(np.where(found, key, -1), np.where(found, fits.max(axis=1), 0.0))
