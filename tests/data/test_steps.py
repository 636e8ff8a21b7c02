"""Clips of a token a step: melodies, drums and trios, against a slow and obvious way to make them."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from musicvae.codecs import Codec, MelodyCodec, codec
from musicvae.codecs.melody import NOTE_ON
from musicvae.codecs.trio import GAP_BARS, TrioCodec
from musicvae.config import CodecConfig
from musicvae.data import steps as stepping
from musicvae.data.dataset import FORMAT, SPLITS, Dataset
from musicvae.data.layout import NOTE, SONG, VOICE
from musicvae.data.prepare import prepare
from musicvae.data.windows import first_of_each, joined_keys, phrase_windows, ragged, window_keys
from musicvae.errors import DataError
from musicvae.music import PARTS, Score
from songs import band, members, write_tracks

KINDS = ("melody", "drums", "trio")
Note = tuple[int, int, int]  # onset, pitch, duration
Voice = tuple[str, list[Note]]  # part, notes
HandSong = tuple[int, str, list[Voice]]  # bars, split, voices


def of(kind: str, **settings: Any) -> Codec:
    return codec(CodecConfig(kind=kind, **settings))  # type: ignore[arg-type]


def write(folder: Path, songs: list[HandSong]) -> Dataset:
    """Write a data set by hand: songs of (bars, split, voices of (part, notes))."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, voices, notes, counts = np.zeros(len(songs), SONG), [], [], []
    for number, (bars, split, parts) in enumerate(songs):
        rows[number] = (bars, SPLITS.index(split), 120, len(voices), len(parts))
        for part, played in parts:
            voices.append((number, PARTS.index(part), 0, len(counts)))
            for bar in range(bars):
                mine = sorted(n for n in played if n[0] // 16 == bar)
                notes += [(o % 16, p, d, 80) for o, p, d in mine]
                counts.append(len(mine))
    np.save(folder / "notes.npy", np.array(notes, NOTE))
    np.save(folder / "bars.npy", np.cumsum([0, *counts]))
    np.save(folder / "voices.npy", np.array(voices, VOICE))
    np.save(folder / "songs.npy", rows)
    (folder / "dataset.json").write_text(json.dumps({"format": FORMAT, "settings": {"steps_per_beat": 4}}))
    return Dataset(folder)


def tokens_of(coded: Codec, bars: int, *parts: Voice) -> NDArray[np.int64]:
    """Return the tokens (bars · 16, F) of a song with these parts."""
    rows = [(o, p, d, 80, PARTS.index(part)) for part, played in parts for o, p, d in played]
    return coded.encode(Score.of(*zip(*rows, strict=True), bars=bars)).tokens.reshape(bars * 16, -1)


def opened(window: NDArray[np.int64]) -> NDArray[np.int64]:
    begins = np.flatnonzero(window >= NOTE_ON)
    first = begins[0] if len(begins) else len(window)
    return np.where(np.arange(len(window)) < first, 0, window)


def slow_phrases(coded: Codec, tokens: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return first bar and end of each phrase of one voice, walking over its steps."""
    melody = isinstance(coded, MelodyCodec)
    sounding, last, found = False, -999, []
    for step, token in enumerate(tokens):
        begins = token >= NOTE_ON if melody else token > 0
        if begins and not sounding and step - last >= 16:
            found.append([step // 16, 0])
        if not melody:
            last = step + 1 if begins else last
        elif begins:
            sounding = True
        elif token == 1:
            sounding, last = False, step
        if begins or sounding:
            found[-1][1] = step // 16 + 1
    return [(a, b) for a, b in found]


def slow_playing(coded: TrioCodec, bars: int, part: str, played: list[Note]) -> list[bool]:
    if not played or not tokens_of(coded, bars, (part, played)).any():
        return [False] * bars
    bar = {b for o, _, d in played for b in range(o // 16, -(-(o + d) // 16))}
    return [any(abs(b - s) <= GAP_BARS for s in bar) for b in range(bars)]


def slow_trios(coded: TrioCodec, bars: int, voices: list[Voice], length: int) -> Iterator[NDArray[np.int64]]:
    """Yield the windows (steps, 3) of every combination of voices, bar by bar."""
    for trio in itertools.product(*([v for v in voices if v[0] == part] for part in coded.parts)):
        playing = np.array([slow_playing(coded, bars, *v) for v in trio])
        good = playing.all(axis=0)
        for b in range(bars):
            if b >= bars - GAP_BARS:
                good[b] = playing[:, -GAP_BARS:].any()
            elif b < GAP_BARS:
                good[b] = playing[:, :GAP_BARS].any()
        if playing.any(axis=1).all():
            tokens = np.stack([tokens_of(coded, bars, v)[:, i] for i, v in enumerate(trio)], axis=1)
            for start in range(bars - length + 1):
                if good[start : start + length].all():
                    yield tokens[16 * start : 16 * (start + length)]


def slow_singles(coded: Codec, bars: int, voices: list[Voice], length: int) -> Iterator[NDArray[np.int64]]:
    """Yield the windows (steps, 1) of every phrase of every voice; of drums, of all voices together."""
    mine = [v for v in voices if v[0] == coded.parts[0] and v[1]]
    if coded.config.kind == "drums" and mine:
        mine = [("drums", sorted({n for v in mine for n in v[1]}))]
    for voice in mine:
        tokens = tokens_of(coded, bars, voice)[:, 0]
        for first, stop in slow_phrases(coded, tokens):
            for start in range(first, stop - length + 1):
                window = tokens[16 * start : 16 * (start + length)]
                yield (opened(window) if coded.config.kind == "melody" else window)[:, None]


def slow_clips(coded: Codec, songs: list[HandSong], length: int) -> dict[str, list[tuple[int, bytes]]]:
    """Return for each split song and tokens of each clip, with none that stood before, train first."""
    made: dict[str, list[tuple[int, bytes]]] = {split: [] for split in SPLITS}
    seen: set[bytes] = set()
    order = sorted(range(len(songs)), key=lambda n: SPLITS.index(songs[n][1]))
    for number in order:
        bars, split, voices = songs[number]
        windows = (
            slow_trios(coded, bars, voices, length)
            if isinstance(coded, TrioCodec)
            else slow_singles(coded, bars, voices, length)
        )
        for window in windows:
            content = np.ascontiguousarray(window, np.int64).tobytes()
            if content not in seen:
                seen.add(content)
                made[split].append((number, content))
    return made


def fast_clips(dataset: Dataset, coded: Codec, length: int) -> dict[str, list[tuple[int, bytes]]]:
    made = {}
    for split in SPLITS:
        clips: Any = dataset.clips(split, coded, length)
        tokens, lengths = clips.batch(np.arange(len(clips)))
        assert (lengths == 16).all()
        assert tokens.dtype == np.int64
        assert tokens.shape == (len(clips), length, 16, len(coded.parts))
        made[split] = [(int(s), t.tobytes()) for s, t in zip(clips.songs, tokens, strict=True)]
    return made


@st.composite
def collections(draw: st.DrawFn) -> list[HandSong]:
    """Songs of few pitches, positions and bars, so that many clips are the same; rests of every length."""
    songs = []
    for _ in range(draw(st.integers(1, 4))):
        bars = draw(st.integers(1, 8))
        voices = []
        for part in draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5)):
            note = st.tuples(
                st.builds(lambda b, p: 16 * b + p, st.integers(0, bars - 1), st.sampled_from([0, 8, 15])),
                st.sampled_from([10, 36, 38] if part == "drums" else [20, 60, 62]),
                st.sampled_from([1, 4, 17, 40]),
            )
            played = draw(st.lists(note, max_size=10, unique_by=lambda n: n[:2]))
            voices.append((part, played))
        songs.append((bars, draw(st.sampled_from(SPLITS)), sorted(voices, key=lambda v: PARTS.index(v[0]))))
    return songs


@pytest.mark.parametrize("kind", KINDS)
@given(songs=collections(), length=st.integers(1, 4), chunk=st.sampled_from([1, 5, 2**16]))
def test_clips_by_brute_force(kind, songs, length, chunk):
    coded = of(kind)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "CHUNK", chunk)
        found = fast_clips(write(Path(folder) / "d", songs), coded, length)
    assert found == slow_clips(coded, songs, length)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [2, 4])
def test_no_clip_stands_twice(toy_band_data, kind, length):
    found = fast_clips(Dataset(toy_band_data), of(kind), length)
    everything = [content for split in SPLITS for _, content in found[split]]
    assert len(set(everything)) == len(everything)
    assert len(found["train"]) > 100
    assert len(found["valid"]) > 0
    for split in SPLITS:
        songs = [song for song, _ in found[split]]
        assert songs == sorted(songs)


def test_copies_are_counted_by_where_they_stand(tmp_path):
    """Bars A A B in train; B and A A in valid: of train the second A is a copy, of valid A stands elsewhere."""
    a, b, c = ([(0, 60, 4), (8, 64, 4)], [(0, 62, 4), (8, 65, 4)], [(0, 50, 4), (8, 50, 4)])
    bar = lambda *bars: [(16 * i + o, p, d) for i, notes in enumerate(bars) for o, p, d in notes]  # noqa: E731
    dataset = write(
        tmp_path / "d",
        [
            (3, "train", [("melody", bar(a, a, b))]),
            (4, "valid", [("melody", bar(c, a, a, c))]),
            (2, "test", [("melody", bar(b, c))]),
        ],
    )
    clips: Any = [dataset.clips(split, of("melody"), 1) for split in SPLITS]
    assert [len(c) for c in clips] == [2, 1, 0]
    assert [c.copies for c in clips] == [1, 1, 0]
    assert [c.elsewhere for c in clips] == [0, 2, 2]
    with pytest.raises(DataError, match=r"\(1 songs, the longest has 2 bars; .*; 2 that it has are in splits before"):
        clips[2].require()


def test_combinations_of_a_hostile_song_are_bounded(toy_band_data, monkeypatch):
    whole = Dataset(toy_band_data).clips("train", of("trio"), 2)
    monkeypatch.setattr(stepping, "MOST_COMBINATIONS", 1)
    fewer = Dataset(toy_band_data).clips("train", of("trio"), 2)
    assert set(fewer.songs.tolist()) == set(whole.songs.tolist())
    assert len(fewer) < len(whole) / 2


# -------------------------------------------------------------------------------------------------- hashing
@given(
    st.lists(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=2, max_size=2), min_size=1, max_size=30),
    st.integers(1, 5),
    st.sampled_from([np.uint8, np.int16]),
)
def test_keys_are_equal_where_clips_are(bars, length, kind):
    line = np.zeros((len(bars), 16), kind)
    line[:, [0, 9]] = bars
    starts = np.arange(max(len(bars) - length + 1, 0))
    windows = [line[s : s + length].ravel() for s in starts]
    for note_on, content in ((None, windows), (2, [opened(w) for w in windows])):
        keys = window_keys(line.ravel(), 16, starts, length, note_on=note_on)
        first = first_of_each(keys, np.zeros(len(keys), int))
        wanted = [next(j for j, other in enumerate(content) if np.array_equal(w, other)) for w in content]
        assert first.tolist() == wanted


def test_keys_of_random_clips_differ():
    """Of 300,000 different bars, two have the same hash with odds of 1 in 400 million. In trios the order counts."""
    line = np.random.default_rng(1).integers(0, 90, 300_000 * 16, np.uint8)
    keys = window_keys(line, 16, np.arange(300_000), 1)
    assert len(np.unique(keys)) == 300_000
    assert 0.49 < np.bitwise_and(keys[:, None] >> np.arange(64, dtype=np.uint64), 1).mean() < 0.51
    pair = np.stack([keys, keys[::-1]], axis=1)
    assert len(np.unique(joined_keys(pair))) == 300_000


def test_an_earlier_rank_comes_first():
    keys = np.array([7, 8, 7, 9, 8], np.uint64)
    assert first_of_each(keys, np.array([2, 1, 0, 1, 1])).tolist() == [2, 1, 2, 3, 1]


def test_ragged_and_phrase_windows():
    assert ragged(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert phrase_windows(np.array([[0, 4], [7, 1], [10, 2]]), 2).tolist() == [0, 1, 2, 10]
    assert phrase_windows(np.zeros((0, 2), int), 2).tolist() == []


# -------------------------------------------------------------------------------------------------- batches
@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_those_of_all_clips(toy_band_data, kind):
    clips, again = (Dataset(toy_band_data).clips("train", of(kind), 2) for _ in range(2))
    for step in (4, 0, 30, 4):
        one, two = clips.draw(1, step, 8, (5, 6)), again.draw(1, step, 8, (5, 6))
        assert np.array_equal(one.tokens, two.tokens)
        assert not np.array_equal(one.tokens, clips.draw(2, step, 8, (5, 6)).tokens)
    size = len(clips)
    everything = {t.tobytes() for t in clips.batch(np.arange(size)).tokens}
    assert {t.tobytes() for t in clips.draw(3, 5, size).tokens} == everything
    assert len(everything) == size
    assert clips.epoch == -(-size // 2)
    few = clips.spread_index(5)
    assert few.tolist() == [size * i // 5 for i in range(5)]
    assert np.array_equal(clips.spread(5).tokens, clips.batch(few).tokens)


@pytest.mark.parametrize("kind", KINDS)
@given(down=st.integers(0, 9), up=st.integers(0, 9), shift=st.floats(0, 1, exclude_max=True))
def test_transposition_moves_notes_and_nothing_else(toy_band_data, kind, down, up, shift):
    clips = Dataset(toy_band_data).clips("train", of(kind, pitch_low=28, pitch_high=91), 2)
    index = clips.spread_index(12)
    plain, moved = clips.batch(index).tokens, clips.batch(index, np.full(12, shift), (down, up)).tokens
    pitched = [i for i, part in enumerate(clips.parts) if part != "drums"]
    drums = [i for i, part in enumerate(clips.parts) if part == "drums"]
    assert np.array_equal(plain[..., drums], moved[..., drums])
    for one, other in zip(plain[..., pitched], moved[..., pitched], strict=True):
        note = one >= NOTE_ON
        assert np.array_equal(one[~note], other[~note])
        by = np.unique((other - one)[note])
        assert len(by) <= 1, "one transposition a clip"
        if len(by):
            low, high = one[note].min() - NOTE_ON, NOTE_ON + 63 - one[note].max()
            down_here, up_here = min(down, low), min(up, high)
            assert by[0] == int(np.floor(shift * (down_here + up_here + 1))) - down_here
            assert other[note].min() >= NOTE_ON
            assert other[note].max() < NOTE_ON + 64


def test_a_trio_moves_as_one(tmp_path):
    """A melody near the top and a bass near the bottom leave room for two semitones up and one down."""
    song = [
        ("melody", [(0, 106, 4), (16, 100, 4)]),
        ("bass", [(0, 22, 4), (16, 30, 4)]),
        ("drums", [(0, 36, 1), (16, 36, 1)]),
    ]
    clips = write(tmp_path / "d", [(2, "train", song)]).clips("train", of("trio"), 2)
    moved = clips.batch(np.zeros(100, int), np.arange(100) / 100, (9, 9)).tokens
    assert sorted({*(moved[:, 0, 0, 0] - NOTE_ON + 21).tolist()}) == [105, 106, 107, 108]
    assert sorted({*(moved[:, 0, 0, 1] - NOTE_ON + 21).tolist()}) == [21, 22, 23, 24]
    assert (moved[:, 0, 0, 2] == 1).all()


# --------------------------------------------------------------------------------------------------- errors
def test_what_the_data_set_lacks_is_told(toy_data, tmp_path):
    dataset = Dataset(toy_data)
    with pytest.raises(DataError, match=r"has no drums, which a drums model learns from; it has piano and melody\."):
        dataset.clips("train", of("drums"), 2).require()
    with pytest.raises(DataError, match=r"has no bass and no drums, which a trio model learns from"):
        dataset.clips("train", of("trio"), 2).require()
    clips = dataset.clips("train", of("melody"), 64)
    with pytest.raises(DataError, match=r"no clip of 64 bars \(15 songs, .* model\.bars=32"):
        clips.require()
    with pytest.raises(DataError, match=r"prepared with 4 steps a beat; the model has 12\."):
        dataset.clips("train", of("melody", steps_per_beat=12), 2)


def test_a_finer_grid(tmp_path):
    music = tmp_path / "m"
    music.mkdir()
    for seed in range(3):
        write_tracks(music / f"{seed}.mid", band(seed))
    prepare([music], tmp_path / "d", workers=1, steps_per_beat=24)
    for kind in KINDS:
        clips = Dataset(tmp_path / "d").clips("train", of(kind, steps_per_beat=24), 2)
        clips.require()
        assert clips.draw(0, 0, 4, (5, 5)).tokens.shape == (4, 2, 96, len(clips.parts))


def test_real_music(shared_data, tmp_path):
    music = members(shared_data / "lpd_multitrack.tar.xz", 12, tmp_path / "m")
    prepare([music], tmp_path / "d", workers=2)
    for kind in KINDS:
        for length in (2, 16):
            found = fast_clips(Dataset(tmp_path / "d"), of(kind), length)
            everything = [content for split in SPLITS for _, content in found[split]]
            assert len(everything) > 200
            assert len(set(everything)) == len(everything)
