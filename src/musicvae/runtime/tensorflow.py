"""Read the variables of TensorFlow V2 checkpoints without TensorFlow.

model.ckpt.index                  a LevelDB table: name of a variable → type, shape and place of its bytes
model.ckpt.data-00000-of-00001    the bytes of the variables, one after the other; there may be several such files

Nothing that they say about themselves is believed before it was checked. Archives are read where they lie.
"""

from __future__ import annotations

import gzip
import math
import posixpath
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial, reduce
from itertools import groupby, pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import BundleError

__all__ = ["read_checkpoint"]

MAX_INDEX = 4 * 2**20
"""Bytes of an index, and of all that it unpacks to. A thousand variables take 0.1 MB."""
MAX_RATIO = 20
"""Times its own size that an archive may unpack to, beside 64 MB; trained weights hardly shrink at all."""
MAX_MEMBERS = 10_000
MAX_RANK = 32  # every numpy can hold as many axes

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER = 48
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 9: "<i8", 10: "?", 14: "bfloat16", 19: "<f2"}
_PART = re.compile(r"(?:.*/)?(?!\._)(?:checkpoint|([^/]+)\.(?:index|data-\d{5}-of-\d{5}))", re.DOTALL)
_V1 = "the old V1 format, one file without .index, is not read. Save it again in TensorFlow with write_version=V2"
_WANTED = "wanted a checkpoint's prefix, .index or .data file, or a folder, .tar, .tar.gz or .zip that holds one"
_CRC_STEPS = (3280, 3702, 6197)
"""x⁶¹⁹⁷ = x²⁹¹⁷ + x²⁴⁹⁵ + 1 modulo the polynomial of crc32c, and squared three or six times the same of x⁸ and x⁶⁴."""
_CRC_START = 0x641F6454
"""The four bytes, lowest first, after which a register of zeros is the register of ones that crc32c begins with."""
_CRC_TABLE = [reduce(lambda crc, _: crc >> 1 ^ 0x82F63B78 * (crc & 1), range(8), byte) for byte in range(256)]


class _Stored(NamedTuple):
    """One file of a checkpoint, on its own or inside an archive."""

    open: Callable[[], AbstractContextManager[IO[bytes]]]
    start: int  # in what `open` opens
    size: int
    where: str  # what errors call it


class _Entry(NamedTuple):
    """A variable as the index describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


class _DamageError(Exception):
    """What is wrong with bytes; `_reading` knows the file and makes a BundleError of it."""


def read_checkpoint(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return every variable of a checkpoint by its name, those of the optimizer too, as writable arrays.

    `path` is the prefix (`model.ckpt`), the `.index` or a `.data-…` file, a folder with one checkpoint or with a file
    `checkpoint` that names the latest, or a `.tar`, `.tar.gz` or `.zip` with one. bfloat16 becomes float32; variables
    that are not numbers are left out. Raises BundleError.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with ExitStack() as stack:
        with _reading(str(path)):
            files, prefix = _locate(Path(path), stack)
        index = files[f"{prefix}.index"]
        with _reading(index.where):
            shards, entries = _read_index(index)
        for shard, group in groupby(sorted(entries, key=lambda e: (e.shard, e.offset)), key=lambda e: e.shard):
            name = f"{prefix}.data-{shard:05d}-of-{shards:05d}"
            if name not in files:
                raise BundleError(f"{index.where}: lacks {posixpath.basename(name)} beside it. Fetch that too")
            with _reading(files[name].where):
                arrays.update(_read_shard(files[name], list(group)))
    return {entry.name: arrays[entry.name] for entry in entries}


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except BundleError:
        raise
    except _DamageError as error:
        raise BundleError(f"{where}: is damaged or cut off ({error}). Fetch it again") from None
    except Exception as error:  # tarfile, zipfile and gzip raise a dozen classes for damaged archives
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BundleError(f"{where}: cannot be read ({reason}). If it is damaged, fetch it again") from error


# ------------------------------------------------------------------------------------------------ where the files are
def _locate(path: Path, stack: ExitStack) -> tuple[dict[str, _Stored], str]:
    """Return files by name, and the prefix of the checkpoint among them."""
    part = _PART.fullmatch(path.name)
    prefix = (part and part[1]) or path.name
    if prefix and (path.parent / f"{prefix}.index").is_file():
        return _folder(path.parent), prefix
    if path.is_dir():
        files = _folder(path)
    elif part and part[1]:
        raise BundleError(f"{path}: is of a checkpoint whose {prefix}.index is not beside it. Fetch that too")
    elif path.is_file():
        files = _archive(path, stack)
    else:
        raise BundleError(f"{path}: is not there; {_WANTED}")
    return files, _choose(files, path)


def _folder(folder: Path) -> dict[str, _Stored]:
    def stored(path: Path) -> _Stored:
        return _Stored(lambda: path.open("rb"), 0, path.stat().st_size, str(path))

    return {path.name: stored(path) for path in folder.iterdir() if _PART.fullmatch(path.name) and path.is_file()}


def _archive(path: Path, stack: ExitStack) -> dict[str, _Stored]:
    """Return the files of checkpoints in a tar, tar.gz or zip file, which stays open."""
    file = stack.enter_context(path.open("rb"))
    size = path.stat().st_size
    most = 64 * 2**20 + MAX_RATIO * size
    head = file.read(512)
    file.seek(0)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        archive = stack.enter_context(zipfile.ZipFile(file))
        parts = [info for info in archive.infolist() if _PART.fullmatch(info.filename)]
        if sum(info.file_size for info in parts) > most:
            raise BundleError(f"{path}: unpacks to more than {most} bytes. Fetch it again, or unpack it yourself")
        return {i.filename: _Stored(partial(archive.open, i), 0, i.file_size, f"{path} ({i.filename})") for i in parts}
    if head[:2] == b"\x1f\x8b":
        return _tar(cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file))), path, most)
    if head[257:262] == b"ustar" or path.suffix.lower() == ".tar":
        return _tar(file, path, size)
    file.seek(max(size - len(_MAGIC), 0))
    raise BundleError(f"{path}: is no V2 checkpoint; {_V1 if file.read() == _MAGIC else _WANTED}")


def _tar(file: IO[bytes], path: Path, most: int) -> dict[str, _Stored]:
    """Return the regular files among the members; links are not followed."""
    files = {}
    with tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file, most)), mode="r:") as archive:
        for count, member in enumerate(iter(archive.next, None)):
            start, end = member.offset_data, member.offset_data + member.size
            if not start <= end <= most or count >= MAX_MEMBERS:
                raise _DamageError(f"member {count} ends at byte {end}; wanted {MAX_MEMBERS} members, {most} bytes")
            if member.isreg() and not member.issparse() and _PART.fullmatch(member.name):
                where = f"{path} ({member.name})"
                files[member.name] = _Stored(lambda: nullcontext(file), start, member.size, where)
    return files


class _Bounded:
    """A file as tarfile sees it, which by itself reads whatever length a header asks for, negative ones too."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most, self.seek, self.tell = file, most, file.seek, file.tell

    def read(self, count: int) -> bytes:
        if not 0 <= count <= 2**20 or self.tell() > self.most:
            raise _DamageError(f"a header asks for {count} bytes at byte {self.tell()}")
        return self.file.read(count)


def _choose(files: dict[str, _Stored], path: Path) -> str:
    """Return the prefix of the only checkpoint, or of the one that the file `checkpoint` names."""
    prefixes = sorted(name.removesuffix(".index") for name in files if name.endswith(".index"))
    if len(prefixes) == 1:
        return prefixes[0]
    if not prefixes:
        raise BundleError(f"{path}: holds no checkpoint; wanted a file that ends in .index; {_V1}")
    for note in (name for name in files if posixpath.basename(name) == "checkpoint"):
        with files[note].open() as file:
            text = _bytes(file, files[note], 0, min(files[note].size, 2**16)).tobytes().decode("utf-8", "replace")
        # Only the last part of the path, which is one on the machine that trained.
        latest = re.search(r'^\s*model_checkpoint_path\s*:\s*"(?:[^"\n]*[/\\])?([^"\n]+)"', text, re.MULTILINE)
        if latest and (prefix := posixpath.join(posixpath.dirname(note), latest[1])) in prefixes:
            return prefix
    listed = ", ".join(prefixes[:10]) + (", …" if len(prefixes) > 10 else "")
    advice = "Name one by its prefix" if path.is_dir() else "Unpack them and name one by its prefix"
    raise BundleError(f"{path}: holds {len(prefixes)} checkpoints ({listed}); wanted one. {advice}")


def _bytes(file: IO[bytes], stored: _Stored, offset: int, size: int) -> NDArray[np.uint8]:
    """Return bytes of a stored file, within its size."""
    array = np.empty(size, np.uint8)
    file.seek(stored.start + offset)
    for at in range(0, size, 2**20):
        piece = np.frombuffer(file.read(min(2**20, size - at)), np.uint8)
        if len(piece) < min(2**20, size - at):
            raise _DamageError(f"ends at byte {offset + at + len(piece)}; wanted {stored.size}")
        array[at : at + len(piece)] = piece
    return array


# -------------------------------------------------------------------------------------------- the index and the shards
def _read_index(index: _Stored) -> tuple[int, list[_Entry]]:
    """Return the number of shards and the variables that are numbers."""
    if index.size > MAX_INDEX:
        raise BundleError(f"{index.where}: has {index.size} bytes; wanted an index of at most {MAX_INDEX}")
    with index.open() as file:
        data = _bytes(file, index, 0, index.size).tobytes()
    if len(data) < _FOOTER or not data.endswith(_MAGIC):
        raise _DamageError(f"ends in {data[-8:].hex()}; the index of a checkpoint ends in {_MAGIC.hex()}")
    table = list(_table(data))
    if not table or table[0][0] or any(key >= following for (key, _), (following, _) in pairwise(table)):
        raise _DamageError("its names are out of order")
    header = _message(table[0][1])
    shards, newest = header.numbers[1], _message(b"".join(header.parts[3])).numbers[2]
    if header.numbers[2]:
        raise BundleError(f"{index.where}: is big-endian; wanted little. Save it again on a common computer")
    if newest > 1:
        raise BundleError(f"{index.where}: is of format {newest}; wanted 0 or 1. Save it with an older TensorFlow")
    # Keys that begin with a zero are parts of partitioned variables, whose own entries say that they are.
    messages = ((key, _message(value)) for key, value in table[1:] if key[0])
    entries = [_entry(key, message, shards, index) for key, message in messages if message.numbers[1] in _TYPES]
    if not entries:
        raise BundleError(f"{index.where}: holds no variables of numbers; wanted a model's. Is it the right file?")
    return shards, entries


def _entry(key: bytes, message: _Message, shards: int, index: _Stored) -> _Entry:
    name, dtype = key.decode("utf-8", "backslashreplace"), _TYPES[message.numbers[1]]
    if message.parts[7]:
        raise BundleError(f"{index.where}: {name} is partitioned; wanted whole variables. Save it unpartitioned")
    of_shape = _message(b"".join(message.parts[2]))
    shape = tuple(_message(axis).numbers[1] for axis in of_shape.parts[2])
    shard, offset, size, crc = (message.numbers[number] for number in (3, 4, 5, 6))
    if len(shape) > MAX_RANK or of_shape.numbers[3] or math.prod(n or 1 for n in shape) >= 2**56:
        raise _DamageError(f"{name} has the shape {str(shape)[:60]}")
    wanted = math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize)
    if size != wanted or shard >= shards:
        raise _DamageError(f"{name} has {size} bytes in file {shard}; wanted {wanted} in one of {shards}")
    return _Entry(name, dtype, shape, shard, offset, size, crc)


def _read_shard(stored: _Stored, entries: list[_Entry]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the variables of one data file, given by ascending offset."""
    end = 0
    for name, _, _, _, offset, size, _ in entries:  # all before the first is read; shared bytes would fill any memory
        if not end <= offset <= offset + size <= stored.size:
            raise _DamageError(f"{name} is at bytes {offset} to {offset + size}; wanted {end} to {stored.size}")
        end = offset + size
    with stored.open() as file:
        for name, dtype, shape, _, offset, size, wanted in entries:
            raw = _bytes(file, stored, offset, size)
            if (crc := _masked_crc(raw)) != wanted:
                raise _DamageError(f"{name} has the checksum {crc:08x}; wanted {wanted:08x}")
            if dtype == "bfloat16":
                array: NDArray[Any] = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                array = raw != 0 if dtype == "?" else raw.view(dtype)
            yield name, array.reshape(shape)


# ------------------------------------------------------------------------------------- tables, messages and checksums
def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a LevelDB table, keys ascending."""
    footer = data[-_FOOTER:]
    at = _varint(footer, _varint(footer, 0)[1])[1]  # behind the place of the meta index, which TensorFlow does not use
    end, left = 0, MAX_INDEX
    for _, place in _pairs(_block(data, footer[at:], 0)[0]):
        block, end = _block(data, place, end)
        for key, value in _pairs(block):
            left -= len(key) + len(value)
            if left < 0:
                raise _DamageError(f"unpacks to more than {MAX_INDEX} bytes")
            yield key, value


def _block(data: bytes, place: bytes, begin: int) -> tuple[bytes, int]:
    """Return the block at a place, which must not be before `begin`, and where it ends."""
    offset, at = _varint(place, 0)
    kind = offset + _varint(place, at)[0]  # where the byte is that says how the block is compressed
    end = kind + 5
    if not begin <= offset < end <= len(data) - _FOOTER:
        raise _DamageError(f"a block is at bytes {offset} to {end}; wanted {begin} to {len(data) - _FOOTER}")
    crc, wanted = _masked_crc(np.frombuffer(data[offset : kind + 1], np.uint8)), data[kind + 1 : end]
    if crc.to_bytes(4, "little") != wanted:
        raise _DamageError(f"the block at byte {offset} has the checksum {crc:08x}; wanted {wanted[::-1].hex()}")
    if data[kind] > 1:
        raise _DamageError(f"the block at byte {offset} has compression {data[kind]}; wanted 0, none, or 1, snappy")
    return (_unsnap(data[offset:kind]) if data[kind] else data[offset:kind]), end


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block; a key is stored as what differs from the key before."""
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at != end:  # which is negative in a block of nonsense
        shared, at = _varint(block, at)
        more, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or more + size > end - at:
            raise _DamageError("an entry is longer than its block")
        key = key[:shared] + block[at : at + more]
        at += more + size
        yield key, block[at - size : at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and where it ends."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise _DamageError("a number does not end")


class _Message(NamedTuple):
    """The fields of a protocol buffer by number: the last value of a number, all of those with a length."""

    numbers: defaultdict[int, int]
    parts: defaultdict[int, list[bytes]]


def _message(data: bytes) -> _Message:
    message = _Message(defaultdict(int), defaultdict(list))
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind not in (0, 1, 2, 5):
            raise _DamageError(f"a field is of kind {kind}")
        value, at = _varint(data, at) if kind in (0, 2) else (0, at)
        begin, at = at, at + (0, 8, value, 0, 0, 4)[kind]
        if kind == 2:
            message.parts[tag >> 3].append(data[begin:at])
        else:
            message.numbers[tag >> 3] = value or int.from_bytes(data[begin:at], "little")
    if at > len(data):
        raise _DamageError("a field is longer than its message")
    return message


def _unsnap(data: bytes) -> bytes:
    """Return what snappy compressed."""
    size, at = _varint(data, 0)
    out = bytearray()
    while at < len(data) and len(out) < min(size, MAX_INDEX):
        kind, length = data[at] & 3, data[at] >> 2
        width = (max(length - 59, 0), 1, 2, 4)[kind]
        number = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        if kind == 0:  # bytes as they are; from 60 on the length is in the bytes that follow
            begin, at = at + 1 + width, at + 2 + width + (number if width else length)
            out += data[begin:at]
        else:  # again what came `back` bytes before, over and over where it is longer than that
            back, length = (data[at] >> 5 << 8 | number, length % 8 + 4) if kind == 1 else (number, length + 1)
            if not 0 < back <= len(out):
                break
            begin = len(out) - back
            out += (out[begin : begin + length] * length)[:length]
            at += 1 + width
    if len(out) != size or at != len(data):
        raise _DamageError("a compressed block does not unpack to its length")
    return bytes(out)


def _masked_crc(data: NDArray[np.uint8]) -> int:
    """Return the crc32c of bytes as TensorFlow stores it."""
    words = data[: len(data) // 8 * 8].view("<u8")
    rest = np.array([_CRC_START << 32], "<u8")
    for at in range(0, len(words), 2**16):
        rest = _fold(np.concatenate((rest, words[at : at + 2**16])))
    crc = 0
    for byte in _fold(np.concatenate((rest.view(np.uint8), data[8 * len(words) :]))).tolist():
        crc = _CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _fold(terms: NDArray[Any]) -> NDArray[Any]:
    """Return the last terms after all terms before them were added, in place, to those that they equal."""
    end = len(terms) - _CRC_STEPS[-1]
    for begin in range(0, end, _CRC_STEPS[0]):
        top = terms[begin : min(begin + _CRC_STEPS[0], end)]
        for step in _CRC_STEPS:
            terms[begin + step : begin + step + len(top)] ^= top
    return terms[max(end, 0) :]
