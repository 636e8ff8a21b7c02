"""What runs in the process that reads uploads; it imports what that needs and no more."""

from __future__ import annotations

from typing import NamedTuple

import musicvae.music.midi  # noqa: F401  # loads symusic before the time for the first file begins
from musicvae.errors import MusicVAEError, ReadError
from musicvae.music import Reading, read_bytes

__all__ = ["Refused", "Wanted", "read_upload"]


class Wanted(NamedTuple):
    """How a model wants files to be read."""

    parts: tuple[str, ...]
    steps_per_beat: int
    any_meter: bool


class Refused(NamedTuple):
    """Why a file gives no music."""

    status: int
    """Of HTTP."""
    reason: str
    """What follows on `the file`."""


def read_upload(name: str, data: bytes, *, ways: dict[str, Wanted], most: int) -> Reading | Refused:
    """Read a MIDI file in the way of this name, unless it has more than `most` notes."""
    way = ways[name]
    if data[:4] not in (b"MThd", b"RIFF"):
        return Refused(422, f"is not a MIDI file (begins with {data[:8]!r})" if data else "is empty")
    try:
        reading = read_bytes(
            data, "music.mid", parts=way.parts, steps_per_beat=way.steps_per_beat, any_meter=way.any_meter
        )
    except ReadError as error:
        return Refused(422, error.reason)
    except MusicVAEError as error:
        return Refused(422, f"cannot be read: {error}")
    if len(reading.score) > most:
        return Refused(413, f"has {len(reading.score):,} notes; wanted at most {most:,}")
    return reading
