"""Which genres songs have, by lists of ids: the label lists of the Lakh Pianoroll Dataset, or one's own.

A list is a text file with an id a line, named `id_list_<label>.txt` in LPD; a table has an id, a tab and a label in
each line. An id stands for every file that has it in its path: as a folder (`…/TRAAAGR128F425B14B/<md5>.npz`, as in LPD
and in the Lakh MIDI Dataset), or as its name, with ending or without.
"""

from __future__ import annotations

import difflib
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from musicvae.data.sources import ARCHIVES, Found, Skipped
from musicvae.errors import DataError

__all__ = ["Choice", "Labels", "sift"]

LARGEST = 64 * 2**20
"""Bytes that a list may have."""
PREFIX = "id_list_"


class Labels:
    """Lists of ids by name: `Jazz`, or `amg/Jazz` where lists lie in folders."""

    def __init__(self, source: str, lists: Mapping[str, Sequence[str]]) -> None:
        self.source = source
        self.lists = {name: frozenset(ids) for name, ids in sorted(lists.items())}
        self._of: dict[str, list[str]] = {}
        for name, ids in self.lists.items():
            for one in ids:
                self._of.setdefault(one, []).append(name)

    @classmethod
    def read(cls, path: str | Path) -> Labels:
        """Read a list, a table, or a folder or archive (.tar, .tar.gz, .zip, …) of lists `id_list_<label>.txt`.

        Raises DataError if there is nothing to read.
        """
        lists: dict[str, list[str]] = {}
        try:
            for name, content in _files(Path(path)):
                for label, one in _rows(name, content):
                    lists.setdefault(label, []).append(one)
        except (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise DataError(f"{path}: labels cannot be read ({why.splitlines()[0]})") from None
        if not any(lists.values()):
            raise DataError(f"{path}: no labels found; wanted lists named {PREFIX}Jazz.txt with an id a line")
        return cls(str(path), lists)

    def of(self, name: str) -> tuple[str, ...]:
        """Return the names of the lists that have a song, given the name of its file with the path before it."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        ids = {*parts, PurePosixPath(parts[-1]).stem} if parts else set()
        return tuple(sorted({label for one in ids for label in self._of.get(one, ())}))

    def choose(self, genres: Sequence[str]) -> Choice:
        """Return what chooses the songs of these genres; raises DataError for one that no list has.

        A genre is the name of a list: with its folder (`amg/Jazz`), or without it, which means those of all folders.
        Case does not matter, and a space, `-` and `_` are the same.
        """
        chosen: dict[str, None] = {}
        for genre in genres:
            found = [n for n in self.lists if _plain(genre) in (_plain(n), _plain(n.rpartition("/")[2]))]
            if not found:
                names = sorted({n.rpartition("/")[2] for n in self.lists})
                near = difflib.get_close_matches(genre, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:40])}"
                raise DataError(f"{self.source}: no list is called {genre!r}; {hint}")
            chosen |= dict.fromkeys(found)
        return Choice(self, tuple(chosen))


class Choice:
    """The songs that some lists have."""

    def __init__(self, labels: Labels, lists: tuple[str, ...]) -> None:
        self.labels, self.lists = labels, lists

    def why_not(self, name: str) -> str | None:
        """Return why the song of this file is not chosen, or None if it is."""
        has = self.labels.of(name)
        if not has:
            return "has no label"
        if set(has) & set(self.lists):
            return None
        return f"is of another genre: {', '.join(has)}"

    def described(self) -> dict[str, Any]:
        """Return what dataset.json says of the choice."""
        ids = {name: sorted(self.labels.lists[name]) for name in self.lists}
        digest = hashlib.blake2b(repr(sorted(ids.items())).encode(), digest_size=16)
        return {"lists": {name: len(found) for name, found in ids.items()}, "blake2b": digest.hexdigest()}


def sift(items: Iterator[Found | Skipped], choice: Choice | None) -> Iterator[Found | Skipped]:
    """Yield the files of `walk`, those that are not chosen as Skipped; all of them where nothing is chosen."""
    for item in items:
        why_not = choice.why_not(item.name) if choice and isinstance(item, Found) else None
        yield item if why_not is None else Skipped(item.name, item.source, why_not)


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "-").replace("_", "-")


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lists with their names: that of a file alone, or those of a folder or archive, from its top."""
    if path.is_dir():
        for file in sorted(path.rglob(f"{PREFIX}*.txt")):
            yield file.relative_to(path).as_posix(), file.read_bytes()
    elif path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            for entry in zipped.infolist():
                if _is_list(entry.filename) and entry.file_size <= LARGEST:
                    yield entry.filename, zipped.read(entry)
    elif path.name.lower().endswith(ARCHIVES):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isreg() and _is_list(member.name) and member.size <= LARGEST:
                    opened = archive.extractfile(member)
                    yield member.name, opened.read() if opened else b""
    else:
        yield path.name, path.read_bytes()


def _is_list(name: str) -> bool:
    last = PurePosixPath(name).name
    return last.startswith(PREFIX) and last.endswith(".txt")


def _rows(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the label and the id of each line of a list or a table."""
    path = PurePosixPath(name)
    stem = path.stem.removeprefix(PREFIX)
    folder = path.parent.name
    label = f"{folder}/{stem}" if folder else stem
    for line in content.decode("utf-8").splitlines():
        one, tab, own = line.partition("\t")
        if one.strip() and not one.startswith("#"):
            yield own.strip() if tab else label, one.strip()
