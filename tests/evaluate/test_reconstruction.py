"""Counting what comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.evaluate.reconstruction import NoteCounts, count_notes, previous_bar, rest
from musicvae.music import Score

NOTE = st.tuples(st.integers(0, 63), st.integers(30, 40), st.integers(1, 20), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)


def build(notes: list[tuple[int, ...]]) -> Score:
    return Score.of(*np.array(notes, dtype=np.int64).reshape(-1, 5).T, bars=4)


def test_by_hand():
    a = Score.of([0, 0, 4, 8], [60, 64, 67, 60], [4, 4, 8, 2], bars=1)
    b = Score.of([0, 0, 4, 9], [60, 65, 67, 60], [6, 4, 3, 2], bars=1)
    counts = count_notes(a, b)
    # Right: 60 at 0 (4 of 6 steps) and 67 at 4 (8, of which 3); 65 is another pitch and 9 another step.
    assert counts == NoteCounts(2, 4, 4, 4 + 3, 4 + 8, 6 + 3)
    assert counts.onset == (0.5, 0.5, 0.5)
    assert counts.duration == pytest.approx((7 / 9, 7 / 12, 14 / 21))


def test_notes_too_many_and_too_few():
    a = Score.of([0, 4], [60, 60], 1, bars=1)
    b = Score.of([0, 4, 8, 12], 60, 1, bars=1)
    assert count_notes(a, b).onset == (0.5, 1.0, pytest.approx(2 / 3))
    assert count_notes(b, a).onset == (1.0, 0.5, pytest.approx(2 / 3))


def test_nothing_at_all():
    silence, note = Score.of([], [], [], bars=1), Score.of(0, 60, 1, bars=1)
    for pair in ((silence, silence), (silence, note), (note, silence)):
        counts = count_notes(*pair)
        assert counts.onset == counts.duration == (0.0, 0.0, 0.0)
    assert NoteCounts().onset == (0.0, 0.0, 0.0)


@given(NOTES)
def test_the_same_is_all_right(notes):
    score = build(notes)
    counts = count_notes(score, score)
    assert counts.matched == counts.reference == counts.estimate == len({n[:2] for n in notes})
    if notes:
        assert counts.onset == counts.duration == (1.0, 1.0, 1.0)


@given(NOTES, NOTES)
def test_precision_one_way_is_recall_the_other(a, b):
    a, b = build(a), build(b)
    kept = [[c.copy() for c in s.columns] for s in (a, b)]
    one, other = count_notes(a, b), count_notes(b, a)
    for x, y in ((one.onset, other.onset), (one.duration, other.duration)):
        assert (x[0], x[1]) == (y[1], y[0])
        assert x[2] == y[2]
        assert all(0 <= v <= 1 for v in x)
        assert min(x[:2]) <= x[2] + 1e-9
        assert x[2] <= max(x[:2]) + 1e-9
    for score, columns in zip((a, b), kept, strict=True):
        assert all(np.array_equal(c, k) for c, k in zip(score.columns, columns, strict=True))


@given(NOTES, NOTES)
def test_matches_by_brute_force(a, b):
    def longest(notes: list[tuple[int, ...]]) -> dict[tuple[int, int], int]:
        return {n[:2]: max(m[2] for m in notes if m[:2] == n[:2]) for n in notes}

    left, right = longest(a), longest(b)
    both = left.keys() & right.keys()
    assert count_notes(build(a), build(b)) == NoteCounts(
        len(both),
        len(left),
        len(right),
        sum(min(left[k], right[k]) for k in both),
        sum(left[k] for k in both),
        sum(right[k] for k in both),
    )


@given(NOTES, NOTES, st.integers(-12, 12))
def test_moving_both_changes_nothing(a, b, semitones):
    a, b = build(a), build(b)
    assert count_notes(a.transpose(semitones), b.transpose(semitones)) == count_notes(a, b)


def test_counts_add_up():
    total = NoteCounts(1, 2, 3, 4, 5, 6) + NoteCounts(10, 20, 30, 40, 50, 60)
    assert total == NoteCounts(11, 22, 33, 44, 55, 66)
    assert isinstance(total, NoteCounts)
    assert total.onset == pytest.approx((11 / 33, 11 / 22, 22 / 55))


def test_baselines():
    tokens = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    kept = tokens.copy()
    silent = rest(tokens, 99)
    assert (silent[..., 0] == 99).all()
    assert (silent[..., 1:] == 0).all()
    shifted = previous_bar(tokens, 99)
    assert np.array_equal(shifted[:, 1:], tokens[:, :-1])
    assert np.array_equal(shifted[:, 0], silent[:, 0])
    assert np.array_equal(tokens, kept)
