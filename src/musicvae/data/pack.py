"""What a worker makes of a file: the notes of a song as bytes, and the hashes that it is known by."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.data.layout import NOTE
from musicvae.errors import ReadError
from musicvae.music import PARTS, Song

__all__ = ["Answer", "PackedSong", "Reader", "read_packed"]

LONGEST = 2**16 - 1
"""Steps that a note may have; longer ones are cut and counted."""
MOST_VOICES = 2**16 - 1
MOST_BARS = 2**20
"""Bars that the voices of a song may have in all: legal MIDI may have 65,535 tracks, each with a note in bar 10,000."""

Reader = Callable[..., Song]


class PackedSong(NamedTuple):
    """The notes of a song, and what happened to them."""

    digest: bytes
    """What the song is: blake2b-128 of its notes (onset, pitch, duration), counted from its first bar with a note; of
    the piano notes where it has no other tracks, else of every voice."""
    piano: bytes
    """The same of its piano notes alone, counted from their own first bar; empty where it has none."""
    piano_notes: int
    further: int
    """Voices that are not of the piano's programs."""
    notes: bytes
    """NOTE, by voice, bar, position, pitch."""
    counts: bytes
    """'<u4', notes a bar, for each voice."""
    parts: bytes
    """A byte a voice: index into PARTS."""
    programs: bytes
    """A byte a voice: MIDI program."""
    bars: int
    tempo: float
    changes: tuple[tuple[str, int], ...]


class Answer(NamedTuple):
    """A song or the reason why there is none, and a hash of the file as it came."""

    raw: bytes
    song: PackedSong | str


def read_packed(
    read: Reader,
    name: str,
    data: bytes,
    beats: bytes | None = None,
    *,
    steps_per_beat: int,
    programs: Collection[int],
    any_meter: bool,
) -> Answer:
    """Read the content of a file with `read`, which is `musicvae.music.read_song` or takes its place."""
    raw = hashlib.blake2b(data + (beats or b""), digest_size=16).digest()
    read = read if beats is None else functools.partial(read, beats=beats)
    try:
        song = read(data, name, steps_per_beat=steps_per_beat, programs=programs, any_meter=any_meter)
        return Answer(raw, pack(song, programs, any_meter))
    except ReadError as error:
        return Answer(raw, error.reason)


def pack(song: Song, programs: Collection[int], any_meter: bool) -> PackedSong | str:
    """Return the voices of a song as columns, from its first bar with notes to its last, or why it cannot be kept."""
    voices = [voice for voice in song.voices if len(voice.score)]
    if not voices:
        return "has no notes of a piano, a melody, a bass or drums"
    meter, tempo = voices[0].score.meter, voices[0].score.tempo
    if meter != (4, 4) and not any_meter:
        return (
            f"meter is {meter[0]}/{meter[1]}, a data set holds 4/4. "
            "Use --any-meter to count its bars in 4/4 all the same"
        )
    changes = [(change.reason, change.notes) for change in song.report.changes]
    per_bar = 4 * voices[0].score.steps_per_beat
    onset, pitch, duration, velocity = (np.concatenate([voice.score.columns[i] for voice in voices]) for i in range(4))
    bar = onset // per_bar
    empty = int(bar.min())
    bars = int(bar.max()) + 1 - empty
    if len(voices) > MOST_VOICES or len(voices) * bars > MOST_BARS:
        return f"has {len(voices)} voices of {bars} bars; wanted at most {MOST_BARS} bars in all of them"
    if empty:
        changes.append(("trimmed: empty bars at the start", 0))
    if too_long := int(np.count_nonzero(duration > LONGEST)):
        changes.append((f"cut: longer than {LONGEST} steps", too_long))
        duration = np.minimum(duration, LONGEST)

    sizes = [len(voice.score) for voice in voices]
    ends = np.cumsum(sizes)
    columns = np.stack((onset - empty * per_bar, pitch, duration)).astype("<i4", copy=False)
    each = [columns[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]
    pianos = [i for i, voice in enumerate(voices) if voice.part == "piano"]
    further = [
        i for i, v in enumerate(voices) if v.part == "drums" or (v.part != "piano" and v.program not in programs)
    ]
    piano = _piano_digest(each[pianos[0]], per_bar) if pianos else b""
    if further:
        tagged = [(voices[i].part.encode(), _digest(each[i])) for i in (*pianos[:1], *further)]
        digest = hashlib.blake2b(b"".join(p + d for p, d in sorted(tagged)), digest_size=16).digest()
    else:
        digest = piano
    notes = np.empty(len(onset), NOTE)
    notes["position"] = onset - bar * per_bar
    notes["pitch"], notes["duration"], notes["velocity"] = pitch, duration, velocity
    voice_bar = np.repeat(np.arange(len(voices)) * bars - empty, sizes) + bar
    counts = np.bincount(voice_bar, minlength=len(voices) * bars)
    return PackedSong(
        digest,
        piano,
        sizes[pianos[0]] if pianos else 0,
        len(further),
        notes.tobytes(),
        counts.astype("<u4").tobytes(),
        bytes(PARTS.index(v.part) for v in voices),
        bytes(v.program for v in voices),
        bars,
        float(np.float32(tempo)),
        tuple(changes),
    )


def _piano_digest(columns: NDArray[Any], per_bar: int) -> bytes:
    """Return the hash of piano notes from their own first bar: the same whatever else sounds before it."""
    own = columns.copy()
    own[0] -= own[0, 0] // per_bar * per_bar
    return _digest(own)


def _digest(columns: NDArray[Any]) -> bytes:
    return hashlib.blake2b(columns.tobytes(), digest_size=16).digest()
