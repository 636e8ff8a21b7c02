"""Beats that people marked: a song recorded against a clock comes back onto its own bars."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicvae.errors import ReadError
from musicvae.music import Score, read, read_bytes
from musicvae.music.beats import BEATS, LARGEST_BEATS, beats_beside, onto_beats, read_beats
from musicvae.music.midi import read_midi
from musicvae.music.quantize import quantize
from musicvae.music.raw import RawNotes, Track


def lines(seconds: np.ndarray, per_bar: list[int], first: int = 0) -> bytes:
    """Write beats as POP909 does; bars of `per_bar` beats, the last of them for the rest, from beat `first` on."""
    begins = {first + n for n in itertools.accumulate([0, *per_bar])}
    begins |= set(range(max(begins), len(seconds), per_bar[-1]))
    return "".join(f"{t!r} {float(i % 2 == 0)} {float(i in begins)}\n" for i, t in enumerate(seconds.tolist())).encode()


def against_a_clock(score: Score, at: Any, tempos: list[tuple[int, float]]) -> RawNotes:
    """Return a Score's notes in ticks of a file with other beats; `at` says when each of its beats sounds."""
    marks = np.array(tempos, np.float64)
    seconds = np.concatenate(([0.0], np.cumsum(np.diff(marks[:, 0]) * 60 / marks[:-1, 1] / 480)))

    def ticks(beats: np.ndarray) -> np.ndarray:
        time = at(beats)
        mark = np.searchsorted(seconds, time, side="right") - 1
        return np.round(marks[mark, 0] + (time - seconds[mark]) * marks[mark, 1] * 480 / 60).astype(np.int64)

    start, stop = ticks(score.onset / 4), ticks((score.onset + score.duration) / 4)
    pitch, velocity = score.pitch.astype(np.int64), score.velocity.astype(np.int64)
    track = np.zeros(len(start), np.int64)
    return RawNotes(start, stop, pitch, velocity, track, (Track(0, False),), 480, meters=((0, 1, 4),), tempos=marks)


@settings(max_examples=60)
@given(st.data())
def test_music_comes_back_whatever_the_clock(data):
    bars = data.draw(st.integers(2, 6))
    beats = 4 * bars + 1
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    onset = np.sort(rng.choice(16 * bars - 4, 12, replace=False))
    onset[0] = 0
    pitch = 40 + rng.choice(40, 12, replace=False)  # different keys, so that none is struck again
    score = Score.of(onset, pitch, rng.integers(1, 4, 12), 80, bars=bars)
    seconds = data.draw(st.floats(0, 3)) + np.cumsum(rng.uniform(0.4, 0.7, beats))
    tempos = [(0, data.draw(st.floats(40, 200))), (960, data.draw(st.floats(40, 200)))]
    raw = against_a_clock(score, lambda b: np.interp(b, np.arange(beats), seconds), tempos)
    placed = onto_beats(raw, read_beats(lines(seconds, [4]), "x"))
    got = quantize(placed, "x").score
    assert [c.tolist() for c in got.columns[:3]] == [c.tolist() for c in score.columns[:3]]
    assert got.meter == (4, 4)
    assert got.tempo == pytest.approx(60 / np.median(np.diff(seconds)))
    without = quantize(raw, "x").score
    assert without.meter == (1, 4)


def steady(onsets: list[float], seconds: float = 0.5) -> RawNotes:
    """Return a note of an eighth at each of `onsets`, in beats of half a second that begin at 1.2 s."""
    start = np.array([round((1.2 + b * seconds) * 960) for b in onsets])  # 480 ticks at 120 a minute
    count = len(start)
    pitch, velocity = 60 + np.arange(count), np.full(count, 90)
    return RawNotes(start, start + 240, pitch, velocity, np.zeros(count, np.int64), (Track(0, False),), 480)


def steps(raw: RawNotes, marked: bytes) -> list[int]:
    return quantize(onto_beats(raw, read_beats(marked, "x")), "x").score.onset.tolist()


def test_a_pick_up_stands_in_a_bar_of_its_own():
    seconds = 1.2 + 0.5 * np.arange(16)
    assert steps(steady([0, 4]), lines(seconds, [4])) == [0, 16]
    assert steps(steady([-1, 0, 4]), lines(seconds, [4])) == [12, 16, 32]
    # The first bar that is marked begins at the third beat: the two before it are the end of a bar.
    assert steps(steady([0, 2, 6]), lines(seconds, [4], first=2)) == [8, 16, 32]
    # A hair before the bar is the bar.
    assert steps(steady([-0.1, 0.25, 4]), lines(seconds, [4])) == [0, 1, 16]


def test_the_first_and_the_last_beat_go_on():
    seconds = 1.2 + 0.5 * np.arange(8)
    assert steps(steady([0, 8, 12.5]), lines(seconds, [4])) == [0, 32, 50]
    assert steps(steady([-1.5, 0]), lines(seconds, [4])) == [10, 16]


def test_odd_bars_are_meters():
    seconds = 1.2 + 0.5 * np.arange(40)
    placed = onto_beats(steady(list(range(38))), read_beats(lines(seconds, [4, 4, 2, 4]), "x"))
    assert placed.meters == ((0, 4, 4), (8 * 480, 2, 4), (10 * 480, 4, 4))
    reading = quantize(placed, "x")
    assert (reading.score.meter, len(reading.score)) == ((4, 4), 28)  # the longest stretch, from its own bar line on
    assert reading.score.onset[0] == 0
    # The last bar may be cut short by the end of the song, which makes no meter of it.
    assert onto_beats(steady([0, 5]), read_beats(lines(seconds[:10], [4]), "x")).meters == ((0, 4, 4),)
    triple = onto_beats(steady([0, 5]), read_beats(lines(seconds, [3]), "x"))
    assert triple.meters == ((0, 3, 4),)


def test_what_is_damaged_stays_damaged():
    raw = steady([0, 4])
    raw.start[0] = -5
    assert onto_beats(raw, read_beats(lines(1.2 + 0.5 * np.arange(8), [4]), "x")) is raw


@pytest.mark.parametrize(
    ("marked", "says"),
    [
        (b"", "0 beats and 0 bars; wanted 2 and 1 or more"),
        (b"1 1 1\n", "1 beats and 1 bars"),
        (b"1 1 0\n2 0 0\n", "2 beats and 0 bars"),
        (b"1 1 1\nzwei 0 0\n", "line 2 of beat_midi.txt beside it is 'zwei 0 0'; wanted a time in seconds"),
        (b"1 1 1\n0.5 0 0\n", "line 2 .* later than the line before"),
        (b"1 1 1\n1.000001 0 0\n", "line 2 "),
        (b"1 1 1\nnan 0 0\n", "line 2 "),
        (b"1\n2\n", "line 1 "),
        (b"\xff\xfe1 1 1\n", "line 1 "),
        (b"1 1 1\n" * LARGEST_BEATS, "larger than 1 MB"),
    ],
)
def test_beats_that_cannot_be_are_named(marked, says):
    with pytest.raises(ReadError, match=says) as raised:
        read_beats(marked, "a/song.mid")
    assert raised.value.source == "a/song.mid"


def test_blank_lines_and_two_columns_will_do():
    assert read_beats(b"\n0.5 1\n\n1.0 0\n", "x").first.tolist() == [0]


def test_a_file_is_read_with_the_beats_beside_it(tmp_path: Path):
    path = Score.of([0, 16], 60, 4).save(tmp_path / "song.mid")
    assert beats_beside(path) is None
    assert read(path).score.onset.tolist() == [0, 16]
    seconds = 0.25 * np.arange(20)  # twice as many beats as the file says
    (tmp_path / BEATS).write_bytes(lines(seconds, [4]))
    assert read(path).score.onset.tolist() == [0, 32]
    assert read(path).report.changes[0] == ("placed: on the beats of beat_midi.txt", 2)
    assert read_bytes(path.read_bytes(), "song.mid").score.onset.tolist() == [0, 16]
    assert beats_beside(tmp_path / "song.npz") is None  # a piano roll's grid is its own
    (tmp_path / BEATS).write_bytes(b"nonsense")
    with pytest.raises(ReadError, match=r"song\.mid: line 1 of beat_midi\.txt beside it is 'nonsense'"):
        read(path)


def test_pop909_is_in_four_on_its_beats(shared_data: Path):
    found, sharp = [], []
    with tarfile.open(shared_data / "pop909.tar.xz") as archive:
        files: dict[str, bytes] = {}
        for member in itertools.islice((m for m in archive if m.isfile()), 60):
            content: Any = archive.extractfile(member)
            files[member.name] = content.read()
    for name, content in files.items():
        if name.endswith(".mid"):
            beats = files[f"{name.rpartition('/')[0]}/{BEATS}"]
            found.append(read_bytes(content, name, beats=beats).score.meter)
            for given_beats in (None, beats):
                # How far the notes stand beside the steps, in steps.
                raw = read_midi(content, name)
                raw = raw if given_beats is None else onto_beats(raw, read_beats(given_beats, name))
                turn = np.exp(2j * np.pi * 4 * raw.start / raw.ticks_per_beat).mean()
                sharp.append(abs(np.angle(turn)) / 2 / np.pi)
    assert len(found) == 30
    assert found.count((4, 4)) >= 28
    before, after = np.median(sharp[::2]), np.median(sharp[1::2])
    assert before > 0.1  # of a 16th beside the beat
    assert after < 0.01
