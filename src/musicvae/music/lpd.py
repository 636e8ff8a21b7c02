"""Read piano rolls of the Lakh Pianoroll Dataset and of pypianoroll (`.npz`).

A file is a zip of npy arrays: one scipy csc matrix (steps, 128) of velocities a track, in four members
`pianoroll_<i>_csc_{data,indices,indptr,shape}`, a tempo a step, and `info.json`. Nothing that the file
says about itself is believed before it was checked, and no roll is ever made dense: notes are runs of
consecutive steps in the sparse columns.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zipfile
import zlib
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ReadError
from musicvae.music.raw import RawNotes, Track, join_tracks

__all__ = ["read_lpd"]

MAX_MEMBER = 64 * 2**20
"""Bytes of one array, unpacked. The largest in LPD-cleansed has 2 MB."""
MAX_FILE = 256 * 2**20
"""Bytes of all arrays of a file, unpacked."""
MAX_RESOLUTION = 2**15
MAX_STEPS = 2**40
MAX_TEMPO = 2000.0
BINARY_VELOCITY = 64
"""Velocity of the notes of a roll of booleans; pypianoroll's own choice."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""What stands before a member of a zip file: its mark, the length of its name and that of what follows the name."""
_ODD_FLAGS = 0b110_0001
"""Of a member of a zip file: encrypted, a patch, strongly encrypted."""

# The header that numpy writes before a plain array. Structured and object arrays do not match, so that
# nothing can be unpickled; the L was written by Python 2.
_HEADER = re.compile(
    rb"\s*\{\s*'descr': '[<>|=]([biuf])(\d{1,2})',\s*'fortran_order': (?:True|False),"
    rb"\s*'shape': \(((?:\d{1,18}L?,? ?){0,4})\),?\s*\}\s*"
)


def read_lpd(data: bytes, source: str) -> RawNotes:
    """Read all tracks from the bytes of an npz file.

    LPD stores no meter; its bars are 4/4 by the dataset's own rule. Raises ReadError.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise ReadError(source, f"is not a whole npz file ({error}). It may be cut off; fetch it again") from error
    with archive:
        members = _Members(archive, data, source)
        info = _info(members)
        resolution = info.get("beat_resolution", info.get("resolution"))
        if not _is_whole(resolution) or not 1 <= resolution <= MAX_RESOLUTION:
            raise ReadError(source, f"beat_resolution is {resolution!r} steps a beat; wanted 1 to {MAX_RESOLUTION}")
        tracks, columns = [], []
        for track, entry in _tracks(info, source):
            tracks.append(_instrument(entry, track, source))
            columns.append(_notes(members, track))
        start, stop, pitch, velocity, track_of = join_tracks(columns)
        return RawNotes(start, stop, pitch, velocity, track_of, tuple(tracks), resolution, tempos=_tempos(members))


class _Members:
    """The members of one zip file, each read once within the limits."""

    def __init__(self, archive: zipfile.ZipFile, data: bytes, source: str) -> None:
        self.archive = archive
        self.data = data
        self.source = source
        self.names = set(archive.namelist())
        self.left = MAX_FILE

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; raises ReadError if it is absent, damaged or too large."""
        try:
            entry = self.archive.getinfo(name)
        except KeyError:
            raise ReadError(self.source, f"lacks {name}, which an LPD npz must have") from None
        if entry.file_size > min(MAX_MEMBER, self.left):
            raise ReadError(
                self.source,
                f"{name} unpacks to {entry.file_size} bytes; wanted at most {MAX_MEMBER}, and {MAX_FILE} in all",
            )
        try:
            content = self._stored(entry)
            if content is None:
                with self.archive.open(entry) as file:
                    # One byte more than declared: a bomb that lies about its size is seen, not unpacked.
                    content = file.read(entry.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise ReadError(self.source, f"{name} is damaged ({error}). Fetch the file again") from error
        if len(content) != entry.file_size:
            raise ReadError(self.source, f"{name} has {len(content)} bytes; {entry.file_size} were declared")
        self.left -= len(content)
        return content

    def _stored(self, entry: zipfile.ZipInfo) -> bytes | None:
        """Return a member that is stored without compression, as LPD's are; None if zipfile has to look at it.

        zipfile takes ten times as long for the same checks; where one of them fails, it knows what to say.
        """
        at = entry.header_offset
        if entry.compress_type != zipfile.ZIP_STORED or not 0 <= at <= len(self.data) - _LOCAL_HEADER.size:
            return None
        magic, name, extra = _LOCAL_HEADER.unpack_from(self.data, at)
        named = at + _LOCAL_HEADER.size
        begin = named + name + extra
        content = self.data[begin : begin + entry.file_size]
        whole = (
            magic == b"PK\x03\x04"
            and self.data[named : named + name] == entry.orig_filename.encode()
            and entry.compress_size == entry.file_size == len(content)
            and not entry.flag_bits & _ODD_FLAGS
            and zlib.crc32(content) == entry.CRC
        )
        return content if whole else None

    def array(self, name: str) -> NDArray[Any]:
        """Return a one-dimensional array of numbers from the member `<name>.npy`."""
        content = self.read(f"{name}.npy")
        if content[:6] != b"\x93NUMPY" or len(content) < 12:
            raise ReadError(self.source, f"{name} is not an npy array (begins with {content[:8]!r})")
        wide = content[6] > 1  # version 1 has two bytes for the length of the header, later ones four
        begin = 12 if wide else 10
        end = begin + int.from_bytes(content[8:begin], "little")
        header = _HEADER.fullmatch(content[begin:end]) if end <= len(content) else None
        if header is None:
            raise ReadError(self.source, f"{name} is not a plain array of numbers ({content[begin:][:60]!r})")
        order = content[begin:end].split(b"'descr': '", 1)[1][:1].decode()
        kind, width, shape = header[1].decode(), int(header[2]), header[3].decode()
        try:
            dtype = np.dtype(f"{order}{kind}{width}")
        except TypeError:
            raise ReadError(self.source, f"{name} has numbers of an unknown kind, {kind}{width}") from None
        count = math.prod(int(n) for n in shape.replace("L", "").split(",") if n.strip())
        wanted, there = count * dtype.itemsize, len(content) - end
        if wanted != there:
            raise ReadError(self.source, f"{name} says shape ({shape}) of {dtype}: {wanted} bytes; {there} are there")
        return np.frombuffer(content, dtype, offset=end)


def _info(members: _Members) -> dict[str, Any]:
    try:
        info = json.loads(members.read("info.json").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReadError(members.source, f"info.json is not JSON ({error})") from error
    if not isinstance(info, dict):
        raise ReadError(members.source, f"info.json holds a {type(info).__name__}; wanted an object")
    return info


def _tracks(info: dict[str, Any], source: str) -> list[tuple[int, Any]]:
    """Return the number and the entry of each track, whichever way the file lists them."""
    listed = info.get("tracks")
    if isinstance(listed, list):
        tracks = dict(enumerate(listed))
    else:
        entries = listed if isinstance(listed, dict) else info
        named = ((re.fullmatch(r"(?:pianoroll_|track_)?(\d{1,6})", key), entry) for key, entry in entries.items())
        tracks = {int(match[1]): entry for match, entry in named if match}
    if not tracks:
        raise ReadError(source, "has no tracks: info.json names none")
    return sorted(tracks.items(), key=lambda item: item[0])


def _instrument(entry: Any, track: int, source: str) -> Track:
    if isinstance(entry, dict):
        program, is_drum = entry.get("program", 0), entry.get("is_drum", False)
        if isinstance(program, str) and re.fullmatch(r"\d{1,3}", program):
            program = int(program)
        if _is_whole(program) and 0 <= program <= 127 and isinstance(is_drum, bool | int):
            return Track(0 if is_drum else int(program), bool(is_drum))
    raise ReadError(source, f"info.json says {str(entry)[:60]} of track {track}; wanted a program 0–127 and is_drum")


def _notes(members: _Members, track: int) -> tuple[NDArray[np.int64], ...]:
    """Return start, stop, pitch and velocity of each run of consecutive steps in a track."""
    velocity, index, bound, shape = (members.array(f"pianoroll_{track}_csc_{n}") for n in _CSC)
    where = f"track {track}"
    if any(a.dtype.kind not in "iu" for a in (index, bound, shape)):
        raise ReadError(members.source, f"{where} has csc indices that are not whole numbers")
    index, bound = (a.astype(np.int64, copy=False) for a in (index, bound))
    if len(shape) != 2 or shape[1] != 128 or not 0 <= shape[0] <= MAX_STEPS:
        raise ReadError(members.source, f"{where} has shape {tuple(shape.tolist())[:4]}; wanted (steps, 128)")
    if len(bound) != 129 or bound[0] != 0 or bound[-1] != len(index) or (bound[1:] < bound[:-1]).any():
        raise ReadError(members.source, f"{where} has a csc indptr that does not fit its {len(index)} entries")
    if len(velocity) != len(index):
        raise ReadError(members.source, f"{where} has {len(velocity)} velocities for {len(index)} entries")
    if len(index) and (index.min() < 0 or index.max() >= shape[0]):
        step = index.min() if index.min() < 0 else index.max()
        raise ReadError(members.source, f"{where} has an entry at step {step}; wanted 0 to {shape[0] - 1}")
    silent = ~(velocity > 0)  # also true of NaN
    if silent.any():
        bound = np.concatenate(([0], np.cumsum(~silent)))[bound]
        index, velocity = index[~silent], velocity[~silent]
    return _runs(index, velocity, bound)


def _runs(index: NDArray[np.int64], velocity: NDArray[Any], bound: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    if not len(index):
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(4))
    edges = bound[1:-1]
    edges = edges[(edges > 0) & (edges < len(index))] - 1  # the last entry of each column but the last
    gap = index[1:] - index[:-1]
    gap[edges] = 2
    if (gap <= 0).any():  # scipy leaves the entries of a column in any order
        column = np.repeat(np.arange(128), np.diff(bound))
        order = np.lexsort((index, column))
        index, velocity = index[order], velocity[order]
        gap = index[1:] - index[:-1]
        gap[edges] = 2
    ends = np.flatnonzero(gap > 1)
    first, last = np.concatenate(([0], ends + 1)), np.concatenate((ends, [len(index) - 1]))
    pitch = np.searchsorted(bound, first, side="right") - 1
    loud = velocity[first]
    loud = np.full(len(first), BINARY_VELOCITY) if loud.dtype.kind == "b" else np.clip(loud, 1, 127)
    return index[first], index[last] + 1, pitch.astype(np.int64), loud.astype(np.int64)


def _tempos(members: _Members) -> NDArray[np.float64]:
    """Return one mark, the median of the tempo of all steps; none where none of them means anything."""
    if "tempo.npy" not in members.names:
        return np.zeros((0, 2))
    tempo = members.array("tempo").astype(np.float64, copy=False)
    tempo = tempo[(tempo >= 1) & (tempo <= MAX_TEMPO)]
    return np.array([[0.0, np.median(tempo, overwrite_input=True)]]) if len(tempo) else np.zeros((0, 2))


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_CSC = ("data", "indices", "indptr", "shape")
