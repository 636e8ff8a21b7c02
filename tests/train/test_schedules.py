"""What changes from step to step, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.config import LossConfig, TrainConfig
from musicvae.train.schedules import beta, learning_rate, sampling_share


# --------------------------------------------------------------------------------------- the learning rate
def test_cosine():
    settings = TrainConfig(lr=1.0, lr_min=0.1, warmup=0)
    rates = [learning_rate(step, 100, settings) for step in range(101)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(500, 100, settings) == pytest.approx(0.1)


def test_warmup():
    settings = TrainConfig(lr=1.0, lr_min=1.0, warmup=4)
    assert [learning_rate(step, 100, settings) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_exponential():
    settings = TrainConfig(lr=1.0, lr_min=0.2, warmup=0, lr_schedule="exponential", lr_decay=0.5)
    assert [learning_rate(step, 9, settings) for step in range(5)] == [1.0, 0.5, 0.25, 0.2, 0.2]


def test_the_papers_learning_rate():
    """1e-3 · 0.9999^step, not below 1e-5: 3.7e-4 after 10,000 steps, at its end after 46,050."""
    settings = TrainConfig(warmup=0, lr_schedule="exponential")
    assert learning_rate(10_000, 1, settings) == pytest.approx(3.68e-4, rel=1e-3)
    assert learning_rate(46_000, 1, settings) > 1e-5
    assert learning_rate(46_060, 1, settings) == 1e-5
    assert learning_rate(10**7, 1, settings) == 1e-5


# ---------------------------------------------------------------------------------------------------- beta
def test_a_constant_beta():
    assert [beta(step, 9, LossConfig(beta=0.3)) for step in (0, 5, 10**7)] == [0.3, 0.3, 0.3]


def test_an_annealed_beta():
    """beta · (1 − rate^step); of the paper's, 0.2 and 0.99999, 0.079 after 50,000 steps and 0.173 after 200,000."""
    half = LossConfig(beta=0.8, beta_schedule="annealed", beta_rate=0.5)
    assert [beta(step, 1, half) for step in range(4)] == pytest.approx([0, 0.4, 0.6, 0.7])
    paper = LossConfig(beta=0.2, beta_schedule="annealed")
    assert [beta(step, 1, paper) for step in (0, 50_000, 100_000, 200_000)] == pytest.approx(
        [0, 0.0787, 0.1264, 0.1729], abs=1e-4
    )
    assert beta(10**7, 1, paper) == pytest.approx(0.2)


def test_a_cyclical_beta():
    """Two cycles of 8 steps: up over the first half of each, then at its highest, and down to 0 at once."""
    settings = LossConfig(beta=0.4, beta_schedule="cyclical", beta_cycles=2)
    cycle = [0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4]
    assert [beta(step, 16, settings) for step in range(16)] == pytest.approx(cycle * 2)
    one = LossConfig(beta=0.4, beta_schedule="cyclical", beta_cycles=1)
    assert [beta(step, 4, one) for step in range(4)] == pytest.approx([0, 0.2, 0.4, 0.4])
    assert 0 <= beta(0, 0, one) <= 0.4


@given(
    st.sampled_from(["constant", "annealed", "cyclical"]),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.floats(0, 10),
    st.integers(1, 50),
)
def test_beta_stays_between_nothing_and_its_highest(schedule, step, total, highest, cycles):
    settings = LossConfig(beta=highest, beta_schedule=schedule, beta_cycles=cycles)
    assert 0 <= beta(step, total, settings) <= highest


# ------------------------------------------------------------------------------------------ scheduled sampling
def test_no_sampling():
    assert [sampling_share(step, TrainConfig()) for step in (0, 10**7)] == [0, 0]
    assert sampling_share(5, TrainConfig(sampling_rate=0.5)) == 0  # a rate alone is no schedule


def test_a_constant_share():
    assert sampling_share(10**7, TrainConfig(sampling="constant", sampling_rate=0.25)) == 0.25


def test_an_inverse_sigmoid_share():
    """1 − k / (k + exp(step / k)): half where exp(step / k) = k, at step k · ln k, 15,202 for the paper's 2,000."""
    k = 2000
    settings = TrainConfig(sampling="inverse_sigmoid", sampling_rate=k)
    assert round(k * math.log(k)) == 15_202
    assert sampling_share(15_202, settings) == pytest.approx(0.5, abs=1e-4)
    assert sampling_share(15_201, settings) < 0.5 < sampling_share(15_203, settings)
    assert sampling_share(0, settings) == pytest.approx(1 / 2001)
    for step in (0, 1, 1000, 15_000, 40_000):
        assert sampling_share(step, settings) == pytest.approx(1 - k / (k + math.exp(step / k)), abs=1e-12)
    shares = [sampling_share(step, settings) for step in range(0, 60_000, 500)]
    assert shares == sorted(shares)
    assert sampling_share(10**7, settings) == 1.0  # exp(5,000) would be too much for a float
    assert sampling_share(6_908, TrainConfig(sampling="inverse_sigmoid", sampling_rate=1000)) == pytest.approx(
        0.5, abs=1e-4
    )


@given(st.integers(0, 10**9), st.floats(1, 1e6))
def test_a_share_is_a_share(step, k):
    assert 0 <= sampling_share(step, TrainConfig(sampling="inverse_sigmoid", sampling_rate=k)) <= 1
