"""Songs voice by voice, and the parts that `read` picks out of a file."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import symusic
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import CodecError, ReadError
from musicvae.music import GRIDS, PARTS, Change, Score, read, read_bytes, read_song
from musicvae.music.midi import midi_bytes

TRIO = ("melody", "bass", "drums")
STEP = 120  # ticks a 16th at 480 ticks a quarter note


def midi(*tracks: tuple[int, bool, list[tuple[int, int, int]]], meters: tuple[tuple[int, int, int], ...] = ()) -> bytes:
    """Return a MIDI file of tracks (program, is_drum, notes), a note being (step, pitch, steps)."""
    score = symusic.Score(480)
    for tick, beats, value in meters:
        score.time_signatures.append(symusic.TimeSignature(tick, beats, value))
    for program, is_drum, notes in tracks:
        track = symusic.Track("", program, is_drum)
        for step, pitch, steps in notes:
            track.notes.append(symusic.Note(STEP * step, STEP * steps, pitch, 80))
        score.tracks.append(track)
    return bytes(score.dumps_midi())


def rows(score: Score) -> list[tuple[int, ...]]:
    return [tuple(row) for row in zip(*(c.tolist() for c in score.columns[:3]), strict=True)]


BAND = (
    (4, False, [(0, 60, 4), (16, 64, 4)]),
    (25, False, [(0, 72, 8)]),
    (33, False, [(0, 36, 16), (40, 38, 2)]),
    (48, False, [(0, 55, 64), (0, 59, 64)]),
    (0, True, [(0, 36, 1), (8, 38, 1), (8, 38, 2)]),
    (0, False, [(0, 60, 8), (2, 67, 2)]),
)


def test_voices_of_a_band():
    voices, report = read_song(midi(*BAND), "x")
    assert [(v.part, v.program) for v in voices] == [
        ("piano", 4),
        ("melody", 4),
        ("melody", 25),
        ("bass", 33),
        ("melody", 0),
        ("drums", 0),
    ]
    assert {v.score.bars for v in voices} == {3}
    assert all((v.score.part == PARTS.index(v.part)).all() for v in voices)
    scores = [rows(v.score) for v in voices]
    assert scores[0] == [(0, 60, 8), (2, 67, 2), (16, 64, 4)]  # both pianos on one keyboard
    assert scores[1] == [(0, 60, 4), (16, 64, 4)]
    assert scores[4] == [(0, 60, 8), (2, 67, 2)]
    assert scores[5] == [(0, 36, 1), (8, 38, 2)]
    assert report.notes_found == 12
    assert report.notes_kept == 10
    assert report.changes == (
        Change("dropped: of programs that no voice takes", 2),
        Change("merged: same key on the same step", 2),  # a piano's, and a drum's
    )


def test_the_piano_voice_takes_the_programs_asked_for():
    voices, report = read_song(midi(*BAND), "x", programs={48})
    assert voices[0][:2] == ("piano", 48)
    assert rows(voices[0].score) == [(0, 55, 64), (0, 59, 64)]
    assert report.notes_kept == report.notes_found
    assert "piano" not in {v.part for v in read_song(midi(*BAND), "x", programs=()).voices}


def test_all_voices_share_the_stretch_in_four_four():
    tracks = ((0, False, [(0, 60, 4), (40, 62, 4)]), (33, False, [(0, 36, 4)]), (0, True, [(60, 36, 1)]))
    voices, report = read_song(midi(*tracks, meters=((0, 3, 4), (24 * STEP, 4, 4))), "x")
    assert [(v.part, rows(v.score)) for v in voices] == [
        ("piano", [(16, 62, 4)]),
        ("melody", [(16, 62, 4)]),
        ("drums", [(36, 36, 1)]),
    ]
    assert {v.score.meter for v in voices} == {(4, 4)}
    assert {v.score.bars for v in voices} == {3}
    assert report.changes == (Change("dropped: in 3/4; kept is 4/4 from bar 3", 2),)


def test_a_file_without_any_voice():
    with pytest.raises(ReadError) as error:
        read_song(midi((48, False, [(0, 60, 4)])), "x.mid")
    assert str(error.value) == (
        "x.mid: has no notes of programs 0–39 and no drums (found: program 48 ×1). No voice can be made of it"
    )
    with pytest.raises(ReadError, match="well formed but has no notes, or none of them ends"):
        read_song(midi((0, False, [])), "x.mid")


def test_melody_and_bass_are_the_tracks_that_sound_in_most_bars():
    score, report = read_bytes(midi(*BAND), "x", parts=TRIO)
    assert rows(score.select(score.part == 1)) == [(0, 60, 4), (16, 64, 4)]
    assert rows(score.select(score.part == 2)) == [(0, 36, 16), (40, 38, 2)]
    assert rows(score.select(score.part == 3)) == [(0, 36, 1), (8, 38, 2)]
    assert score.bars == 3
    assert report.notes_found == 10
    assert report.notes_kept == 6
    assert report.changes == (
        Change("chosen: melody is number 1 of 3 tracks (program 4)", 0),
        Change("dropped: of tracks that were not chosen", 3),
        Change("merged: same key on the same step", 1),
    )


def test_ties_go_to_more_notes_then_to_the_first():
    two = midi((0, False, [(0, 60, 4)]), (1, False, [(0, 62, 1), (2, 64, 1)]), (2, False, [(0, 65, 1), (2, 67, 1)]))
    assert rows(read_bytes(two, "x", parts=["melody"]).score) == [(0, 62, 1), (2, 64, 1)]
    # A long note sounds in every bar that it reaches into.
    held = midi((0, False, [(0, 60, 33)]), (1, False, [(0, 62, 1), (16, 64, 1)]))
    assert rows(read_bytes(held, "x", parts=["melody"]).score) == [(0, 60, 33)]


def test_bars_are_those_of_the_tracks_chosen():
    data = midi((0, False, [(i, 60, 1) for i in range(0, 40, 4)]), (1, False, [(100, 62, 1)]))
    assert read_bytes(data, "x", parts=["melody"]).score.bars == 3


def test_programs_replace_those_of_piano_and_melody():
    data = midi(*BAND)
    assert rows(read_bytes(data, "x", parts=["melody"], programs=[25]).score) == [(0, 72, 8)]
    both = read_bytes(data, "x", parts=["bass", "melody"], programs=[48]).score
    assert rows(both.select(both.part == 1)) == [(0, 55, 64), (0, 59, 64)]
    assert rows(both.select(both.part == 2)) == [(0, 36, 16), (40, 38, 2)]
    assert read_bytes(data, "x").score == read_bytes(data, "x", programs=range(8)).score


def test_a_part_that_is_absent_is_reported():
    data = midi((0, False, [(0, 60, 4)]))
    score, report = read_bytes(data, "x", parts=TRIO)
    assert rows(score) == [(0, 60, 4)]
    assert report.changes == (
        Change("absent: no bass track (programs 32–39)", 0),
        Change("absent: no drums", 0),
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["bass"], "x: has no notes of programs 32–39 (found: program 48 ×1). Read other parts of it"),
        (["drums"], "x: has no drums (found: program 48 ×1). Read other parts of it"),
        (["melody"], "x: has no notes of programs 0–31 (found: program 48 ×1). Choose others with --programs"),
        (TRIO, "x: has no notes of programs 0–39 and no drums (found: program 48 ×1). Choose others with --programs"),
    ],
)
def test_no_part_at_all_is_an_error(parts, text):
    with pytest.raises(ReadError) as error:
        read_bytes(midi((48, False, [(0, 60, 4)])), "x", parts=parts)
    assert str(error.value) == text


@pytest.mark.parametrize("parts", [(), ("flute",), ("bass", "bass"), ("melody", "piano", "flute")])
def test_parts_that_there_are_not(parts):
    with pytest.raises(CodecError, match="wanted some of piano, melody, bass, drums, each once"):
        read_bytes(midi(*BAND), "x", parts=parts)


@st.composite
def trios(draw: st.DrawFn) -> Score:
    """Draw a melody, a bass and drums, each with at least a note and no key struck while it sounds."""
    grid, bars = draw(st.sampled_from(GRIDS)), draw(st.integers(1, 4))
    steps = 4 * grid * bars
    notes = []
    for part in (1, 2, 3):
        keys = draw(st.sets(st.tuples(st.integers(0, 127), st.integers(0, steps - 1)), min_size=1, max_size=12))
        ordered = sorted(keys)
        for (pitch, onset), (again, stop) in zip(ordered, [*ordered[1:], (-1, 0)], strict=True):
            room = stop - onset if again == pitch else steps
            notes.append((onset, pitch, draw(st.integers(1, room)), draw(st.integers(1, 127)), part))
    return Score.of(*zip(*notes, strict=True), bars=bars, steps_per_beat=grid, tempo=draw(st.floats(20, 300)))


@given(trios())
def test_what_is_written_is_read_part_by_part(score):
    data = midi_bytes(score)
    again, report = read_bytes(data, "x.mid", parts=TRIO, steps_per_beat=score.steps_per_beat)
    assert again == score
    assert not report.changes
    for number, part in enumerate(TRIO, 1):
        alone = read_bytes(data, "x.mid", parts=[part], steps_per_beat=score.steps_per_beat).score
        assert alone == score.select(score.part == number)


@given(trios())
def test_a_written_song_has_its_voices(score):
    voices = read_song(midi_bytes(score), "x.mid", steps_per_beat=score.steps_per_beat).voices
    assert [v.part for v in voices] == ["piano", *TRIO]  # the melody is written for a piano
    for number, voice in enumerate(voices[1:], 1):
        assert voice.score == score.select(score.part == number)


def members(archive: Path, suffix: str, count: int, skip: int = 0) -> list[tuple[str, bytes]]:
    found = []
    with tarfile.open(archive, "r|xz") as tar:
        for entry in tar:
            if entry.name.endswith(suffix) and (file := tar.extractfile(entry)):
                found.append((entry.name, file.read()))
                if len(found) == count + skip:
                    break
    return found[skip:]


@pytest.mark.parametrize("grid", [4, 24])
def test_lpd_multitrack(shared_data, grid):
    parts = []
    for name, data in members(shared_data / "lpd_multitrack.tar.xz", ".npz", 12):
        voices, report = read_song(data, name, steps_per_beat=grid)
        parts += [v.part for v in voices]
        dropped = sum(c.notes for c in report.changes if c.reason.startswith("dropped"))
        assert report.notes_found == report.notes_kept + dropped
        assert len({(v.score.bars, v.score.meter, v.score.tempo) for v in voices}) == 1
        assert all(len(v.score) for v in voices)
        if "piano" in {v.part for v in voices}:
            piano = read_bytes(data, name, steps_per_beat=grid).score
            for mine, theirs in zip(voices[0].score.columns, piano.columns, strict=True):
                assert np.array_equal(mine, theirs)
        score, _ = read_bytes(data, name, steps_per_beat=grid, parts=TRIO)
        assert len(score)
        for number, part in enumerate(TRIO[:2], 1):  # what is chosen is one of the voices
            of_part = [rows(v.score) for v in voices if v.part == part]
            assert rows(score.select(score.part == number)) in (of_part or [[]])
    assert {*parts} == {*PARTS}


def test_drums_of_groove(shared_data, tmp_path):
    for name, data in members(shared_data / "groove.tar.xz", ".mid", 3):
        path = tmp_path / Path(name).name
        path.write_bytes(data)
        reading = read(path, parts=["drums"], any_meter=True)
        assert reading.report.notes_kept > 20
        assert (reading.score.part == 3).all()
        assert [v.part for v in read_song(data, name, any_meter=True).voices] == ["drums"]
