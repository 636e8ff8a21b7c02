from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicvae.errors import SoundError
from musicvae.music import soundfont
from musicvae.music.soundfont import BUILTIN, VARIABLE, Player, SoundFont, find_soundfont
from soundfonts import HZ, chunk, sf2

RATE = 44_100


@pytest.fixture
def play(tmp_path):
    """Play a note with a SoundFont of `sf2`."""

    def note(pitch: int = 69, velocity: int = 127, seconds: float = 0.5, **font) -> np.ndarray:
        path = tmp_path / "sine.sf2"
        path.write_bytes(sf2(**font))
        return Player(SoundFont(path).zones(0, 0), RATE).note(pitch, velocity, seconds)

    return note


def hertz(sound: np.ndarray) -> float:
    size = 1 << 18
    spectrum = np.abs(np.fft.rfft(sound[0] * np.hanning(sound.shape[1]), size))
    return float(spectrum.argmax() * RATE / size)


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound).mean()))


# ------------------------------------------------------------------------------------------------- finding
def test_what_is_asked_for_comes_first(tmp_path, monkeypatch):
    asked, named = tmp_path / "asked.sf2", tmp_path / "named.sf2"
    for path in (asked, named):
        path.write_bytes(sf2())
    monkeypatch.setenv(VARIABLE, str(named))
    assert find_soundfont(asked) == asked
    assert find_soundfont() == named
    assert find_soundfont(BUILTIN) is None
    monkeypatch.setenv(VARIABLE, BUILTIN)
    assert find_soundfont() is None


def test_the_folders_of_the_system_are_looked_through(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(soundfont, "FOLDERS", (str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")))
    assert find_soundfont() is None
    for name in ("a/Zither.sf2", "b/TimGM6mb.sf2", "b/FluidR3_GM.sf2", "b/compressed.sf3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find_soundfont() == tmp_path / "b/FluidR3_GM.sf2"
    (tmp_path / "b/default-GM.sf2").touch()
    assert find_soundfont() == tmp_path / "b/default-GM.sf2"
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    assert find_soundfont() == tmp_path / "a/Zither.sf2"


def test_an_absent_soundfont_says_who_named_it(tmp_path, monkeypatch):
    with pytest.raises(SoundError, match=r"none\.sf2: there is no such SoundFont.*'builtin'"):
        find_soundfont(tmp_path / "none.sf2")
    monkeypatch.setenv(VARIABLE, "gone.sf2")
    with pytest.raises(SoundError, match=rf"gone\.sf2 \(from {VARIABLE}\): there is no such SoundFont"):
        find_soundfont()


# ------------------------------------------------------------------------------------------------- playing
@pytest.mark.parametrize("pitch", [57, 69, 74, 81])
def test_keys_are_in_tune(play, pitch):
    sound = play(pitch, zones=[[(54, 1)]])
    assert hertz(sound) == pytest.approx(HZ * 2 ** ((pitch - 69) / 12), rel=5e-4)


def test_tuning(play):
    assert hertz(play(zones=[[(58, 81)]])) == pytest.approx(HZ / 2, rel=1e-3)  # another root key
    assert hertz(play(zones=[[(51, 2), (52, -50)]], outer=[(51, 1)])) == pytest.approx(HZ * 2 ** (2.5 / 12), rel=1e-3)
    assert hertz(play(81, zones=[[(56, 0)]])) == pytest.approx(HZ, rel=1e-3)  # a drum: all keys alike


def test_loops_go_on_and_single_shots_end(play):
    looped, once = play(seconds=3, zones=[[(54, 1)]]), play(seconds=3)
    assert once.shape[1] <= RATE < 3 * RATE <= looped.shape[1]
    assert rms(looped[:, int(2.5 * RATE) : 3 * RATE]) == pytest.approx(rms(looped[:, 1000:20_000]), rel=0.02)
    # Turns meet where the loop begins again: no step that a sine has not.
    assert np.abs(np.diff(looped[0, 200 : 3 * RATE])).max() < 1.05 * 2 * np.pi * HZ / RATE * np.abs(looped[0]).max()


def test_release_and_sustain(play):
    slow, quick = play(zones=[[(54, 1), (38, 1200)]]), play(zones=[[(54, 1)]])  # 2 s for 100 dB, and almost none
    assert slow.shape[1] > quick.shape[1] + RATE
    after = slow[:, int(1.0 * RATE) : int(1.1 * RATE)]  # half a second after the release: 25 dB
    assert 20 * np.log10(rms(after) / rms(slow[:, 4000:20_000])) == pytest.approx(-27.5, abs=1.5)
    sustained = play(seconds=1.5, zones=[[(54, 1), (36, -1200), (37, 200)]])  # falls by 20 dB in a tenth of a second
    assert 20 * np.log10(rms(sustained[:, RATE:60_000]) / np.abs(sustained).max()) == pytest.approx(-23, abs=1)


def test_attack(play):
    sound = play(zones=[[(54, 1), (34, -2400)]])  # a quarter of a second
    quarters = [np.abs(sound[:, i * 2205 : (i + 1) * 2205]).max() for i in range(5)]
    assert quarters == sorted(quarters)
    assert quarters[0] < 0.3 * quarters[-1]


def test_pan_attenuation_and_velocity(play):
    left, right = (rms(ear[None]) for ear in play(zones=[[(17, -500)]]))
    assert right < 0.01 * left
    middle = play()
    assert rms(middle[:1]) == pytest.approx(rms(middle[1:]))
    assert rms(play(zones=[[(48, 100)]])) == pytest.approx(rms(middle) * 10 ** (-0.4 * 10 / 20), rel=0.01)
    assert rms(play(velocity=64)) == pytest.approx(rms(middle) * (64 / 127) ** 2, rel=0.01)


def test_the_low_pass(play):
    assert rms(play(zones=[[(8, 5700)]])) < 0.3 * rms(play())  # 220 Hz: an octave below the sine
    assert rms(play(zones=[[(8, 5700), (11, 4800)]])) == pytest.approx(rms(play()), rel=0.05)  # opened by the envelope


def test_zones_are_for_their_keys_and_velocities(play):
    zones = [[(43, 69 << 8), (17, -500)], [(43, 127 << 8 | 70), (44, 127 << 8 | 100), (17, 500)]]
    low, high = play(60, zones=zones), play(80, zones=zones)
    assert rms(low[1:]) < 0.01 * rms(low[:1])
    assert rms(high[:1]) < 0.01 * rms(high[1:])
    assert play(80, 90, zones=zones).shape == (2, 0)


def test_what_is_said_for_all_zones_holds_unless_one_says_otherwise(play):
    zones = [[(43, 69 << 8)], [(43, 127 << 8 | 70), (17, 500)]]
    low, high = (play(pitch, zones=zones, shared=[(17, -500)]) for pitch in (60, 80))
    assert rms(low[1:]) < 0.01 * rms(low[:1])
    assert rms(high[:1]) < 0.01 * rms(high[1:])


def test_a_key_is_worked_out_once_and_sounds_as_if_it_were_not(play, tmp_path):
    path = tmp_path / "once.sf2"
    path.write_bytes(sf2([[(54, 1)]]))
    player = Player(SoundFont(path).zones(0, 0), RATE)
    long, short = player.note(70, 100, 2.0), player.note(70, 100, 0.5)
    np.testing.assert_array_equal(short, play(70, 100, 0.5, zones=[[(54, 1)]]))
    np.testing.assert_array_equal(short[:, :20_000], long[:, :20_000])


def test_presets_are_found_by_bank_and_program(tmp_path):
    path = tmp_path / "drums.sf2"
    path.write_bytes(sf2(preset=(128, 0)))
    font = SoundFont(path)
    assert font.zones(0, 0) == []
    assert len(font.zones(128, 0)) == 1


def test_a_whole_general_midi_set():
    """TimGM6mb, which pretty_midi brings along."""
    package = importlib.util.find_spec("pretty_midi")
    assert package is not None
    assert package.origin is not None
    font = SoundFont(Path(package.origin).with_name("TimGM6mb.sf2"))
    player = Player(font.zones(0, 0), RATE)
    for pitch in (57, 69, 81, 93):
        assert 1200 * abs(np.log2(hertz(player.note(pitch, 100, 1.5)) / (440 * 2 ** ((pitch - 69) / 12)))) < 25
    assert font.zones(0, 33)
    assert font.zones(128, 0)
    assert font.zones(5, 5) == []


# ------------------------------------------------------------------------------------------------- damage
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"hello" * 9, "begins with b'hellohellohe'; wanted b'RIFF' and b'sfbk'"),
        (sf2()[:-60], "cut off: chunk"),
        (sf2().replace(b"shdr", b"xxxx"), "it has no chunk b'shdr'"),
        (chunk(b"RIFF", b"sfbk"), "it has no chunk"),
    ],
)
def test_what_is_no_soundfont_is_one_line(tmp_path, data, text):
    path = tmp_path / "bad.sf2"
    path.write_bytes(data)
    with pytest.raises(SoundError) as error:
        SoundFont(path)
    assert str(error.value).startswith(f"{path}: is no SoundFont that can be read (")
    assert text in str(error.value)
    assert "'builtin'" in str(error.value)
    assert "\n" not in str(error.value)


def test_compressed_soundfonts_are_told_apart(tmp_path):
    path = tmp_path / "small.sf3"
    path.write_bytes(b"hello")
    with pytest.raises(SoundError, match=r"is a compressed SoundFont \(SF3\), and only SF2 is read"):
        SoundFont(path)


def test_a_sample_beyond_the_file_is_damage(tmp_path):
    path = tmp_path / "bad.sf2"
    path.write_bytes(sf2([[(12, 1)]]))  # ends 32,768 frames later
    with pytest.raises(SoundError, match=r"sample 'sine' lies from 0 to 54818 of 22096 at 22050 Hz"):
        SoundFont(path).zones(0, 0)


GOOD = sf2([[(54, 1), (38, 0)], [(43, 127 << 8 | 70)]], shared=[(17, 100)])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(len(GOOD) - 500, len(GOOD) - 1), st.integers(0, 255)), max_size=12),
    st.integers(0, 127),
)
def test_damage_is_played_or_told(tmp_path, damage, pitch):
    data = bytearray(GOOD)
    for at, value in damage:
        data[at] = value
    path = tmp_path / "maybe.sf2"
    path.write_bytes(data)
    try:
        zones = SoundFont(path).zones(0, 0)
    except SoundError:
        return
    sound = Player(zones, RATE).note(pitch, 100, 0.05)
    assert np.isfinite(sound).all()
    assert sound.shape[1] < 70 * RATE
