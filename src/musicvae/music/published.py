"""Read MIDI files note by note as the published implementation does (pretty_midi under note_seq), to compare with it.

It differs from `musicvae.music.midi` where a file is odd: a note-off ends every open note of its key; a note belongs to
the program that holds when it ends; only the first track's tempos and meters count. It is many times slower.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from musicvae.errors import ReadError
from musicvae.music.midi import check_chunks, tempos_of, unwrap
from musicvae.music.raw import RawNotes, Track, join_tracks

__all__ = ["read_published"]

_DRUMS = 9  # the channel, counted from 0
_META, _TEMPO, _METER = 0xFF, 0x51, 0x58


class _Event(NamedTuple):
    tick: int
    status: int
    kind: int  # of a meta event
    data: bytes


def read_published(data: bytes, source: str) -> RawNotes:
    """Read all tracks from the bytes of a MIDI file; a track for each program on each channel. Raises ReadError."""
    data = unwrap(data, source)
    ticks_per_beat, changes = check_chunks(data, source)
    notes: dict[tuple[int, int, int], list[tuple[int, int, int, int]]] = {}
    tempos: list[tuple[int, int]] = []
    meters: list[tuple[int, int, int]] = []
    for number, chunk in enumerate(_tracks(data)):
        try:
            events = list(_events(chunk))
        except (IndexError, ValueError) as error:
            raise ReadError(source, f"is a damaged MIDI file (track {number}: {error})") from error
        for event in events if number == 0 else ():
            if event.kind == _TEMPO and len(event.data) == 3:
                tempos.append((event.tick, int.from_bytes(event.data, "big")))
            elif event.kind == _METER and len(event.data) >= 2:
                meters.append((event.tick, event.data[0], 2 ** event.data[1]))
        for (program, channel), played in _notes(events).items():
            notes[program, channel, number] = played
    columns = [np.array(played, dtype=np.int64).T for played in notes.values()]
    start, stop, pitch, velocity, track = join_tracks([tuple(c) for c in columns])
    marks = np.array(tempos, dtype=np.int64).reshape(-1, 2)
    return RawNotes(
        start,
        stop,
        pitch,
        velocity,
        track,
        tuple(Track(0 if channel == _DRUMS else program, channel == _DRUMS) for program, channel, _ in notes),
        ticks_per_beat,
        meters=tuple(meters),
        tempos=tempos_of(marks[:, 0], marks[:, 1], changes),
        changes=tuple(changes),
    )


def _notes(events: list[_Event]) -> dict[tuple[int, int], list[tuple[int, int, int, int]]]:
    """Return start, stop, pitch and velocity of each note of a track, by program and channel, as they end."""
    programs = [0] * 16
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = {}
    notes: defaultdict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)
    for tick, status, _, data in events:
        message, channel = status >> 4, status & 0xF
        if message == 0xC:
            programs[channel] = data[0]
        elif message == 0x9 and data[1]:
            sounding.setdefault((channel, data[0]), []).append((tick, data[1]))
        elif message in (0x8, 0x9):
            struck = sounding.pop((channel, data[0]), [])
            ended = [(start, tick, data[0], velocity) for start, velocity in struck if start != tick]
            if ended:
                notes[programs[channel], channel] += ended
                if len(ended) < len(struck):  # struck on this very tick, after the others: it sounds on
                    sounding[channel, data[0]] = [note for note in struck if note[0] == tick]
    return notes


def _tracks(data: bytes) -> Iterator[bytes]:
    at = 8 + int.from_bytes(data[4:8], "big")
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            yield data[at + 8 : at + 8 + size]
        at += 8 + size


def _events(chunk: bytes) -> Iterator[_Event]:
    """Yield the events of a track; raises IndexError or ValueError where it makes no sense."""
    at = tick = running = 0
    while at < len(chunk):
        delta, at = _length(chunk, at)
        tick += delta
        status, kind = running, 0
        if chunk[at] & 0x80:
            status, at = chunk[at], at + 1
        if status < 0x80 or (0xF0 < status < _META and status != 0xF7):
            raise ValueError(f"byte {at} is no event")
        if status == _META:
            kind, at = chunk[at], at + 1
        if status >= 0xF0:
            size, at = _length(chunk, at)
        else:
            running, size = status, 1 if status >> 4 in (0xC, 0xD) else 2
        data = chunk[at : at + size]
        if len(data) < size:
            raise IndexError("it is cut off")
        if status < 0xF0 and max(data) > 127:
            raise ValueError(f"byte {at} or the next is above 127")
        yield _Event(tick, status, kind, data)
        at += size


def _length(chunk: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place after it."""
    value = chunk[at] & 0x7F
    while chunk[at] & 0x80:
        at += 1
        value = value << 7 | chunk[at] & 0x7F
    return value, at + 1
