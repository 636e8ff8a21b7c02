from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import ReadError
from musicvae.music import lpd, read_bytes
from musicvae.music.lpd import read_lpd

PIANO = {"program": 0, "is_drum": False, "name": "Piano"}


def csc(roll: np.ndarray) -> dict[str, np.ndarray]:
    """Return the four arrays that scipy stores for a dense roll (steps, 128)."""
    pitch, step = np.nonzero(roll.T)
    return {
        "data": roll[step, pitch],
        "indices": step.astype(np.int32),
        "indptr": np.concatenate(([0], np.cumsum(np.bincount(pitch, minlength=128)))).astype(np.int32),
        "shape": np.array(roll.shape, dtype=np.int64),
    }


def roll_of(*notes: tuple[int, int, int, int], steps: int = 192) -> np.ndarray:
    """Return a roll of notes (start, stop, pitch, velocity)."""
    roll = np.zeros((steps, 128), dtype=np.uint8)
    for start, stop, pitch, velocity in notes:
        roll[start:stop, pitch] = velocity
    return roll


def npz(
    *tracks: tuple[dict[str, np.ndarray], object],
    info: dict | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
    **members: object,
) -> bytes:
    """Pack tracks (csc arrays, entry) as LPD does; `members` replace, add or (None) leave out members."""
    wanted: dict[str, object] = {"tempo": np.full(192, 97.5), "downbeat": np.arange(192) == 0}
    entries: dict[str, object] = {"name": "a song", "beat_resolution": 24}
    for i, (arrays, entry) in enumerate(tracks):
        wanted |= {f"pianoroll_{i}_csc_{name}": array for name, array in arrays.items()}
        entries[str(i)] = entry
    wanted["info.json"] = json.dumps(entries if info is None else info)
    wanted |= members
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in wanted.items():
            if isinstance(content, np.ndarray):
                packed = io.BytesIO()
                np.save(packed, content, allow_pickle=True)
                archive.writestr(f"{name}.npy", packed.getvalue())
            elif content is not None:
                archive.writestr(name if "." in name else f"{name}.npy", content)
    return out.getvalue()


def rows(raw) -> list[tuple[int, ...]]:
    return sorted(zip(*(c.tolist() for c in (raw.start, raw.stop, raw.pitch, raw.velocity)), strict=True))


NOTES = ((0, 24, 60, 90), (24, 48, 64, 70), (96, 191, 60, 127), (100, 101, 0, 1), (191, 192, 127, 5))


def test_notes_tempo_and_resolution():
    raw = read_lpd(npz((csc(roll_of(*NOTES)), PIANO)), "x.npz")
    assert rows(raw) == sorted(NOTES)
    assert (raw.ticks_per_beat, raw.meters, raw.tempo) == (24, (), 97.5)


def test_a_repeated_note_one_blank_step_apart_stays_two():
    data = npz((csc(roll_of((0, 23, 60, 80), (24, 47, 60, 80), (48, 53, 60, 80), (54, 60, 60, 80))), PIANO))
    score = read_bytes(data, "x.npz").score
    assert score.onset.tolist() == [0, 4, 8, 9]
    assert score.duration.tolist() == [4, 4, 1, 1]


def test_last_step_of_a_key_and_first_of_the_next_are_two_notes():
    data = npz((csc(roll_of((180, 192, 60, 80), (0, 12, 61, 80))), PIANO))
    assert rows(read_lpd(data, "x")) == [(0, 12, 61, 80), (180, 192, 60, 80)]


def test_a_velocity_that_changes_within_a_run_is_that_of_the_onset():
    data = npz((csc(roll_of((0, 6, 60, 80), (6, 12, 60, 20))), PIANO))
    assert rows(read_lpd(data, "x")) == [(0, 12, 60, 80)]


@given(st.integers(0, 2**32 - 1))
def test_entries_in_any_order(seed):
    arrays = csc(roll_of(*NOTES))
    rng = np.random.default_rng(seed)
    columns = np.split(np.arange(len(arrays["data"])), arrays["indptr"][1:-1])
    order = np.concatenate([rng.permutation(column) for column in columns])
    arrays |= {"data": arrays["data"][order], "indices": arrays["indices"][order]}
    assert rows(read_lpd(npz((arrays, PIANO)), "x")) == sorted(NOTES)


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(0, 127), st.integers(1, 127)), min_size=1, max_size=60))
def test_runs_are_what_a_dense_roll_shows(cells):
    roll = np.zeros((64, 128), dtype=np.uint8)
    for step, pitch, velocity in cells:
        roll[step, pitch] = velocity
    padded = np.pad((roll > 0).astype(int), ((1, 1), (0, 0)))
    edge = np.diff(padded, axis=0).T
    (pitch, start), (_, stop) = np.nonzero(edge == 1), np.nonzero(edge == -1)
    expected = sorted(zip(start.tolist(), stop.tolist(), pitch.tolist(), roll[start, pitch].tolist(), strict=True))
    assert rows(read_lpd(npz((csc(roll), PIANO)), "x")) == expected


def test_zero_entries_are_silence():
    arrays = csc(roll_of((0, 24, 60, 90)))
    arrays["data"] = arrays["data"].copy()
    arrays["data"][10] = 0
    assert rows(read_lpd(npz((arrays, PIANO)), "x")) == [(0, 10, 60, 90), (11, 24, 60, 90)]


@pytest.mark.parametrize(
    ("dtype", "value", "velocity"),
    [(bool, True, 64), (np.float64, 90.0, 90), (np.float32, 0.5, 1), (np.int64, 200, 127), (">i2", 77, 77)],
)
def test_other_kinds_of_numbers(dtype, value, velocity):
    arrays = csc(roll_of((0, 24, 60, 90)))
    arrays["data"] = np.full(24, value, dtype=dtype)
    assert rows(read_lpd(npz((arrays, PIANO)), "x")) == [(0, 24, 60, velocity)]


def test_only_the_chosen_programs_and_never_drums():
    tracks = [
        (csc(roll_of((0, 24, 60, 90))), PIANO),
        (csc(roll_of((0, 24, 61, 90))), {"program": 25, "is_drum": False, "name": ""}),
        (csc(roll_of((0, 24, 62, 90))), {"program": 0, "is_drum": True, "name": ""}),
        (csc(roll_of((0, 24, 63, 90))), {"program": 7, "is_drum": False, "name": ""}),
    ]
    assert read_bytes(npz(*tracks), "x").score.pitch.tolist() == [60, 63]
    assert read_bytes(npz(*tracks), "x", programs={25}).score.pitch.tolist() == [61]
    with pytest.raises(ReadError) as error:
        read_bytes(npz(*tracks[1:3]), "x.npz")
    assert str(error.value) == (
        "x.npz: has no notes of programs 0–7 (found: program 25 ×1, drums ×1). "
        "Choose others with --programs; drums are not read"
    )


@pytest.mark.parametrize(
    "info",
    [
        {"resolution": 24, "name": None, "0": PIANO},
        {"resolution": 24, "tracks": [PIANO]},
        {"resolution": 24, "tracks": {"0": PIANO}},
        {"resolution": 24, "tracks": {"pianoroll_0": PIANO}},
        {"resolution": 24, "pianoroll_0": {"program": "0", "is_drum": 0}},
        {"beat_resolution": 24, "0": {"program": 0, "is_drum": False}},
    ],
)
def test_ways_to_write_info_json(info):
    assert rows(read_lpd(npz((csc(roll_of(*NOTES)), PIANO), info=info), "x")) == sorted(NOTES)


@pytest.mark.parametrize(
    "tempo", [None, np.zeros(5), np.full(5, np.nan), np.full(5, 1e300), np.zeros(0), np.full((5, 1), -1)]
)
def test_a_tempo_without_meaning_becomes_120(tempo):
    assert read_lpd(npz((csc(roll_of(*NOTES)), PIANO), tempo=tempo), "x").tempo == 120


def test_a_tempo_a_step_in_one_column_as_newer_files_have_it():
    data = npz((csc(roll_of(*NOTES)), PIANO), tempo=np.full((192, 1), 88.0))
    assert read_lpd(data, "x").tempo == 88


FORGED = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"

BAD = {
    "lacks info.json": {"info.json": None},
    "info.json is not JSON": {"info.json": "{"},
    "info.json is not JSON (maximum": {"info.json": "[" * 100_000},
    "info.json holds a list": {"info.json": "[]"},
    "beat_resolution is 0": {"info": {"beat_resolution": 0, "0": PIANO}},
    "beat_resolution is -4": {"info": {"beat_resolution": -4, "0": PIANO}},
    "beat_resolution is None": {"info": {"0": PIANO}},
    "beat_resolution is '24'": {"info": {"beat_resolution": "24", "0": PIANO}},
    "beat_resolution is 1000000": {"info": {"beat_resolution": 1_000_000, "0": PIANO}},
    "has no tracks": {"info": {"beat_resolution": 24}},
    "info.json says {'program': 128": {"info": {"beat_resolution": 24, "0": {"program": 128, "is_drum": False}}},
    "info.json says None": {"info": {"beat_resolution": 24, "0": None}},
    "lacks pianoroll_1_csc_data.npy": {"info": {"beat_resolution": 24, "0": PIANO, "1": PIANO}},
    "lacks pianoroll_0_csc_indptr.npy": {"pianoroll_0_csc_indptr": None},
    "shape (192, 100)": {"pianoroll_0_csc_shape": np.array([192, 100])},
    "shape (-1, 128)": {"pianoroll_0_csc_shape": np.array([-1, 128])},
    "shape (192, 128, 1)": {"pianoroll_0_csc_shape": np.array([192, 128, 1])},
    "entry at step 191; wanted 0 to 49": {"pianoroll_0_csc_shape": np.array([50, 128])},
    "entry at step -1": {"pianoroll_0_csc_indices": np.full(145, -1)},
    "entry at step 2000000000": {"pianoroll_0_csc_indices": np.full(145, 2_000_000_000)},
    "csc indices that are not whole numbers": {"pianoroll_0_csc_indices": np.zeros(145)},
    "144 velocities for 145 entries": {"pianoroll_0_csc_data": np.ones(144, dtype=np.uint8)},
    "does not fit its 145 entries": {"pianoroll_0_csc_indptr": np.zeros(129, dtype=np.int32)},
    "does not fit its 145": {"pianoroll_0_csc_indptr": np.array([0, 145])},
    "does not fit its 14": {"pianoroll_0_csc_indptr": np.array([0, 200, *[100] * 126, 145])},
    "indptr that does not": {"pianoroll_0_csc_indptr": np.array([-1, *[100] * 127, 145])},
    "not a plain array of numbers": {"pianoroll_0_csc_data": np.array([{}] * 145, dtype=object)},
    "is not a plain": {"pianoroll_0_csc_data": np.zeros(145, dtype=[("a", "u1")])},
    "not a plain array": {"pianoroll_0_csc_data": np.array(["a"] * 145)},
    "is not an npy array (begins with b'hello'": {"pianoroll_0_csc_data": "hello"},
    "shape (1000000000000,) of float64: 8000000000000 bytes; 0 are there": {
        "tempo": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(FORGED)) + FORGED
    },
}


@pytest.mark.parametrize("text", BAD)
def test_broken_files(text):
    with pytest.raises(ReadError) as error:
        read_bytes(npz((csc(roll_of(*NOTES)), PIANO), **BAD[text]), "x.npz")
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert "bug" not in str(error.value)


def test_a_zip_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(lpd, "MAX_MEMBER", 1000)
    with pytest.raises(ReadError, match=r"tempo\.npy unpacks to .* bytes; wanted at most 1000"):
        read_lpd(npz((csc(roll_of((0, 24, 60, 90))), PIANO), tempo=np.zeros(10_000)), "x")


def test_all_members_together_have_a_limit(monkeypatch):
    monkeypatch.setattr(lpd, "MAX_FILE", 1000)
    with pytest.raises(ReadError, match="unpacks to"):
        read_lpd(npz((csc(roll_of(*NOTES)), PIANO)), "x")


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("compression", [STORED, DEFLATED, zipfile.ZIP_BZIP2])
def test_compressed_or_not(compression):
    assert rows(read_lpd(npz((csc(roll_of(*NOTES)), PIANO), compression=compression), "x")) == sorted(NOTES)


def test_a_zip_behind_other_bytes():
    data = npz((csc(roll_of(*NOTES)), PIANO), compression=STORED)
    assert rows(read_lpd(b"PK\x03\x04 of something else" + data, "x")) == sorted(NOTES)


@pytest.mark.parametrize(
    ("where", "offset", "value", "text"),
    [
        (b"PK\x03\x04", 0, b"X", "Bad magic number"),
        (b"PK\x03\x04", 26, b"\xff\xff", "differ"),  # the length of the name
        (b"PK\x03\x04", 30, b"X", "differ"),  # the name
        (b"PK\x01\x02", 8, b"\x01", "encrypted"),
        (b"PK\x01\x02", 8, b"\x20", "patched"),
        (b"PK\x01\x02", 8, b"\x40", "encryption"),
        (b"PK\x01\x02", 16, b"\0\0\0\0", "CRC"),
        (b"PK\x01\x02", 20, b"\x80\0", "CRC"),  # the size in the file
        (b"PK\x01\x02", 24, b"\x80\0", "CRC"),  # and unpacked
        (b"PK\x01\x02", 45, b"\x7f", "Truncated"),  # where the member is
        (b"\x93NUMPY", 200, b"?", "CRC"),  # the content
    ],
)
def test_what_is_odd_about_a_member_that_is_not_compressed(where, offset, value, text):
    data = bytearray(npz((csc(roll_of(*NOTES)), PIANO), compression=STORED))
    at = data.index(where) + offset  # of tempo.npy, which comes first
    data[at : at + len(value)] = value
    with pytest.raises(ReadError, match=rf"tempo\.npy is damaged \(.*{text}"):
        read_lpd(bytes(data), "x.npz")


@pytest.mark.parametrize("compression", [STORED, DEFLATED])
def test_truncation_at_any_byte_is_one_line(compression):
    data = npz((csc(roll_of(*NOTES)), PIANO), compression=compression)
    for length in range(0, len(data), 7):
        with pytest.raises(ReadError) as error:
            read_bytes(data[:length], "x.npz")
        assert "\n" not in str(error.value)
        assert "bug" not in str(error.value)


@pytest.mark.parametrize("compression", [STORED, DEFLATED])
def test_flipped_bytes_are_read_or_refused_in_one_line(compression):
    data = npz((csc(roll_of(*NOTES)), PIANO), compression=compression)
    rng = np.random.default_rng(0)
    for _ in range(1500):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[at] = rng.integers(0, 256)
        try:
            read_bytes(bytes(broken), "x.npz")
        except ReadError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert "bug" not in str(error)  # noqa: PT017
