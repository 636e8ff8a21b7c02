"""The built-in instruments, looked at as a spectrogram would show them."""

from __future__ import annotations

import numpy as np
import pytest

from musicvae.music import drumkit, synth

RATE = 44_100


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.square(sound).mean() + 1e-20))


def spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and levels in dB, of both ears together."""
    size = 1 << 17
    window = np.hanning(sound.shape[1])
    power = np.square(np.abs(np.fft.rfft(sound * window, size))).sum(axis=0)
    return np.fft.rfftfreq(size, 1 / RATE), 10 * np.log10(power / power.max() + 1e-20)


def centroid(sound: np.ndarray) -> float:
    f, levels = spectrum(sound)
    return float((f * 10 ** (levels / 10)).sum() / (10 ** (levels / 10)).sum())


@pytest.mark.parametrize("instrument", ["piano", "bass"])
@pytest.mark.parametrize("pitch", [0, 21, 45, 60, 84, 108, 127])
@pytest.mark.parametrize("velocity", [1, 127])
def test_every_key_sounds_and_begins_and_ends_in_silence(instrument, pitch, velocity):
    for seconds in (0.001, 0.5):
        sound = synth.note(instrument, pitch, velocity, seconds, RATE)
        assert sound.dtype == np.float32
        assert sound.shape[0] == 2
        assert np.isfinite(sound).all()
        peak = np.abs(sound).max()
        assert peak > 0
        assert np.abs(sound[:, :2]).max() < 0.01 * peak
        assert np.abs(sound[:, -2:]).max() < 1e-4 * peak
    assert np.abs(sound.mean(axis=1)).max() < 0.01 * peak  # no direct current


@pytest.mark.parametrize("pitch", [45, 57, 69, 81, 93])
@pytest.mark.parametrize("instrument", ["piano", "bass"])
def test_the_fundamental_is_in_tune(instrument, pitch):
    f, levels = spectrum(synth.note(instrument, pitch, 90, 2.0, RATE))
    wanted = 440 * 2 ** ((pitch - 69) / 12)
    near = (f > wanted * 0.94) & (f < wanted * 1.06)
    cents = 1200 * np.log2(f[near][levels[near].argmax()] / wanted)
    assert abs(cents) < 8  # octaves of a piano are stretched by some cents


def test_partials_are_sharp_as_those_of_stiff_strings():
    f, levels = spectrum(synth.note("piano", 60, 110, 3.0, RATE))
    for n, least in ((6, 4.0), (12, 20.0)):
        wanted = n * 440 * 2 ** (-9 / 12)
        near = (f > wanted * 0.985) & (f < wanted * 1.04)
        assert least < 1200 * np.log2(f[near][levels[near].argmax()] / wanted) < 3 * least


@pytest.mark.parametrize("pitch", [60, 96, 120, 127])
def test_nothing_folds_back_below_the_highest_string(pitch):
    """No energy above what modes reach, and none below the fundamental but the knock of the key."""
    f, levels = spectrum(synth.note("piano", pitch, 127, 1.0, RATE))
    assert levels[f > 18_000].max() < -70


def decay(pitch: int) -> float:
    """DB that the first second after the attack takes, over five keys: one alone may beat."""
    sounds = [synth.note("piano", pitch + i, 80, 1.5, RATE) for i in range(5)]
    return sum(level(s[:, 2000:6000]) - level(s[:, 46_000:50_000]) for s in sounds) / 5


def test_low_strings_ring_longer_than_high_ones():
    falls = [decay(pitch) for pitch in (24, 48, 72, 94)]
    assert falls == sorted(falls)
    assert falls[0] < 12
    assert falls[-1] > 30


def test_a_note_dies_in_two_stages():
    sound = synth.note("piano", 60, 80, 4.5, RATE)
    at = [level(sound[:, int(t * RATE) : int((t + 0.4) * RATE)]) for t in (0.05, 0.85, 3.0, 3.8)]
    assert at[0] - at[1] > 1.3 * (at[2] - at[3])


def test_the_damper_ends_a_note_but_not_the_highest():
    def left(pitch: int) -> float:
        sound = synth.note("piano", pitch, 80, 0.5, RATE)
        before = level(sound[:, 20_000:22_000])
        return level(np.pad(sound, ((0, 0), (0, RATE)))[:, 29_000:31_000]) - before  # 0.2 s after the release

    assert left(60) < -20
    assert left(100) > left(60) + 5


def test_harder_blows_are_louder_and_brighter():
    sounds = [synth.note("piano", 60, velocity, 1.0, RATE) for velocity in (20, 50, 80, 127)]
    levels, centroids = [level(s) for s in sounds], [centroid(s) for s in sounds]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 20
    assert centroids == sorted(centroids)
    assert centroids[-1] > 1.2 * centroids[0]


def test_keys_stand_from_left_to_right():
    def left_over_right(pitch: int) -> float:
        sound = synth.note("piano", pitch, 80, 1.0, RATE)
        return level(sound[0]) - level(sound[1])

    assert left_over_right(28) > 1
    assert left_over_right(96) < -1
    low = synth.note("piano", 60, 80, 1.0, RATE)
    assert np.corrcoef(low)[0, 1] < 0.98  # two ears hear two things


def test_the_same_blow_sounds_the_same():
    first = synth.note("piano", 64, 70, 0.7, RATE)
    first_again = first.copy()
    synth.note("piano", 65, 70, 0.7, RATE)
    np.testing.assert_array_equal(synth.note("piano", 64, 70, 0.7, RATE), first_again)


# -------------------------------------------------------------------------------------------------- drums
@pytest.mark.parametrize("pitch", range(0, 128, 3))
def test_every_drum_sounds_and_ends(pitch):
    sound = drumkit.hit(pitch, 100, 0.1, RATE)
    assert sound.shape[0] == 2
    assert 0.1 < np.abs(sound).max() < 2
    assert np.abs(sound[:, -2:]).max() < 1e-4
    assert np.isfinite(sound).all()


def test_drums_differ_as_they_should():
    kick, snare, hat, crash = (drumkit.hit(pitch, 100, 0.1, RATE) for pitch in (36, 38, 42, 49))
    assert centroid(kick) < 300 < centroid(snare) < centroid(hat)
    assert hat.shape[1] < snare.shape[1] < crash.shape[1]
    assert level(drumkit.hit(38, 40, 0.1, RATE)) < level(snare) - 5
    toms = [centroid(drumkit.hit(pitch, 100, 0.1, RATE)[:, 4000:]) for pitch in (41, 45, 48, 50)]
    assert toms == sorted(toms)
