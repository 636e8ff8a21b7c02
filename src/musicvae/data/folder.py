"""Write a folder that is either whole or not there."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musicvae.data.layout import FILES, KEPT
from musicvae.errors import DataError

__all__ = ["Folder", "free_place"]


def free_place(out: Path, overwrite: bool) -> tuple[str, ...]:
    """Make sure that a data set may be written to `out`; clear away what interrupted runs left beside it.

    Returns what was cleared away, a line each. Raises DataError if `out` is something else than an empty
    folder or a prepared data set, or is a data set and `overwrite` is false.
    """
    notices = tuple(_clear(out))
    if not os.path.lexists(out):
        return notices
    if not out.is_dir():
        raise DataError(f"{out}: is a file; wanted a folder that does not exist yet")
    try:
        present = sorted(os.listdir(out))  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{out}: cannot be read ({error.strerror})") from None
    if not present:
        return notices
    strange = [name for name in present if name not in FILES and not name.startswith(KEPT)]
    if "dataset.json" not in present or strange:
        what = f"holds {strange[0]}" if strange else "lacks dataset.json"
        raise DataError(f"{out}: is not a prepared data set ({what}), so it is left alone. Choose another folder")
    if not overwrite:
        raise DataError(f"{out}: is a prepared data set already. Use --overwrite to replace it, or another folder")
    return notices


class Folder:
    """A folder in the making, beside the place where it will stand: `.<name>.partial-<process id>`.

    A context manager: unless `finish` was called, leaving it removes everything written. Raises DataError
    if the place cannot be written to.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.resolve()
        self.partial = self.out.parent / f".{self.out.name}.partial-{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            self.partial.mkdir()
        except OSError as error:
            raise DataError(f"{self.out}: cannot be written ({error.strerror})") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise DataError(f"{self.out}: cannot be written ({error.strerror or error})") from None

    def write_array(self, name: str, array: NDArray[Any]) -> str:
        """Write a one-dimensional array as an .npy file and return its sha256."""
        return self.write_pieces(name, array.dtype, len(array), [array.tobytes()])

    def write_pieces(self, name: str, dtype: np.dtype[Any], length: int, pieces: Iterable[bytes]) -> str:
        """Write a one-dimensional array of this length, given as bytes piece by piece, and return its sha256."""
        header = io.BytesIO()
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(header, described)
        return self._write(name, itertools.chain([header.getvalue()], pieces))

    def write_table(self, name: str, rows: Iterable[tuple[str, ...]]) -> None:
        """Write a .tsv file in UTF-8; tabs, line ends and what cannot be printed are escaped as in Python."""
        self._write(name, (("\t".join(map(_escaped, row)) + "\n").encode() for row in rows))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a .json file."""
        text = json.dumps(content, indent=1, ensure_ascii=True)
        self._write(name, [(text + "\n").encode()])

    def finish(self) -> int:
        """Move the folder to its place, in exchange for what stands there, and return its size in bytes."""
        size = sum(file.stat().st_size for file in self.partial.iterdir())
        _sync(self.partial)
        old = self.out.parent / f".{self.out.name}.old-{os.getpid()}"
        if self.out.exists():
            self.out.rename(old)
        self.partial.replace(self.out)
        _sync(self.out.parent)
        shutil.rmtree(old, ignore_errors=True)
        return size

    def _write(self, name: str, pieces: Iterable[bytes]) -> str:
        digest = hashlib.sha256()
        with (self.partial / name).open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()


def _clear(out: Path) -> Iterable[str]:
    """Remove what dead processes left; put back a data set that was about to be replaced."""
    out = out.resolve()
    if not out.parent.is_dir():
        return
    pattern = re.compile(re.escape(f".{out.name}.") + r"(partial|old)-(\d+)")
    for path in sorted(out.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or _alive(int(match[2])):
            continue
        if match[1] == "old" and not out.exists():
            path.rename(out)
            yield f"put back {out.name}, which an interrupted run was about to replace"
        else:
            shutil.rmtree(path, ignore_errors=True)
            yield f"removed {path.name}, left by an interrupted run"


def _alive(process: int) -> bool:
    """Return whether a process other than this one has this id (always, where one cannot ask)."""
    if process == os.getpid():
        return False
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _escaped(cell: str) -> str:
    if cell.isprintable() and "\\" not in cell:
        return cell
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cell.replace("\\", "\\\\"))


def _sync(folder: Path) -> None:
    """Make the names in a folder last, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
