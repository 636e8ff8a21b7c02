"""Real and broken files of ../shared/data; skipped where that folder is absent."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicvae.errors import ReadError
from musicvae.music import Reading, read, read_bytes


def members(archive: Path, suffix: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the first `count` files of an archive that end in `suffix`."""
    with tarfile.open(archive) as tar:
        for entry in tar:
            if entry.isfile() and entry.name.endswith(suffix):
                file = tar.extractfile(entry)
                assert file is not None
                yield entry.name, file.read()
                count -= 1
                if not count:
                    return


def accounted(reading: Reading) -> bool:
    report = reading.report
    lost = sum(c.notes for c in report.changes if c.reason.startswith(("dropped", "merged")))
    return report.notes_found == report.notes_kept + lost and report.notes_kept == len(reading.score) > 0


def test_broken_files(shared_data, tmp_path):
    expected = {
        "division_zero.mid": "division of 0",
        "huge_shape.npz": "has no notes of programs 0–7",
        "indices_out_of_range.npz": "track 0 has an entry at step",
        "missing_indptr.npz": "lacks pianoroll_0_csc_indptr.npy",
        "no_notes.mid": "has no notes, or none of them ends",
        "no_tracks.npz": "has no tracks",
        "text.mid": "is not a MIDI file (begins with",
        "text.npz": "is not an npz file (begins with",
        "truncated_half.mid": "is cut off",
        "truncated_half.npz": "is not a whole npz file",
        "velocity_over_127.mid": "is a damaged MIDI file",
        "zero_byte.mid": "is empty",
        "zero_byte.npz": "is empty",
        "zero_resolution.npz": "beat_resolution is 0",
    }
    seen = set()
    for name, data in members(shared_data / "broken.tar.xz", "", 99):
        path = tmp_path / Path(name).name
        path.write_bytes(data)
        if path.suffix == ".tsv":
            continue
        seen.add(path.name)
        if path.name == "far_note.mid":
            reading = read(path)
            assert accounted(reading)
            assert "dropped: begins after bar 10000 (1)" in str(reading.report)
            continue
        with pytest.raises(ReadError) as error:
            read(path)
        assert expected[path.name] in str(error.value)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    assert seen == {*expected, "far_note.mid"}


def test_a_forged_shape_costs_nothing(shared_data):
    for name, data in members(shared_data / "broken.tar.xz", "huge_shape.npz", 1):
        assert accounted(read_bytes(data, name, programs=range(128)))


@pytest.mark.parametrize("grid", [4, 24])
def test_pop909(shared_data, grid):
    for name, data in members(shared_data / "pop909.tar.xz", ".mid", 12):
        reading = read_bytes(data, name, steps_per_beat=grid, any_meter=True)
        assert accounted(reading)
        assert 20 < reading.score.bars < 400
        assert 40 < reading.score.tempo < 240


@pytest.mark.parametrize("grid", [4, 24])
def test_lpd_piano(shared_data, grid):
    for name, data in members(shared_data / "lpd_piano.tar.xz", ".npz", 25):
        reading = read_bytes(data, name, steps_per_beat=grid)
        assert accounted(reading)
        assert reading.score.meter == (4, 4)
        if grid == 24:  # nothing to round: the roll has 24 steps a beat itself
            assert not any(c.reason.startswith(("moved", "rounded", "lengthened")) for c in reading.report.changes)


def test_drums_are_no_piano(shared_data):
    for name, data in members(shared_data / "groove.tar.xz", ".mid", 3):
        with pytest.raises(ReadError, match="found: drums"):
            read_bytes(data, name)
