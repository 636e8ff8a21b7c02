from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import CodecError
from musicvae.music import GRIDS, Score
from musicvae.music.score import one_key_one_note

NOTE = st.tuples(st.integers(0, 255), st.integers(0, 127), st.integers(1, 40), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)


def build(notes: list[tuple[int, ...]], **settings: object) -> Score:
    return Score.of(*np.array(notes, dtype=np.int64).reshape(-1, 5).T, **settings)  # type: ignore[arg-type]


@given(NOTES, st.randoms(use_true_random=False))
def test_order_of_notes_does_not_matter(notes, random):
    shuffled = list(notes)
    random.shuffle(shuffled)
    a, b = build(notes, bars=16), build(shuffled, bars=16)
    # Velocity is no part of the order, so notes equal in all else may stand either way.
    if len({note[:3] + note[4:] for note in notes}) == len(notes):
        assert a == b
    rows = list(zip(a.onset, a.part, a.pitch, a.duration, strict=True))
    assert rows == sorted(rows)


@given(NOTES)
def test_columns_are_int32_and_read_only(notes):
    score = build(notes)
    for column in score.columns:
        assert column.dtype == np.int32
        assert not column.flags.writeable


@given(NOTES, st.sampled_from(GRIDS))
def test_bars_reach_to_the_last_onset(notes, grid):
    score = build(notes, steps_per_beat=grid)
    assert score.bars == 1 + max((n[0] for n in notes), default=0) // (4 * grid)


@given(NOTES, st.integers(0, 15), st.integers(1, 16))
def test_cut_keeps_what_begins_inside(notes, first, bars):
    score = build(notes, bars=16)
    piece = score.cut(first, bars)
    assert piece.bars == bars
    assert len(piece) == sum(first * 16 <= n[0] < (first + bars) * 16 for n in notes)
    assert (piece.onset + piece.duration <= bars * 16).all()
    assert (piece.onset >= 0).all()


@given(NOTES)
def test_cut_of_everything_is_the_same_but_for_long_last_notes(notes):
    score = build(notes, bars=16)
    whole = score.cut(0, 16)
    inside = score.onset + score.duration <= 256
    assert score.select(inside) == whole.select(inside)


@given(NOTES, st.integers(-12, 12))
def test_transpose_there_and_back(notes, semitones):
    notes = [(n[0], 12 + n[1] % 104, *n[2:]) for n in notes]
    score = build(notes)
    there = score.transpose(semitones)
    assert (np.sort(there.pitch) == np.sort(score.pitch + semitones)).all()
    assert there.transpose(-semitones) == score


def test_equality_sees_every_field():
    score = Score.of([0, 4], [60, 64], 4)
    assert score == Score.of([4, 0], [64, 60], 4)
    assert score == Score.of([0, 4], [60, 64], 4, tempo=120.0001)
    assert score != Score.of([0, 4], [60, 64], 5)
    assert score != Score.of([0, 4], [60, 64], 4, velocity=81)
    assert score != Score.of([0, 4], [60, 64], 4, part=1)
    assert score != Score.of([0, 4], [60, 64], 4, bars=2)
    assert score != Score.of([0, 4], [60, 64], 4, tempo=121)
    assert score != Score.of([0, 4], [60, 64], 4, meter=(2, 2))
    assert score != Score.of([0, 4], [60, 64], 4, steps_per_beat=8)
    assert score != "a score"


def test_a_score_has_no_hash():
    with pytest.raises(TypeError):
        hash(Score.of([0], [60], [1]))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"pitch": 128}, "pitch of note 0 is 128"),
        ({"onset": -1}, "onset of note 0 is -1"),
        ({"duration": 0}, "duration of note 0 is 0"),
        ({"velocity": 0}, "velocity of note 0 is 0"),
        ({"part": 4}, "part of note 0 is 4"),
        ({"onset": 16, "bars": 1}, "onset of note 0 is 16; wanted 0 to 15"),
        ({"bars": 0}, "bars is 0"),
        ({"tempo": 0}, "tempo is 0"),
        ({"tempo": float("nan")}, "tempo is nan"),
        ({"steps_per_beat": 5}, "steps_per_beat is 5; wanted one of 4, 8, 12, 24"),
        ({"meter": (7, 32)}, "7/32 is not a whole number of steps"),
    ],
)
def test_values_out_of_range_are_refused(settings, text):
    with pytest.raises(CodecError, match=text):
        Score.of(**{"onset": 0, "pitch": 60, "duration": 1, **settings})


def test_seconds():
    assert Score.of([0], [60], [1], bars=2, tempo=60).seconds == 8
    assert Score.of([0], [60], [1], bars=2, tempo=60, meter=(6, 8)).seconds == 6


def played(notes: list[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], int, int]:
    """Return what `one_key_one_note` returns, note by note."""
    keys: dict[int, dict[int, list[int]]] = {}
    merged = cut = 0
    for onset, pitch, duration, velocity in notes:
        key = keys.setdefault(pitch, {})
        merged += onset in key
        before = key.get(onset, [0, 0])
        key[onset] = [max(before[0], duration), max(before[1], velocity)]
    for key in keys.values():
        onsets = sorted(key)
        for onset, following in itertools.pairwise(onsets):
            cut += key[onset][0] > following - onset
            key[onset][0] = min(key[onset][0], following - onset)
    rows = [(onset, pitch, *note) for pitch, key in keys.items() for onset, note in key.items()]
    return sorted(rows, key=lambda row: (row[1] // 128, row[0], row[1])), merged, cut


CROWD = st.tuples(st.integers(0, 12), st.sampled_from([0, 60, 61, 127, 128, 188, 128 * 700]), *[st.integers(1, 20)] * 2)


@given(st.lists(CROWD, max_size=40))
def test_one_key_one_note(notes):
    columns = np.array(notes, dtype=np.int64).reshape(-1, 4).T
    before = columns.copy()
    struck = one_key_one_note(*columns)
    assert (list(zip(*(c.tolist() for c in struck[:4]), strict=True)), struck.merged, struck.cut) == played(notes)
    assert type(struck.merged) is type(struck.cut) is int
    assert (columns == before).all()


def test_a_key_may_be_struck_again_after_the_longest_note_there_is():
    struck = one_key_one_note([2**28, 0, 2**28], [60, 60, 128 * 2**16 + 127], [2**30, 2**30, 1], [1, 1, 1])
    assert struck.duration.tolist() == [2**28, 2**30, 1]
    assert struck.cut == 1
