"""Intervals: what they cover, and what they say of next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate import intervals
from musicvae.evaluate.intervals import bootstrap, wilson

COUNTS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.int64, shape, elements=st.integers(0, 50)),
        hnp.arrays(np.int64, shape, elements=st.integers(0, 9)),
    )
)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([5, *seed])


@given(COUNTS)
def test_shares_stay_shares_and_their_intervals_hold_them(counts):
    right, wrong = counts
    total = right + wrong
    kept = right.copy(), total.copy()
    result = bootstrap(right, total, rng(), resamples=50)
    assert all(x.shape == (right.shape[1],) for x in result)
    assert all(((x >= 0) & (x <= 1)).all() for x in result)
    assert (result.low <= result.high).all()
    sums, totals = right.sum(axis=0), total.sum(axis=0)
    np.testing.assert_allclose(result.estimate, np.where(totals, sums / np.maximum(totals, 1), 0))
    assert np.array_equal(right, kept[0])
    assert np.array_equal(total, kept[1])


def test_by_hand():
    # Songs of 1/1 and 0/3: drawn twice, they are 1/1, 1/4 or 0/3, with odds 1 : 2 : 1.
    result = bootstrap([[1], [0]], [[1], [3]], rng(), resamples=400)
    assert [float(x[0]) for x in result] == [0.25, 0, 1]
    # Of 2,000 draws 500 are 0/3, with an sd of 19: the quantiles below are 10 sd away from another value.
    for level, ends in ((0.7, [0.25, 0, 1]), (0.3, [0.25, 0.25, 0.25])):
        result = bootstrap([[1], [0]], [[1], [3]], rng(), resamples=2000, level=level)
        assert [float(x[0]) for x in result] == ends


def test_one_song_has_no_width_and_nothing_is_zero():
    one = bootstrap([[3, 0, 2]], [[4, 0, 2]], rng())
    for end in one:
        np.testing.assert_array_equal(end, [0.75, 0, 1])
    for songs in (0, 5):
        for end in bootstrap(np.zeros((songs, 2)), np.zeros((songs, 2)), rng()):
            np.testing.assert_array_equal(end, [0, 0])


def test_the_seed_decides_and_the_rounds_do_not(monkeypatch):
    right = rng(1).integers(0, 20, (30, 2))
    total = right + 5
    one, same, other = (bootstrap(right, total, rng(seed), resamples=200) for seed in (2, 2, 3))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    monkeypatch.setattr(intervals, "WEIGHTS", 90)  # three resamples a round
    np.testing.assert_allclose(bootstrap(right, total, rng(2), resamples=200), one, rtol=1e-12)


def test_figures_see_the_same_draws():
    right = rng(4).integers(0, 20, (12, 1))
    twice = bootstrap(np.hstack([right, right]), np.full((12, 2), 20), rng(5))
    for end in twice:
        assert end[0] == end[1]


def test_f1_is_numerator_and_denominator():
    hit, estimate, reference = np.array([[3], [5]]), np.array([[4], [9]]), np.array([[6], [5]])
    assert bootstrap(2 * hit, estimate + reference, rng()).estimate[0] == pytest.approx(16 / 24)


def test_coverage():
    """The 95 % interval holds the true accuracy of songs that differ in length and difficulty.

    Of 40 songs the percentile interval is known to be a little narrow: about 93 %. Of 500 trials 449 or fewer, or 489
    or more, would then be right less than once in 200 seeds; this one is fixed.
    """
    inside, trials = 0, 500
    for trial in range(trials):
        draw = rng(6, trial)
        total = draw.integers(5, 60, (40, 1))
        right = draw.binomial(total, draw.beta(8, 2, (40, 1)))  # the true accuracy is 8 / 10, whatever the lengths
        result = bootstrap(right, total, draw, resamples=300)
        inside += int(result.low[0] <= 0.8 <= result.high[0])
    assert 450 <= inside <= 488


def test_clips_of_one_song_do_not_count_as_many():
    """Twenty equal clips a song make the interval no narrower than one clip a song does."""
    value = rng(7).random((25, 1))
    once, often = bootstrap(value, np.ones((25, 1)), rng(8)), bootstrap(20 * value, np.full((25, 1), 20), rng(8))
    np.testing.assert_allclose(often, once)


def test_settings_and_shapes_are_checked():
    with pytest.raises(DataError, match=r"sums are \(3, 2\) and totals \(3,\); wanted \(songs, figures\)"):
        bootstrap(np.ones((3, 2)), np.ones(3), rng())
    for settings in ({"resamples": 0}, {"level": 1.0}):
        with pytest.raises(ConfigError, match="wanted 1 or more"):
            bootstrap([[1]], [[1]], rng(), **settings)


def test_wilson_by_hand():
    # Newcombe 1998, Table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    result = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    np.testing.assert_allclose(result.low, [0.2553, 0.0624, 0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(result.high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)
    assert [float(x) for x in wilson(0, 0)] == [0, 0, 1]


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_symmetric_and_holds_the_share(of):
    hits, n = of
    one, other = wilson(hits, n), wilson(n - hits, n)
    assert 0 <= one.low <= one.estimate <= one.high <= 1
    assert one.high - one.low > 0
    if n:
        assert float(one.low) == pytest.approx(1 - float(other.high), abs=1e-12)
