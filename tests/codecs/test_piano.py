"""The piano codec: what it can hold comes back exactly, and what it cannot is counted."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.codecs import PianoCodec, codec
from musicvae.config import CodecConfig
from musicvae.errors import CodecError
from musicvae.music import GRIDS, Change, Score, read_bytes

CENTRES = range(8, 128, 16)  # the middles of eight levels
END = 16  # of a bar in 16ths


@st.composite
def scores(draw: st.DrawFn, max_notes: int = 5) -> Score:
    """Return any Score that the codec holds exactly: one key one note, at most `max_notes` a bar."""
    grid, bars = draw(st.sampled_from(GRIDS)), draw(st.integers(1, 6))
    per_bar = 4 * grid
    keys = st.tuples(st.integers(0, bars * per_bar - 1), st.integers(21, 108))
    notes = draw(st.lists(st.tuples(keys, st.integers(1, 5 * per_bar), st.sampled_from(CENTRES)), max_size=25))
    kept: dict[tuple[int, int], tuple[int, int]] = {}
    for key, duration, velocity in notes:
        if sum(onset // per_bar == key[0] // per_bar for onset, _ in kept) < max_notes:
            kept[key] = duration, velocity
    rows = []
    for (onset, pitch), (duration, velocity) in kept.items():
        again = min((o for o, p in kept if p == pitch and o > onset), default=bars * per_bar)
        rows.append((onset, pitch, min(duration, again - onset, 4 * per_bar), velocity))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Score.of(*columns, bars=bars, steps_per_beat=grid, tempo=draw(st.floats(20, 300)))


def of_grid(grid: int, **settings: int) -> PianoCodec:
    return codec(CodecConfig(steps_per_beat=grid, **settings))


@given(scores())
def test_what_fits_comes_back_exactly(score):
    before = [c.copy() for c in score.columns]
    piano = of_grid(score.steps_per_beat, max_notes=5)
    tokens, changes = piano.encode(score)
    assert changes == ()
    assert piano.decode(tokens, score.tempo) == score
    assert all(np.array_equal(a, b) for a, b in zip(before, score.columns, strict=True))


@given(scores())
def test_tokens_ascend_and_end(score):
    piano = of_grid(score.steps_per_beat, max_notes=5)
    tokens = piano.encode(score).tokens
    assert tokens.shape == (score.bars, 6, 4)
    assert tokens.dtype == np.int64
    assert (tokens >= 0).all()
    assert (tokens < np.array(piano.spec.sizes)).all()
    for bar in tokens:
        notes = [(position, pitch) for position, pitch, *_ in bar.tolist() if position != piano.spec.end]
        assert notes == sorted(set(notes))
        assert (bar[len(notes) :] == [piano.spec.end, 0, 0, 0]).all()  # at least one slot: the end mark


def test_tokens_by_hand():
    score = Score.of([20, 0, 0], [60, 64, 21], [1, 16, 64], [1, 100, 127], bars=3)
    tokens, changes = of_grid(4, max_notes=2).encode(score)
    assert tokens.tolist() == [
        [[0, 0, 47, 7], [0, 43, 15, 6], [END, 0, 0, 0]],
        [[4, 39, 0, 0], [END, 0, 0, 0], [END, 0, 0, 0]],
        [[END, 0, 0, 0]] * 3,
    ]
    assert changes == (
        Change("shortened: sounds past the last bar", 1),  # 64 steps from the start of 48
        Change("moved: velocity to the nearest level", 3),  # 1, 100 and 127
    )


@given(st.sampled_from(GRIDS), st.integers(1, 4), st.integers(1, 7), st.data())
def test_decode_takes_any_integers_in_range(grid, bars, slots, data):
    piano = of_grid(grid, max_notes=6, pitch_low=60, pitch_high=63, velocity_bins=data.draw(st.sampled_from([1, 8, 9])))
    raw = data.draw(hnp.arrays(np.int64, (bars, slots, 4), elements=st.integers(0, 2**20)))
    tokens = raw % np.array(piano.spec.sizes)
    kept = tokens.copy()
    score = piano.decode(tokens, 100)
    assert (tokens == kept).all()
    # What Score.of refuses it refuses here; the rest of what makes it valid:
    assert score.bars == bars
    assert score.tempo == 100
    assert (score.onset + score.duration <= bars * 4 * grid).all()
    assert ((score.pitch >= 60) & (score.pitch <= 63)).all()
    for pitch in range(60, 64):
        mine = score.select(score.pitch == pitch)
        assert (mine.onset[:-1] + mine.duration[:-1] <= mine.onset[1:]).all()
    again = piano.encode(score)
    assert again.changes == ()
    assert piano.decode(again.tokens, 100) == score


def test_all_slots_full_and_no_end_mark():
    """The last slot of a bar can only be its end mark; a note there has no place in the tokens."""
    piano = of_grid(4, max_notes=3)
    tokens = np.zeros((1, 4, 4), dtype=np.int64)
    tokens[0, :, 0] = range(4)
    score = piano.decode(tokens)
    assert len(score) == 3
    assert piano.encode(score).changes == ()


def test_decode_by_hand():
    tokens = np.zeros((2, 5, 4), dtype=np.int64)
    tokens[..., 0] = END
    tokens[0] = [[0, 39, 15, 3], [4, 39, 1, 4], [4, 39, 3, 5], [END, 5, 5, 5], [8, 50, 1, 1]]
    tokens[1, 0] = [12, 40, 63, 7]
    assert of_grid(4).decode(tokens, 90) == Score.of(
        [0, 4, 28],
        [60, 60, 61],
        [4, 4, 4],  # struck again; the longer of two; to the last bar
        [56, 88, 120],
        bars=2,
        tempo=90,
    )


@pytest.mark.parametrize(
    ("notes", "bars", "change"),
    [
        ([(0, 60, 1, 8, 0), (0, 62, 1, 8, 1), (3, 62, 1, 8, 3)], 1, Change("dropped: not of the piano part", 2)),
        ([(0, 20, 1, 8, 0), (0, 21, 1, 8, 0), (0, 109, 1, 8, 0)], 1, Change("dropped: pitch outside 21–108", 2)),
        ([(0, 60, 1, 8, 0), (0, 60, 3, 8, 0)], 1, Change("merged: same key on the same step", 1)),
        ([(i, 60 + i, 1, 8, 0) for i in range(12)], 1, Change("dropped: more than 8 notes in a bar", 4)),
        ([(0, 60, 65, 8, 0), (0, 61, 64, 8, 0)], 5, Change("shortened: longer than 4 bars", 1)),
        ([(12, 60, 5, 8, 0), (12, 61, 4, 8, 0)], 1, Change("shortened: sounds past the last bar", 1)),
        ([(0, 60, 1, 15, 0), (1, 61, 1, 8, 0)], 1, Change("moved: velocity to the nearest level", 1)),
        ([(0, 60, 5, 8, 0), (4, 60, 4, 8, 0)], 1, Change("cut: its key is struck again", 1)),
    ],
)
def test_each_loss_is_counted(notes, bars, change):
    score = Score.of(*np.array(notes).T, bars=bars)
    piano = of_grid(4, max_notes=8)
    tokens, changes = piano.encode(score)
    assert changes == (change,)
    assert piano.decode(tokens) != score
    again = piano.encode(piano.decode(tokens))
    assert again.changes == ()
    lost = change.notes if change.reason.startswith(("dropped", "merged")) else 0
    assert len(piano.decode(tokens)) == len(notes) - lost


def test_notes_of_one_key_and_step_become_one_as_long_and_loud_as_any():
    tokens, changes = of_grid(4).encode(Score.of([0, 0, 0], 60, [3, 7, 2], [88, 56, 72], bars=1))
    assert tokens[0, :2].tolist() == [[0, 39, 6, 5], [END, 0, 0, 0]]
    assert changes == (Change("merged: same key on the same step", 2),)


@given(st.integers(1, 128), st.integers(1, 127))
def test_velocity_moves_at_most_half_a_level(bins, velocity):
    piano = of_grid(4, velocity_bins=bins)
    tokens = piano.encode(Score.of(0, 60, 1, velocity, bars=1)).tokens
    width = -(-128 // bins)
    assert tokens[0, 0, 3] < bins
    assert abs(int(piano.decode(tokens).velocity[0]) - velocity) <= width / 2


def test_no_notes_at_all():
    silence = Score.of([], [], [], bars=3)
    tokens, changes = of_grid(4).encode(silence)
    assert changes == ()
    assert (tokens[..., 0] == END).all()
    assert of_grid(4).decode(tokens) == silence


def test_other_meters_and_grids_are_refused():
    with pytest.raises(CodecError, match=r"the meter is 5/4; the piano codec needs 4/4.*--any-meter"):
        of_grid(4).encode(Score.of(0, 60, 1, meter=(5, 4)))
    with pytest.raises(CodecError, match=r"has 8 steps a beat; this codec has 4\. Read the file with steps_per_beat=4"):
        of_grid(4).encode(Score.of(0, 60, 1, steps_per_beat=8))
    with pytest.raises(CodecError, match="tokens have 3 fields; the piano codec has 4"):
        of_grid(4).decode(np.zeros((1, 2, 3), dtype=np.int64))


def test_pack_leaves_out_what_does_not_fit():
    piano = of_grid(4, max_notes=2, pitch_low=60, pitch_high=70)
    bar, position, pitch = np.array([0, 0, 0, 0, 2]), np.array([0, 1, 2, 3, 5]), np.array([71, 60, 61, 62, 70])
    tokens = piano.pack(bar, position, pitch, np.array([1, 2, 99, 1, 1]), np.full(5, 127), 3)
    assert tokens[:, :2].tolist() == [
        [[1, 0, 1, 7], [2, 1, 63, 7]],
        [[END, 0, 0, 0]] * 2,
        [[5, 10, 0, 7], [END, 0, 0, 0]],
    ]
    assert (tokens[:, 2] == [END, 0, 0, 0]).all()


def members(archive: Path, suffix: str, count: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r|xz") as tar:
        for entry in tar:
            if entry.name.endswith(suffix) and (file := tar.extractfile(entry)):
                yield entry.name, file.read()
                count -= 1
                if not count:
                    return


@pytest.mark.parametrize(("archive", "suffix", "floor"), [("lpd_piano", ".npz", 0.99), ("pop909", ".mid", 0.99)])
def test_real_songs_come_back(shared_data, archive, suffix, floor):
    kept = total = 0
    for name, data in members(shared_data / f"{archive}.tar.xz", suffix, 20):
        score = read_bytes(data, name, any_meter=True).score
        piano = of_grid(4)
        copy = piano.decode(piano.encode(score).tokens)
        there, back = ({*zip(*map(np.ndarray.tolist, s.columns[:3]), strict=True)} for s in (score, copy))
        kept, total = kept + len(there & back), total + len(there)
    print(f"{archive}: {kept} of {total} notes come back exactly ({kept / total:.2%})")
    assert total > 5000
    assert kept / total >= floor
