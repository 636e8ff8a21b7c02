"""Window by window what the published converters take from the same files (made by running them)."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from musicvae.codecs.extract import extract
from musicvae.config import CodecConfig
from musicvae.errors import CodecError, ReadError
from musicvae.music import Score
from musicvae.music.midi import midi_bytes

# As published: melodies of 2 bars are of programs 0–31, those of 16 bars of any.
CASES = {
    "melody_2bar": ("melody", 2, range(32)),
    "melody_16bar": ("melody", 16, None),
    "drums_2bar": ("drums", 2, None),
    "trio_16bar": ("trio", 16, None),
}


@pytest.fixture(scope="module")
def files(shared_data: Path) -> dict[str, bytes]:
    with tarfile.open(shared_data / "freedoom.tar.xz", "r|xz") as tar:
        found = {}
        for entry in tar:
            if entry.name.endswith(".mid") and (file := tar.extractfile(entry)):
                found[entry.name] = file.read()
    return {name: found[name] for name in sorted(found)[:60]}


@pytest.mark.parametrize("case", CASES)
def test_the_same_windows_as_published(shared_data, files, case):
    kind, bars, programs = CASES[case]
    expected = np.load(shared_data / "reference" / "extraction.npz")
    equal = windows = 0
    for name, data in files.items():
        ours = extract(data, CodecConfig(kind=kind), bars, programs=programs)
        key = f"{name}|{case}"
        theirs = expected[key] if key in expected.files else ours[:0]
        count = [Counter(bytes(w) for w in np.ascontiguousarray(a, dtype=np.int16)) for a in (ours, theirs)]
        assert count[0] == count[1], name
        equal, windows = equal + bool(len(theirs)), windows + len(theirs)
    print(f"{case}: {windows} windows of {equal} files are equal; {60 - equal} files have none")
    assert equal == sum(key.endswith(case) for key in expected.files) > 30


def melody(*notes: tuple[int, int, int], bars: int) -> bytes:
    onset, pitch, duration = np.array(notes).T
    return midi_bytes(Score.of(onset, pitch, duration, 80, 1, bars=bars))


def test_windows_by_hand(tmp_path):
    data = melody((4, 60, 16), (20, 62, 4), (39, 64, 1), (80, 65, 4), bars=6)
    path = tmp_path / "x.mid"
    path.write_bytes(data)
    windows = extract(path, CodecConfig(kind="melody"), 2)
    assert np.array_equal(windows, extract(data, CodecConfig(kind="melody"), 2))
    found = {tuple((int(i), int(w[i])) for i in np.flatnonzero(w)) for w in windows}
    assert found == {
        ((4, 41), (20, 43), (24, 1)),
        ((4, 43), (8, 1), (23, 45), (24, 1)),  # the note held from the bar before is lost
    }
    assert len(extract(data, CodecConfig(kind="melody"), 1)) == 4
    assert len(extract(data, CodecConfig(kind="melody"), 3)) == 1


def test_a_phrase_is_cut_to_the_longest():
    data = melody(*((8 * i, 40 + i % 30, 8) for i in range(240)), bars=120)
    assert len(extract(data, CodecConfig(kind="melody"), 16, max_bars=None)) == 30 // 2  # they repeat after 15 bars
    assert len(extract(data, CodecConfig(kind="melody"), 16, max_bars=20)) == 5


@pytest.mark.parametrize("grid", [8, 12, 24])
def test_other_grids(files, grid):
    data = next(iter(files.values()))
    for kind in ("melody", "drums"):
        coarse = extract(data, CodecConfig(kind=kind), 2)
        fine = extract(data, CodecConfig(kind=kind, steps_per_beat=grid), 2)
        assert fine.shape[1] == 2 * 4 * grid
        assert len(fine) >= len(coarse) * 0.8


def test_shapes_of_nothing():
    data = melody((0, 60, 4), bars=1)
    assert extract(data, CodecConfig(kind="drums"), 2).shape == (0, 32)
    assert extract(data, CodecConfig(kind="trio"), 16).shape == (0, 256, 3)
    assert extract(data, CodecConfig(kind="melody"), 2, programs=[5]).shape == (0, 32)


def test_what_cannot_be_extracted(tmp_path):
    with pytest.raises(CodecError, match="has no piano codec"):
        extract(b"", CodecConfig(), 2)
    with pytest.raises(ReadError, match="does not exist"):
        extract(tmp_path / "x.mid", CodecConfig(kind="melody"), 2)
    with pytest.raises(ReadError, match="is neither a MIDI file nor"):
        extract(b"hello", CodecConfig(kind="melody"), 2)
