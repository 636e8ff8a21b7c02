from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from musicvae.errors import SoundError
from musicvae.music import PARTS, Score, midi
from musicvae.music.mastering import CEILING, TARGET, loudness
from musicvae.music.render import _PRESETS, MAX_SECONDS, RATE, render, wav_bytes, write_wav
from soundfonts import sf2


@pytest.fixture(scope="module")
def song() -> Score:
    """Eight bars of chords, repeated notes, whole notes and ornaments, from A0 to C8, from pp to ff."""
    rng = np.random.default_rng(11)
    onset = np.sort(rng.integers(0, 128, 160))
    return Score.of(onset, rng.integers(21, 109, 160), rng.integers(1, 17, 160), rng.integers(20, 127, 160), bars=8)


@pytest.fixture(scope="module")
def audio(song) -> np.ndarray:
    return render(song, soundfont="builtin")


def above(audio: np.ndarray, hz: float) -> np.ndarray:
    """What lies above a frequency: where nothing plays, only clicks are left."""
    size = 1 << audio.shape[1].bit_length()
    spectrum = np.fft.rfft(audio, size)
    spectrum[:, np.fft.rfftfreq(size, 1 / RATE) < hz] = 0
    return np.fft.irfft(spectrum, size)[:, : audio.shape[1]]


def test_audio_is_stereo_and_as_long_as_the_music_and_what_rings_on(song, audio):
    assert audio.dtype == np.float32
    assert audio.shape[0] == 2
    assert song.seconds * RATE <= audio.shape[1] <= (song.seconds + 4) * RATE
    assert np.corrcoef(audio)[0, 1] < 0.95


def test_loudness_is_even_and_nothing_clips(song, audio):
    assert loudness(audio, RATE) == pytest.approx(TARGET, abs=0.05)
    assert np.abs(audio).max() <= 10 ** (CEILING / 20) + 1e-6
    soft = Score.of(*song.columns[:3], np.maximum(song.velocity // 6, 1), bars=8)
    assert loudness(render(soft, soundfont="builtin"), RATE) == pytest.approx(TARGET, abs=0.05)


def test_no_clicks_no_direct_current_and_a_quiet_end(audio):
    assert np.abs(np.diff(audio)).max() < 0.4
    peak = np.abs(audio).max()
    clicks = np.abs(above(audio, 17_000))[:, 1000:-1000]
    assert clicks.max() < 3e-4 * peak
    assert np.abs(audio.mean(axis=1)).max() < 1e-3 * peak
    assert np.abs(audio[:, -10:]).max() < 1e-4
    cut = audio.copy()  # negative control: sound that stops dead
    loudest = np.abs(audio[0]).argmax()
    cut[:, loudest : loudest + 50] = 0
    assert np.abs(above(cut, 17_000)).max() > 0.01 * peak


def test_the_same_score_gives_the_same_samples(song, audio):
    np.testing.assert_array_equal(render(song, soundfont="builtin"), audio)


def test_notes_sound_when_they_are_struck():
    score = Score.of([0, 8, 20], [60, 64, 67], 2, 90, bars=2, tempo=100)
    audio = np.abs(render(score, soundfont="builtin")).max(axis=0)
    for onset in (8, 20):
        at = int(onset * 60 / 100 / 4 * RATE)
        assert audio[at : at + 800].max() > 4 * audio[at - 800 : at].max()


def test_notes_end_with_the_last_bar():
    """The Score's notes may reach beyond it; the picture cuts them, too."""
    short, long = (Score.of([0], [48], d, bars=1) for d in (16, 16 * 50))
    np.testing.assert_array_equal(render(short, soundfont="builtin"), render(long, soundfont="builtin"))


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_heard_and_differs_from_the_others(part):
    number = PARTS.index(part)
    score = Score.of([0, 4, 8, 12], [36, 38, 42, 46], 3, 90, number, bars=1)
    audio = render(score, soundfont="builtin")
    assert loudness(audio, RATE) > -30
    like = {"piano": 1, "melody": 0, "bass": 0, "drums": 0}[part]
    other = render(Score.of(*score.columns[:4], like, bars=1), soundfont="builtin")
    same = audio.shape == other.shape and np.array_equal(audio, other)
    assert same == (part in ("piano", "melody"))


def test_a_score_without_notes_is_silence_of_its_length():
    audio = render(Score.of([], [], [], bars=2), soundfont="builtin")
    assert audio.shape[1] >= 4 * RATE
    assert not audio.any()


def test_music_that_is_too_long_is_told():
    with pytest.raises(SoundError, match=r"lasts 1280 s; wanted at most 1200 s of sound. Cut the Score"):
        render(Score.of([0], [60], 1, bars=640))
    assert Score.of([0], [60], 1, bars=600).seconds <= MAX_SECONDS


def test_soundfont_and_midi_file_name_the_same_instruments():
    assert set(_PRESETS) == set(PARTS)
    for part, (_, program, drum) in midi._TRACKS.items():
        assert _PRESETS[part] == (128 if drum else 0, program)


def test_parts_that_a_soundfont_lacks_are_played_by_the_built_in_instruments(tmp_path):
    drums = Score.of([0, 4, 8, 12], 38, 3, 90, 3, bars=1)
    path = tmp_path / "sine.sf2"
    path.write_bytes(sf2())
    np.testing.assert_array_equal(render(drums, soundfont=path), render(drums, soundfont="builtin"))
    piano = render(Score.of([0], [69], 8, bars=1), soundfont=path)
    assert np.square(above(piano, 800)).sum() < 1e-3 * np.square(piano).sum()  # a sine, not the built-in piano


# ------------------------------------------------------------------------------------------------- WAV
def test_wav_holds_the_samples_in_16_bits(audio):
    with wave.open(io.BytesIO(wav_bytes(audio))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        assert file.getnframes() == audio.shape[1]
        read = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).T / 32767
    assert np.abs(read - audio).max() < 2 / 32767
    assert wav_bytes(audio) == wav_bytes(audio)


def test_full_scale_does_not_wrap_around():
    square = np.sign(np.sin((np.arange(2000) + 0.5) / 50))[None].repeat(2, axis=0).astype(np.float32)
    with wave.open(io.BytesIO(wav_bytes(square))) as file:
        read = np.frombuffer(file.readframes(2000), "<i2").reshape(-1, 2).T
    assert (np.sign(read) == square).all()


def test_dither_keeps_what_is_softer_than_a_bit():
    """A sine of a third of a bit would be lost by rounding; with dither it is there, below noise."""
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    audio = np.stack([sine, sine]).astype(np.float32) / 3 / 32767
    with wave.open(io.BytesIO(wav_bytes(audio))) as file:
        read = np.frombuffer(file.readframes(RATE), "<i2").reshape(-1, 2)[:, 0]
    assert 2 * (read * sine).mean() == pytest.approx(1 / 3, abs=0.05)


def test_write_wav_makes_folders(tmp_path, audio):
    path = write_wav(audio[:, :100], tmp_path / "a" / "b.wav")
    assert path.read_bytes() == wav_bytes(audio[:, :100])
