from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.errors import CodecError, ReadError
from musicvae.music.quantize import MAX_BARS, quantize
from musicvae.music.raw import RawNotes, Track, programs_text

BAR = 96 * 4  # ticks a 4/4 bar at the 96 ticks a quarter note used throughout


def raw(*notes: tuple[int, ...], **settings: object) -> RawNotes:
    """Build notes of (start, stop, pitch, velocity), the last two optional."""
    filled = [(*n, *(60, 80)[len(n) - 2 :]) for n in notes]
    columns = np.array(filled, dtype=np.int64).reshape(-1, 4).T
    return of_columns(*columns, **settings)


def of_columns(*columns: np.ndarray, **settings: object) -> RawNotes:
    """Build one piano track of start, stop, pitch and velocity."""
    track = np.zeros(len(columns[0]), dtype=np.int64)
    return RawNotes(*columns, track, (Track(0, False),), ticks_per_beat=96, **settings)  # type: ignore[arg-type]


def rows(score) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in row) for row in zip(score.onset, score.pitch, score.duration, strict=True)]


def changes(reading) -> dict[str, int]:
    return {c.reason: c.notes for c in reading.report.changes}


def test_on_the_grid_nothing_changes():
    reading = quantize(raw((0, 24), (24, 72), (96, 192, 64)), "x")
    assert rows(reading.score) == [(0, 60, 1), (1, 60, 2), (4, 64, 4)]
    assert reading.report == ("x", 3, 3, ())
    assert str(reading.report) == "3 of 3 notes"


@pytest.mark.parametrize(
    ("start", "stop", "onset", "duration"),
    [
        (11, 35, 0, 1),  # 11 of 24 ticks: down
        (12, 36, 1, 1),  # half a step: up
        (36, 60, 2, 1),  # and up again, not to the even step
        (0, 11, 0, 1),  # shorter than half a step: one step all the same
        (0, 0, 0, 1),
        (0, 36, 0, 2),
        (13, 36, 1, 1),  # the length itself is rounded, 23 ticks to one step, not the end
        (5, 100, 0, 4),
    ],
)
def test_rounding(start, stop, onset, duration):
    assert rows(quantize(raw((start, stop)), "x").score) == [(onset, 60, duration)]


def test_moved_rounded_and_lengthened_notes_are_counted():
    reading = quantize(raw((0, 24, 60), (25, 49, 61), (50, 99, 62), (72, 75, 63)), "x")
    assert changes(reading) == {
        "moved: onset off the grid": 2,
        "rounded: length off the grid": 2,
        "lengthened: shorter than half a step": 1,
    }


@pytest.mark.parametrize(("grid", "onset", "duration"), [(4, 1, 2), (8, 3, 4), (12, 4, 6), (24, 8, 12)])
def test_grids(grid, onset, duration):
    score = quantize(raw((32, 80)), "x", grid).score  # a triplet eighth after the beat, half a beat long
    assert rows(score) == [(onset, 60, duration)]
    assert score.steps_per_beat == grid


def test_counts_are_plain_numbers():
    reading = quantize(raw((0, 24), (5, 24), (1, 3, 61), (MAX_BARS * BAR, MAX_BARS * BAR + 1)), "x")
    assert len(reading.report.changes) == 5
    assert all(type(change.notes) is int for change in reading.report.changes)  # and can be written as JSON


def test_an_unknown_grid_is_refused():
    with pytest.raises(CodecError, match="wanted one of 4, 8, 12, 24"):
        quantize(raw((0, 24)), "x", 5)


def test_notes_on_one_step_of_one_key_merge_to_the_longest_and_loudest():
    reading = quantize(raw((0, 24, 60, 90), (2, 98, 60, 50), (0, 24, 61, 70)), "x")
    assert rows(reading.score) == [(0, 60, 4), (0, 61, 1)]
    assert reading.score.velocity.tolist() == [90, 70]
    assert changes(reading)["merged: same key on the same step"] == 1
    assert reading.report.notes_kept == 2


def test_a_key_struck_again_ends_its_note():
    reading = quantize(raw((0, 384, 60), (96, 120, 60), (0, 384, 61)), "x")
    assert rows(reading.score) == [(0, 60, 4), (0, 61, 16), (4, 60, 1)]
    assert changes(reading) == {"cut: its key is struck again": 1}


def test_bars_follow_the_last_onset_or_what_the_file_says():
    assert quantize(raw((0, 3 * BAR)), "x").score.bars == 1
    assert quantize(raw((BAR, 2 * BAR)), "x").score.bars == 2
    assert quantize(raw((BAR, 2 * BAR), length=5 * BAR), "x").score.bars == 5
    assert quantize(raw((BAR, 2 * BAR), length=BAR), "x").score.bars == 2


def test_a_far_note_is_dropped_and_counted():
    reading = quantize(raw((0, 24), (MAX_BARS * BAR, MAX_BARS * BAR + 24)), "x")
    assert len(reading.score) == 1
    assert changes(reading) == {f"dropped: begins after bar {MAX_BARS}": 1}
    assert quantize(raw((0, 24), ((MAX_BARS - 1) * BAR, MAX_BARS * BAR)), "x").score.bars == MAX_BARS


def test_only_far_notes_is_an_error():
    with pytest.raises(ReadError, match="has no notes left: dropped: begins after bar"):
        quantize(raw((MAX_BARS * BAR, MAX_BARS * BAR + 24)), "x")


def test_a_note_longer_than_any_song_is_cut():
    reading = quantize(raw((0, 2 * MAX_BARS * BAR)), "x")
    assert reading.score.duration.tolist() == [MAX_BARS * 16]
    assert changes(reading) == {f"cut: longer than {MAX_BARS} bars": 1}


def test_a_stretch_in_four_four_wins_over_a_longer_one():
    three = 3 * 96
    meters = ((0, 3, 4), (10 * three, 4, 4), (10 * three + 2 * BAR, 3, 4))
    notes = [(i * three, i * three + 24) for i in range(10)]
    notes += [(10 * three, 10 * three + 24), (10 * three + BAR, 10 * three + BAR + 24)]
    notes += [(10 * three + 2 * BAR, 10 * three + 2 * BAR + 24)]
    reading = quantize(raw(*notes, meters=meters), "x")
    assert reading.score.meter == (4, 4)
    assert rows(reading.score) == [(0, 60, 1), (16, 60, 1)]
    assert reading.score.bars == 2
    assert changes(reading) == {"dropped: in 3/4; kept is 4/4 from bar 11": 11}


def test_without_four_four_the_longest_stretch_is_kept():
    reading = quantize(raw((0, 24), (288, 312), (576, 600), meters=((0, 6, 8), (288, 3, 4))), "x")
    assert reading.score.meter == (3, 4)
    assert rows(reading.score) == [(0, 60, 1), (12, 60, 1)]
    assert changes(reading) == {"dropped: in 6/8; kept is 3/4 from bar 2": 1}


def test_a_stretch_in_four_four_without_notes_does_not_win():
    reading = quantize(raw((10 * BAR, 10 * BAR + 24), meters=((10 * BAR, 3, 4),)), "x")
    assert reading.score.meter == (3, 4)
    assert rows(reading.score) == [(0, 60, 1)]


def test_less_than_a_bar_of_four_four_does_not_win():
    reading = quantize(raw((0, 24), (96, 120), (1000, 1100), meters=((0, 4, 4), (96, 3, 4))), "x")
    assert reading.score.meter == (3, 4)


def test_a_pickup_bar_is_left_out_and_the_song_begins_on_its_bar_line():
    reading = quantize(raw((0, 24), (96, 120), (96 + BAR, 96 + BAR + 24), meters=((0, 1, 4), (96, 4, 4))), "x")
    assert rows(reading.score) == [(0, 60, 1), (16, 60, 1)]
    assert changes(reading) == {"dropped: in 1/4; kept is 4/4 from bar 2": 1}


def test_a_note_just_before_its_stretch_belongs_to_it():
    reading = quantize(raw((BAR - 5, BAR + 24), (2 * BAR, 2 * BAR + 24), meters=((0, 3, 4), (BAR, 4, 4))), "x")
    assert rows(reading.score) == [(0, 60, 1), (16, 60, 1)]


def test_the_same_meter_again_on_a_bar_line_changes_nothing():
    reading = quantize(raw((0, 24), (BAR, BAR + 24), meters=((0, 4, 4), (BAR, 4, 4))), "x")
    assert rows(reading.score) == [(0, 60, 1), (16, 60, 1)]
    assert not reading.report.changes


def test_the_same_meter_off_the_bar_line_begins_anew():
    meters = ((0, 4, 4), (BAR + 96, 4, 4))
    reading = quantize(raw((0, 24), (BAR + 96, BAR + 120), (5 * BAR + 96, 5 * BAR + 120), meters=meters), "x")
    assert rows(reading.score) == [(0, 60, 1), (64, 60, 1)]
    assert changes(reading) == {"dropped: another stretch of 4/4; kept is 4/4 from bar 3": 1}


def test_any_meter_counts_in_four_four():
    reading = quantize(raw((0, 24), (288, 312), meters=((0, 3, 4), (288, 7, 8))), "x", any_meter=True)
    assert reading.score.meter == (4, 4)
    assert rows(reading.score) == [(0, 60, 1), (12, 60, 1)]


@pytest.mark.parametrize("meter", [(0, 1), (4, 0), (4, 3), (0, 4)])
def test_a_meter_without_meaning_is_ignored_and_reported(meter):
    reading = quantize(raw((0, 24), meters=((0, *meter),)), "x")
    assert reading.score.meter == (4, 4)
    assert changes(reading) == {f"ignored: meter {meter[0]}/{meter[1]} at tick 0 means nothing": 0}


def test_a_meter_that_does_not_fit_the_grid_is_refused():
    with pytest.raises(ReadError, match=r"x: a bar of 7/32 is not a whole number of steps .* --any-meter"):
        quantize(raw((0, 24), meters=((0, 7, 32),)), "x")
    assert quantize(raw((0, 24), meters=((0, 7, 32),)), "x", 8).score.meter == (7, 32)


NOTE = st.tuples(st.integers(0, 5000), st.integers(0, 900), st.integers(57, 63), st.integers(1, 127))
METER = st.tuples(st.integers(0, 5000), st.integers(0, 9), st.sampled_from([0, 1, 2, 4, 8]))


@given(st.lists(NOTE, min_size=1, max_size=40), st.lists(METER, max_size=4), st.sampled_from([8, 12, 24]))
def test_every_note_is_accounted_for_and_no_key_sounds_twice(notes, meters, grid):
    given_ = raw(*((a, a + n, p, v) for a, n, p, v in notes), meters=tuple(meters))
    before = [c.copy() for c in (given_.start, given_.stop, given_.pitch, given_.velocity)]
    try:
        reading = quantize(given_, "x", grid)
    except ReadError as error:
        assert "whole number" in error.reason  # noqa: PT017
        return
    score, report = reading
    lost = sum(c.notes for c in report.changes if c.reason.startswith(("dropped", "merged")))
    assert report.notes_found == len(notes) == report.notes_kept + lost
    assert report.notes_kept == len(score) > 0
    for pitch in set(score.pitch.tolist()):
        onset, duration = score.onset[score.pitch == pitch], score.duration[score.pitch == pitch]
        assert (onset[:-1] + duration[:-1] <= onset[1:]).all()
    for a, b in zip(before, (given_.start, given_.stop, given_.pitch, given_.velocity), strict=True):
        assert (a == b).all()  # the input is left unchanged


@given(st.lists(NOTE, min_size=1, max_size=40))
def test_what_is_on_the_grid_stays(notes):
    first = quantize(raw(*((a, a + n, p, v) for a, n, p, v in notes)), "x", 4).score
    start, stop = first.onset.astype(np.int64) * 24, (first.onset + first.duration).astype(np.int64) * 24
    again = quantize(of_columns(start, stop, first.pitch.astype(np.int64), first.velocity.astype(np.int64)), "x")
    assert again.score == first
    assert not again.report.changes


def test_programs_text():
    assert programs_text(range(8)) == "programs 0–7"
    assert programs_text({24}) == "program 24"
    assert programs_text([0, 1, 2, 24, 26, 27]) == "programs 0–2, 24, 26–27"
