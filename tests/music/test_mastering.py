from __future__ import annotations

import numpy as np
import pytest

from musicvae.music.mastering import CEILING, TARGET, convolve, loudness, master


def sine(seconds: float, dbfs: float, rate: int, f: float = 997.0) -> np.ndarray:
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * f * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_loudness_of_the_sines_that_the_standard_names(rate):
    """BS.1770-4: 997 Hz at 0 dBFS in one channel is −3.01; EBU Tech 3341, case 1: at −23 dBFS in two, −23.0."""
    one = np.stack([sine(3, 0, rate), np.zeros(3 * rate, np.float32)])
    assert loudness(one, rate) == pytest.approx(-3.01, abs=0.02)
    both = np.stack([sine(20, -23, rate, 1000)] * 2)
    assert loudness(both, rate) == pytest.approx(-23.0, abs=0.05)


def test_k_weighting_counts_treble_for_more_and_the_lowest_bass_for_less():
    levels = [loudness(sine(2, -20, 44_100, f)[None], 44_100) for f in (40, 1000, 8000)]
    assert levels[0] < levels[1] - 3
    assert levels[2] == pytest.approx(levels[1] + 3.3, abs=0.3)  # the shelf


def test_quiet_stretches_are_not_counted():
    """As EBU Tech 3341, case 3, but shorter: 12 s at −23 dBFS between 3 s at −36 are −23.0."""
    levels = [sine(3, -36, 48_000, 1000), sine(12, -23, 48_000, 1000), sine(3, -36, 48_000, 1000)]
    assert loudness(np.stack([np.concatenate(levels)] * 2), 48_000) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0])
def test_silence_has_no_loudness(seconds):
    silence = np.zeros((2, int(seconds * 44_100)), np.float32)
    assert loudness(silence, 44_100) == -np.inf
    assert not master(silence, 0, 44_100).any()


@pytest.mark.parametrize("taps", [1, 7, 3000])
def test_convolve_is_convolution(taps):
    rng = np.random.default_rng(0)
    audio, response = rng.normal(size=(2, 9000)).astype("f4"), rng.normal(size=(1, taps)).astype("f4")
    wanted = [np.convolve(ear, response[0]) for ear in audio.astype("f8")]
    np.testing.assert_allclose(convolve(audio, response), wanted, atol=1e-2)


def noise(gain: float) -> np.ndarray:
    return (gain * np.random.default_rng(1).normal(size=(2, 2 * 44_100))).astype(np.float32)


@pytest.mark.parametrize("gain", [1e-4, 1.0, 100.0])
def test_all_come_out_equally_loud(gain):
    mastered = master(noise(gain), 2 * 44_100, 44_100)
    assert loudness(mastered, 44_100) == pytest.approx(TARGET, abs=0.01)
    assert np.abs(mastered).max() <= 10 ** (CEILING / 20) + 1e-6


def test_what_has_higher_peaks_than_fit_stays_quieter():
    pings = np.zeros((2, 3 * 44_100), np.float32)
    pings[:, ::20_000] = 1
    mastered = master(pings, 3 * 44_100, 44_100)
    assert np.abs(mastered).max() == pytest.approx(10 ** (CEILING / 20), rel=1e-4)
    assert loudness(mastered, 44_100) < TARGET - 1


def test_the_end_fades_and_nothing_of_the_music_is_cut():
    audio = np.zeros((2, 4 * 44_100), np.float32)
    audio[:, 100:60_000] = noise(0.1)[:, : 60_000 - 100]
    mastered = master(audio, 44_100, 44_100)
    assert mastered.shape[1] > 60_000 + 0.3 * 44_100  # the room's answer
    assert mastered.shape[1] < 60_000 + 1.0 * 44_100
    assert np.abs(mastered[:, -20:]).max() < 1e-4
    assert np.abs(mastered[:, :100]).max() < 1e-5
    long = master(audio, 4 * 44_100, 44_100)  # the music goes on in silence
    assert long.shape[1] >= 4 * 44_100


def test_the_room_is_in_stereo_and_quiet_beside_the_sound():
    click = np.zeros((2, 44_100), np.float32)
    click[:, 0] = 1
    left, right = master(click, 0, 44_100)
    assert left.argmax() == right.argmax() == 0
    tail = slice(40, None)
    assert abs(np.corrcoef(left[tail], right[tail])[0, 1]) < 0.3
    for ear in (left, right):
        assert 0.001 < np.square(ear[tail]).sum() / ear[0] ** 2 < 0.1
