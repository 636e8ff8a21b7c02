"""Files that strangers made: broken, huge, hostile. Each gets an answer, and the server goes on."""

from __future__ import annotations

import io
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicvae.music import Score
from musicvae.music.midi import midi_bytes
from musicvae.web.fields import RequestError
from musicvae.web.reading import Wanted
from musicvae.web.uploads import Reader

WAYS = {"piano": Wanted(("piano",), 4, False)}
GOOD = midi_bytes(Score.of(np.arange(0, 64, 2), 60 + np.arange(32) % 12, 2))


def send(api: Any, data: bytes) -> Any:
    return api.post("/api/encode", content=data, headers={"content-type": "application/octet-stream"})


def checked(api: Any, data: bytes) -> int:
    """Send a file; whatever comes back is a result or one clear sentence."""
    answer = send(api, data)
    assert answer.status_code in (200, 413, 422), answer.text
    if answer.status_code == 200:
        assert answer.json()["windows"]
    else:
        error = answer.json()["error"]
        assert error.startswith("the file ")
        assert len(error) < 400
        assert "--" not in error
        assert "bug" not in error
    return answer.status_code


def track(events: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(events)) + events


def midi(*tracks: bytes, division: int = 480) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), division) + b"".join(map(track, tracks))


def malformed() -> Iterator[bytes]:
    """Two hundred files: cut off, with bytes changed, left out, doubled or swapped."""
    rng = np.random.default_rng(5)
    for at in rng.integers(0, len(GOOD), 60):
        yield GOOD[:at]
    for _ in range(80):
        data = bytearray(GOOD)
        for at in rng.integers(0, len(data), rng.integers(1, 12)):
            data[at] = rng.integers(256)
        yield bytes(data)
    for a, b in np.sort(rng.integers(14, len(GOOD), (30, 2))):
        yield GOOD[:a] + GOOD[b:]
        yield GOOD[:b] + GOOD[a:]


def test_200_malformed_files_each_get_an_answer(api):
    files = list(malformed())
    assert len(files) == 200
    found = [checked(api, data) for data in files]
    assert {200, 422} <= set(found)
    assert checked(api, GOOD) == 200


def test_broken_files_of_the_shared_data(api, shared_data):
    with tarfile.open(shared_data / "broken.tar.xz") as archive:
        files = {m.name: archive.extractfile(m) for m in archive if m.isfile() and not m.name.endswith(".tsv")}
        found = {Path(name).name: checked(api, file.read()) for name, file in files.items() if file is not None}
    assert {name for name, status in found.items() if status == 200} == {"far_note.mid"}


HOSTILE = {
    "nothing": b"",
    "a zip": b"PK\x03\x04" + bytes(1000),
    "2 MB of zeros": bytes(2 * 2**20),
    "a header alone": b"MThd" + bytes(10),
    "no tracks": b"MThd\0\0\0\6\0\1\0\0\1\xe0",
    "65535 tracks that are not there": b"MThd\0\0\0\6\0\1\xff\xff\1\xe0",
    "a chunk of 4 GB": b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\xff\xff\xff\xff" + bytes(50),
    "an empty track": midi(b""),
    "a division of 0": midi(b"\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0", division=0),
    "a text of 4 GB": midi(b"\0\xff\1\xff\xff\xff\x7f"),
    "a sysex without end": midi(b"\0\xf0" + b"\x7f" * 1000),
    "a meter of 0/1": midi(b"\0\xff\x58\4\0\0\x18\x08\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"),
    "a meter of 255/2^255": midi(b"\0\xff\x58\4\xff\xff\x18\x08\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"),
    "a tempo of 0": midi(b"\0\xff\x51\3\0\0\0\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"),
    "a note of a hundred thousand bars": midi(b"\0\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40\0\xff\x2f\0"),
    "30000 empty tracks": midi(*[b"\0\xff\x2f\0"] * 30_000),
    "200000 meters": midi(b"\1\xff\x58\4\3\2\x18\x08\1\xff\x58\4\4\2\x18\x08" * 100_000 + b"\0\xff\x2f\0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(api, name):
    assert checked(api, HOSTILE[name]) in (200, 422)


def test_piano_rolls_are_not_read(api):
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        archive.writestr("info.json", "{}")
    assert "is not a MIDI file (begins with b'PK" in send(api, made.getvalue()).json()["error"]


def test_a_file_of_too_many_notes_is_refused(api):
    strokes = b"".join(b"\1\x90%c\x40\1\x80%c\x40" % (key, key) for key in range(30, 100)) * 3500
    data = midi(strokes + b"\0\xff\x2f\0", division=4)
    assert len(data) < 2 * 2**20
    answer = send(api, data)
    assert answer.status_code == 413
    assert "wanted at most 50,000" in answer.json()["error"]


# ------------------------------------------------------------------------------------ a reader that dies
TASKS = """
import os, time
from musicvae.web.reading import read_upload

def task(name, data, **settings):
    if data == b"hang": time.sleep(1000)
    if data == b"crash": os.abort()
    if data == b"eat": bytearray(2**31)
    return read_upload(name, data, **settings)
"""


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (b"hang", 422, "takes longer than 0.5 s to read"),
        (b"crash", 422, "crashes the reader"),
        (b"eat", 422, "needs more memory"),
        (GOOD, 413, "has 32 notes; wanted at most 10"),
    ],
)
def test_only_the_file_is_lost(data, status, error, tmp_path, monkeypatch):
    (tmp_path / "tasks_of_uploads.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    import tasks_of_uploads  # type: ignore[import-not-found]

    reader = Reader(WAYS, seconds=60)
    reader.task = partial(tasks_of_uploads.task, ways=WAYS, most=10)
    try:
        with pytest.raises(RequestError, match="begins with"):  # the process is there
            reader.read("piano", b"not music")
        reader.seconds = 0.5 if data == b"hang" else 60
        with pytest.raises(RequestError, match=error) as refused:
            reader.read("piano", data)
        assert refused.value.status == status
        reader.seconds = 60
        with pytest.raises(RequestError, match="begins with"):  # it, or a new one
            reader.read("piano", b"not music")
    finally:
        reader.close()
        sys.modules.pop("tasks_of_uploads")
