"""Music: Scores, and the only readers and writers of files.

Importing this package does not import symusic, which a machine that only trains need not have.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

from musicvae.errors import MusicVAEError, ReadError
from musicvae.music.quantize import quantize
from musicvae.music.score import GRIDS, PARTS, Change, Reading, Report, Score

__all__ = [
    "GRIDS",
    "PARTS",
    "Change",
    "Reading",
    "Report",
    "Score",
    "looks_like_music",
    "read",
    "read_bytes",
    "write_midi",
]

MAX_BYTES = 64 * 2**20
"""Largest file that is read. The largest of LPD-cleansed has 11 MB."""

_LPD = (".npz",)
_MIDI = (".mid", ".midi", ".kar", ".rmi")


def looks_like_music(name: str | Path) -> bool:
    """Tell by its suffix whether a file may be one that `read` can read."""
    return Path(name).suffix.lower() in _LPD + _MIDI


def read(
    path: str | Path,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = range(8),
    any_meter: bool = False,
) -> Reading:
    """Read a MIDI file or an LPD piano roll as one piano part on a grid.

    `programs` are the General MIDI programs (0–127) to keep; the default is all pianos. Drums are never
    kept. See `musicvae.music.quantize.quantize` for the grid, the meter and `any_meter`. Raises ReadError
    for a file that cannot be read or has no notes of these programs.
    """
    path = Path(path)
    source = str(path)
    try:
        if path.is_dir():
            raise ReadError(source, "is a folder; wanted a MIDI file or an LPD npz")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ReadError(source, "does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ReadError(source, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    return read_bytes(data, source, steps_per_beat=steps_per_beat, programs=programs, any_meter=any_meter)


def read_bytes(
    data: bytes,
    source: str,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = range(8),
    any_meter: bool = False,
) -> Reading:
    """Read the content of a file, as `read` does; `source` is its name in reports and errors."""
    if len(data) > MAX_BYTES:
        raise ReadError(source, f"is larger than {MAX_BYTES // 2**20} MB; music files are not")
    try:
        if _is_lpd(data, source):
            from musicvae.music.lpd import read_lpd

            raw = read_lpd(data, source, programs)
        else:
            from musicvae.music.midi import read_midi  # loads symusic

            raw = read_midi(data, source, programs)
        return quantize(raw, source, steps_per_beat, any_meter)
    except MusicVAEError:
        raise
    except _DAMAGE as error:
        raise ReadError(source, f"is damaged ({_one_line(error)})") from error
    except Exception as error:
        raise ReadError(
            source, f"cannot be read ({_one_line(error)}). This is a bug of musicvae; please report it"
        ) from error


def write_midi(score: Score, path: str | Path) -> Path:
    """Write a Score as a MIDI file and return its path; see `musicvae.music.midi.write_midi`."""
    from musicvae.music import midi  # loads symusic

    return midi.write_midi(score, path)


# What zip, npy and MIDI parsers raise for bytes that make no sense.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    UnicodeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


def _is_lpd(data: bytes, source: str) -> bool:
    """Tell an LPD npz from a MIDI file: by how the content begins, or else the error by the suffix."""
    if data[:4] == b"PK\x03\x04":
        return True
    if data[:4] in (b"MThd", b"RIFF"):
        return False
    begins = f"begins with {data[:8]!r}" if data else "is empty"
    suffix = Path(source).suffix.lower()
    if suffix in _LPD:
        raise ReadError(source, f"is not an npz file ({begins}; wanted b'PK\\x03\\x04')")
    if suffix in _MIDI:
        raise ReadError(source, f"is not a MIDI file ({begins}; wanted b'MThd')")
    raise ReadError(source, f"is neither a MIDI file nor an LPD npz ({begins})")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(": ")
