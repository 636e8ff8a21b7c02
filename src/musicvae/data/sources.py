"""Where songs come from: files, folders of any depth, and archives read without unpacking them to disk."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Self

from musicvae.errors import DataError
from musicvae.music import looks_like_music
from musicvae.music.beats import BEATS, LARGEST_BEATS, beats_beside

__all__ = ["ARCHIVES", "LARGEST", "NOTHING", "Found", "Skipped", "check", "kind", "walk"]

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""Endings of the archives that are looked into. An .npz is a song, although it is a zip inside."""

NOTHING = "no music found; wanted files ending in .npz, .mid, .midi, .kar or .rmi"
"""What is said of a place without music."""

LARGEST = 64 * 2**20
"""Bytes that one song may have; larger files are reported and not read."""

_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # zipfile: an encrypted member
    NotImplementedError,  # zipfile: a compression that Python lacks
)


class Found(NamedTuple):
    """A file that looks like music."""

    name: str
    """The source as the user typed it, then the path within it, with slashes."""
    source: int
    """Index of the source among those given."""
    content: Path | bytes
    """Where it lies on disk, or, for a member of an archive, its bytes."""
    part: float | None = None
    """For a member of an archive, how much of the archive has been read, 0 to 1."""
    beats: bytes | None = None
    """What the `beat_midi.txt` in the same folder holds, if there is one; in an archive one that stands before it, or
    right after it."""


class _Beats(NamedTuple):
    """A file of beats within an archive."""

    name: str
    content: bytes


class Skipped(NamedTuple):
    """A file, folder or archive that could not be looked at, and why."""

    name: str
    source: int
    reason: str


def kind(source: str | Path) -> str:
    """Return what a source is: `folder`, `archive` or `file`."""
    if Path(source).is_dir():
        return "folder"
    return "archive" if _is_archive(str(source)) else "file"


def check(sources: Sequence[str | Path]) -> None:
    """Raise DataError, before any work is done, for a source that does not exist or cannot hold music."""
    if not sources:
        raise DataError("no source given; wanted folders, music files or archives")
    for source in sources:
        try:
            mode = Path(source).stat().st_mode
        except (OSError, ValueError) as error:
            raise DataError(f"{_shown(source)}: {_line(error)}. Wanted a folder, a music file or an archive") from None
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode) or not _is_ours(str(source)):
            raise DataError(
                f"{_shown(source)}: neither a folder, nor a music file (.npz, .mid, .midi, .kar, .rmi), "
                f"nor an archive ({', '.join(ARCHIVES)})"
            )


def walk(sources: Sequence[str | Path]) -> Iterator[Found | Skipped]:
    """Go through the sources in the order given, folders in the order of their sorted names.

    Lazy: nothing is read ahead, and of an archive two members at a time are held in memory. Hidden
    files and folders (`.x`, `._x`, `__MACOSX`) and files that do not look like music are passed over
    in silence; whatever looks like music and cannot be read comes out as Skipped. A folder or a file
    is visited once, though it be given twice or linked to from within itself.
    """
    seen: set[tuple[int, int]] = set()
    for number, source in enumerate(sources):
        todo = [(Path(source), _shown(source))]
        while todo:
            path, name = todo.pop()
            try:
                status = path.stat()
                if not _first_visit(status, name, seen):
                    continue
                if stat.S_ISDIR(status.st_mode):
                    entries = sorted((e for e in os.listdir(path) if not _hidden(e)), reverse=True)  # noqa: PTH208
                    todo += [(path / entry, f"{name.rstrip('/')}/{_shown(entry)}") for entry in entries]
                elif _is_archive(name):
                    yield from _open(path, name, number)
                elif status.st_size > LARGEST:
                    yield Skipped(name, number, _too_large(status.st_size))
                else:
                    yield Found(name, number, path, beats=beats_beside(path))
            except OSError as error:
                # A dangling link of another name is not ours; anything else may hide a folder of music.
                if _is_ours(name) or not isinstance(error, FileNotFoundError):
                    yield Skipped(name, number, f"cannot be read: {_line(error)}")


def _first_visit(status: os.stat_result, name: str, seen: set[tuple[int, int]]) -> bool:
    """Tell whether to look at a file or folder on disk, and remember that it was looked at."""
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not (stat.S_ISREG(status.st_mode) and _is_ours(name)):
        return False
    identity = status.st_dev, status.st_ino
    if identity in seen:
        return False
    if folder or status.st_nlink == 1:  # hard links are files in their own right, and found to be duplicates
        seen.add(identity)
    return True


def _open(path: Path, name: str, source: int) -> Iterator[Found | Skipped]:
    """Go through one archive; what breaks it ends it, with one line."""
    members = _zip(path, name, source) if name.lower().endswith(".zip") else _tar(path, name, source)
    count = 0
    try:
        for member in _with_beats(members):
            yield member
            count += 1
    except _BROKEN as error:
        yield Skipped(name, source, f"is a broken archive ({_line(error)}). Kept {count} files of it")


def _with_beats(members: Iterator[Found | Skipped | _Beats]) -> Iterator[Found | Skipped]:
    """Give each file of an archive the beats that stand in its folder, before it or right after it."""
    held: Found | None = None
    beats: _Beats | None = None
    try:
        for item in members:
            if isinstance(item, _Beats):
                beats = item
                held = _on(held, beats) if held else None
                continue
            if held:
                yield held
            held = _on(item, beats) if isinstance(item, Found) else None
            if isinstance(item, Skipped):
                yield item
    except _BROKEN:
        if held:
            yield held
        raise
    if held:
        yield held


def _on(found: Found, beats: _Beats | None) -> Found:
    here = beats is not None and PurePosixPath(beats.name).parent == PurePosixPath(found.name).parent
    return found._replace(beats=beats.content) if beats and here else found


class _Entry(tarfile.TarInfo):
    """A header that does not let a damaged archive pass for a short one, as tarfile would."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark; every other one is damage
                raise
            raise tarfile.ReadError(f"{error or 'bad header'}; the archive is damaged or cut short") from None


def _tar(path: Path, name: str, source: int) -> Iterator[Found | Skipped | _Beats]:
    with path.open("rb") as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        begin = file.read(6)
        file.seek(0)
        # Not tarfile's own decompression: in stream mode it knows neither several streams nor a cut one.
        unpack = next((opener for magic, opener in _UNPACK if begin.startswith(magic)), None)
        content: Any = unpack(file) if unpack else file
        with tarfile.open(fileobj=content, mode="r|", bufsize=2**16, tarinfo=_Entry) as archive:
            for member in archive:
                if member.isreg():
                    opener = functools.partial(archive.extractfile, member)
                    for item in _member(opener, member.name, member.size, name, source):
                        yield item._replace(part=file.tell() / size) if isinstance(item, Found) else item
                archive.members.clear()  # type: ignore[attr-defined]  # or tarfile remembers every header


def _zip(path: Path, name: str, source: int) -> Iterator[Found | Skipped | _Beats]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for number, member in enumerate(members, 1):
            mode = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or mode not in (0, stat.S_IFREG):
                continue
            try:
                opener = functools.partial(archive.open, member)
                for item in _member(opener, member.filename, member.file_size, name, source):
                    yield item._replace(part=number / len(members)) if isinstance(item, Found) else item
            except _BROKEN as error:  # the directory at the end of a zip still leads to the other members
                yield Skipped(_within(name, member.filename), source, f"cannot be read: {_line(error)}")


def _member(
    opener: Callable[[], IO[bytes] | None], member: str, size: int, name: str, source: int
) -> Iterator[Found | Skipped | _Beats]:
    """Read one member of an archive if it looks like music, or has the beats of some."""
    if any(_hidden(part) for part in PurePosixPath(member.replace("\\", "/")).parts):
        return
    full = _within(name, member)
    if _is_archive(member):
        yield Skipped(full, source, "is an archive within an archive; unpack the outer one first")
    elif PurePosixPath(full).name == BEATS and (stream := opener()) is not None:
        with stream:
            yield _Beats(full, stream.read(LARGEST_BEATS + 1))
    elif not looks_like_music(member):
        return
    elif size > LARGEST:
        yield Skipped(full, source, _too_large(size))
    elif (stream := opener()) is not None:
        with stream:
            yield Found(full, source, stream.read(size + 1))  # one more, so that its end is seen and checked


_UNPACK: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


def _is_ours(name: str) -> bool:
    return looks_like_music(name) or _is_archive(name)


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def _hidden(part: str) -> bool:
    return (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX"


def _within(archive: str, member: str) -> str:
    return f"{archive}/{member.removeprefix('./')}"


def _too_large(size: int) -> str:
    return f"is larger than a song can be ({size / 2**20:,.0f} MB; at most {LARGEST // 2**20} MB are read)"


def _shown(path: str | Path) -> str:
    return str(path).replace(os.sep, "/")


def _line(error: BaseException) -> str:
    """Return what an error says in one short line, without the path that the caller names anyway."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0][:200]
