"""The machine listener: what it hears, what it must tell apart, and what it must not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicvae.errors import ConfigError, DataError, MissingExtraError, ReadError
from musicvae.evaluate.baselines import BASELINES, change_pitches, random_notes, shuffle_bars
from musicvae.evaluate.clues import ngrams, number_names, numbers
from musicvae.evaluate.features import pitch_class_transitions
from musicvae.evaluate.listener import Listener, listen
from musicvae.music import Score, read
from musicvae.music.score import PARTS
from songs import members

pytest.importorskip("sklearn")

DRUMS = PARTS.index("drums")
NOTE = st.tuples(st.integers(0, 63), st.integers(24, 96), st.integers(1, 20), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)


def build(notes, bars: int = 4) -> Score:
    return Score.of(*np.array(notes, dtype=np.int64).reshape(-1, 5).T, bars=bars)


def songs(seed: int, count: int, interval: int = 2, bars: int = 4) -> list[Score]:
    """Clips that walk up and down a scale of steps of `interval` semitones."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        onset = np.flatnonzero(rng.random(16 * bars) < 0.4)
        pitch = 60 + interval * np.cumsum(rng.choice([-1, 0, 1], len(onset)))
        found.append(Score.of(onset, np.clip(pitch, 30, 100), rng.integers(1, 5, len(onset)), bars=bars))
    return found


@pytest.fixture(scope="module")
def real_clips(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Score], list[int]]:
    """Clips of 16 bars of LPD's piano songs, one or two a song, and their songs."""
    folder = members(shared_data / "lpd_piano.tar.xz", 130, tmp_path_factory.mktemp("lpd") / "songs")
    clips, ids = [], []
    for number, path in enumerate(sorted(folder.iterdir())):
        try:
            score = read(path).score
        except ReadError:
            continue
        for first in range(0, score.bars - 16, 40):
            clip = score.cut(first, 16)
            if len(clip) >= 32 and ids.count(number) < 2:
                clips.append(clip)
                ids.append(number)
    return clips, ids


# ----------------------------------------------------------------------------------------------------- what it hears
def test_numbers_have_names():
    clips = [*songs(0, 3, bars=16), Score.of([], [], [], bars=16), Score.of([0], [60], [1], 80, DRUMS, bars=16)]
    table, names = numbers(clips), number_names()
    assert table.shape == (5, len(names))
    assert len(set(names)) == len(names)
    assert np.isfinite(table[:3]).all()
    column = dict(zip(names, table.T, strict=True))
    assert column["note_count"].tolist() == [len(clip) for clip in clips]
    steps = [pitch_class_transitions(clip)[0, 2] for clip in clips]
    np.testing.assert_array_equal(column["pitch_class_transitions 0 → 2"], steps)


def test_how_bars_relate_by_hand():
    # Bars A, A, B, A where A is C4 on the first step and B is D4 on the second and E4 on the first.
    score = Score.of([0, 16, 32, 33, 48], [60, 60, 64, 62, 60], 1, bars=4)
    heard = dict(zip(number_names(), numbers([score])[0], strict=True))
    assert heard["likeness of bars in notes"] == pytest.approx(3 / 6)  # of six pairs the three of A with A
    assert heard["likeness of bars 1 apart in notes"] == pytest.approx(1 / 3)
    assert heard["likeness of bars 2 apart in notes"] == pytest.approx(1 / 2)
    assert heard["likeness of bars 2 apart in notes, beyond that of any two"] == pytest.approx(0)
    assert np.isnan(heard["likeness of bars 4 apart in notes"])
    assert heard["likeness of bars 1 apart in onsets"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert heard["likeness of bars 1 apart in pitch classes"] == pytest.approx(1 / 3)
    assert heard["likeness of bars 1 apart in register"] == pytest.approx(-(0 + 3 + 3) / 3)
    assert heard["likeness of bars 1 apart in note count"] == pytest.approx(-(0 + 1 + 1) / 3)


def test_pitches_that_stand_alone_by_hand():
    # C, E, G of C major in every bar; once an F sharp.
    onset = [0, 4, 8, 16, 20, 24, 32, 36, 40, 33]
    score = Score.of(onset, [60, 64, 67] * 3 + [66], 1, bars=3)
    heard = dict(zip(number_names(), numbers([score])[0], strict=True))
    assert heard["pitches played once"] == 1 / 10
    assert heard["pitch classes played once nearby"] == 1 / 10
    assert heard["share of the pitch class 0 above the key"] in (3 / 10, 0)  # C major, or G major, which has F sharp
    # Bar 1 and 2 hold three of three and six; in the others one of seven lies outside C, but all lie in G major.
    assert heard["scale consistency nearby"] == 1


def test_ngrams_by_hand():
    score = Score.of([0, 0, 4, 6], [60, 64, 67, 66], [4, 4, 2, 2], bars=1)
    assert sorted(ngrams(score)) == sorted(
        [
            *("interval +3", "interval -1", "interval +3 -1"),
            *("time 4", "time 2", "time 4 2"),
            *("step +3/4", "step -1/2", "step +3/4 -1/2"),
            *("chord 0.4", "chord 0", "chord 0", "chord 0.4 0", "chord 0 0"),
        ]
    )
    assert not list(ngrams(Score.of([], [], [])))
    assert list(ngrams(Score.of([3], [60], [1]))) == ["chord 0"]
    two = Score.of([0, 4, 0, 4], [60, 62, 40, 47], 4, 80, [1, 1, 2, 2])
    assert [g for g in ngrams(two) if g.startswith("interval")] == ["interval +2", "interval +7"]  # no step between


@settings(max_examples=30)
@given(notes=NOTES, semitones=st.integers(-12, 12))
def test_ngrams_know_no_key_tempo_or_loudness(notes, semitones):
    score = build(notes)
    pitch = score.pitch + semitones
    other = Score.of(score.onset, pitch, score.duration, 1, score.part, bars=4, tempo=60)
    assert sorted(ngrams(other)) == sorted(ngrams(score))


# -------------------------------------------------------------------------------------------------------- baselines
@settings(max_examples=30)
@given(notes=NOTES, seed=st.integers(0, 99), name=st.sampled_from(sorted(BASELINES)))
def test_baselines_leave_the_clips_as_they_are(notes, seed, name):
    clips = [build(notes), build(notes[:3])]
    before = [[c.tobytes() for c in clip.columns] for clip in clips]
    made = BASELINES[name](clips, np.random.default_rng(seed))
    assert [[c.tobytes() for c in clip.columns] for clip in clips] == before
    for clip, wrong in zip(clips, made, strict=True):
        assert (wrong.bars, wrong.steps_per_beat, wrong.meter) == (clip.bars, clip.steps_per_beat, clip.meter)
        assert (wrong.onset + wrong.duration <= 64).all()
        assert len(wrong) <= len(clip)
    again = BASELINES[name](clips, np.random.default_rng(seed))
    assert made == again


def test_shuffled_bars():
    score = Score.of([0, 17, 34, 51], [60, 62, 64, 65], [1, 15, 99, 1], bars=4)
    [made] = shuffle_bars([score], np.random.default_rng(0))
    assert made != score
    assert sorted(made.pitch) == sorted(score.pitch)
    bars = made.onset // 16
    assert sorted(bars) == [0, 1, 2, 3]
    assert [int(p) for p in made.onset % 16] == [{60: 0, 62: 1, 64: 2, 65: 3}[int(p)] for p in made.pitch]


def test_changed_pitches():
    rng = np.random.default_rng(0)
    score = Score.of(range(40), np.tile([60, 72], 20), 1, 80, [0] * 30 + [DRUMS] * 10, bars=4)
    [made] = change_pitches([score], rng)
    assert (made.pitch != score.pitch).sum() == 3
    np.testing.assert_array_equal(made.pitch[30:], score.pitch[30:])
    assert made.pitch[:30].min() >= 60
    assert made.pitch[:30].max() <= 72
    [every] = change_pitches([score], rng, 1.0)
    assert (every.pitch[:30] != score.pitch[:30]).all()
    assert (change_pitches([Score.of([0], [127], [1])], rng)[0].pitch != 127).all()
    with pytest.raises(ConfigError, match="share is 2; wanted 0"):
        change_pitches([score], rng, 2)


def test_random_notes_have_the_right_histograms():
    clips = songs(0, 200)
    made = random_notes(clips, np.random.default_rng(0))
    for name in ("pitch", "duration"):
        ours, theirs = (
            np.bincount(np.concatenate([getattr(c, name) for c in s]), minlength=128) for s in (made, clips)
        )
        assert np.abs(ours / ours.sum() - theirs / theirs.sum()).sum() < 0.15
    assert sum(map(len, made)) == pytest.approx(sum(map(len, clips)), rel=0.1)


# ------------------------------------------------------------------------------------------------------ what it tells
def test_other_music_is_told_and_the_same_is_not():
    found = listen(songs(1, 40, interval=3), songs(0, 60))
    assert found.tells
    assert found.accuracy > 0.9
    assert found.low < found.accuracy <= found.high
    assert (found.clips, found.songs) == (40, 40)
    assert found.accuracy == pytest.approx((found.generated_found + found.real_found) / 2)
    assert found.clues[0].auc in (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))
    # Odds that an interval of 95 % leaves out 50 %: these seeds are not chosen for it.
    same = [listen(songs(seed, 40), songs(100 + seed, 40), seed=seed) for seed in range(3)]
    assert sum(heard.tells for heard in same) <= 1
    assert all(0.25 < heard.accuracy < 0.75 for heard in same)
    json.dumps([found.to_dict(), same[0].to_dict()], allow_nan=False)


def test_no_song_is_learnt_from_and_asked_about():
    # Each song is one clip ten times over, and its answer is drawn by chance: only who knows the song can tell.
    clips = songs(0, 24)
    rng = np.random.default_rng(3)
    chosen = rng.permutation(24)
    ours, theirs = ([clips[i] for i in part for _ in range(10)] for part in (chosen[:12], chosen[12:]))
    ids = np.repeat(np.arange(12), 10)
    by_song = listen(ours, theirs, ids, generated_songs=100 + ids)
    by_clip = listen(ours, theirs)
    assert by_clip.accuracy == 1
    assert by_song.accuracy < 0.8
    assert by_song.accuracy - by_song.low > 0.1  # 24 songs, not 240 clips
    assert by_song.high - by_song.accuracy > 0.1
    assert by_song.songs == 12


def test_of_the_larger_set_as_many_songs_as_can_be():
    many = songs(0, 100)
    found = listen(songs(1, 20), many, np.repeat(np.arange(20), 5))
    assert (found.clips, found.songs) == (20, 20)


def test_the_same_seed_gives_the_same_answer():
    ours, theirs = songs(1, 15), songs(0, 30)
    assert listen(ours, theirs, seed=1) == listen(ours, theirs, seed=1) != listen(ours, theirs, seed=2)


def test_clips_without_notes_are_heard():
    empty = [Score.of([], [], [], bars=1)] * 12
    found = listen(empty, songs(0, 20, bars=1))
    assert found.accuracy > 0.9
    assert isinstance(found, Listener)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_caught_on_real_music(real_clips, name):
    clips, ids = real_clips
    made = BASELINES[name](clips, np.random.default_rng(0))
    found = listen(made, clips, ids, generated_songs=ids)
    assert found.tells, found
    least = {"shuffled bars": 0.62, "random notes": 0.95, "10 % of pitches changed": 0.62}
    assert found.accuracy > least[name]


def test_baselines_of_other_songs_are_caught_on_real_music(real_clips):
    clips, ids = real_clips
    middle = max(ids) // 2
    first = [c for c, i in zip(clips, ids, strict=True) if i <= middle]
    second = [c for c, i in zip(clips, ids, strict=True) if i > middle]
    second_ids = [i for i in ids if i > middle]
    assert listen(change_pitches(first, np.random.default_rng(1)), second, second_ids).tells
    real = listen(first, second, second_ids, generated_songs=[i for i in ids if i <= middle])
    assert not real.tells, real


def test_sets_are_checked(monkeypatch):
    few, enough = songs(0, 9), songs(1, 12)
    with pytest.raises(
        DataError, match="9 generated and 12 real clips of 9 songs; the machine listener wants 10 or more"
    ):
        listen(few, enough)
    with pytest.raises(DataError, match="12 generated and 12 real clips of 2 songs"):
        listen(enough, enough, [1, 2] * 6)
    with pytest.raises(ConfigError, match="seed is -1"):
        listen(enough, enough, seed=-1)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"The machine listener needs .* pip install 'musicvae\[eval\]'"):
        listen(enough, enough)
