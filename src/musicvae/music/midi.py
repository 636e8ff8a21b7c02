"""Read and write MIDI files; the only room that knows symusic.

symusic is fast but trusting: it accepts a division of 0, a tempo of 0, a meter of 0/1 and times that wrap
around at 2³¹ without a word. What it lets through is checked here, before and after.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from musicvae.errors import CodecError, ReadError
from musicvae.music.raw import RawNotes, Track, join_tracks
from musicvae.music.score import PARTS, Change, Score

__all__ = ["check_chunks", "midi_bytes", "read_midi", "tempos_of", "unwrap", "write_midi"]

TICKS_PER_BEAT = 480
"""Ticks a quarter note of the files written: a whole number of ticks a step on every grid."""
MAX_TICK = 0x0FFF_FFFF
"""Longest time between two events that MIDI can hold."""
MAX_TEMPO = 2000.0
"""Quarter notes a minute beyond which a tempo mark is a mistake."""

# Track name, program and whether the track goes to the drum channel, for each of PARTS.
_TRACKS = {"piano": ("Piano", 0, False), "melody": ("Melody", 0, False), "bass": ("Bass", 33, False)} | {
    "drums": ("Drums", 0, True)
}
# MIDI has no word for rests at the end, so a marker says where the last bar ends.
_END = "musicvae: end"


def read_midi(data: bytes, source: str) -> RawNotes:
    """Read all tracks from the bytes of a MIDI or RIFF MIDI file.

    A track is what one program plays on one channel of one track of the file. Notes that are never released are left
    out, as symusic leaves them. Raises ReadError.
    """
    data = unwrap(data, source)
    ticks_per_beat, changes = check_chunks(data, source)
    midi: Any  # symusic's own annotations leave out most of what a Score has
    try:
        midi = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError, TypeError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise ReadError(source, f"is a damaged MIDI file ({what}). Open it in an editor and save it again") from error

    tracks: list[Track] = []
    columns: list[tuple[NDArray[np.integer], ...]] = []
    for track in midi.tracks:
        is_drum = track.is_drum
        tracks.append(Track(0 if is_drum else track.program, is_drum))
        notes = track.notes.numpy()
        columns.append((notes["time"], notes["duration"], notes["pitch"], notes["velocity"]))
    start, length, pitch, velocity, track_of = join_tracks(columns)
    marks, tempos = midi.time_signatures, midi.tempos.numpy()
    meters = tuple((int(m.time), int(m.numerator), int(m.denominator)) for m in marks)
    ends = [int(m.time) for m in midi.markers if m.text == _END]
    return RawNotes(
        start,
        start + length,
        pitch,
        velocity,
        track_of,
        tuple(tracks),
        ticks_per_beat,
        meters=meters,
        tempos=tempos_of(tempos["time"], tempos["mspq"], changes),
        length=max(ends, default=None),
        changes=tuple(changes),
    )


def midi_bytes(score: Score) -> bytes:
    """Return the Score as a MIDI file, a track for each part that has notes.

    Reading the bytes on the same grid gives the same piano Score, as long as no note of a key begins
    while another of it sounds. Raises CodecError if the meter or a length is more than MIDI can hold.
    """
    ticks = TICKS_PER_BEAT // score.steps_per_beat
    beats, value = score.meter
    if not 1 <= beats <= 255 or value < 1 or value & (value - 1) or value > 128:
        raise CodecError(f"meter {beats}/{value} cannot stand in a MIDI file; wanted n/1, n/2, n/4 … n/128")
    onset, duration = (c.astype(np.int64) * ticks for c in (score.onset, score.duration))
    end = score.bars * score.steps_per_bar * ticks
    if max(end, int((onset + duration).max(initial=0))) > MAX_TICK:
        raise CodecError(
            f"{score.bars} bars are too long for a MIDI file; wanted at most {MAX_TICK} ticks. Cut the Score"
        )
    midi: Any = symusic.Score(TICKS_PER_BEAT)
    midi.time_signatures.append(symusic.TimeSignature(0, beats, value))
    midi.tempos.append(symusic.Tempo(0, min(max(score.tempo, 60e6 / 0xFFFFFF), MAX_TEMPO)))
    midi.markers.append(symusic.TextMeta(end, _END))
    for number, part in enumerate(PARTS):
        chosen = score.part == number
        if not chosen.any():
            continue
        track: Any = symusic.Track(*_TRACKS[part])
        track.notes = symusic.Note.from_numpy(
            onset[chosen].astype(np.int32),
            duration[chosen].astype(np.int32),
            score.pitch[chosen].astype(np.int8),
            score.velocity[chosen].astype(np.int8),
        )
        midi.tracks.append(track)
    return bytes(midi.dumps_midi())


def write_midi(score: Score, path: str | Path) -> Path:
    """Write the Score to `path`, making its folders, and return the path.

    The file appears whole or not at all. Raises CodecError as `midi_bytes` does, and OSError.
    """
    path = Path(path)
    content = midi_bytes(score)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def unwrap(data: bytes, source: str) -> bytes:
    """Return the MIDI file inside a RIFF one (`.rmi`); other data as it is."""
    if data[:4] != b"RIFF":
        return data
    if data[8:12] != b"RMID":
        raise ReadError(source, f"is a RIFF file of kind {data[8:12]!r}; wanted RMID, a MIDI file")
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise ReadError(source, "is a RIFF MIDI file without its data chunk")


def check_chunks(data: bytes, source: str) -> tuple[int, list[Change]]:
    """Return the ticks a quarter note, having checked the header and that every chunk is whole."""
    if data[:4] != b"MThd":
        begins = f"begins with {data[:8]!r}" if data else "is empty"
        raise ReadError(source, f"is not a MIDI file ({begins}; wanted b'MThd')")
    length = int.from_bytes(data[4:8], "big")
    if len(data) < 14 or length < 6:
        raise ReadError(source, f"is cut off: {len(data)} bytes, and a MIDI header alone has 14")
    kind, tracks, division = (int.from_bytes(data[i : i + 2], "big") for i in (8, 10, 12))
    if kind > 1:
        raise ReadError(source, f"is MIDI of format {kind}; wanted 0 or 1, where all tracks sound together")
    if division & 0x8000:
        raise ReadError(
            source, "counts time in film frames (SMPTE), which says nothing about beats; wanted ticks a beat"
        )
    if division == 0:
        raise ReadError(source, "has a division of 0 ticks a quarter note; wanted 1 to 32767. The file is damaged")
    at, found = 8 + length, 0
    while found < tracks and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        found += data[at : at + 4] == b"MTrk"
        at += 8 + size
        if at > len(data):
            raise ReadError(source, f"is cut off: a chunk of {size} bytes ends {at - len(data)} bytes after the file")
    if found < tracks:
        if not found:
            raise ReadError(source, f"has no tracks; its header promises {tracks}. The file is cut off or damaged")
        return division, [Change(f"missing: {tracks - found} of {tracks} tracks that the header promises", 0)]
    return division, []


def tempos_of(ticks: NDArray[np.integer], micros: NDArray[np.integer], changes: list[Change]) -> NDArray[np.float64]:
    """Return tick and quarter notes a minute of each mark that means something; report the others.

    `micros` are microseconds a quarter note.
    """
    good = micros >= 60e6 / MAX_TEMPO
    if not good.all():
        changes.append(Change(f"ignored: tempo of {int(micros[~good][0])} microseconds a quarter note", 0))
        ticks, micros = ticks[good], micros[good]
    marks = np.empty((len(ticks), 2))
    marks[:, 0], marks[:, 1] = ticks, 60e6 / micros
    return marks
