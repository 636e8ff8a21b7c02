"""The reader that follows the published implementation, against pretty_midi, on which that stands."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import ReadError
from musicvae.music import Score, read_raw
from musicvae.music.midi import midi_bytes


def midi(*tracks: bytes) -> bytes:
    """Return a MIDI file of tracks of these events, 96 ticks a quarter note."""
    chunks = [events + b"\0\xff\x2f\0" for events in tracks]
    head = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), 96)
    return head + b"".join(struct.pack(">4sI", b"MTrk", len(c)) + c for c in chunks)


def theirs(data: bytes) -> list[tuple[object, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        other = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return [
        (drum, 0 if drum else int(i.program), *map(other.time_to_tick, (n.start, n.end)), n.pitch, n.velocity)
        for i in other.instruments
        for drum in [bool(i.is_drum)]
        for n in i.notes
    ]


def ours(data: bytes) -> list[tuple[object, ...]]:
    raw = read_raw(data, published=True)
    columns = (raw.track, raw.start, raw.stop, raw.pitch, raw.velocity)
    return [
        (raw.tracks[t].is_drum, raw.tracks[t].program, *rest)
        for t, *rest in zip(*(c.tolist() for c in columns), strict=True)
    ]


EVENT = st.one_of(
    st.tuples(st.integers(0x90, 0x92), st.integers(60, 62), st.sampled_from([0, 0, 50, 90])),
    st.tuples(st.sampled_from([0x99, 0x80, 0x89, 0x91]), st.integers(60, 62), st.sampled_from([0, 70])),
    st.tuples(st.sampled_from([0xC0, 0xC1, 0xC9]), st.integers(0, 3)),
)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), EVENT), max_size=25), min_size=1, max_size=3))
def test_pretty_midi_reads_the_same_notes(tracks):
    """Notes that overlap, end twice, never end or end on the tick where they begin, with programs changing."""
    data = midi(*(b"".join(bytes([24 * delta, *event]) for delta, event in track) for track in tracks))
    assert ours(data) == theirs(data)


def test_running_status_sysex_and_long_times():
    events = b"\x81\x00\x90\x3c\x50\x18\x3c\0" + b"\0\xf0\x03abc" + b"\0\xff\x01\x02hi" + b"\0\x90\x40\x50\x18\x40\0"
    assert ours(midi(events)) == theirs(midi(events)) == [(False, 0, 128, 152, 60, 80), (False, 0, 152, 176, 64, 80)]


def test_a_file_of_ours():
    data = midi_bytes(Score.of([0, 0, 4, 8], [60, 36, 72, 38], 4, part=[0, 3, 1, 2]))
    assert ours(data) == theirs(data)


def test_only_the_marks_of_the_first_track_count():
    mark = b"\0\xff\x51\3" + (600_000).to_bytes(3, "big") + b"\0\xff\x58\4\3\2\x18\x08"
    note = b"\0\x90\x3c\x50\x18\x80\x3c\0"
    first, second = read_raw(midi(mark, note), published=True), read_raw(midi(note, mark), published=True)
    assert first.tempos.tolist() == [[0, 100]]
    assert first.meters == ((0, 3, 4),)
    assert not len(second.tempos)
    assert second.meters == ()


def test_damage_is_one_line():
    data = midi(b"\0\xff\x51\3\7\7\7\0\x90\x3c\x50\x18\x3c\0\0\xf0\x03abc\0\xc0\x05\x81\x00\x91\x40\x40\x10\x81\x40\0")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[at] = rng.integers(0, 256)
        try:
            read_raw(bytes(broken[: rng.integers(1, len(data) + 1)]), published=True)
        except ReadError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "bug" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (b"\0\x90\x3c\xc8", "is a damaged MIDI file (track 0: byte"),
        (b"\0\x3c\x50", "is no event"),
        (b"\0\xf4\x50", "is no event"),
        (b"\0\xff\x01\x50", "is cut off"),
    ],
)
def test_events_without_meaning(events, text):
    with pytest.raises(ReadError) as error:
        read_raw(midi(events), published=True)
    assert text in str(error.value)
