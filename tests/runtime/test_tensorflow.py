"""TensorFlow checkpoints: real ones, small ones written here, and damaged ones, which give BundleError only."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import BundleError
from musicvae.runtime import tensorflow
from musicvae.runtime.tensorflow import read_checkpoint

FLOAT, INT32, STRING, BOOL, BFLOAT16 = 1, 3, 7, 10, 14
NUMBERS = {"<f4": 1, "<f8": 2, "<i4": 3, "|u1": 4, "<i8": 9, "|b1": 10, "<f2": 19}
MAGIC = bytes.fromhex("57fb808b247547db")
SHARD = "model.ckpt.data-00000-of-00001"
EXAMPLES = ("cat-mel_2bar_small", "cat-drums_2bar_small", "flat-mel_16bar", "hierdec-mel_16bar", "hierdec-trio_16bar")


# ------------------------------------------------------------------------------------------------ a writer
def crc(data: bytes) -> int:
    """Return the masked crc32c, a byte at a time."""
    value = 0xFFFFFFFF
    for byte in data:
        value = BYTES[(value ^ byte) & 255] ^ value >> 8
    return masked(value ^ 0xFFFFFFFF)


def masked(value: int) -> int:
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


BYTES = [crc_of(byte) for byte in range(256)]


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += varint(number << 3 | 2) + varint(len(value)) + value
        else:
            out += varint(number << 3) + varint(value)
    return out


def header(shards: int = 1, **more: int) -> bytes:
    return message(
        (1, shards), (2, more.get("order", 0)), (3, message((1, 1), (2, more.get("newest", 0)))), (9, b"unknown")
    )


def entry(dtype: int, shape: tuple[int, ...], data: bytes = b"", offset: int = 0, shard: int = 0, **more: Any) -> bytes:
    axes = b"".join(message((2, message((1, n)))) for n in shape)
    fields = message((1, dtype), (2, axes), (3, shard), (4, offset), (5, more.get("size", len(data))))
    return fields + b"\x35" + more.get("crc", crc(data)).to_bytes(4, "little") + more.get("after", b"")


def block_of(pairs: list[tuple[bytes, bytes]], interval: int = 3) -> bytes:
    out, restarts, last = b"", [], b""
    for i, (key, value) in enumerate(pairs):
        alike = [a == b for a, b in zip(key, last, strict=False)] + [False]
        shared = alike.index(False) if i % interval else 0
        if not i % interval:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return out + b"".join(n.to_bytes(4, "little") for n in [*restarts, len(restarts)])


def snap(data: bytes) -> bytes:
    """Compress as snappy does, with literals of all widths and copies of two kinds."""
    out, at, literal = varint(len(data)), 0, b""

    def flush() -> bytes:
        n = len(literal) - 1
        if n < 0:
            return b""
        return (bytes([n << 2]) if n < 60 else bytes([61 << 2]) + n.to_bytes(2, "little")) + literal

    while at < len(data):
        size = 0
        found = -1
        for n in (60, 11, 8, 4):
            found = data.rfind(data[at : at + n], 0, at + n - 1) if at + n <= len(data) else -1
            if 0 <= found < at:
                size = n
                break
        if not size:
            literal += data[at : at + 1]
            at += 1
            continue
        back = at - found
        out += flush()
        literal = b""
        if size <= 11 and back < 2048:
            out += bytes([(back >> 8) << 5 | (size - 4) << 2 | 1, back & 255])
        else:
            out += bytes([(size - 1) << 2 | 2]) + back.to_bytes(2, "little")
        at += size
    return out + flush()


def index_of(
    pairs: list[tuple[bytes, bytes]],
    per_block: int = 1000,
    snappy: bool = False,
    spoil: Callable[[bytes], bytes] = lambda block: block,
) -> bytes:
    """Return an index; `spoil` changes a block of data before its checksum is taken."""
    out = b""

    def add(block: bytes, kind: int) -> bytes:
        nonlocal out
        place = varint(len(out)) + varint(len(block))
        out += block + bytes([kind]) + crc(block + bytes([kind])).to_bytes(4, "little")
        return place

    places = []
    for i in range(0, len(pairs), per_block):
        some = pairs[i : i + per_block]
        block = block_of(some)
        places.append((some[-1][0] + b"~", add(spoil(snap(block) if snappy else block), int(snappy))))
    meta = add(block_of([]), 0)
    footer = meta + add(block_of(places, 1), 0)
    return out + footer.ljust(40, b"\0") + MAGIC


def write(folder: Path, arrays: dict[str, np.ndarray], prefix: str = "model.ckpt", shards: int = 1, **how: Any) -> Path:
    """Write a checkpoint and return its prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = [b""] * shards
    pairs = [(b"", header(shards))]
    for i, (name, array) in enumerate(sorted(arrays.items())):
        data, shard = array.tobytes(), i % shards
        kind = NUMBERS[array.dtype.str]
        pairs.append((name.encode(), entry(kind, array.shape, data, len(contents[shard]), shard)))
        contents[shard] += data
    for i, content in enumerate(contents):
        (folder / f"{prefix}.data-{i:05d}-of-{shards:05d}").write_bytes(content)
    (folder / f"{prefix}.index").write_bytes(index_of(pairs, **how))
    return folder / prefix


def raw(folder: Path, *pairs: tuple[str | bytes, bytes], data: bytes = b"", head: bytes | None = None) -> Path:
    """Write a checkpoint of entries as they are and return its prefix."""
    keys = [(key if isinstance(key, bytes) else key.encode(), value) for key, value in pairs]
    (folder / "model.ckpt.index").write_bytes(index_of([(b"", header() if head is None else head), *keys]))
    (folder / SHARD).write_bytes(data)
    return folder / "model.ckpt"


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "encoder/cell_0/lstm_cell/kernel": rng.normal(size=(5, 8)).astype(np.float32),
        "encoder/cell_0/lstm_cell/bias": rng.normal(size=8).astype(np.float32),
        "encoder/cell_1/lstm_cell/kernel": rng.normal(size=(6, 8)),
        "encoder/mu/bias": rng.normal(size=(2, 1, 3)).astype(np.float16),
        "flags": np.array([True, False, True]),
        "global_step": np.array(12345, dtype=np.int64),
        "häuser": np.arange(4, dtype=np.int32).reshape(2, 2),
        "nothing": np.zeros((0, 7), dtype=np.float32),
        "small": np.arange(9, dtype=np.uint8),
    }


def same(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(got) == sorted(wanted)
    for name, array in wanted.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got[name], array)
        assert got[name].flags.writeable


def refused(path: Path | str, *words: str) -> None:
    """Check that a checkpoint is refused with these words, in one line, and that the file and advice are named."""
    with pytest.raises(BundleError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    for word in (*words, Path(path).name.split(".")[0]):
        assert word in text, text


# ------------------------------------------------------------------------------------------------ TensorFlow's own
@pytest.mark.parametrize("name", EXAMPLES)
def test_real_checkpoints_hold_what_they_should(shared_data, name):
    folder = shared_data / "reference" / name
    wanted = json.loads((folder / "config.json").read_text())["variables"]
    got = read_checkpoint(folder)
    assert {f"{key}:0": list(array.shape) for key, array in got.items()} == wanted
    assert all(array.dtype == np.float32 for array in got.values())
    every = np.concatenate([array.ravel() for array in got.values()])
    assert abs(every.mean()) < 0.01
    assert abs(every.std() - 0.25) < 0.01  # they were drawn so


def test_real_mu_is_what_the_variables_give(shared_data):
    """Bytes in the wrong order or place would pass the test of names and shapes."""
    folder = shared_data / "reference" / "cat-mel_2bar_small"
    weights, expected = read_checkpoint(folder), np.load(folder / "expected.npz")

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def last(direction: str, x: np.ndarray) -> np.ndarray:
        cell = f"encoder/cell_0/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0/lstm_cell"
        kernel, bias = weights[f"{cell}/kernel"], weights[f"{cell}/bias"]
        h = c = np.zeros((len(x), len(bias) // 4))
        for step in np.moveaxis(x, 1, 0):
            i, j, f, o = np.split(np.concatenate([step, h], 1) @ kernel + bias, 4, axis=1)
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)
            h = sigmoid(o) * np.tanh(c)
        return h

    x = expected["encoder_input"].astype(np.float64)
    h = np.concatenate([last("fw", x), last("bw", x[:, ::-1])], 1)
    np.testing.assert_allclose(h @ weights["encoder/mu/kernel"] + weights["encoder/mu/bias"], expected["mu"], atol=1e-5)


# ------------------------------------------------------------------------------------------------ what is read
@pytest.mark.parametrize(
    "how",
    [{}, {"per_block": 1}, {"per_block": 4}, {"snappy": True}, {"shards": 3}, {"shards": 2, "per_block": 2}],
    ids=str,
)
def test_everything_comes_back(tmp_path, how):
    same(read_checkpoint(write(tmp_path, some_arrays(), **how)), some_arrays())


def test_a_large_variable_comes_back(tmp_path, monkeypatch):
    """Longer than what is read at once, and than what the checksum takes at once."""
    arrays = {"a": np.random.default_rng(1).normal(size=300_001).astype(np.float32), "b": np.arange(3, dtype=np.int32)}
    monkeypatch.setattr(sys.modules[__name__], "crc", checksum)
    same(read_checkpoint(write(tmp_path, arrays)), arrays)


def test_bfloat16_becomes_float32(tmp_path):
    data = np.array([1.5, -2.0, 0.0], np.float32).view(np.uint32) >> 16
    data = data.astype("<u2").tobytes()
    got = read_checkpoint(raw(tmp_path, ("a", entry(BFLOAT16, (3,), data)), data=data))
    assert got["a"].dtype == np.float32
    assert got["a"].tolist() == [1.5, -2.0, 0.0]


def test_booleans_are_booleans_whatever_the_byte(tmp_path):
    data = b"\0\1\2\xff"
    got = read_checkpoint(raw(tmp_path, ("a", entry(BOOL, (2, 2), data)), data=data))
    assert got["a"].dtype == np.bool_
    assert got["a"].astype(int).tolist() == [[0, 1], [1, 1]]


def test_variables_that_are_no_numbers_are_left_out(tmp_path):
    data = b"\3\0\0\0"
    graph = ("_CHECKPOINTABLE_OBJECT_GRAPH", entry(STRING, (), size=2**50, crc=0))
    got = read_checkpoint(raw(tmp_path, graph, ("a", entry(INT32, (1,), data)), data=data))
    assert {name: array.tolist() for name, array in got.items()} == {"a": [3]}


# ------------------------------------------------------------------------------------------------ where it is read from
def pack(kind: str, source: Path, out: Path, inside: str = "") -> Path:
    """Pack the files of a folder, data before index as tar would."""
    path = out / f"packed{kind}"
    if kind.startswith(".zip"):
        method = zipfile.ZIP_STORED if kind == ".zip" else zipfile.ZIP_DEFLATED
        path = out / "packed.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for file in sorted(source.iterdir()):
                archive.write(file, inside + file.name)
    else:
        with tarfile.open(path, "w:gz" if kind != ".tar" else "w") as archive:
            for file in sorted(source.iterdir()):
                archive.add(file, inside + file.name)
    return path


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", SHARD, ".", ""])
def test_every_name_of_a_checkpoint_on_disk(tmp_path, name):
    write(tmp_path, some_arrays())
    same(read_checkpoint(tmp_path / name), some_arrays())
    same(read_checkpoint(str(tmp_path / name)), some_arrays())


def test_a_name_without_a_folder(tmp_path, monkeypatch):
    write(tmp_path, some_arrays())
    monkeypatch.chdir(tmp_path)
    for name in ("model.ckpt", "model.ckpt.index", "."):
        same(read_checkpoint(name), some_arrays())


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".tgz", ".zip", ".zip, deflated"])
@pytest.mark.parametrize("inside", ["", "models/cat-mel/"])
def test_archives(tmp_path, kind, inside):
    write(tmp_path / "in", some_arrays(), prefix="cat-mel.ckpt", shards=2)
    (tmp_path / "in" / "README").write_text("of no matter")
    (tmp_path / "in" / "._cat-mel.ckpt.index").write_text("what macOS adds")
    same(read_checkpoint(pack(kind, tmp_path / "in", tmp_path, inside)), some_arrays())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "packed" + kind.removesuffix(", deflated")]


def test_an_archive_by_another_name(tmp_path):
    """What is compressed says so in its first bytes; sites that serve it rename it."""
    write(tmp_path / "in", some_arrays())
    for i, kind in enumerate((".tar", ".tgz", ".zip")):
        same(read_checkpoint(pack(kind, tmp_path / "in", tmp_path).rename(tmp_path / f"download{i}")), some_arrays())


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_a_tar(tmp_path, format_):
    prefix = write(tmp_path / "in", some_arrays())
    with tarfile.open(tmp_path / "packed.tar", "w", format=format_) as archive:
        for file in prefix.parent.iterdir():
            archive.add(file, "/".join(["folder" * 8] * 4) + "/" + file.name)
    same(read_checkpoint(tmp_path / "packed.tar"), some_arrays())


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
@pytest.mark.parametrize("named", ["model.ckpt-20", "/home/who/run/model.ckpt-20", r"C:\\run\\model.ckpt-20"])
def test_the_latest_of_several(tmp_path, kind, named):
    for step in (10, 20, 30):
        write(tmp_path / "in", {"step": np.array(step)}, prefix=f"model.ckpt-{step}")
    note = f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "model.ckpt-10"\n'
    (tmp_path / "in" / "checkpoint").write_text(note)
    path = pack(kind, tmp_path / "in", tmp_path, "run/") if kind else tmp_path / "in"
    assert read_checkpoint(path)["step"] == 20
    assert read_checkpoint(tmp_path / "in" / "model.ckpt-30")["step"] == 30


@pytest.mark.parametrize("note", [None, "", 'model_checkpoint_path: "../elsewhere/gone"', "\xff\0", '"' * 10**5])
@pytest.mark.parametrize("kind", ["", ".tgz"])
def test_one_of_several_must_be_named(tmp_path, note, kind):
    for step in range(20):
        write(tmp_path / "in", {"step": np.array(step)}, prefix=f"model.ckpt-{step:02d}")
    if note is not None:
        (tmp_path / "in" / "checkpoint").write_text(note)
    path = pack(kind, tmp_path / "in", tmp_path) if kind else tmp_path / "in"
    refused(path, "20 checkpoints", "model.ckpt-00, model.ckpt-01", "…", "Unpack" if kind else "Name one")


def test_one_checkpoint_needs_no_note(tmp_path):
    write(tmp_path, some_arrays())
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "moved"')
    same(read_checkpoint(tmp_path), some_arrays())


# ------------------------------------------------------------------------------------------------ what is refused
def test_what_is_not_there(tmp_path):
    refused(tmp_path / "model.ckpt", "is not there", "wanted a checkpoint's prefix")
    refused(tmp_path, "holds no checkpoint", "V1")
    (tmp_path / SHARD).write_bytes(b"")
    refused(tmp_path / SHARD, "model.ckpt.index is not beside it")
    refused(tmp_path / "model.ckpt.index", "model.ckpt.index is not beside it")


@pytest.mark.parametrize("gone", [0, 1])
def test_a_lost_shard(tmp_path, gone):
    prefix = write(tmp_path, some_arrays(), shards=2)
    (tmp_path / f"model.ckpt.data-0000{gone}-of-00002").unlink()
    refused(prefix, f"lacks model.ckpt.data-0000{gone}-of-00002 beside it")
    refused(pack(".tar", tmp_path, tmp_path), f"lacks model.ckpt.data-0000{gone}-of-00002", "packed.tar (model")


def test_the_old_format(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(index_of([(b"", message((1, b"saved slices")))]))
    refused(tmp_path / "model.ckpt", "V1", "write_version=V2")
    (tmp_path / "model.ckpt.meta").write_bytes(b"graph")
    refused(tmp_path, "V1", "write_version=V2")


@pytest.mark.parametrize("content", [b"", b"what?", b"\x1f\x8b", b"PK\3\4 but no zip", b"\0" * 600])
@pytest.mark.parametrize("name", ["other", "other.tar", "other.tgz", "other.zip", "other.index"])
def test_other_files(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "model.ckpt.index").mkdir()
    refused(tmp_path, "holds no checkpoint")
    refused(tmp_path / "model.ckpt.index", "holds no checkpoint")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read")
def test_what_may_not_be_read(tmp_path):
    prefix = write(tmp_path, some_arrays())
    (tmp_path / SHARD).chmod(0)
    refused(prefix, "Permission denied")


FOUR = b"\1\0\0\0"
REFUSED: dict[str, tuple[list[tuple[str | bytes, bytes]], bytes | None, str]] = {
    "big-endian": ([("a", entry(INT32, (1,), FOUR))], header(order=1), "big-endian"),
    "newer": ([("a", entry(INT32, (1,), FOUR))], header(newest=2), "is of format 2"),
    "no files": ([("a", entry(INT32, (1,), FOUR))], header(shards=0), "in one of 0"),
    "partitioned": ([("a", entry(FLOAT, (9,), after=message((7, b""))))], None, "a is partitioned"),
    "a part": ([(b"\0\1a", entry(INT32, (1,), FOUR))], None, "no variables"),
    "empty": ([], None, "no variables"),
    "strings only": ([("a", entry(STRING, ()))], None, "no variables"),
    "shape and size": ([("a", entry(INT32, (2,), FOUR))], None, "a has 4 bytes in file 0; wanted 8"),
    "negative axes": ([("a", entry(INT32, (-1, -1), FOUR))], None, "shape"),
    "an axis of -1": ([("a", entry(INT32, (-1,), FOUR))], None, "shape"),
    "endless axes": ([("a", entry(INT32, (2**62, 2**62, 2**62), FOUR))], None, "shape"),
    "nothing of endless axes": ([("a", entry(INT32, (0, 2**62, 2**62)))], None, "shape"),
    "too many axes": ([("a", entry(INT32, (1,) * 33, FOUR))], None, "shape"),
    "unknown axes": ([("a", entry(INT32, (), FOUR, after=message((2, message((3, 1))))))], None, "shape"),
    "another shard": ([("a", entry(INT32, (1,), FOUR, shard=1))], None, "in file 1"),
    "a negative shard": ([("a", entry(INT32, (1,), FOUR, shard=-1))], None, "in one of 1"),
    "beyond the end": ([("a", entry(INT32, (1,), FOUR, offset=1))], None, "bytes 1 to 5; wanted 0 to 4"),
    "before the start": ([("a", entry(INT32, (1,), FOUR, offset=-1))], None, "bytes 18446744073709551615 to"),
    "terabytes": ([("a", entry(INT32, (2**40,), size=2**42))], None, "wanted 0 to 4"),
    "shared bytes": ([(n, entry(INT32, (1,), FOUR)) for n in "ab"], None, "b is at bytes 0 to 4; wanted 4 to 4"),
    "checksum": ([("a", entry(INT32, (1,), FOUR, crc=7))], None, "checksum"),
    "order": ([(n, entry(INT32, (1,), FOUR)) for n in "ba"], None, "out of order"),
    "twice": ([(n, entry(INT32, (1,), FOUR)) for n in "aa"], None, "out of order"),
    "endless number": ([("a", b"\x08" + b"\xff" * 20)], None, "does not end"),
    "cut number": ([("a", b"\x08\xff")], None, "does not end"),
    "cut field": ([("a", b"\x0a\x05abc")], None, "longer than its message"),
    "cut fixed": ([("a", b"\x35\x05")], None, "longer than its message"),
    "endless field": ([("a", b"\x0a" + varint(2**62))], None, "longer than its message"),
    "group": ([("a", b"\x0b\x0b\x0b")], None, "kind 3"),
    "number for shape": ([("a", entry(INT32, (), FOUR) + message((2, 3), (1, b"")))], None, ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nonsense_in_the_index(tmp_path, what):
    pairs, head, words = REFUSED[what]
    prefix = raw(tmp_path, *pairs, data=FOUR, head=head)
    if not words:  # fields of another kind are unknown fields, as in TensorFlow
        assert read_checkpoint(prefix)["a"] == 1
        return
    tracemalloc.start()
    refused(prefix, words)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_an_index_without_a_header(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(index_of([(b"a", entry(INT32, (1,), FOUR))]))
    refused(tmp_path / "model.ckpt", "out of order")
    (tmp_path / "model.ckpt.index").write_bytes(index_of([]))
    refused(tmp_path / "model.ckpt", "out of order")


def test_an_index_too_large(tmp_path):
    with (tmp_path / "model.ckpt.index").open("wb") as file:
        file.truncate(2**40)
    refused(tmp_path / "model.ckpt", f"at most {tensorflow.MAX_INDEX}")


def test_a_few_bytes_that_unpack_to_many(tmp_path, monkeypatch):
    """Long keys that share all but a byte: the square of their number."""
    monkeypatch.setattr(sys.modules[__name__], "crc", checksum)
    key = b"k" * 10**5
    block = varint(0) + varint(len(key)) + varint(0) + key
    block += b"".join(varint(len(key)) + varint(1) + varint(0) + b"a" for _ in range(10**5))
    tail = b"\0\0\0\0\1\0\0\0"
    (tmp_path / "model.ckpt.index").write_bytes(index_of([(b"", b"")], spoil=lambda _: block + tail))
    tracemalloc.start()
    refused(tmp_path / "model.ckpt", "unpacks to more")
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_a_block_that_is_read_again_and_again(tmp_path):
    data = index_of([(b"", header())])
    size = len(block_of([(b"", header())]))
    places = block_of([(bytes([i]), varint(0) + varint(size)) for i in range(100)])
    out = data[: size + 5] + places + b"\0" + crc(places + b"\0").to_bytes(4, "little")
    footer = varint(0) + varint(0) + varint(size + 5) + varint(len(places))
    (tmp_path / "model.ckpt.index").write_bytes(out + footer.ljust(40, b"\0") + MAGIC)
    refused(tmp_path / "model.ckpt", "a block is at bytes 0")


def test_an_unknown_compression(tmp_path):
    block = block_of([(b"", header())])
    path = tmp_path / "model.ckpt.index"
    data = index_of([(b"", header())])
    kind = b"\2"
    path.write_bytes(block + kind + crc(block + kind).to_bytes(4, "little") + data[len(block) + 5 :])
    refused(tmp_path / "model.ckpt", "compression 2")


# ------------------------------------------------------------------------------------------------ archives that lie
def test_links_in_a_tar_are_not_followed(tmp_path):
    prefix = write(tmp_path / "in", some_arrays())
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
        with tarfile.open(tmp_path / "packed.tar", "w") as archive:
            archive.add(f"{prefix}.index", "model.ckpt.index")
            member = tarfile.TarInfo(SHARD)
            member.type, member.linkname = kind, str(tmp_path / "in" / SHARD)
            archive.addfile(member)
        refused(tmp_path / "packed.tar", "lacks " + SHARD)


def tar_header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """Return a tar header with the size as it is."""
    head = tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT)
    head = head[:124] + size.ljust(12, b"\0") + b" " * 20 + kind + head[157:]
    total = sum(head[:148]) + 8 * 32 + sum(head[156:])
    return head[:148] + b"%06o\0 " % total + head[156:]


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K", b"S"])
@pytest.mark.parametrize(
    "size", [b"\xff" * 11 + b"\0", b"\x80" + b"\0" * 4 + b"\x7f" * 7, b"77777777777", b"00010000000"]
)
def test_forged_sizes_in_a_tar(tmp_path, squeeze, kind, size):
    """Negative ones make tarfile read for ever or all there is."""
    content = tar_header("model.ckpt.index", size, kind) + b"\0" * 2048
    (tmp_path / "packed.tar").write_bytes(squeeze(content))
    tracemalloc.start()
    begin = time.perf_counter()
    refused(tmp_path / "packed.tar")
    assert time.perf_counter() - begin < 5
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_a_tar_of_countless_members(tmp_path):
    (tmp_path / "packed.tgz").write_bytes(gzip.compress(tar_header("x", b"0") * 20_000))
    refused(tmp_path / "packed.tgz", f"{tensorflow.MAX_MEMBERS} members")


@pytest.mark.parametrize("kind", [".tgz", ".zip"])
def test_archives_of_zeros(tmp_path, kind, monkeypatch):
    """A hundred megabytes in a hundred kilobytes."""
    size = 100 * 2**20
    if kind == ".tgz":
        with gzip.open(tmp_path / "packed.tgz", "wb") as file:
            file.write(tar_header(SHARD, b"%o" % size))
            for _ in range(100):
                file.write(bytes(2**20))
    else:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(SHARD, bytes(size))
    tracemalloc.start()
    refused(tmp_path / f"packed{kind}", "bytes")
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    path = pack(".zip, deflated", write(tmp_path / "in", some_arrays()).parent, tmp_path)
    size = (tmp_path / "in" / SHARD).stat().st_size
    data = path.read_bytes()
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (size - 1).to_bytes(4, "little")))
    refused(path, f"to {size - 1}")
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (2**25).to_bytes(4, "little")))
    same(read_checkpoint(path), some_arrays())  # no more is read than the variables take


# ------------------------------------------------------------------------------------------------ damage
@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder to write damaged files to."""
    return tmp_path_factory.mktemp("damaged")


def damage(data: bytes) -> st.SearchStrategy[bytes]:
    """Draw damaged copies of bytes: some changed, some cut out, some put in, the end cut off."""
    at = st.integers(0, len(data))

    def change(places: list[tuple[int, int]]) -> bytes:
        out = bytearray(data)
        for i, value in places:
            out[i % len(out)] = value
        return bytes(out)

    return st.one_of(
        st.lists(st.tuples(at, st.integers(0, 255)), min_size=1, max_size=4).map(change),
        at.map(lambda i: data[:i]),
        st.tuples(at, at).map(lambda ends: data[: min(ends)] + data[max(ends) :]),
        st.tuples(at, st.binary(max_size=12)).map(lambda new: data[: new[0]] + new[1] + data[new[0] :]),
    )


def survives(path: Path) -> None:
    """Read what may be damaged: right, or BundleError; at once and with little memory."""
    begin = time.perf_counter()
    try:
        got = read_checkpoint(path)
    except BundleError as error:
        assert path.parent.name in str(error)  # noqa: PT017 — either is right
    else:
        assert sum(array.nbytes for array in got.values()) < 10**5
    assert time.perf_counter() - begin < 5


@pytest.fixture(scope="module")
def whole(place) -> Callable[..., tuple[bytes, bytes]]:
    """The bytes of an index and of its data file, or of an archive of both: `whole(kind, **how)`; written once."""

    @functools.cache
    def bytes_of(kind: str = "", **how: Any) -> tuple[bytes, bytes]:
        folder = place / f"whole{kind}{len(how)}"
        write(folder, some_arrays(), **how)
        if kind:
            return pack(kind, folder, place).read_bytes(), b""
        return (folder / "model.ckpt.index").read_bytes(), (folder / SHARD).read_bytes()

    return bytes_of


@given(st.data())
def test_damage_anywhere_in_the_index(place, whole, data):
    index, content = whole(per_block=4)
    (place / "model.ckpt.index").write_bytes(data.draw(damage(index)))
    (place / SHARD).write_bytes(content)
    survives(place / "model.ckpt")


@given(st.data())
def test_damage_anywhere_in_the_data(place, whole, data):
    index, content = whole()
    damaged = data.draw(damage(content))
    (place / "model.ckpt.index").write_bytes(index)
    (place / SHARD).write_bytes(damaged)
    if damaged[: len(content)] == content:
        same(read_checkpoint(place / "model.ckpt"), some_arrays())
    else:
        with pytest.raises(BundleError, match="damaged"):
            read_checkpoint(place / "model.ckpt")


@pytest.mark.parametrize("snappy", [False, True])
@given(data=st.data())
def test_damage_that_the_checksums_agree_with(place, snappy, data):
    """What somebody made on purpose: only the parser stands between it and numpy."""
    arrays = some_arrays()
    write(place, arrays)
    content = (place / SHARD).read_bytes()
    pairs, end = [(b"", header())], 0
    for name, array in sorted(arrays.items()):
        value = entry(NUMBERS[array.dtype.str], array.shape, array.tobytes(), end)
        end += array.nbytes
        if data.draw(st.booleans()):
            value = data.draw(damage(value))
        pairs.append((name.encode(), value))
    spoil = (lambda block: data.draw(damage(block))) if data.draw(st.booleans()) else (lambda block: block)
    (place / "model.ckpt.index").write_bytes(index_of(pairs, snappy=snappy, per_block=5, spoil=spoil))
    assert len(content) == end
    survives(place / "model.ckpt")


@pytest.mark.parametrize("kind", [".tar", ".tgz", ".zip", ".zip, deflated"])
@given(data=st.data())
def test_damaged_archives(place, whole, kind, data):
    content, _ = whole(kind)
    path = place / ("damaged" + kind.removesuffix(", deflated"))
    path.write_bytes(data.draw(damage(content)))
    survives(path)


def test_every_byte_of_the_index_counts(tmp_path):
    """Where a change is not seen, what is read must be the same: the meta index and the padding."""
    arrays = {"a": np.arange(3, dtype=np.int32), "b": np.ones(2, np.float32)}
    prefix = write(tmp_path, arrays)
    path = tmp_path / "model.ckpt.index"
    data = path.read_bytes()
    seen = 0
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 16]) + data[i + 1 :])
        try:
            same(read_checkpoint(prefix), arrays)
        except BundleError:
            seen += 1
    assert seen > len(data) - 13 - 40


# ------------------------------------------------------------------------------------------------ parts
def checksum(data: bytes) -> int:
    return tensorflow._masked_crc(np.frombuffer(data, np.uint8))


def test_the_checksum_is_crc32c():
    assert checksum(b"123456789") == crc(b"123456789") == masked(0xE3069283)


@pytest.mark.parametrize(
    "size", [0, 1, 3, 4, 7, 8, 9, 6190, 6197, 6198, 9_500, 49_570, 49_584, 60_001, 76_000, 600_003]
)
def test_the_checksum_at_every_length(size):
    data = np.random.default_rng(size).bytes(size)
    assert checksum(data) == crc(data)


@pytest.mark.parametrize(
    ("packed", "wanted"),
    [
        (b"\x00", b""),
        (b"\x03\x08abc", b"abc"),
        (b"\x0b\x08abc\x11\x03", b"abcabcabcab"),  # eight bytes from three bytes back
        (b"\x0a\x04ab\x1e\x02\x00", b"abababab" + b"ab"),
        (b"\x06\x04ab\x0f\x02\x00\x00\x00", b"ababab"),
        (b"\x46\xf0\x45" + bytes(70), bytes(70)),
        (b"\x46\xf4\x45\x00" + bytes(70), bytes(70)),
    ],
)
def test_snappy(packed, wanted):
    assert tensorflow._unsnap(packed) == wanted


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x04\x08abc",
        b"\x02\x08abc",
        b"\x03\x08ab",
        b"\x05\x04ab\x11\x03",  # from before the start
        b"\x0a\x04ab\x1e\x00\x00",  # from nowhere
        b"\x0a\x04ab\x1e\x02",
        b"\x46\xf4\x45",
        b"\xff\xff\xff\xff\x0f\x04ab" + b"\xfe\x01\x00" * 99,
        b"\xff" * 11,
    ],
)
def test_snappy_that_is_damaged(packed):
    with pytest.raises(tensorflow._DamageError):
        tensorflow._unsnap(packed)


@given(st.binary(max_size=3000) | st.lists(st.sampled_from([b"abc", b"0" * 70, b"lstm_cell"])).map(b"".join))
def test_snappy_round_trip(data):
    assert tensorflow._unsnap(snap(data)) == data


def test_io_errors_are_bundle_errors(tmp_path, monkeypatch):
    prefix = write(tmp_path, some_arrays())

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise MemoryError

    monkeypatch.setattr(Path, "open", lambda *_: Broken())
    refused(prefix, "MemoryError")
