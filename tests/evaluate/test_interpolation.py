"""The n-gram model is a distribution, the baseline mixes, and the curves say what they should."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate.interpolation import (
    FALLBACK,
    NGram,
    curves_svg,
    curves_table,
    data_mix,
    hamming,
    interpolation_curves,
)

SVG = "{http://www.w3.org/2000/svg}"
SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=6)


def arrays(sequences: list[list[int]]) -> list[np.ndarray]:
    return [np.array(s) for s in sequences]


class Slow:
    """Modified Kneser–Ney by dictionaries, straight from the definition; -1 is the start mark."""

    def __init__(self, sequences: list[list[int]], size: int, order: int) -> None:
        self.size, self.order = size, order
        padded = [(-1,) * (order - 1) + tuple(s) for s in sequences]
        occur = Counter(p[i - n : i] for p in padded for n in range(1, order + 1) for i in range(order, len(p) + 1))
        before = defaultdict(set)
        for gram in occur:
            before[gram[1:]].add(gram[0])
        self.counts = {g: c if len(g) == order or g[0] == -1 else len(before[g]) for g, c in occur.items()}
        self.discounts = {n: self.estimate(n) for n in range(1, order + 1)}

    def estimate(self, n: int) -> tuple[float, ...]:
        n1, n2, n3, n4 = (sum(c == i for g, c in self.counts.items() if len(g) == n) for i in (1, 2, 3, 4))
        if 0 in (n1, n2, n3):
            return FALLBACK
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return found if all(0 < d <= i + 1 for i, d in enumerate(found)) else FALLBACK

    def p(self, context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        lower = self.p(context[1:], token) if context else 1 / self.size
        counts = [self.counts.get((*context, w), 0) for w in range(self.size)]
        if not sum(counts):
            return lower
        discounts = [self.discounts[n][min(c, 3) - 1] if c else 0 for c in counts]
        return (counts[token] - discounts[token] + sum(discounts) * lower) / sum(counts)

    def cost(self, sequence: list[int]) -> float:
        padded = (-1,) * (self.order - 1) + tuple(sequence)
        steps = range(self.order - 1, len(padded))
        return -sum(math.log(self.p(padded[i - self.order + 1 : i], padded[i])) for i in steps) / len(sequence)


# ------------------------------------------------------------------------------------------------------------ n-grams


def test_a_toy_by_hand():
    """0 1 0 0: four different pairs, each once, so that the discounts are the fallback ones: 0.5 for 1, 1.5 for 3."""
    model = NGram(2, order=2).fit([np.array([0, 1, 0, 0])])
    # Before 0 stand the start, 1 and 0; before 1 stands 0 alone. 1.5 + 0.5 of 4 go to the two tokens evenly.
    zero, one = 1.5 / 4 + 0.5 / 2, 0.5 / 4 + 0.5 / 2
    np.testing.assert_allclose(model.probabilities(np.array([0])), [0.25 + 0.5 * zero, 0.25 + 0.5 * one])
    np.testing.assert_allclose(model.probabilities(np.array([1])), [0.5 + 0.5 * zero, 0.5 * one])
    np.testing.assert_allclose(model.probabilities(np.array([])), [0.5 + 0.5 * zero, 0.5 * one])
    steps = [0.5 + 0.5 * zero, 0.25 + 0.5 * one, 0.5 + 0.5 * zero, 0.25 + 0.5 * zero]
    assert model.cost(np.array([0, 1, 0, 0])) == pytest.approx(-np.log(steps).mean())


@given(SEQUENCES, SEQUENCES, st.integers(1, 5))
def test_the_same_as_by_definition(sequences, others, order):
    model, slow = NGram(4, order).fit(arrays(sequences)), Slow(sequences, 4, order)
    for sequence in (*others, *sequences):
        assert float(model.cost(np.array(sequence))) == pytest.approx(slow.cost(sequence))


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_the_same_where_discounts_are_estimated(seed):
    rng = np.random.default_rng(seed)
    tokens = np.minimum(rng.geometric(0.15, (30, 40)) - 1, 19)
    slow = Slow(tokens.tolist(), 20, 3)
    assert slow.discounts[3] != FALLBACK
    assert NGram(20, 3).fit(tokens).cost(tokens[0, ::-1]) == pytest.approx(slow.cost(tokens[0, ::-1].tolist()))


@given(SEQUENCES, st.integers(1, 5), st.lists(st.integers(0, 5), max_size=7))
def test_probabilities_sum_to_one(sequences, order, context):
    model = NGram(6, order).fit(arrays(sequences))  # 4 and 5 never occur
    p = model.probabilities(np.array(context, dtype=np.int64))
    assert p.shape == (6,)
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1)


@given(SEQUENCES, st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4))
def test_cost_is_that_of_the_steps(sequences, sequence, order):
    model = NGram(4, order).fit(arrays(sequences))
    steps = [model.probabilities(np.array(sequence[:i], dtype=np.int64))[w] for i, w in enumerate(sequence)]
    assert model.cost(np.array(sequence)) == pytest.approx(-np.log(steps).mean())


def test_what_it_learnt_costs_less():
    """A first-order chain: training data cost less than new data of the chain, and these less than random data."""
    rng = np.random.default_rng(1)
    jumps = rng.choice([1, 2, 7], (300, 64), p=[0.8, 0.15, 0.05])
    tokens = np.cumsum(jumps, axis=1) % 30
    model = NGram(30).fit(tokens[:200])
    learnt, new, random = (model.cost(t).mean() for t in (tokens[:200], tokens[200:], rng.integers(0, 30, (100, 64))))
    entropy = -(0.8 * math.log(0.8) + 0.15 * math.log(0.15) + 0.05 * math.log(0.05))
    assert learnt < new < random
    assert entropy < new < 1.3 * entropy
    assert random > math.log(30)
    assert NGram(30).cost(tokens[0]) == pytest.approx(math.log(30))  # nothing learnt yet


@given(SEQUENCES, SEQUENCES)
def test_the_order_of_sequences_changes_nothing_and_fitting_begins_anew(sequences, others):
    tokens = arrays(sequences)
    kept = [t.copy() for t in tokens]
    model, probe = NGram(4).fit(arrays(others)).fit(tokens), tokens[0]
    assert float(model.cost(probe)) == float(NGram(4).fit(tokens[::-1]).cost(probe))
    assert all(np.array_equal(t, k) for t, k in zip(tokens, kept, strict=True))


def test_costs_of_many_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, 5, (3, 4, 9)).astype(np.int16)
    model = NGram(5, 3).fit(tokens[0])
    costs = model.cost(tokens)
    assert costs.shape == (3, 4)
    assert costs[2, 3] == pytest.approx(float(model.cost(tokens[2, 3])))
    monkeypatch.setattr("musicvae.evaluate.interpolation.BATCH", 20)  # two sequences at once
    np.testing.assert_allclose(model.cost(tokens), costs)
    assert model.cost(tokens[:0]).shape == (0, 4)


def test_the_paper_has_room():
    tokens = np.full((1, 3), 513)
    assert NGram(514).fit(tokens).cost(tokens[0]) < 0.7
    NGram(6207)
    for size, order in ((6208, 5), (1, 2), (5, 0)):
        with pytest.raises(ConfigError, match=f"order {order} over {size} tokens"):
            NGram(size, order)


def test_bad_tokens_are_errors():
    model = NGram(5)
    for bad in (-1, 5):
        with pytest.raises(DataError, match=f"a token is {bad}; the n-gram model wants 0 to 4"):
            model.cost(np.array([0, bad]))
        with pytest.raises(DataError, match=f"a token is {bad}"):
            model.fit([np.array([0, bad])])
    for nothing in ([], [np.array([], dtype=np.int64)]):
        with pytest.raises(DataError, match="fitted to no sequences"):
            model.fit(nothing)
    for shape in ((), (3, 0)):
        with pytest.raises(DataError, match="no steps"):
            model.cost(np.zeros(shape, dtype=np.int64))


# ----------------------------------------------------------------------------------------------- distances and mixes

PAIRS = hnp.array_shapes(max_dims=3, max_side=8).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.int64, shape, elements=st.integers(0, 3)) for _ in range(3)))
)


@given(PAIRS)
def test_hamming_is_a_distance(three):
    a, b, c = three
    assert hamming(a, b).shape == a.shape[:-1]
    assert (hamming(a, a) == 0).all()
    assert np.array_equal(hamming(a, b), hamming(b, a))
    assert ((hamming(a, b) == 0) == (a == b).all(axis=-1)).all()
    assert (hamming(a, c) <= hamming(a, b) + hamming(b, c) + 1e-12).all()
    assert hamming(np.array([1, 2, 3, 4]), np.array([1, 0, 3, 0])) == 0.5


@given(PAIRS, st.floats(0, 1))
def test_a_mix_has_exact_ends_and_nothing_new(three, alpha):
    a, b, _ = three
    kept = a.copy(), b.copy()
    rng = np.random.default_rng(3)
    assert np.array_equal(data_mix(a, b, 0, rng), a)
    assert np.array_equal(data_mix(a, b, 1, rng), b)
    mix = data_mix(a, b, alpha, rng)
    assert ((mix == a) | (mix == b)).all()
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])


def test_a_mix_moves_away_evenly():
    """Of 40,000 steps that all differ, a share alpha is b's: sd at most 0.0025, so 0.0125 is 5 sd, 1 in 2 million."""
    a, b = np.zeros((40, 1000), dtype=np.int64), np.ones((40, 1000), dtype=np.int64)
    alphas = np.linspace(0, 1, 11)
    rng = np.random.default_rng(4)
    shares = np.array([hamming(data_mix(a, b, alpha, rng), a).mean() for alpha in alphas])
    np.testing.assert_allclose(shares, alphas, atol=0.0125)
    assert (np.diff(shares) > 0).all()


# ------------------------------------------------------------------------------------------------------------- curves


def walks(pairs: int) -> tuple[np.ndarray, np.ndarray, NGram]:
    """Clips that count upwards in steps of 1, or of 2, and a model that has heard both."""
    rng = np.random.default_rng(6)
    start = rng.integers(0, 20, (2, 100 + pairs, 1))
    clips = (start + np.array([1, 2])[:, None, None] * np.arange(32)) % 20
    return clips[0, 100:], clips[1, 100:], NGram(20).fit(clips[:, :100].reshape(-1, 32))


def test_curves_by_hand():
    a, b, model = walks(60)
    alphas = np.array([0, 0.25, 0.5, 1])
    # A way that keeps whole phrases: A until its share is over, then B.
    paths = np.stack([np.where(np.arange(32) < round(32 * (1 - alpha)), a, b) for alpha in alphas], axis=1)
    curves = interpolation_curves(paths, a, b, alphas, model, np.random.default_rng(7))
    assert curves.pairs == 60
    for ends in (curves.hamming, curves.hamming_data, curves.cost, curves.cost_data):
        assert ends.estimate.shape == (4,)
        assert ((ends.low <= ends.estimate + 1e-9) & (ends.estimate <= ends.high + 1e-9)).all()
    far = hamming(a, b).mean()
    for line in (curves.hamming, curves.hamming_data):
        assert line.estimate[0] == 0
        assert line.estimate[-1] == pytest.approx(far)
    for line in (curves.cost, curves.cost_data):
        np.testing.assert_allclose(line.estimate[[0, -1]], 1)
    assert curves.cost.estimate[2] == pytest.approx(
        (model.cost(paths[:, 2]) / (model.cost(a) + model.cost(b)) * 2).mean()
    )
    # One seam costs something; a seam at every other step costs far more.
    assert 1 < curves.cost.high[2] < curves.cost_data.low[2]


def test_the_seed_decides():
    a, b, model = walks(5)
    alphas = np.array([0.25, 0.75])
    paths = np.stack([a, b], axis=1)
    one, same, other = (interpolation_curves(paths, a, b, alphas, model, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one.cost_data, same.cost_data)
    assert not np.array_equal(one.cost_data, other.cost_data)


def test_curves_are_checked():
    a, b, model = walks(3)
    paths = np.stack([a, b], axis=1)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"paths \(3, 2, 32\), a \(3, 32\), b \(2, 32\), 2 alphas; wanted"):
        interpolation_curves(paths, a, b[:2], np.array([0, 1]), model, rng)
    for alphas in ([1, 0], [0, 1.5], [0.5, 0.5]):
        with pytest.raises(DataError, match="wanted rising numbers from 0 to 1"):
            interpolation_curves(paths, a, b, np.array(alphas), model, rng)


def test_curves_as_a_table():
    a, b, model = walks(8)
    paths = np.stack([a, a, b], axis=1)
    curves = interpolation_curves(paths, a, b, np.array([0, 1 / 3, 1]), model, np.random.default_rng(8))
    lines = curves_table(curves).splitlines()
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {6}
    assert lines[2].startswith("| 0 | 0.000 (0.000–0.000) | 0.000 (0.000–0.000) | 1.000 (1.000–1.000) |")
    assert lines[3].startswith("| 0.333 |")


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=20)
def test_every_line_is_drawn_inside_the_picture(pairs, count, seed):
    rng = np.random.default_rng(seed)
    a, b, paths = (rng.integers(0, 4, (pairs, *n, 6)) for n in ((), (), (count,)))
    curves = interpolation_curves(paths, a, b, np.linspace(0, 1, count), NGram(4, 2).fit(a), rng)
    root = ET.fromstring(curves_svg(curves, width=600, height=250, title="a <b> & c"))
    assert root.findtext(f"{SVG}title") == "a <b> & c"
    lines = [e.attrib["d"] for e in root.iter(f"{SVG}path") if e.attrib["d"].count("L") or count == 1]
    bands = [e for e in root.iter(f"{SVG}path") if "fill-opacity" in e.attrib]
    assert len(bands) == 4
    for line in lines:
        if "H" in line or "h" in line or "v" in line:
            continue
        for point in line.strip("MZ").split("L"):
            x, y = map(float, point.split())
            assert 0 <= x <= 600
            assert 50 <= y <= 210
    texts = [e.text for e in root.iter(f"{SVG}text")]
    for label in ("Hamming distance to A", "cost ÷ cost of the originals", "model", "mixed in data space"):
        assert label in texts


def test_a_picture_of_nothing_much():
    """Equal clips: all distances are 0 and all costs 1, and the axes still have a length."""
    a = np.zeros((2, 5), dtype=np.int64)
    curves = interpolation_curves(a[:, None], a, a, np.array([0.5]), NGram(3), np.random.default_rng(0))
    ticks = [e.text for e in ET.fromstring(curves_svg(curves)).iter(f"{SVG}text")]
    assert "Interpolations of 2 pairs of clips" in ticks
    assert {"0", "1"} <= set(ticks)
