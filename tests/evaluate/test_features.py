"""Features of clips: by hand, by their properties, and by the rules of the published code."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate import attributes, published
from musicvae.evaluate.features import (
    ADDED,
    FEATURES,
    LENGTHS,
    YANG_LERCH,
    average_interval,
    empty_bar_rate,
    extract,
    groove_similarity,
    inter_onset_interval,
    line,
    note_count,
    note_length_histogram,
    note_length_transitions,
    pitch_class_entropy,
    pitch_class_histogram,
    pitch_class_transitions,
    pitch_count,
    pitch_range,
    plausibility,
    polyphony,
    scale_consistency,
)
from musicvae.music import Score
from musicvae.music.score import PARTS

C, D, E, F, G, A, B = (0, 2, 4, 5, 7, 9, 11)
DRUMS, MELODY, BASS = (PARTS.index(part) for part in ("drums", "melody", "bass"))
NOTE = st.tuples(st.integers(0, 63), st.integers(24, 96), st.integers(1, 20), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)
CLASSES = tuple(LENGTHS)
ROWS = {name for name in FEATURES if name.endswith("_bar")}


def build(notes, grid: int = 4, bars: int = 4, tempo: float = 120) -> Score:
    columns = np.array(notes, dtype=np.int64).reshape(-1, 5).T
    scale = np.array([grid // 4, 1, grid // 4, 1, 1])[:, None]
    return Score.of(*(columns * scale), bars=bars, steps_per_beat=grid, tempo=tempo)


def cells(shape, **at) -> np.ndarray:
    """An array of zeros but for these cells: `cells((12,), _0=0.5)` or `cells((12, 12), _0_4=1)`."""
    found = np.zeros(shape)
    for place, value in at.items():
        found[tuple(map(int, place.strip("_").split("_")))] = value
    return found


# Two bars. A C major chord (C4 for half a bar, E4 and G4 for a quarter), then B4 (8th) and C5 (dotted quarter) on the
# third beat and after it; in the second bar a G4 on the fourth beat for a quarter.
PIANO = Score.of([0, 0, 0, 8, 10, 28], [60, 64, 67, 71, 72, 67], [8, 4, 4, 2, 6, 4], [80, 80, 80, 40, 80, 80], bars=2)
EMPTY = Score.of([], [], [], bars=2)
ONE = Score.of([4], [61], [3], bars=1)


@pytest.mark.parametrize(
    ("function", "clip", "bars"),
    [
        (pitch_count, 5, [5, 1]),
        (note_count, 6, [5, 1]),
        (pitch_range, 12, [12, 0]),
        # Tops: G4, B4, C5 | G4. The E4 and the C4 below are not of the line.
        (average_interval, (4 + 1 + 5) / 3, [5 / 2, np.nan]),
        # Onsets at 0, 8, 10 and 28 sixteenths.
        (inter_onset_interval, 28 / 3 / 4, [10 / 2 / 4, np.nan]),
    ],
)
def test_numbers_by_hand(function, clip, bars):
    assert function(PIANO).shape == ()
    np.testing.assert_allclose(function(PIANO), clip)
    np.testing.assert_allclose(function(PIANO, by_bar=True), bars)


def test_pitch_class_histogram_by_hand():
    # C sounds 8 + 6 sixteenths, E 4, G 4 + 4, B 2.
    np.testing.assert_allclose(pitch_class_histogram(PIANO), cells(12, _0=14, _4=4, _7=8, _11=2) / 28)
    by_bar = [cells(12, _0=14, _4=4, _7=4, _11=2) / 24, cells(12, _7=1)]
    np.testing.assert_allclose(pitch_class_histogram(PIANO, by_bar=True), by_bar)


def test_pitch_class_transitions_by_hand():
    # G → B → C → G along the top notes; in the first bar alone G → B → C.
    np.testing.assert_allclose(pitch_class_transitions(PIANO), cells((12, 12), _7_11=1, _11_0=1, _0_7=1) / 3)
    by_bar = pitch_class_transitions(PIANO, by_bar=True)
    np.testing.assert_allclose(by_bar, [cells((12, 12), _7_11=0.5, _11_0=0.5), np.zeros((12, 12))])


def test_note_lengths_by_hand():
    half, quarter, eighth, dotted = (CLASSES.index(name) for name in ("half", "quarter", "8th", "dotted quarter"))
    np.testing.assert_allclose(
        note_length_histogram(PIANO)[[half, quarter, eighth, dotted]], np.array([1, 3, 1, 1]) / 6
    )
    first, second = note_length_histogram(PIANO, by_bar=True)
    np.testing.assert_allclose(first[[half, quarter, eighth, dotted]], np.array([1, 2, 1, 1]) / 5)
    assert second[quarter] == 1
    # Of the top notes: quarter → 8th → dotted quarter → quarter.
    steps = note_length_transitions(PIANO)
    np.testing.assert_allclose([steps[quarter, eighth], steps[eighth, dotted], steps[dotted, quarter]], 1 / 3)
    by_bar = note_length_transitions(PIANO, by_bar=True)
    np.testing.assert_allclose([by_bar[0, quarter, eighth], by_bar[0, eighth, dotted]], 1 / 2)
    assert not by_bar[1].any()


@pytest.mark.parametrize(
    ("sixteenths", "name"),
    [
        (1, "16th"),
        (2, "8th"),
        (3, "dotted 8th"),
        (4, "quarter"),
        (5, "half triplet"),  # 30 units: 32 is nearer than 24 and 36
        (6, "dotted quarter"),
        (7, "half"),  # 42 units: as near to 48 as to 36, and 48 stands first
        (8, "half"),
        (10, "half"),  # 60: 48 and 72
        (12, "dotted half"),
        (14, "whole"),  # 84: 96 and 72
        (16, "whole"),
        (1000, "whole"),
    ],
)
@pytest.mark.parametrize("grid", [4, 24])
def test_the_classes_of_lengths(sixteenths, name, grid):
    score = Score.of([0], [60], [sixteenths * grid // 4], bars=1, steps_per_beat=grid)
    assert note_length_histogram(score)[CLASSES.index(name)] == 1


@pytest.mark.parametrize(("steps", "name"), [(16, "half triplet"), (8, "quarter triplet"), (4, "8th triplet")])
def test_triplets(steps, name):
    score = Score.of([0], [60], [steps], bars=1, steps_per_beat=12)
    assert note_length_histogram(score)[CLASSES.index(name)] == 1


def test_the_published_units_of_length():
    # The published code counts 96 units a whole note.
    assert list(LENGTHS.values()) == [96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]


def test_scale_consistency_by_hand():
    assert scale_consistency(Score.of([0, 1, 2, 3], [60, 62, 64, 66], 1)) == 1  # G major has C, D, E and F sharp
    assert scale_consistency(Score.of([0, 1, 2, 3], [60, 61, 62, 63], 1)) == 3 / 4  # C, D, E flat
    assert scale_consistency(Score.of(range(12), range(60, 72), 1)) == 7 / 12
    assert scale_consistency(Score.of(range(4), [60, 64, 67, 61], [1, 1, 1, 99])) == 3 / 4  # however long


def test_empty_bar_rate_by_hand():
    assert empty_bar_rate(Score.of([0], [60], [4], bars=4)) == 3 / 4
    assert empty_bar_rate(Score.of([0], [60], [16], bars=4)) == 3 / 4  # ends with its bar
    assert empty_bar_rate(Score.of([0], [60], [17], bars=4)) == 2 / 4  # held into the next
    assert empty_bar_rate(Score.of([0], [60], [2**30], bars=4)) == 0
    assert empty_bar_rate(Score.of([33], [36], [1], 80, DRUMS, bars=4)) == 3 / 4


def test_polyphony_by_hand():
    # Steps 0–3: 3 notes, 4–7: 1, 8–9: 1, 10–15: 1, 28–31: 1; the others are silent.
    assert polyphony(PIANO) == (4 * 3 + 4 + 2 + 6 + 4) / 20


def test_groove_similarity_by_hand():
    same = Score.of([0, 4, 16, 20], [60, 62, 50, 72], 1, bars=2)
    assert groove_similarity(same) == 1
    # Onsets at steps 0 and 8 of one bar, 0 and 4 of the next: 2 of 16 steps differ. The third bar is empty: 2 and 2.
    assert groove_similarity(Score.of([0, 8, 16, 20], 60, 1, bars=3)) == pytest.approx(1 - (2 + 2 + 2) / 3 / 16)
    assert groove_similarity(Score.of(range(16), 60, 1, bars=2)) == 0
    assert np.isnan(groove_similarity(ONE))


def test_pitch_class_entropy_by_hand():
    # Bar 1 has C and D, bar 2 has C twice and bar 3 nothing.
    score = Score.of([0, 1, 16, 17], [60, 62, 48, 72], [1, 50, 1, 1], bars=3)
    assert pitch_class_entropy(score) == (1 + 0) / 2  # bits, over the bars that have notes
    three_to_one = -(0.75 * log2(0.75) + 0.25 * log2(0.25))
    assert pitch_class_entropy(score, 2) == pytest.approx((three_to_one + 0) / 2)  # bars 1–2 and 2–3
    assert pitch_class_entropy(score, 3) == pytest.approx(three_to_one)
    assert pitch_class_entropy(score, 4) == pytest.approx(three_to_one)  # a shorter clip is one stretch
    assert pitch_class_entropy(Score.of(range(12), range(60, 72), 1)) == pytest.approx(log2(12))
    assert str(pitch_class_entropy(ONE)) == "0.0"
    with pytest.raises(ConfigError, match="bars is 0; wanted 1 or more"):
        pitch_class_entropy(score, 0)


def test_parts_are_lines_of_their_own_and_drums_have_no_pitch():
    onset, pitch = [0, 0, 4, 4, 0, 2], [72, 40, 74, 41, 36, 38]
    score = Score.of(onset, pitch, [4, 4, 4, 4, 1, 1], 80, [MELODY, BASS, MELODY, BASS, DRUMS, DRUMS], bars=1)
    assert average_interval(score) == (2 + 1) / 2
    np.testing.assert_allclose(pitch_class_transitions(score), cells((12, 12), _0_2=0.5, _4_5=0.5))
    assert pitch_count(score) == 4
    assert pitch_range(score) == 34
    assert note_count(score) == 6
    assert inter_onset_interval(score) == 4 / 2 / 4  # 0, 2, 4: drums have rhythm
    assert note_length_histogram(score)[CLASSES.index("quarter")] == 1
    drums = score.select(score.part == DRUMS)
    assert pitch_count(drums) == 0
    assert np.isnan(pitch_range(drums))
    assert not pitch_class_histogram(drums).any()
    assert not note_length_histogram(drums).any()


def test_the_line():
    # Of C5 and C5, the longer; then a chord; parts one after another.
    score = Score.of([0, 0, 4, 4, 0, 16], [72, 72, 60, 64, 40, 41], [1, 3, 9, 2, 4, 4], 80, [0, 0, 0, 0, 2, 2], bars=2)
    top, follows = line(score)
    assert score.pitch[top].tolist() == [72, 64, 40, 41]
    assert score.duration[top].tolist() == [3, 2, 4, 4]
    assert follows.tolist() == [True, False, True]
    assert line(score, by_bar=True)[1].tolist() == [True, False, False]
    together = Score.of([0, 0], [72, 40], 1, 80, [MELODY, BASS])
    assert together.pitch[line(together)[0]].tolist() == [72, 40]


@pytest.mark.parametrize("score", [EMPTY, ONE], ids=["empty", "one note"])
@pytest.mark.parametrize("name", FEATURES)
def test_nothing_to_measure(score, name):
    value = FEATURES[name].function(score)
    rows = value if name in ROWS else value[None]
    assert len(rows) == (score.bars if name in ROWS else 1)
    if rows.ndim > 1 or "count" in name:
        one = len(score) and "transitions" not in name
        np.testing.assert_array_equal(rows.reshape(len(rows), -1).sum(axis=1), one)
    elif not len(score):
        np.testing.assert_array_equal(rows, 1 if name in ("empty_bar_rate", "groove_similarity") else np.nan)
    else:
        undefined = dict.fromkeys(("average_interval", "inter_onset_interval", "groove_similarity"), np.nan)
        expected = {"scale_consistency": 1, "polyphony": 1, **undefined}
        np.testing.assert_array_equal(rows, expected.get(name.removesuffix("_bar").removesuffix("_published"), 0))


@pytest.mark.parametrize("name", FEATURES)
@settings(max_examples=15)
@given(notes=NOTES)
def test_a_score_stays_as_it_is(name, notes):
    score = build(notes)
    before = [column.tobytes() for column in score.columns]
    first = FEATURES[name].function(score)
    again = FEATURES[name].function(build(notes))
    np.testing.assert_array_equal(first, again)
    assert [column.tobytes() for column in score.columns] == before


@pytest.mark.parametrize("name", FEATURES)
@settings(max_examples=15)
@given(notes=NOTES, semitones=st.integers(-24, 24))
def test_transposition_turns_pitch_classes_and_moves_nothing_else(name, notes, semitones):
    score = build(notes)
    pitched = score.part != DRUMS
    pitch = score.pitch + semitones * pitched
    moved = Score.of(score.onset, pitch, score.duration, score.velocity, score.part, bars=score.bars)
    value = FEATURES[name].function(score)
    if "pitch_class_transitions" in name:
        value = np.roll(value, semitones, axis=(-2, -1))
    elif "pitch_class_histogram" in name:
        value = np.roll(value, semitones, axis=-1)
    np.testing.assert_allclose(FEATURES[name].function(moved), value, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in FEATURES if "pitch_class" in name or name == "scale_consistency"])
@settings(max_examples=15)
@given(notes=st.lists(st.tuples(NOTE, st.integers(-2, 2)), max_size=30))
def test_octaves_leave_pitch_classes(name, notes):
    # Each note is moved by octaves of its own; one note an onset, so that the same notes are the line.
    apart = [((i, *note[1:4], 0), octaves) for i, (note, octaves) in enumerate(notes)]
    score = build([note for note, _ in apart], bars=2)
    moved = build([(note[0], note[1] + 12 * octaves, *note[2:]) for note, octaves in apart], bars=2)
    np.testing.assert_allclose(FEATURES[name].function(moved), FEATURES[name].function(score), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in FEATURES if name != "groove_similarity"])
@settings(max_examples=15)
@given(notes=NOTES, grid=st.sampled_from([8, 12, 24]))
def test_the_grid_changes_nothing(name, notes, grid):
    # On 16ths there are no triplets between the notes: 12 is the one grid on which 16ths are whole steps and 8 is not.
    np.testing.assert_allclose(
        FEATURES[name].function(build(notes, grid)), FEATURES[name].function(build(notes)), atol=1e-9
    )


@pytest.mark.parametrize("name", [name for name in FEATURES if not name.endswith("_published")])
@settings(max_examples=15)
@given(notes=NOTES, tempo=st.floats(40, 240))
def test_tempo_and_velocity_change_nothing(name, notes, tempo):
    quiet = [(*note[:3], 1, note[4]) for note in notes]
    other = FEATURES[name].function(build(quiet, tempo=tempo))
    # Of two notes of one onset, pitch and length, which is the other is all that velocity could say.
    np.testing.assert_allclose(other, FEATURES[name].function(build(notes)), atol=1e-12)


@pytest.mark.parametrize("name", sorted(ROWS))
@settings(max_examples=15)
@given(notes=NOTES)
def test_a_bar_is_a_clip_of_its_own(name, notes):
    score = build(notes)
    rows = FEATURES[name].function(score)
    clip = FEATURES[name.removesuffix("_bar")]
    for bar, row in enumerate(rows):
        mine = score.onset // 16 == bar
        np.testing.assert_allclose(clip.function(score.select(mine)), row, atol=1e-12)


@settings(max_examples=40)
@given(notes=NOTES)
def test_ranges_of_values(notes):
    score = build(notes)
    for name in FEATURES:
        value = FEATURES[name].function(score)
        assert value.dtype == np.float64
        known = value[~np.isnan(value)]
        assert (known >= 0).all()
        if "histogram" in name or ("transitions" in name and not name.endswith("_published")):
            rows = value.reshape(len(value) if name in ROWS else 1, -1)
            assert set(rows.sum(axis=1).round(9)) <= {0, 1}
        if name in ("scale_consistency", "empty_bar_rate", "groove_similarity"):
            assert (known <= 1).all()
        if name.startswith("pitch_class_entropy"):
            assert (known <= log2(12) + 1e-12).all()


@settings(max_examples=40)
@given(notes=NOTES)
def test_the_attributes_of_the_same_name_agree(notes):
    score = build(notes)
    value = average_interval(score)
    assert attributes.interval(score) == pytest.approx(0 if np.isnan(value) else float(value))


@settings(max_examples=40)
@given(notes=NOTES, order=st.permutations(range(4)))
def test_groove_similarity_ignores_the_order_of_the_bars(notes, order):
    score = build(notes)
    onset = np.array(order)[score.onset // 16] * 16 + score.onset % 16
    shuffled = Score.of(onset, score.pitch, score.duration, bars=4)
    assert groove_similarity(shuffled) == pytest.approx(groove_similarity(score))


def test_another_meter():
    score = Score.of([0, 12, 13], [60, 62, 64], [4, 1, 1], bars=2, meter=(3, 4))
    assert note_count(score, by_bar=True).tolist() == [1, 2]
    assert note_length_histogram(score)[CLASSES.index("quarter")] == pytest.approx(1 / 3)  # not a third of the bar


def test_extract():
    scores = [PIANO, EMPTY, PIANO.transpose(1)]
    found = extract(scores)
    assert tuple(found) == YANG_LERCH + ADDED
    assert found["pitch_class_transitions"].shape == (3, 12, 12)
    assert found["note_count_bar"].tolist() == [[5, 1], [0, 0], [5, 1]]
    assert found["pitch_range"][[0, 2]].tolist() == [12, 12]
    assert extract([PIANO, ONE], ["note_count"])["note_count"].tolist() == [6, 1]
    with pytest.raises(DataError, match="the clips have 1 to 2 bars, and note_count_bar wants one length"):
        extract([PIANO, ONE], ["note_count", "note_count_bar"])
    with pytest.raises(ConfigError, match="no feature is called 'swing'; wanted some of pitch_count, note_count"):
        extract([PIANO], ["swing"])


def test_the_table():
    assert all(feature.name == name and feature.description for name, feature in FEATURES.items())
    assert set(YANG_LERCH + ADDED) <= set(FEATURES)
    assert (len(YANG_LERCH), len(ADDED)) == (12, 6)
    with pytest.raises(TypeError):
        FEATURES["mood"] = FEATURES["note_count"]


def test_plausibility():
    real = [Score.of(range(n), range(40, 40 + n), n, bars=2) for n in range(1, 21)]
    found = plausibility([real[9], real[19], EMPTY], real)
    assert list(found) == ["note_count", "pitch_range", "note_length"]
    low, high = np.quantile(np.arange(1, 21), [0.05, 0.95])
    assert found["note_count"] == {"low": low, "high": high, "reference_median": 10.5, "median": 10, "inside": 1 / 3}
    assert found["pitch_range"]["median"] == 14  # of the clips that have pitches
    assert found["note_length"]["reference_median"] == 10.5 / 4
    drums = [Score.of(range(n), 36, 1, 80, DRUMS, bars=2) for n in range(1, 21)]
    assert list(plausibility(drums, drums)) == ["note_count", "note_length"]


# ------------------------------------------------------------------------------------------------ the published rules
@settings(max_examples=40)
@given(notes=st.lists(NOTE, min_size=1, max_size=20), tempo=st.sampled_from([60.0, 120.0, 200.0]))
def test_published_rules_are_those_of_pretty_midi(notes, tempo):
    pretty_midi = pytest.importorskip("pretty_midi")
    score = build([(*note[:4], 0) for note in notes], tempo=tempo)
    seconds = 60 / tempo / 4
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes = [
        pretty_midi.Note(int(v), int(p), o * seconds, (o + d) * seconds)
        for o, p, d, v in zip(score.onset, score.pitch, score.duration, score.velocity, strict=True)
    ]
    # What MGEval calls for the transitions; its histogram has the same weights on a roll of 100 columns a second.
    np.testing.assert_array_equal(published.pitch_class_transitions(score), midi.get_pitch_class_transition_matrix())
    weights = midi.get_pitch_class_histogram(use_duration=True, use_velocity=True, normalize=True)
    np.testing.assert_allclose(published.pitch_class_histogram(score), weights, atol=1e-12)


def test_published_rules_by_hand():
    # Onsets 0, 0, 0, 8, 10, 28 sixteenths of an 8th of a second; chords count from the lowest note up.
    assert published.inter_onset_interval(PIANO) == pytest.approx(28 / 5 / 8)
    assert published.average_interval(PIANO) == (4 + 3 + 4 + 1 + 5) / 5
    # C4 ends at 8, where B4 begins; B4 ends at 10, where C5 begins. E4 and G4 end at 4, where nothing does.
    np.testing.assert_array_equal(published.pitch_class_transitions(PIANO), cells((12, 12), _0_11=1, _11_0=1))
    weights = cells(12, _0=80 * 14, _4=80 * 4, _7=80 * 8, _11=40 * 2)
    np.testing.assert_allclose(published.pitch_class_histogram(PIANO), weights / weights.sum())
    # A step of the finest grid is shorter than the threshold.
    near = Score.of([0, 25], [60, 62], [24, 24], bars=1, steps_per_beat=24)
    assert published.pitch_class_transitions(near).sum() == 1
    # A step of 0.05 seconds is not: the second begins within less of the first's end, or not at all.
    edge = Score.of([0, 2], [60, 62], [1, 1], bars=1, steps_per_beat=12, tempo=100)
    assert published.pitch_class_transitions(edge).sum() == 0
