"""Attributes of clips, vectors made of them, and what the vectors do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate.attributes import (
    ATTRIBUTES,
    PAPER,
    attribute_vectors,
    attributes_for,
    effect,
    effect_table,
    measure,
)
from musicvae.music import Score
from musicvae.music.score import PARTS

NAMES = tuple(ATTRIBUTES)
NOTE = st.tuples(st.integers(0, 63), st.integers(36, 90), st.integers(1, 20), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)
DRUMS = PARTS.index("drums")


def build(notes, grid: int = 4, bars: int = 4) -> Score:
    columns = np.array(notes, dtype=np.int64).reshape(-1, 5).T
    scale = np.array([grid // 4, 1, grid // 4, 1, 1])[:, None]
    return Score.of(*(columns * scale), bars=bars, steps_per_beat=grid)


def values(score: Score) -> dict[str, float]:
    return dict(zip(NAMES, measure([score], NAMES)[0].tolist(), strict=True))


def rhythm(*onsets: int, grid: int = 4) -> Score:
    return Score.of(onsets, 60, 1, bars=1, steps_per_beat=grid)


def test_the_five_of_the_paper_come_first():
    assert (*PAPER, "register", "polyphony", "loudness", "length") == NAMES
    assert all(a.name == name and a.description for name, a in ATTRIBUTES.items())
    with pytest.raises(TypeError):
        ATTRIBUTES["mood"] = ATTRIBUTES["density"]


def test_a_melody_by_hand():
    # One bar: C4 quarter, C#4 on the second quarter's last 16th, E4 on the third beat, A3 a 16th after it.
    score = Score.of([0, 7, 8, 9], [60, 61, 64, 57], [4, 1, 1, 6], [80, 90, 100, 110], PARTS.index("melody"), bars=1)
    assert values(score) == pytest.approx(
        {
            "diatonic": 3 / 4,
            "density": 4 / 16,
            "interval": (1 + 3 + 7) / 3,
            "syncopation_16": 1 / 4,  # 7 follows a rest; 9 follows an onset
            "syncopation_8": 0,
            "register": 242 / 4,
            "polyphony": 1,
            "loudness": 95,
            "length": 12 / 4 / 4,
        }
    )


def test_piano_by_hand():
    # A chord that lasts the bar, a note above it in the second half, a bar of rest.
    score = Score.of([0, 0, 0, 8], [48, 52, 55, 67], [16, 16, 16, 8], bars=2)
    measured = values(score)
    assert measured["interval"] == 12  # from the top of the chord, not from the note stored last
    assert measured["density"] == 4 / 32
    assert measured["polyphony"] == (8 * 3 + 8 * 4) / 16
    assert measured["length"] == (3 * 4 + 2) / 4


@pytest.mark.parametrize(
    ("onsets", "sixteenth", "eighth"),
    [
        ((0, 4, 8, 12), 0, 0),
        (range(16), 0, 0),  # every off-beat follows an onset
        ((1, 5, 9, 13), 1, 0),
        ((2, 6, 10, 14), 0, 1),
        ((0, 2), 0, 0),  # the 8th before
        ((1, 2), 1 / 2, 0),  # the 16th before
        ((0, 3), 1 / 2, 0),
        ((2, 3), 0, 1 / 2),
        ((15,), 1, 0),
        ((0, 0, 14), 0, 1 / 2),  # notes that begin together are one onset
    ],
)
@pytest.mark.parametrize("grid", [4, 8, 12, 24])
def test_syncopation_by_hand(onsets, sixteenth, eighth, grid):
    measured = values(rhythm(*(o * grid // 4 for o in onsets), grid=grid))
    assert (measured["syncopation_16"], measured["syncopation_8"]) == (sixteenth, eighth)


def test_onsets_between_16ths_count_but_are_not_syncopated():
    triplets = values(rhythm(0, 4, 8, 18, grid=12))  # three triplet 8ths, then an off-beat 8th
    assert (triplets["syncopation_16"], triplets["syncopation_8"]) == (0, 1 / 4)
    ahead = values(rhythm(17, 18, grid=12))  # what is not on a 16th is not in the way either
    assert ahead["syncopation_8"] == 1 / 2


def test_positions_are_counted_from_the_bar_line():
    score = Score.of([7, 14], 60, 1, bars=3, meter=(7, 16))  # an odd number of 16ths: bars begin at 0, 7 and 14
    assert values(score)["syncopation_16"] == 0


@pytest.mark.parametrize("grid", [4, 8, 12, 24])
def test_a_clip_without_notes_is_zero_throughout(grid):
    assert not measure([Score.of([], [], [], bars=2, steps_per_beat=grid)], NAMES).any()


def test_drums_alone_have_rhythm_and_no_pitch():
    measured = values(Score.of([0, 3], 36, 1, part=DRUMS, bars=1))
    assert measured["diatonic"] == measured["interval"] == measured["register"] == 0
    assert measured["density"] == 2 / 16
    assert measured["syncopation_16"] == 1 / 2


@given(NOTES)
def test_ranges(notes):
    measured = values(build(notes))
    assert all(np.isfinite(v) and v >= 0 for v in measured.values())
    assert all(measured[name] <= 1 for name in ("diatonic", "syncopation_16", "syncopation_8"))
    assert measured["syncopation_16"] + measured["syncopation_8"] <= 1
    if notes:
        assert measured["polyphony"] >= 1
        assert measured["density"] == len(notes) / 64


@given(NOTES, st.sampled_from([8, 12, 24]))
def test_the_grid_changes_nothing(notes, grid):
    assert values(build(notes, grid)) == pytest.approx(values(build(notes)))


@given(NOTES, st.randoms(use_true_random=False))
def test_the_order_of_notes_changes_nothing(notes, random):
    shuffled = random.sample(notes, len(notes))
    assert values(build(shuffled)) == values(build(notes))


@given(NOTES)
def test_clips_are_left_as_they_are(notes):
    score = build(notes)
    kept = [c.copy() for c in score.columns]
    measure([score, score], NAMES)
    assert all(np.array_equal(c, k) for c, k in zip(score.columns, kept, strict=True))


@given(NOTES, st.sampled_from([-24, -12, 12, 24]))
def test_octaves_change_the_register_only(notes, octaves):
    pitched = [n for n in notes if n[4] != DRUMS]
    score = build(notes)
    before, after = values(score), values(score.transpose(octaves))
    assert after.pop("register") == pytest.approx(before.pop("register") + (octaves if pitched else 0))
    assert after == pytest.approx(before)


@given(NOTES)
def test_each_note_is_diatonic_in_seven_of_twelve_transpositions(notes):
    score = build(notes)
    pitch = np.array([n[1] for n in notes if n[4] != DRUMS])
    shares = [values(score.transpose(k))["diatonic"] for k in range(12)]
    for k, share in enumerate(shares):
        white = [(p + k) % 12 in (0, 2, 4, 5, 7, 9, 11) for p in pitch]
        assert share == pytest.approx(np.mean(white) if white else 0)
    assert sum(shares) == pytest.approx(7 if len(pitch) else 0)


@given(NOTES, st.integers(-12, 12))
def test_transposition_leaves_everything_but_scale_and_register(notes, semitones):
    score = build(notes)
    before, after = values(score), values(score.transpose(semitones))
    for name in set(NAMES) - {"diatonic", "register"}:
        assert after[name] == pytest.approx(before[name])


@given(NOTES)
def test_drums_have_no_pitch(notes):
    score = build(notes)
    higher = [(o, p + 7 if k == DRUMS else p, d, v, k) for o, p, d, v, k in notes]
    assert values(build(higher)) == pytest.approx(values(score))


@given(NOTES, st.integers(1, 4))
def test_rests_at_the_end_thin_out_and_change_nothing_else(notes, bars):
    clipped = [(o, p, min(d, 64 - o), v, k) for o, p, d, v, k in notes]
    before, after = values(build(clipped)), values(build(clipped, bars=4 + bars))
    assert after.pop("density") == pytest.approx(before.pop("density") * 4 / (4 + bars))
    assert after == pytest.approx(before)


def test_lines_of_a_trio_are_apart():
    melody, bass, drums = (PARTS.index(p) for p in ("melody", "bass", "drums"))
    parts = [melody, melody, bass, bass, drums, drums]
    trio = Score.of([0, 4, 0, 4, 0, 6], [72, 74, 36, 41, 38, 42], 2, part=parts, bars=1)
    measured = values(trio)
    assert measured["interval"] == (2 + 5) / 2
    assert measured["register"] == (72 + 74 + 36 + 41) / 4
    assert measured["density"] == 6 / 16
    assert measured["syncopation_8"] == 0  # the drums' off-beat 8th follows the onset of the others
    assert values(trio.select(trio.part == drums))["syncopation_8"] == 1 / 2


def test_which_apply_to_which_parts():
    five = attributes_for(["melody", "bass", "drums"])
    assert five == PAPER
    assert attributes_for(["melody"]) == attributes_for({"bass"}) == (*PAPER, "register", "length")
    assert attributes_for(("drums",)) == ("density", "syncopation_16", "syncopation_8", "polyphony")
    assert attributes_for(["piano"]) == NAMES
    for parts in ([], ["violin"], ["piano", "violin"]):
        with pytest.raises(ConfigError, match="wanted one or more of piano, melody, bass, drums"):
            attributes_for(parts)


def test_columns_follow_the_names():
    clips = [rhythm(0), rhythm(0, 3)]
    np.testing.assert_array_equal(measure(clips, ("density", "register")), [[1 / 16, 60], [2 / 16, 60]])
    assert measure([], ("density",)).shape == (0, 1)
    assert measure(clips, ()).shape == (2, 0)
    with pytest.raises(ConfigError, match="no attribute is called 'mood'"):
        measure(clips, ["mood"])


# ---------------------------------------------------------------------------------------------------------- vectors


def test_vectors_by_hand():
    z = np.arange(14, dtype=np.float32).reshape(7, 2) ** 2
    given_values = np.array([[3.0, 0], [1, 0], [9, 1], [5, 0], [4, 0], [8, 0], [2, 1]])
    vectors = attribute_vectors(z, given_values)
    assert vectors.dtype == np.float32
    # Thirds of seven are two: 9 and 8 above, 1 and 2 below.
    np.testing.assert_allclose(vectors[0], (z[2] + z[5] - z[1] - z[6]) / 2, rtol=1e-6)
    # The upper two have 1; the five with 0 share the lower two places.
    np.testing.assert_allclose(vectors[1], (z[2] + z[6]) / 2 - z[[0, 1, 3, 4, 5]].mean(axis=0), rtol=1e-6)


CLIPS = st.integers(3, 12).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, (n, 3), elements=st.floats(-4, 4, width=16)),
        hnp.arrays(np.float64, (n, 2), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        st.permutations(range(n)),
    )
)


@given(CLIPS)
def test_the_order_of_clips_changes_nothing(clips):
    z, measured, order = clips
    assume((np.ptp(measured, axis=0) > 0).all())
    kept = z.copy(), measured.copy()
    vectors = attribute_vectors(z, measured)
    np.testing.assert_allclose(attribute_vectors(z[order], measured[order]), vectors, atol=1e-5)
    np.testing.assert_allclose(attribute_vectors(z, -measured), -vectors, atol=1e-5)
    np.testing.assert_allclose(attribute_vectors(z + 1, measured * 3 - 1), vectors, atol=1e-5)
    assert np.array_equal(z, kept[0])
    assert np.array_equal(measured, kept[1])


def test_a_direction_is_found_again():
    """Along a planted unit direction, thirds of a normal variable differ by 2 · 1.0908; noise has sd √(2 / 1000)."""
    rng = np.random.default_rng(11)
    z = rng.standard_normal((3000, 8)).astype(np.float32)
    direction = np.array([0.6, 0.8, 0, 0, 0, 0, 0, 0])
    (vector,) = attribute_vectors(z, (z @ direction)[:, None])
    np.testing.assert_allclose(vector, 2 * 1.0908 * direction, atol=6 * (2 / 1000) ** 0.5)


def test_what_has_no_vector():
    z = np.zeros((4, 2), np.float32)
    with pytest.raises(DataError, match="attribute 1 is 5 for all 4 clips"):
        attribute_vectors(z, np.array([[0, 5], [1, 5], [2, 5], [3, 5.0]]))
    with pytest.raises(DataError, match="2 clips have no thirds"):
        attribute_vectors(z[:2], np.array([[0], [1.0]]))
    with pytest.raises(DataError, match=r"z is \(4, 2\), values \(3, 1\)"):
        attribute_vectors(z, np.zeros((3, 1)))
    with pytest.raises(DataError, match="not a finite number"):
        attribute_vectors(z, np.array([[0], [1], [2], [np.nan]]))


# ----------------------------------------------------------------------------------------------------------- effects


def test_effect_by_hand():
    before = np.array([[0.5, 2.0], [1.0, 2.0]])
    after = np.stack([[[0.75, 2.0], [1.5, 1.0]], [[0.5, 3.0], [0.25, 2.0]]])
    kept = before.copy(), after.copy()
    result = effect(before, after, ["diatonic", "density"])
    np.testing.assert_allclose(result.change, [[50, -25], [-50, 25]])
    np.testing.assert_array_equal(result.moved, [1, 0.5])  # what stays did not move
    assert result.vectors == result.names == ("diatonic", "density")
    assert ((result.low < result.moved) & (result.moved <= result.high)).all()
    less = effect(before, after[1:], ["diatonic", "density"], ["diatonic"], added=False)
    assert less.vectors == ("diatonic",)
    assert less.moved.tolist() == [0.5]
    assert np.array_equal(before, kept[0])
    assert np.array_equal(after, kept[1])


def test_effect_on_what_was_not_there():
    result = effect(np.zeros((2, 2)), np.ones((1, 2, 2)) * [1, 0], ["density", "interval"], ["density"])
    assert result.change.tolist() == [[np.inf, 0]]
    assert "+∞ %" in effect_table(result)


def test_effect_as_a_table():
    before = np.array([[0.5, 2.0], [1.0, 2.0]])
    after = np.stack([[[0.75, 2.0], [1.5, 1.0]], [[0.5, 3.0], [0.25, 2.0]]])
    assert effect_table(effect(before, after, ("diatonic", "density"))).splitlines() == [
        "| vector | diatonic | density | moved as meant |",
        "|---|---:|---:|---:|",
        "| diatonic | **+50.0 %** | −25.0 % | 100.0 % (34.2–100.0) |",
        "| density | −50.0 % | **+25.0 %** | 50.0 % (9.5–90.5) |",
    ]


def test_effect_is_checked():
    before = np.zeros((2, 1))
    with pytest.raises(DataError, match=r"before is \(2, 1\) and after \(2, 1\); wanted \(n, 1\) and \(1, n, 1\)"):
        effect(before, before, ["density"])
    with pytest.raises(ConfigError, match="the vector 'interval' has no column"):
        effect(before, before[None], ["density"], ["interval"])
