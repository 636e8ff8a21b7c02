"""Windows and batches: every clip that is one, once a pass, as the codec would have it."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.codecs import PianoCodec
from musicvae.config import CodecConfig
from musicvae.data.dataset import FORMAT, SPLITS, Batch, Clips, Dataset
from musicvae.data.layout import ARRAYS, NOTE, SONG, VOICE
from musicvae.data.windows import valid_windows
from musicvae.errors import DataError
from musicvae.music import Score

SONGS = st.lists(st.lists(st.sampled_from([0, 0, 1, 2, 3, 5]), min_size=1, max_size=8), min_size=1, max_size=5)


def of_grid(grid: int = 4, **settings: int) -> PianoCodec:
    return PianoCodec(CodecConfig(steps_per_beat=grid, **settings))


def write(folder: Path, songs: list[list[list[tuple[int, int, int, int]]]], grid: int = 4) -> Path:
    """Write a data set of pianos by hand: songs, their bars, their notes (position, pitch, duration, velocity)."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = [bar for song in songs for bar in song]
    rows = np.zeros(len(songs), SONG)
    rows["bars"] = [len(song) for song in songs]
    rows["voices"], rows["first_voice"] = 1, np.arange(len(songs))
    voices = np.zeros(len(songs), VOICE)
    voices["song"], voices["first_bar"] = np.arange(len(songs)), np.cumsum(rows["bars"]) - rows["bars"]
    np.save(folder / "voices.npy", voices)
    np.save(folder / "notes.npy", np.array([note for bar in bars for note in bar], NOTE))
    np.save(folder / "bars.npy", np.cumsum([0, *map(len, bars)]))
    np.save(folder / "songs.npy", rows)
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, "settings": {"steps_per_beat": grid}}))
    return folder


def first_bar(dataset: Dataset, song: int) -> int:
    return int(dataset.voices["first_bar"][dataset.songs["first_voice"][song]])  # the piano comes first


def score(dataset: Dataset, song: int) -> Score:
    """Return the piano of a song of a data set as a Score."""
    first, bars = first_bar(dataset, song), int(dataset.songs[song]["bars"])
    edges = dataset.bars[first : first + bars + 1]
    notes = dataset.notes[edges[0] : edges[-1]]
    bar = np.repeat(np.arange(bars), np.diff(edges))
    return Score.of(
        bar * 4 * dataset.steps_per_beat + notes["position"],
        notes["pitch"],
        notes["duration"],
        notes["velocity"],
        bars=bars,
        steps_per_beat=dataset.steps_per_beat,
    )


@pytest.fixture(scope="module")
def clips(toy_data: Path) -> Clips:
    return Dataset(toy_data).clips("train", of_grid(), 2)


# ---------------------------------------------------------------------------------------------- windows
@given(SONGS, st.integers(1, 6))
def test_windows_by_brute_force(songs, length):
    wanted, first = [], 0
    for song in songs:
        for start in range(len(song) - length + 1):
            clip = song[start : start + length]
            two_rests = any(a == b == 0 for a, b in itertools.pairwise(clip))
            if sum(clip) >= 2 * length and not two_rests:
                wanted.append(first + start)
        first += len(song)
    bars = np.array([len(song) for song in songs])
    found = valid_windows(np.concatenate(songs), np.cumsum(bars) - bars, bars, length)
    assert found.tolist() == wanted


def test_windows_by_hand():
    #         song one: a bar of rest is all right, two are not      song two is dense, song three sparse
    notes = np.array([4, 0, 4, 4, 0, 0, 4, 4, 9, 9, 9, 1, 1, 1])
    found = valid_windows(notes, np.array([0, 8, 11]), np.array([8, 3, 3]), 3)
    assert found.tolist() == [0, 1, 2, 5, 8]
    assert valid_windows(notes, np.array([0, 8, 11]), np.array([8, 3, 3]), 9).tolist() == []
    assert valid_windows(notes, np.array([0, 8, 11]), np.array([8, 3, 3]), 99).tolist() == []


# ---------------------------------------------------------------------------------------------- batches
@pytest.mark.parametrize("bars", [2, 3, 16])
@pytest.mark.parametrize("max_notes", [64, 4])
def test_a_clip_is_what_the_codec_makes_of_the_cut(toy_data, bars, max_notes):
    dataset, piano = Dataset(toy_data), of_grid(max_notes=max_notes)
    seen = 0
    for split in SPLITS:
        clips = dataset.clips(split, piano, bars)
        for i, (window, song) in enumerate(zip(clips.windows[:, 0], clips.songs, strict=True)):
            assert dataset.songs["split"][song] == SPLITS.index(split)
            wanted = piano.encode(score(dataset, song).cut(int(window) - first_bar(dataset, song), bars)).tokens
            batch = clips.batch(np.array([i]))
            S = batch.tokens.shape[2]
            assert np.array_equal(batch.tokens[0], wanted[:, :S])
            assert (wanted[:, S:, 0] == piano.spec.end).all()
            assert np.array_equal(batch.lengths[0], (wanted[..., 0] != piano.spec.end).sum(axis=1) + 1)
            assert batch.lengths.max() == S
            seen += 1
    assert seen > 20 if bars < 16 else seen > 0


def test_the_data_set_holds_the_songs(toy_data, toy_songs):
    dataset = Dataset(toy_data)
    found = [score(dataset, i) for i in range(len(dataset.songs))]
    assert len(found) == len(toy_songs)
    for song in toy_songs:
        trimmed = song.cut(0, int(song.onset.max()) // 16 + 1)  # rests at the end are no music
        piano = of_grid(velocity_bins=128)
        assert sum(np.array_equal(piano.encode(trimmed).tokens, piano.encode(f).tokens) for f in found) == 1


def test_a_batch_is_its_clips_side_by_side(clips):
    index = np.array([3, 0, 3, 7])
    batch = clips.batch(index)
    for i, number in enumerate(index):
        one = clips.batch(np.array([number]))
        S = one.tokens.shape[2]
        assert np.array_equal(batch.tokens[i, :, :S], one.tokens[0])
        assert np.array_equal(batch.lengths[i], one.lengths[0])


def equal(a: Batch, b: Batch) -> bool:
    return np.array_equal(a.tokens, b.tokens) and np.array_equal(a.lengths, b.lengths)


def test_a_batch_is_a_function_of_seed_and_step(toy_data, clips):
    """Whatever was drawn before. Two draws of 8 among some 70 clips agree by chance with odds below 1 in 10^12."""
    again = Dataset(toy_data).clips("train", of_grid(), 2)
    for step in (5, 0, 40, 5):
        assert equal(clips.draw(1, step, 8, (5, 6)), again.draw(1, step, 8, (5, 6)))
        assert not equal(clips.draw(1, step, 8), clips.draw(2, step, 8))
        assert not equal(clips.draw(1, step, 8), clips.draw(1, step + 1, 8))
    assert not equal(clips.draw(1, 3, 8, (5, 6)), clips.draw(1, 3, 8))


@pytest.mark.parametrize("size", [1, 7, 500])
def test_every_clip_once_a_pass(clips, size, monkeypatch):
    drawn: list[int] = []
    monkeypatch.setattr(clips, "batch", lambda index, *_: drawn.extend(index.tolist()))
    passes = 3 if size < 500 else 12
    for step in range(-(-passes * len(clips) // size)):
        clips.draw(9, step, size)
    orders = [drawn[t * len(clips) : (t + 1) * len(clips)] for t in range(passes)]
    assert all(sorted(order) == list(range(len(clips))) for order in orders)
    assert orders[0] != orders[1] != sorted(orders[1])  # equal by chance: 1 in 70!


def test_transposition_is_drawn_anew_each_time(clips, monkeypatch):
    """Every step and every seed has shifts of its own, uniform in [0, 1): 800 draws have a mean of 0.5 ± 0.05 (5 σ)."""
    drawn = []
    monkeypatch.setattr(clips, "batch", lambda index, shift, transpose: drawn.append(shift))
    for seed, step in np.ndindex(2, 50):
        clips.draw(seed, step, 8, (5, 6))
    shifts = np.stack(drawn)
    assert len(np.unique(shifts)) == 800
    assert abs(shifts.mean() - 0.5) < 0.052
    assert shifts.min() >= 0
    assert shifts.max() < 1


def test_an_epoch_is_the_music_once(clips):
    assert clips.epoch == -(-len(clips) // 2)


def test_spread(clips):
    assert equal(clips.spread(len(clips)), clips.batch(np.arange(len(clips))))
    assert equal(clips.spread(10**9), clips.batch(np.arange(len(clips))))
    assert equal(clips.spread(2), clips.batch(np.array([0, len(clips) // 2])))


@given(st.integers(0, 9), st.integers(0, 9), st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
def test_transposition_moves_pitch_and_nothing_else(clips, down, up, shift):
    index = np.array([0, 5, 9, 14])
    plain = clips.batch(index)
    moved = clips.batch(index, np.array(shift), (down, up))
    assert np.array_equal(plain.lengths, moved.lengths)
    assert np.array_equal(plain.tokens[..., [0, 2, 3]], moved.tokens[..., [0, 2, 3]])
    note = plain.tokens[..., 0] != 16
    for b in range(4):
        by = np.unique((moved.tokens[b, ..., 1] - plain.tokens[b, ..., 1])[note[b]])
        assert len(by) == 1, "one transposition a clip"
        assert -down <= by[0] <= up
        assert by[0] == int(np.floor(shift[b] * (down + up + 1))) - down  # no clip of these is near the ends


def test_transposition_stays_in_the_range(tmp_path):
    """Pitches 62 to 68 of 60 to 70: down 2, up 2 at most, whatever is asked for; every one of them occurs."""
    bar = [(0, 62, 1, 80), (4, 68, 1, 80)]
    piano = of_grid(pitch_low=60, pitch_high=70)
    clips = Dataset(write(tmp_path / "d", [[bar, bar]])).clips("train", piano, 2)
    for asked, possible in (((9, 9), range(-2, 3)), ((1, 9), range(-1, 3)), ((0, 1), range(2)), ((0, 0), range(1))):
        moved = clips.batch(np.zeros(200, int), np.arange(200) / 200, asked).tokens[..., :2, 1]
        assert sorted({*(moved[:, 0, 0] - 2).tolist()}) == list(possible)
        assert (moved >= 0).all()
        assert (moved <= 10).all()
        assert (moved[..., 1] - moved[..., 0] == 6).all()


def test_transposition_brings_in_no_note_from_outside(tmp_path):
    """A note below the range has no place in the clip, moved up or not: the clip's notes are always the same ones."""
    bar = [(0, 59, 1, 80), (2, 62, 1, 80), (4, 65, 1, 80)]
    piano = of_grid(pitch_low=60, pitch_high=70)
    clips = Dataset(write(tmp_path / "d", [[bar, bar]])).clips("train", piano, 2)
    lengths = clips.batch(np.zeros(50, int), np.arange(50) / 50, (5, 5)).lengths
    assert (lengths == 3).all()


def test_notes_end_with_the_clip(tmp_path):
    bars = [[(0, 60, 65535, 80), (8, 61, 1, 80)], [(15, 60, 9, 80), (15, 62, 1, 80)], [(0, 60, 1, 80), (1, 61, 1, 80)]]
    clips = Dataset(write(tmp_path / "d", [bars])).clips("train", of_grid(), 2)
    first, second = clips.batch(np.arange(2)).tokens
    assert first[:, 0, 2].tolist() == [31, 0]
    assert second[0, 0, 2] == 8


# ----------------------------------------------------------------------------------------------- errors
def test_too_short_songs_are_told(tmp_path):
    bar = [(0, 60, 1, 80), (4, 61, 1, 80)]
    dataset = Dataset(write(tmp_path / "d", [[bar] * 3, [bar] * 5]))
    clips = dataset.clips("train", of_grid(), 16)
    assert (len(clips), clips.epoch) == (0, 0)
    with pytest.raises(DataError, match=r"d: the train split has no clip of 16 bars \(2 songs, the longest has 5 bars"):
        clips.require()
    with pytest.raises(DataError, match=r"the valid split has no clip of 2 bars \(0 songs, the longest has 0 bars"):
        dataset.clips("valid", of_grid(), 2).require()
    dataset.clips("train", of_grid(), 5).require()
    assert len(dataset.clips("train", of_grid(), 3)) == 1 + 3


def test_another_grid_is_refused(toy_data):
    with pytest.raises(DataError, match=r"was prepared with 4 steps a beat; the model has 24\..*--steps-per-beat 24"):
        Dataset(toy_data).clips("train", of_grid(24), 2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", None),
        ("dataset.json", b""),
        ("dataset.json", b"\xff\xfe"),
        ("dataset.json", b"[]"),
        ("dataset.json", b"{}"),
        ("dataset.json", b'{"format": 2}'),
        ("dataset.json", b'{"format": 1, "settings": {"steps_per_beat": 4}}'),
        ("dataset.json", b'{"format": 2, "settings": {"steps_per_beat": null}}'),
        *((f"{array}.npy", content) for array in ARRAYS for content in (None, b"", b"xx", 100, -7)),
        ("songs.npy", np.zeros(3)),
        ("songs.npy", np.zeros(0, SONG)),
        ("bars.npy", np.zeros(0, np.int64)),
        ("voices.npy", np.zeros(0, VOICE)),
        ("voices.npy", np.zeros(32, VOICE)),
        ("notes.npy", np.zeros(3, NOTE)),
        ("notes.npy", np.array([{}], dtype=object)),
    ],
)
def test_damaged_data_sets_are_refused(toy_data, tmp_path, name, content):
    shutil.copytree(toy_data, tmp_path / "d")
    path = tmp_path / "d" / name
    if content is None:
        path.unlink()
    elif isinstance(content, int):
        path.write_bytes(path.read_bytes()[:content])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(DataError) as error:
        Dataset(tmp_path / "d")
    assert str(error.value).startswith(str(tmp_path / "d"))
    assert "repare" in str(error.value)  # what to do


def test_an_absent_data_set_is_told(tmp_path):
    with pytest.raises(DataError, match=r"nothing: is not a prepared data set .*musicvae prepare YOUR_MUSIC -o"):
        Dataset(tmp_path / "nothing")
