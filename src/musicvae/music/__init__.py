"""Music: Scores, and the only readers and writers of files.

Importing this package does not import symusic, which a machine that only trains need not have.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from musicvae.errors import MusicVAEError, ReadError
from musicvae.music.beats import beats_beside, onto_beats, read_beats
from musicvae.music.raw import RawNotes
from musicvae.music.score import GRIDS, PARTS, Change, Reading, Report, Score
from musicvae.music.song import PIANO, Song, Voice, read_parts, song_of

__all__ = [
    "GRIDS",
    "PARTS",
    "Change",
    "Reading",
    "Report",
    "Score",
    "Song",
    "Voice",
    "looks_like_music",
    "read",
    "read_bytes",
    "read_raw",
    "read_song",
    "write_midi",
]

T = TypeVar("T")

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
    parts: Sequence[str] = ("piano",),
    steps_per_beat: int = 4,
    programs: Collection[int] | None = None,
    any_meter: bool = False,
) -> Reading:
    """Read a MIDI file or an LPD piano roll on a grid, one voice for each of `parts`.

    `piano` are all tracks of its programs together, `drums` all drum tracks together, `melody` and `bass` one track
    each, that which sounds in most bars. `programs` are General MIDI programs (0–127): they replace those of piano
    (0–7) and melody (0–31); a bass is always of 32–39. See `musicvae.music.quantize.place` for the grid, the meter and
    `any_meter`. Where a `beat_midi.txt` stands beside the file, its beats count (see `musicvae.music.beats`). Raises
    ReadError for a file that cannot be read or has notes of none of the parts; a part that is absent beside others is
    reported.
    """
    data, source = _content(path)
    return read_bytes(
        data,
        source,
        parts=parts,
        steps_per_beat=steps_per_beat,
        programs=programs,
        any_meter=any_meter,
        beats=beats_beside(path),
    )


def read_bytes(
    data: bytes,
    source: str,
    *,
    parts: Sequence[str] = ("piano",),
    steps_per_beat: int = 4,
    programs: Collection[int] | None = None,
    any_meter: bool = False,
    beats: bytes | None = None,
) -> Reading:
    """Read the content of a file, as `read` does; `source` is its name in reports and errors.

    `beats` is the content of the `beat_midi.txt` beside it, if there is one.
    """
    return _reading(
        data,
        source,
        lambda raw: read_parts(
            raw, source, parts, steps_per_beat=steps_per_beat, programs=programs, any_meter=any_meter
        ),
        beats=beats,
    )


def read_song(
    data: bytes,
    source: str,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = PIANO,
    any_meter: bool = False,
    beats: bytes | None = None,
) -> Song:
    """Read every voice of the content of a file; `source` is its name in the report and in errors.

    First all tracks of `programs` together as the piano; then each track of programs 0–31 as a melody and of 32–39 as
    a bass, in the order of the file (so a piano is a melody, too, as in the paper); then each drum track. Voices
    without notes in the stretch that is kept are left out; notes of other programs are counted in the report. The grid
    and the meter are those of `musicvae.music.quantize.place`, for all voices together; `beats` as in `read_bytes`.
    Raises ReadError for a file that cannot be read or has no voice.
    """
    return _reading(
        data,
        source,
        lambda raw: song_of(raw, source, steps_per_beat=steps_per_beat, programs=programs, any_meter=any_meter),
        beats=beats,
    )


def read_raw(path: str | Path | bytes, *, published: bool = False) -> RawNotes:
    """Read a file (a path, or its content) as it is, before any grid.

    With `published` a MIDI file is read note by note as the published implementation does. Raises ReadError.
    """
    data, source = (path, "music") if isinstance(path, bytes) else _content(path)
    return _reading(data, source, lambda raw: raw, published=published)


def _content(path: str | Path) -> tuple[bytes, str]:
    """Return what is in a file, and its name; raises ReadError."""
    source = str(path)
    try:
        # Opened without pathlib and a buffer, which take a tenth of the time that a small file does.
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            if 0 < os.fstat(file.fileno()).st_size <= MAX_BYTES:
                return file.read(), source
            with io.BufferedReader(file) as pieces:  # too large, or a pipe, which does not say
                return pieces.read(MAX_BYTES + 1), source
    except FileNotFoundError:
        raise ReadError(source, "does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises again what was wrong with the name
            raise ReadError(source, "is a folder; wanted a MIDI file or an LPD npz") from None
        raise ReadError(source, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error


def _reading(
    data: bytes, source: str, make: Callable[[RawNotes], T], *, published: bool = False, beats: bytes | None = None
) -> T:
    """Return what `make` makes of the notes in the content of a file; whatever goes wrong is one line."""
    if len(data) > MAX_BYTES:
        raise ReadError(source, f"is larger than {MAX_BYTES // 2**20} MB; music files are not")
    try:
        if _is_lpd(data, source):
            from musicvae.music.lpd import read_lpd

            return make(read_lpd(data, source))
        if published:
            from musicvae.music.published import read_published

            return make(read_published(data, source))
        from musicvae.music.midi import read_midi  # loads symusic

        raw = read_midi(data, source)
        return make(raw if beats is None else onto_beats(raw, read_beats(beats, source)))
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
