"""Distances between sets of clips: against scipy, by hand, and on clips whose answer is known."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from itertools import combinations, product
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.errors import ConfigError, DataError, MissingExtraError
from musicvae.evaluate import distances
from musicvae.evaluate.distances import compare_features, distance_figures, inter_set, intra_set
from musicvae.evaluate.features import ADDED, YANG_LERCH, extract
from musicvae.music import Score

spatial = pytest.importorskip("scipy.spatial.distance")
stats = pytest.importorskip("scipy.stats")

DISTANCES = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 100, allow_subnormal=False))


def by_scipy(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Overlap, KL and JS, with no bins, on a fine grid."""
    p, q = stats.gaussian_kde(first), stats.gaussian_kde(second)
    beyond = 4 * max(sqrt(p.covariance[0, 0]), sqrt(q.covariance[0, 0]))
    low, high = min(first.min(), second.min()) - beyond, max(first.max(), second.max()) + beyond
    x = np.linspace(low, high, 4001)
    js = spatial.jensenshannon(p(x), q(x), base=2) ** 2
    return np.trapezoid(np.minimum(p(x), q(x)), x), stats.entropy(p(x), q(x)), js


def clips(seed: int, count: int, notes: tuple[int, int] = (4, 30), low: int = 50, bars: int = 2) -> list[Score]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        n = rng.integers(*notes)
        columns = rng.integers(0, 16 * bars, n), rng.integers(low, low + 20, n), rng.integers(1, 9, n)
        found.append(Score.of(*columns, bars=bars))
    return found


# ---------------------------------------------------------------------------------------------------- distributions
def test_distances_by_hand():
    np.testing.assert_allclose(intra_set([0, 1, 3]), [1, 3, 2])
    np.testing.assert_allclose(inter_set([0, 1, 3], [5, 1]), [5, 1, 4, 0, 2, 2])
    np.testing.assert_allclose(intra_set([[0, 0], [3, 4]]), [5])
    np.testing.assert_allclose(inter_set(np.zeros((1, 2, 2)), np.ones((1, 2, 2))), [2])  # a matrix is a vector


@pytest.mark.parametrize("D", [1, 12, 144])
def test_figures_are_those_of_scipy(D):
    rng = np.random.default_rng(D)
    real, generated = rng.random((60, D)), rng.random((50, D)) * 1.4 + 0.1
    first, second = intra_set(real), inter_set(real, generated)
    found = distance_figures(first, second)
    np.testing.assert_allclose(found[:3], by_scipy(first, second), rtol=5e-3, atol=1e-4)
    back = distance_figures(second, first)
    assert back.overlap == pytest.approx(found.overlap)
    assert back.js == pytest.approx(found.js)
    assert back.kl != pytest.approx(found.kl)


def test_the_published_divergence_is_that_of_the_published_code():
    rng = np.random.default_rng(5)
    real, generated = rng.gamma(3, size=(40, 2)), rng.gamma(5, size=(30, 2))
    # Each pair twice, as it lists them.
    within = [np.linalg.norm(real[i] - real[j]) for i, j in product(range(40), range(40)) if i != j]
    between = [np.linalg.norm(a - b) for a in real for b in generated]
    a, b = stats.gaussian_kde(within), stats.gaussian_kde(between)
    literal = stats.entropy(
        a(np.linspace(min(within), max(within), 1000)), b(np.linspace(min(between), max(between), 1000))
    )
    found = distance_figures(intra_set(real), inter_set(real, generated))
    assert found.kl_published == pytest.approx(literal, rel=5e-3)


def test_the_published_divergence_is_blind_to_shift_and_ours_is_not():
    a = np.random.default_rng(0).normal(100, 1, 3000)
    found = [distance_figures(a, a + shift) for shift in (0, 1, 5, 50)]
    assert all(figures.kl_published < 0.01 for figures in found)
    # Of normal distributions one deviation apart: overlap 2 Φ(−½) = 0.617, KL ½; kernels widen them a little.
    np.testing.assert_allclose([f.overlap for f in found], [1, 0.62, 0.012, 0], atol=0.015)
    np.testing.assert_allclose(found[1].kl, 0.5, atol=0.06)
    assert found[0].kl == pytest.approx(0, abs=1e-9)
    assert 12 < found[2].kl < found[3].kl < 1000  # finite
    np.testing.assert_allclose([f.js for f in found[::3]], [0, 1], atol=1e-6)
    scaled = distance_figures(a, 3 * a)
    assert scaled.overlap < 0.01
    assert scaled.kl_published < 0.01


@settings(max_examples=25)
@given(first=DISTANCES, second=DISTANCES)
@example(first=np.array([6.5e-207, 0]), second=np.array([0.0]))  # the square of the deviation is no number
def test_ranges_of_the_figures(first, second):
    found = distance_figures(first, second)
    assert 0 <= found.overlap <= 1
    assert -1e-9 <= found.js <= 1 + 1e-9
    assert found.kl >= -1e-9
    assert not found.kl_published < -1e-9
    same = distance_figures(first, first)
    np.testing.assert_allclose(same[:3], [1, 0, 0], atol=2e-3)


@settings(max_examples=10)
@given(first=DISTANCES, second=DISTANCES, factor=st.sampled_from([1 / 8, 4, 1024]))
def test_the_unit_changes_nothing(first, second, factor):
    a, b = distance_figures(first, second), distance_figures(first * factor, second * factor)
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)  # the grid may have a point more


def test_equal_distances_have_no_density():
    assert distance_figures([0, 0, 0], [0, 0])[:3] == (1, 0, 0)
    found = distance_figures([0, 0, 0], [0, 1, 1, 1])
    assert found.overlap == 0.25
    assert found.kl == pytest.approx(log(4))
    assert np.isnan(found.kl_published)
    apart = distance_figures([2, 2], [1, 1, 3])
    assert apart.overlap == 0
    assert apart.js == pytest.approx(1)
    assert apart.kl == np.inf


def test_counts_are_not_compared_by_the_teeth_of_a_comb():
    # Many whole numbers: Scott's bandwidth is far below 1, and differs between sets of different sizes.
    rng = np.random.default_rng(1)
    a, b = rng.poisson(1.0, 5000), rng.poisson(1.0, 200)
    assert by_scipy(a, b)[0] < 0.8
    assert distance_figures(a, b).overlap > 0.95
    few = rng.poisson(30, 400), rng.poisson(33, 500)  # here Scott's is above half a step
    np.testing.assert_allclose(distance_figures(*few)[:3], by_scipy(*few), rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("bad", [[], [-1.0, 2], [np.nan, 1], [np.inf, 1]])
def test_distances_are_checked(bad):
    with pytest.raises(DataError, match="distances; wanted one or more, each a finite number of 0 or more"):
        distance_figures([1, 2], bad)


# ------------------------------------------------------------------------------------------------------ sets of clips
def test_a_feature_by_scipy():
    generated, real = clips(1, 30, (4, 60)), clips(2, 40)
    values = extract([*generated, *real], ["note_count", "pitch_class_histogram"])
    for found in compare_features(generated, real, features=list(values), rounds=0):
        ours, theirs = values[found.feature][:30], values[found.feature][30:]
        within, between = intra_set(theirs), inter_set(theirs, ours)
        np.testing.assert_allclose(found.figures[:3], by_scipy(within, between), rtol=5e-3, atol=1e-4)
        np.testing.assert_allclose(found.generated[:3], by_scipy(intra_set(ours), between), rtol=5e-3, atol=1e-4)
        kernels = [stats.gaussian_kde(x) for x in (within, intra_set(ours), between)]
        np.testing.assert_allclose(found.bandwidth, [sqrt(k.covariance[0, 0]) for k in kernels], rtol=1e-4)
        for kernel, curve in zip(kernels, found.density[1:], strict=True):
            np.testing.assert_allclose(curve, kernel(found.density.distance), atol=2e-3 * curve.max())
        assert (found.halves, found.ceiling, found.left_out, found.note) == (None, None, (0, 0), "")


def test_pairs_of_one_song_are_left_out():
    generated, real = clips(1, 12), clips(2, 12)
    songs, made_of = list("aabbbcdeefgh"), list("aaxyzdefhhbb")
    values = extract([*generated, *real], ["note_count"])["note_count"]
    ours, theirs = values[:12], values[12:]
    within = [abs(theirs[i] - theirs[j]) for i, j in combinations(range(12), 2) if songs[i] != songs[j]]
    between = [abs(theirs[i] - ours[j]) for i, j in product(range(12), range(12)) if songs[i] != made_of[j]]
    [found] = compare_features(
        generated, real, songs, generated_songs=made_of, features=["note_count"], rounds=0, seed=3
    )
    np.testing.assert_allclose(found.figures, distance_figures(within, between))
    [apart] = compare_features(generated, real, songs, features=["note_count"], rounds=0)
    every = [abs(a - b) for a, b in product(theirs, ours)]
    np.testing.assert_allclose(apart.figures, distance_figures(within, every))


def test_more_of_the_same_reaches_the_ceiling_and_other_music_does_not():
    real = clips(0, 120)
    same, higher = clips(1, 120), clips(2, 120, (20, 60))
    features = ["note_count", "inter_onset_interval", "pitch_class_histogram"]
    for found in compare_features(same, real, features=features):
        assert found.halves.low.overlap < found.ceiling.mean.overlap < 1
        assert found.halves.mean.overlap == pytest.approx(found.ceiling.mean.overlap, abs=0.06)
        assert found.figures.overlap > 0.9
    count = compare_features(higher, real, features=features)[0]
    assert count.halves.high.overlap < count.ceiling.low.overlap - 0.1
    assert count.figures.overlap == pytest.approx(count.halves.mean.overlap, abs=0.1)
    assert count.figures.js > count.ceiling.high.js
    assert count.figures.kl > count.ceiling.high.kl


def test_samples_that_are_all_alike_are_seen():
    real = clips(0, 60)
    [found] = compare_features([real[0]] * 30, real, features=["note_count"], rounds=2)
    assert found.generated.overlap < 0.3
    assert found.note == "no density where all distances are equal (generated): figures by the shares of bins"
    assert found.bandwidth[1] == 0
    assert not found.density.generated.any()
    assert found.density.real.any()


def test_halves_are_halves_of_the_songs():
    # Two kinds of songs of many equal clips: only in halves by song can a half lack a kind.
    few, many = clips(0, 1, (2, 3))[0], clips(0, 1, (40, 41))[0]
    real = [few] * 40 + [many] * 40
    songs = np.repeat(["a", "b", "c", "d"], 20)
    [found] = compare_features(clips(1, 40), real, songs, features=["note_count"], rounds=15)
    assert found.ceiling.low.overlap == 0  # a and b against c and d: one distance, 0, against 38
    assert found.ceiling.high.overlap > 0.3
    [none] = compare_features(clips(1, 40), real, np.repeat([1, 2], 40), features=["note_count"])
    assert none.halves is None
    assert none.ceiling is None


def test_half_samples_have_half_of_the_generated_clips():
    # All real clips are alike, and so are nine of ten generated ones: half-samples have the tenth one, or not.
    one, other = clips(0, 1, (2, 3))[0], clips(0, 1, (40, 41))[0]
    [found] = compare_features([one] * 9 + [other], [one] * 20, features=["note_count"])
    assert found.figures.overlap == pytest.approx(0.9)
    assert (found.halves.low.overlap, found.halves.high.overlap) == pytest.approx((0.8, 1))
    assert found.ceiling.low.overlap == 1


def test_the_same_seed_gives_the_same_figures():
    generated, real = clips(1, 25), clips(2, 30)
    a, b, c = (compare_features(generated, real, features=["note_count"], rounds=3, seed=seed)[0] for seed in (0, 0, 1))
    assert a.halves == b.halves != c.halves
    assert a.figures == b.figures == c.figures
    turned = compare_features(generated[::-1], real[::-1], features=["note_count"], rounds=0)[0]
    np.testing.assert_allclose(turned.figures, a.figures)


def test_blocks_change_nothing(monkeypatch):
    generated, real = clips(1, 25), clips(2, 30)
    some = {"features": ["note_count", "pitch_class_histogram"], "rounds": 2}
    whole = compare_features(generated, real, **some)
    monkeypatch.setattr(distances, "PAIRS", 70)
    for a, b in zip(whole, compare_features(generated, real, **some), strict=True):
        np.testing.assert_array_equal(a.figures, b.figures)
        np.testing.assert_array_equal(a.ceiling, b.ceiling)


def test_memory_does_not_grow_with_the_pairs():
    rng = np.random.default_rng(0)
    some = [Score.of(range(n), 60, 1, bars=4) for n in rng.integers(1, 60, 300)]
    every = [some[i] for i in rng.integers(0, 300, 5000)]
    compare_features(some[:9], some[:9], features=["note_count"], rounds=1)  # what is loaded once
    tracemalloc.start()
    try:
        compare_features(every, every, features=["note_count"], rounds=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6  # 25 million distances take 200 MB


def test_what_is_not_defined_is_left_out_and_said():
    empty = Score.of([], [], [], bars=2)
    generated, real = clips(1, 20), clips(2, 20)
    with_gaps = compare_features([empty, *generated, empty], [*real, empty], features=["pitch_range", "note_count"])
    without = compare_features(generated, real, features=["pitch_range"])
    assert with_gaps[0].left_out == (2, 1)
    assert with_gaps[0].note == "undefined in 2 generated and 1 real clips"
    np.testing.assert_allclose(with_gaps[0].figures, without[0].figures)
    assert with_gaps[1].left_out == (0, 0)
    [nothing] = compare_features([empty, empty, *generated[:1]], real, features=["pitch_range"])
    assert np.isnan(nothing.generated).all()  # of one clip
    assert nothing.note.endswith("too few clips: wanted those of two songs or more on each side")
    [nothing] = compare_features([empty, empty], real, features=["pitch_range"])
    assert np.isnan(nothing.figures).all()
    json.dumps(nothing.to_dict(), allow_nan=False)


def test_everything_as_json():
    seen = []
    every = compare_features(clips(1, 15), clips(2, 15), rounds=1, progress=lambda *done: seen.append(done))
    assert tuple(found.feature for found in every) == YANG_LERCH + ADDED
    assert seen[-1] == (18, 18)
    row = json.loads(json.dumps([found.to_dict(points=64) for found in every], allow_nan=False))[1]
    assert row["feature"] == "note_count"
    assert row["overlap"] == every[1].figures.overlap
    assert row["halves"]["low"]["js"] == every[1].halves.low.js
    assert row["within_generated"]["kl"] == every[1].generated.kl
    assert set(row["density"]) == {"distance", "real", "generated", "inter"}
    assert {len(curve) for curve in row["density"].values()} == {64}
    assert row["bandwidth"]["real"] > 0
    assert row["left_out"] == {"generated": 0, "real": 0}


def test_sets_are_checked():
    some = clips(1, 4)
    with pytest.raises(DataError, match="1 generated and 4 real clips; wanted two or more of each"):
        compare_features(some[:1], some)
    with pytest.raises(DataError, match="songs names 3 songs for 4 clips; wanted one for each clip"):
        compare_features(some, some, [1, 2, 3])
    with pytest.raises(DataError, match="generated_songs names 0 songs for 4 clips"):
        compare_features(some, some, generated_songs=[])
    with pytest.raises(ConfigError, match="rounds is -1"):
        compare_features(some, some, rounds=-1)
    with pytest.raises(DataError, match="the clips have 2 to 3 bars, and pitch_count_bar wants one length"):
        compare_features(some, clips(1, 4, bars=3))


def test_scipy_is_loaded_when_it_is_needed_and_missed_in_words(monkeypatch):
    code = "import musicvae.evaluate.distances, sys; print(sorted({'scipy', 'sklearn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match=r"Comparing sets of clips needs .* pip install 'musicvae\[eval\]'"):
        compare_features(clips(1, 4), clips(2, 4))
