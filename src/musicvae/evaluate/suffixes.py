"""Where a sequence stands in a long text: a suffix array (Manber and Myers 1993) of two bytes a step.

Twenty lines of numpy sort the eight million notes of LPD's pianos in five seconds, so no library is asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEP", "Suffixes", "sort_suffixes"]

STEP = 2
"""Bytes a step."""


class Suffixes:
    """A text of steps, and where each of its suffixes stands among all of them in alphabetical order.

    Sequences to look for are bytes, two a step, the greater one first. One of an odd length ends with half a step.
    """

    def __init__(self, steps: NDArray[np.uint16], array: NDArray[np.int32] | None = None) -> None:
        """Take `steps` (N,) and, where it is known, their suffix array (N,), as `sort_suffixes` returns it."""
        self.text = steps.astype(">u2").tobytes()
        self.array = np.ascontiguousarray(sort_suffixes(steps) if array is None else array, dtype=np.int32)
        self._array = self.array.data  # whose items are Python's own numbers, which are faster one by one
        # Of each first step, where its suffixes begin: a binary search then starts a dozen halvings ahead.
        begin = np.zeros(2**16 + 1, np.int64)
        np.cumsum(np.bincount(steps, minlength=2**16), out=begin[1:])
        self._begin = begin.data

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.array)

    def holds(self, sequence: bytes) -> bool:
        """Tell whether the sequence stands somewhere in the text."""
        place = self._place(sequence)
        return place < len(self) and self._at(place, len(sequence)) == sequence

    def longest(self, sequence: bytes) -> int:
        """Return how many bytes at the beginning of the sequence stand somewhere in the text."""
        place = self._place(sequence)  # its neighbours in the order have the most in common with it
        near = (i for i in (place - 1, place) if 0 <= i < len(self))
        return max((_common(sequence, self._at(i, len(sequence))) for i in near), default=0)

    def where(self, sequence: bytes) -> NDArray[np.int32]:
        """Return the steps (n,) at which the sequence stands in the text, ascending."""
        first = self._place(sequence)
        size = len(sequence)
        stop = bisect_right(self._array, sequence, first, key=lambda at: self.text[STEP * at : STEP * at + size])
        return np.sort(self.array[first:stop])

    def _place(self, sequence: bytes) -> int:
        """Return the first place in the order whose suffix is not less than the sequence."""
        text, size = self.text, len(sequence)
        first, stop = 0, len(self)
        if size >= STEP:
            step = sequence[0] << 8 | sequence[1]
            first, stop = self._begin[step], self._begin[step + 1]
        return bisect_left(self._array, sequence, first, stop, key=lambda at: text[STEP * at : STEP * at + size])

    def _at(self, place: int, size: int) -> bytes:
        at = STEP * self._array[place]
        return self.text[at : at + size]


def sort_suffixes(steps: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Return where each suffix of `steps` (N,) begins, in their alphabetical order (N,).

    Prefix doubling (Manber and Myers 1993), after each round of which those that stand alone are left in peace (Larsson
    and Sadakane 2007). A suffix comes before those that go on from it. N is below 2³⁰.
    """
    n = len(steps)
    order = np.argsort(steps, kind="stable").astype(np.int32)
    rank = np.empty(n + 1, np.int32)  # of each suffix: the first place of those that are not told apart yet
    rank[n] = -1  # the empty one
    place = np.arange(n, dtype=np.int32)  # places to be sorted
    key: NDArray[np.int64] = steps[order].astype(np.int64)
    size = 1  # steps that are sorted by already
    while True:
        suffix = order[place]
        new = np.ones(len(place) + 1, np.bool_)
        np.not_equal(key[1:], key[:-1], out=new[1:-1])
        rank[suffix] = np.maximum.accumulate(place * new[:-1])
        place = place[~(new[:-1] & new[1:])]
        if not len(place):
            return order
        suffix = order[place]
        key = rank[suffix].astype(np.int64)
        key <<= 32
        key += rank[np.minimum(suffix + np.int32(size), n)] + 1
        by_key = np.argsort(key)
        order[place], key = suffix[by_key], key[by_key]
        size *= 2


def _common(a: bytes, b: bytes) -> int:
    """Return how many bytes two sequences have in common at their beginning."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
