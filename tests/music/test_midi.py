from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import CodecError, ReadError
from musicvae.music import GRIDS, Score, looks_like_music, read, read_bytes, write_midi
from musicvae.music.midi import midi_bytes


def midi(events: bytes, *, division: int = 480, kind: int = 0, tracks: int = 1) -> bytes:
    """Return a MIDI file of one track with these events."""
    events += b"\0\xff\x2f\0"
    header = struct.pack(">4sIHHH", b"MThd", 6, kind, tracks, division)
    return header + struct.pack(">4sI", b"MTrk", len(events)) + events


def meter(beats: int, power: int) -> bytes:
    return b"\0\xff\x58\x04" + bytes([beats, power, 24, 8])


NOTE = b"\0\x90\x3c\x50\x78\x80\x3c\0"  # middle C of 120 ticks, a 16th, at velocity 80


@st.composite
def scores(draw: st.DrawFn) -> Score:
    """Draw piano Scores in which no key is struck while it sounds."""
    grid = draw(st.sampled_from(GRIDS))
    beats = draw(st.sampled_from([(4, 4), (4, 4), (3, 4), (6, 8), (2, 2)]))
    bars = draw(st.integers(1, 5))
    steps = bars * 4 * grid * beats[0] // beats[1]
    onsets = draw(st.sets(st.tuples(st.integers(0, 127), st.integers(0, steps - 1)), min_size=1, max_size=30))
    notes = sorted(onsets)
    rows = []
    for i, (pitch, onset) in enumerate(notes):
        room = notes[i + 1][1] - onset if i + 1 < len(notes) and notes[i + 1][0] == pitch else 3 * steps
        rows.append((onset, pitch, draw(st.integers(1, room)), draw(st.integers(1, 127))))
    tempo = draw(st.floats(20, 300))
    return Score.of(*zip(*rows, strict=True), bars=bars, steps_per_beat=grid, meter=beats, tempo=tempo)


@given(scores())
def test_what_is_written_is_read(score):
    reading = read_bytes(midi_bytes(score), "x.mid", steps_per_beat=score.steps_per_beat)
    assert reading.score == score
    assert not reading.report.changes
    assert reading.report.notes_found == len(score)


@given(scores())
def test_pretty_midi_reads_the_same_notes(score):
    other = pretty_midi.PrettyMIDI(io.BytesIO(midi_bytes(score)))
    (track,) = other.instruments
    assert not track.is_drum
    assert track.program == 0
    step = 60 / other.get_tempo_changes()[1][0] / score.steps_per_beat
    theirs = sorted((n.start / step, n.pitch, (n.end - n.start) / step, n.velocity) for n in track.notes)
    ours = sorted(zip(*(c.tolist() for c in score.columns[:4]), strict=True))
    np.testing.assert_allclose(np.array(theirs), np.array(ours), atol=1e-4)
    mark = other.time_signature_changes[0]
    assert (mark.numerator, mark.denominator) == score.meter


def test_parts_become_tracks():
    score = Score.of([0, 0, 0, 0], [60, 72, 36, 38], 4, part=[0, 1, 2, 3])
    tracks = pretty_midi.PrettyMIDI(io.BytesIO(midi_bytes(score))).instruments
    assert [(t.name, t.program, t.is_drum) for t in tracks] == [
        ("Piano", 0, False),
        ("Melody", 0, False),
        ("Bass", 33, False),
        ("Drums", 0, True),
    ]
    assert read_bytes(midi_bytes(score), "x").score.pitch.tolist() == [60, 72]
    assert read_bytes(midi_bytes(score), "x", programs={33}).score.pitch.tolist() == [36]


def test_a_score_without_notes_can_be_written():
    data = midi_bytes(Score.of([], [], [], bars=2))
    with pytest.raises(ReadError, match="well formed but has no notes, or none of them ends"):
        read_bytes(data, "x.mid")


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score.of([0], [60], [1], meter=(1, 3), steps_per_beat=12), "meter 1/3 cannot stand"),
        (Score.of([0], [60], [1], meter=(300, 4)), "meter 300/4 cannot stand"),
        (Score.of([0], [60], [2**29]), "too long for a MIDI file"),
    ],
)
def test_what_midi_cannot_hold(score, text):
    with pytest.raises(CodecError, match=text):
        midi_bytes(score)


def test_a_file_is_written_whole_into_new_folders_with_odd_names(tmp_path):
    score = Score.of([0, 4], [60, 64], 4)
    path = write_midi(score, tmp_path / "новая папка" / "été ♪.mid")
    assert read(path).score == score
    assert score.save(str(path)) == path  # writes over what is there
    assert [p.name for p in path.parent.iterdir()] == ["été ♪.mid"]


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "taken.mid").mkdir()
    with pytest.raises(OSError, match=r"taken\.mid"):
        write_midi(Score.of([0], [60], [4]), tmp_path / "taken.mid")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.mid"]


def test_a_riff_file_is_unwrapped():
    inner = midi(NOTE)
    body = b"RMID" + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", len(inner)) + inner
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    assert read_bytes(data, "x.rmi").score == read_bytes(inner, "x.mid").score


def test_overlapping_and_empty_notes():
    events = b"\0\x90\x3c\x50\x78\x90\x3c\x50\x78\x80\x3c\0\x78\x80\x3c\0\0\x90\x40\x50\0\x80\x40\0"
    reading = read_bytes(midi(events), "x.mid")
    assert reading.score.onset.tolist() == [0, 1, 3]
    assert reading.score.duration.tolist() == [1, 2, 1]
    assert [c.reason for c in reading.report.changes] == [
        "lengthened: shorter than half a step",
        "cut: its key is struck again",
    ]


def test_program_changes_within_a_track():
    events = NOTE + b"\0\xc0\x19\0\x90\x40\x50\x78\x80\x40\0"
    assert read_bytes(midi(events), "x").score.pitch.tolist() == [60]
    assert read_bytes(midi(events), "x", programs=[25]).score.pitch.tolist() == [64]


@pytest.mark.parametrize(
    ("tempos", "expected"),
    [
        ([], 120),
        ([(0, 600_000)], 100),
        ([(0, 600_000), (0, 500_000)], 120),  # the last of two at one place holds
        ([(0, 600_000), (360, 500_000)], 100),  # three quarters of the piece
        ([(0, 600_000), (60, 500_000)], 120),
        ([(0, 0)], 120),
        ([(0, 0), (0, 600_000)], 100),
    ],
)
def test_tempo_is_the_one_that_holds_longest(tempos, expected):
    events, now = b"", 0
    for tick, micros in tempos:
        delta = tick - now
        events += bytes([0x80 | delta >> 7, delta & 0x7F, 0xFF, 0x51, 3]) + micros.to_bytes(3, "big")
        now = tick
    rest = 480 - now
    # The note begins with the piece and ends at tick 480.
    events = b"\0\x90\x3c\x50" + events + bytes([0x80 | rest >> 7, rest & 0x7F]) + b"\x80\x3c\0"
    reading = read_bytes(midi(events), "x")
    assert reading.score.tempo == pytest.approx(expected)
    zero = any(micros == 0 for _, micros in tempos)
    assert any(c.reason.startswith("ignored: tempo of 0") for c in reading.report.changes) == zero


def test_a_meter_without_meaning_is_reported():
    reading = read_bytes(midi(meter(0, 0) + NOTE), "x")
    assert reading.score.meter == (4, 4)
    assert reading.report.changes[0].reason == "ignored: meter 0/1 at tick 0 means nothing"


def test_three_four_is_read_as_such():
    assert read_bytes(midi(meter(3, 2) + NOTE), "x").score.meter == (3, 4)
    assert read_bytes(midi(meter(3, 2) + NOTE), "x", any_meter=True).score.meter == (4, 4)


def test_missing_tracks_are_reported():
    reading = read_bytes(midi(NOTE, kind=1, tracks=3), "x")
    assert reading.report.changes[0].reason == "missing: 2 of 3 tracks that the header promises"


FAR = b"\xff\xff\xff\x7f"  # 268 million ticks

BAD = {
    "is not a MIDI file (is empty; wanted b'MThd')": b"",
    "is not a MIDI file (begins with b'hello wo'": b"hello world",
    "is cut off: 10 bytes": midi(NOTE)[:10],
    "format 2": midi(NOTE, kind=2),
    "format 77": midi(NOTE, kind=77),
    "SMPTE": midi(NOTE, division=0xE728),
    "division of 0": midi(NOTE, division=0),
    "ends 3 bytes after the file": midi(NOTE)[:-3],
    "has no tracks; its header promises 1": midi(NOTE)[:14],
    "is a damaged MIDI file": midi(b"\0\x90\x3c\xc8\x78\x80\x3c\0"),
    "has times beyond": midi((FAR + b"\x90\x3c\x50" + FAR + b"\x80\x3c\0") * 9),
    "RIFF file of kind b'WAVE'": b"RIFF\0\0\0\0WAVEfmt ",
    "without its data chunk": b"RIFF\0\0\0\0RMIDabcd\0\0\0\0",
    "has no notes of programs 0–7 (found: drums ×1)": midi(NOTE.replace(b"\x90", b"\x99").replace(b"\x80", b"\x89")),
}


@pytest.mark.parametrize("text", BAD)
def test_broken_files(text):
    with pytest.raises(ReadError) as error:
        read_bytes(BAD[text], "x.mid")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def small() -> bytes:
    score = Score.of([0, 4, 8, 16], [60, 64, 67, 72], 4, [20, 60, 100, 127], meter=(3, 4))
    return midi_bytes(score)


def test_truncation_at_every_byte_is_one_line():
    data = small()
    for length in range(len(data)):
        with pytest.raises(ReadError) as error:
            read_bytes(data[:length], "x.mid")
        assert "\n" not in str(error.value)
        assert "bug" not in str(error.value)


def test_flipped_bytes_are_read_or_refused_in_one_line():
    data = small()
    rng = np.random.default_rng(0)
    for _ in range(5000):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[at] = rng.integers(0, 256)
        try:
            read_bytes(bytes(broken), "x.mid")
        except ReadError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "bug" not in str(error)  # noqa: PT017


@given(st.binary(max_size=200))
def test_any_bytes_after_a_header_are_read_or_refused(noise):
    for data in (noise, b"MThd" + noise, midi(noise), b"PK\x03\x04" + noise, b"RIFF\0\0\0\0RMID" + noise):
        try:
            read_bytes(data, "x.mid")
        except ReadError as error:
            assert "bug" not in str(error)  # noqa: PT017


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(ReadError, match=r"nothing\.mid: does not exist"):
        read(tmp_path / "nothing.mid")
    with pytest.raises(ReadError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(ReadError, match=r"cannot be opened|does not exist"):
        read("null\0byte.mid")
    with pytest.raises(ReadError, match="cannot be opened"):
        read(tmp_path / ("long" * 100))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_to_its_end(tmp_path):
    score = Score.of(np.arange(9000), 60, 1)
    data = midi_bytes(score)
    assert len(data) > 2**16  # more than a pipe holds
    os.mkfifo(tmp_path / "song.mid")
    writer = threading.Thread(target=(tmp_path / "song.mid").write_bytes, args=[data])
    writer.start()
    assert read(tmp_path / "song.mid").score == score
    writer.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_without_end_is_not_read_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("musicvae.music.MAX_BYTES", 1000)
    os.mkfifo(tmp_path / "song.mid")
    stopped = []

    def write() -> None:
        with (tmp_path / "song.mid").open("wb", buffering=0) as file:
            try:
                for _ in range(100):
                    file.write(bytes(2**16))
            except BrokenPipeError:
                stopped.append(True)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(ReadError, match="is larger than"):
        read(tmp_path / "song.mid")
    writer.join()
    assert stopped


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "secret.mid"
    path.write_bytes(small())
    path.chmod(0)
    with pytest.raises(ReadError, match="cannot be opened"):
        read(path)


def test_content_counts_more_than_the_suffix(tmp_path):
    path = tmp_path / "song.npz"
    path.write_bytes(small())
    assert len(read(path).score) == 4
    with pytest.raises(ReadError, match="is neither a MIDI file nor an LPD npz"):
        read_bytes(b"hello", "song.txt")
    with pytest.raises(ReadError, match="is not an npz file"):
        read_bytes(b"hello", "song.npz")


def test_a_file_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("musicvae.music.MAX_BYTES", 100)
    with pytest.raises(ReadError, match="is larger than"):
        read_bytes(small() + bytes(100), "x.mid")
    (tmp_path / "x.mid").write_bytes(small() + bytes(100))
    with pytest.raises(ReadError, match="is larger than"):
        read(tmp_path / "x.mid")


def test_an_unforeseen_error_says_that_it_is_a_bug(monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("oh")

    monkeypatch.setattr("musicvae.music.midi.read_midi", broken)
    with pytest.raises(ReadError, match=r"x\.mid: cannot be read \(KeyError: 'oh'\)\. This is a bug"):
        read_bytes(small(), "x.mid")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mid", True),
        ("b/A.MIDI", True),
        ("c.Npz", True),
        ("d.kar", True),
        ("e.rmi", True),
        ("f.txt", False),
        ("mid", False),
        ("g.mid.gz", False),
    ],
)
def test_looks_like_music(name, expected):
    assert looks_like_music(name) is expected


def test_importing_the_package_does_not_load_symusic():
    code = "import sys, musicvae.music, musicvae.music.lpd, musicvae.music.roll; sys.exit('symusic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
