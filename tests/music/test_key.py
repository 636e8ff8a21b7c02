"""Keys: what a scale and its chords are in, against numpy's correlation, whatever they are transposed to."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.music.key import KEYS, PROFILES, find_keys

SOUNDING = hnp.arrays(np.int64, (3, 12), elements=st.integers(0, 50))
TUNE = {
    "C major": [0, 2, 4, 5, 7, 9, 11, 12, 0, 4, 7, 0],  # the scale, then the tonic chord
    "A minor": [9, 11, 0, 2, 4, 5, 8, 9, 9, 0, 4, 9],  # harmonic minor
}


@settings(max_examples=40)
@given(SOUNDING)
def test_the_key_is_the_profile_that_correlates_best(sounding):
    before = sounding.copy()
    keys = find_keys(sounding)
    assert np.array_equal(sounding, before)
    for row, key, fit in zip(sounding, *keys, strict=True):
        if np.ptp(row) == 0:
            assert (key, fit) == (-1, 0)
            continue
        every = [np.corrcoef(row, np.roll(p, k))[0, 1] for p in PROFILES for k in range(12)]
        np.testing.assert_allclose(fit, max(every), atol=1e-9)
        np.testing.assert_allclose(every[key], max(every), atol=1e-9)


@settings(max_examples=40)
@given(SOUNDING, st.integers(0, 11))
def test_a_transposed_piece_is_in_the_transposed_key(sounding, semitones):
    here, there = find_keys(sounding), find_keys(np.roll(sounding, semitones, axis=1))
    np.testing.assert_allclose(here.correlation, there.correlation, atol=1e-9)
    for a, b, row in zip(here.key, there.key, sounding, strict=True):
        every = (
            sorted(np.corrcoef(row, np.roll(p, k))[0, 1] for p in PROFILES for k in range(12)) if np.ptp(row) else [0]
        )
        if a >= 0 and (len(every) < 2 or every[-1] - every[-2] > 1e-6):
            assert b == (a // 12) * 12 + (a % 12 + semitones) % 12


def test_by_ear():
    rows = [np.bincount(np.array(tune) % 12, minlength=12) for tune in TUNE.values()]
    assert [KEYS[k] for k in find_keys(rows).key] == list(TUNE)
    assert len(KEYS) == 24
    assert (KEYS[6], KEYS[13]) == ("F♯ major", "D♭ minor")
