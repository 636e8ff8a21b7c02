"""Melody, drums and trio: what a token a step can hold comes back exactly, and what it cannot is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicvae.codecs import DrumsCodec, MelodyCodec, TrioCodec, codec
from musicvae.codecs.drums import CLASSES
from musicvae.config import CodecConfig
from musicvae.errors import CodecError
from musicvae.music import GRIDS, PARTS, Change, Score

KINDS = ("melody", "drums", "trio")
BAR = 16


def of(kind: str, grid: int = 4, **settings: object):
    return codec(CodecConfig(kind=kind, steps_per_beat=grid, **settings))  # type: ignore[arg-type]


def melody_notes(draw: st.DrawFn, steps: int, part: int) -> list[tuple[int, ...]]:
    onsets = sorted(draw(st.sets(st.integers(0, steps - 1), max_size=20)))
    rooms = np.diff([*onsets, steps]).tolist()
    return [
        (on, draw(st.integers(21, 108)), draw(st.integers(1, room)), 80, part)
        for on, room in zip(onsets, rooms, strict=True)
    ]


def drum_notes(draw: st.DrawFn, steps: int) -> list[tuple[int, ...]]:
    hits = draw(st.sets(st.tuples(st.integers(0, steps - 1), st.sampled_from([p[0] for p in CLASSES.values()]))))
    return [(on, pitch, 1, 80, 3) for on, pitch in hits]


@st.composite
def scores(draw: st.DrawFn, kind: str) -> Score:
    """Draw any Score that the codec holds exactly."""
    grid, bars = draw(st.sampled_from(GRIDS)), draw(st.integers(1, 6))
    steps = 4 * grid * bars
    notes = []
    if kind != "drums":
        notes += melody_notes(draw, steps, 1)
    if kind == "trio":
        notes += melody_notes(draw, steps, 2)
    if kind != "melody":
        notes += drum_notes(draw, steps)
    columns = np.array(notes, dtype=np.int64).reshape(-1, 5).T
    return Score.of(*columns, bars=bars, steps_per_beat=grid, tempo=draw(st.floats(20, 300)))


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), scores(kind))))
def test_what_fits_comes_back_exactly(case):
    kind, score = case
    mine = of(kind, score.steps_per_beat)
    tokens, changes = mine.encode(score)
    assert changes == ()
    assert tokens.shape == (score.bars, score.steps_per_bar, len(mine.spec.sizes))
    assert tokens.dtype == np.int64
    assert (tokens >= 0).all()
    assert (tokens < np.array(mine.spec.sizes)).all()
    assert mine.decode(tokens, score.tempo) == score


@given(st.sampled_from(KINDS), st.sampled_from(GRIDS), st.integers(1, 4), st.data())
def test_decode_takes_any_integers_in_range(kind, grid, bars, data):
    mine = of(kind, grid, pitch_low=0, pitch_high=127)
    raw = data.draw(hnp.arrays(np.int64, (bars, 4 * grid, len(mine.spec.sizes)), elements=st.integers(0, 2**20)))
    tokens = raw % np.array(mine.spec.sizes)
    score = mine.decode(tokens, 100)
    assert (score.bars, score.tempo) == (bars, 100)
    assert {PARTS[p] for p in score.part} <= set(mine.parts)
    again = mine.encode(score)
    assert again.changes == ()
    assert mine.decode(again.tokens, 100) == score
    # Canonical tokens, in which no note-off follows another, come back themselves.
    assert np.array_equal(mine.encode(mine.decode(again.tokens)).tokens, again.tokens)
    if kind == "drums":
        assert np.array_equal(again.tokens, tokens)


def test_tokens_by_hand():
    score = Score.of([0, 4, 16, 24], [60, 62, 64, 21], [2, 12, 8, 8], 80, 1, bars=2)
    tokens = of("melody").encode(score).tokens
    assert tokens.shape == (2, 16, 1)
    expected = np.zeros(32, dtype=np.int64)
    expected[[0, 2, 4, 16, 24]] = [
        41,
        1,
        43,
        45,
        2,
    ]  # the next note ends the second, a note the third, the end the last
    assert tokens.ravel().tolist() == expected.tolist()
    wide = of("melody", pitch_low=0, pitch_high=127)
    assert wide.spec.sizes == (130,)
    assert wide.encode(score).tokens[0, 0] == 62


def test_drum_tokens_by_hand():
    score = Score.of([0, 0, 0, 5, 31], [36, 42, 51, 50, 49], 1, 80, 3, bars=2)
    tokens = of("drums").encode(score).tokens.ravel()
    assert tokens[[0, 5, 31]].tolist() == [1 + 4 + 256, 64, 128]
    assert (tokens > 0).sum() == 3


def test_specs():
    melody, drums, trio = (of(kind).spec for kind in KINDS)
    assert (melody.slots, melody.sizes, melody.end, melody.ordered) == (16, (90,), None, False)
    assert [s.name for s in trio.streams] == [f.name for s in trio.streams for f in s.fields] == list(PARTS[1:])
    assert trio.sizes == (90, 90, 512)
    assert drums.streams[0].fields[0].binary
    assert not trio.streams[2].fields[0].binary
    assert of("trio", 24).spec.slots == of("trio", 24).steps_per_bar == 96
    assert [of(kind).parts for kind in ("piano", *KINDS)] == [("piano",), ("melody",), ("drums",), PARTS[1:]]
    assert MelodyCodec(CodecConfig(), "bass").spec.streams[0].name == "bass"


@pytest.mark.parametrize(
    ("kind", "notes", "change"),
    [
        ("melody", [(0, 60, 1, 80, 1), (0, 62, 1, 80, 0)], Change("dropped: not of the melody part", 1)),
        ("melody", [(0, 20, 1, 80, 1), (0, 109, 1, 80, 1)], Change("dropped: pitch outside 21–108", 2)),
        (
            "melody",
            [(0, 60, 1, 80, 1), (0, 62, 1, 80, 1), (0, 61, 1, 80, 1)],
            Change("dropped: a higher note begins on the same step", 2),
        ),
        ("melody", [(0, 60, 5, 80, 1), (4, 62, 4, 80, 1)], Change("cut: the next note begins", 1)),
        ("melody", [(12, 60, 5, 80, 1)], Change("shortened: sounds past the last bar", 1)),
        ("melody", [(12, 60, 1, 79, 1), (13, 60, 1, 80, 1)], Change("changed: velocity to 80", 1)),
        ("drums", [(0, 36, 1, 80, 3), (0, 36, 1, 80, 2)], Change("dropped: not of the drums", 1)),
        ("drums", [(0, 36, 1, 80, 3), (1, 88, 1, 80, 3)], Change("dropped: pitch is not of a class of drums", 1)),
        ("drums", [(0, 36, 1, 80, 3), (0, 36, 1, 80, 3)], Change("merged: same class of drums on the same step", 1)),
        ("drums", [(0, 35, 1, 80, 3), (0, 42, 1, 80, 3)], Change("changed: pitch to the first of its class", 1)),
        ("drums", [(0, 36, 2, 80, 3)], Change("changed: length to one step", 1)),
        ("drums", [(0, 36, 1, 127, 3)], Change("changed: velocity to 80", 1)),
        ("trio", [(0, 36, 1, 80, 0)], Change("dropped: not of the melody, bass or drums", 1)),
        ("trio", [(0, 36, 17, 80, 2)], Change("shortened: sounds past the last bar (bass)", 1)),
    ],
)
def test_each_loss_is_counted(kind, notes, change):
    score = Score.of(*np.array(notes).T, bars=1)
    mine = of(kind)
    tokens, changes = mine.encode(score)
    assert changes == (change,)
    assert mine.decode(tokens) != score
    assert mine.encode(mine.decode(tokens)).changes == ()


@given(st.sampled_from(KINDS), st.lists(st.tuples(*(st.integers(0, n) for n in (63, 127, 40, 126, 3))), max_size=40))
def test_every_note_is_accounted_for(kind, notes):
    columns = np.array(notes, dtype=np.int64).reshape(-1, 5) + np.array([0, 0, 1, 1, 0])
    score = Score.of(*columns.T, bars=4)
    for polyphony in ("highest", "skip"):
        mine = of(kind, polyphony=polyphony)
        tokens, changes = mine.encode(score)
        lost = sum(c.notes for c in changes if c.reason.startswith(("dropped", "merged")))
        assert len(mine.decode(tokens)) == len(score) - lost
        assert mine.encode(mine.decode(tokens)).changes == ()


def test_every_general_midi_drum_has_a_class():
    pitches = [p for kind in CLASSES.values() for p in kind]
    assert len(pitches) == len(set(pitches))
    assert set(pitches) == {22, 26, *range(27, 88)}
    assert len(CLASSES) == 9
    for number, kind in enumerate(CLASSES.values()):
        for pitch in kind:
            tokens, changes = of("drums").encode(Score.of(0, pitch, 1, 80, 3))
            assert tokens[0, 0, 0] == 2**number
            assert of("drums").decode(tokens).pitch.tolist() == [kind[0]]
            assert bool(changes) == (pitch != kind[0])
    others = np.setdiff1d(np.arange(128), pitches)
    tokens, changes = of("drums").encode(Score.of(np.arange(len(others)), others, 1, 80, 3))
    assert not tokens.any()
    assert changes == (Change("dropped: pitch is not of a class of drums", len(others)),)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_meters_grids_and_tokens_are_refused(kind):
    mine = of(kind)
    with pytest.raises(CodecError, match=rf"the meter is 5/4; the {kind} codec needs 4/4.*--any-meter"):
        mine.encode(Score.of(0, 60, 1, meter=(5, 4)))
    with pytest.raises(CodecError, match="has 8 steps a beat; this codec has 4"):
        mine.encode(Score.of(0, 60, 1, steps_per_beat=8))
    fields = len(mine.spec.sizes)
    for shape in ((2, 15, fields), (2, 16, fields + 1), (16, fields), (0, 16, fields)):
        with pytest.raises(CodecError, match=rf"tokens have shape .*; the {kind} codec has \(bars, 16, {fields}\)"):
            mine.decode(np.zeros(shape, dtype=np.int64))
    for wrong in (-1, mine.spec.sizes[0]):
        tokens = np.zeros((1, 16, fields), dtype=np.int64)
        tokens[0, 3, 0] = wrong
        name = mine.spec.streams[0].fields[0].name
        with pytest.raises(CodecError, match=rf"a token of {name} is {wrong}; wanted 0 to {mine.spec.sizes[0] - 1}"):
            mine.decode(tokens)


def test_no_notes_at_all():
    for kind in KINDS:
        tokens, changes = of(kind).encode(Score.of([], [], [], bars=3))
        assert changes == ()
        assert not tokens.any()
        assert of(kind).decode(tokens) == Score.of([], [], [], bars=3)


# ------------------------------------------------------------------------------------- many voices on one line
NOTE = st.tuples(st.integers(0, 79), st.integers(1, 40), st.integers(18, 112))
VOICES = st.lists(st.tuples(st.integers(5, 7), st.lists(NOTE, max_size=12)), max_size=5)  # bars of 16 steps, notes


def line_of(voices) -> tuple[np.ndarray, ...]:
    """Return onset, duration, pitch, first_step and steps of voices laid one after another, the notes shuffled."""
    steps = np.array([bars * BAR for bars, _ in voices], dtype=np.int64)
    first = np.cumsum(steps) - steps
    notes = [(first[v] + on, length, pitch) for v, (_, played) in enumerate(voices) for on, length, pitch in played]
    columns = np.random.default_rng(0).permutation(np.array(notes, dtype=np.int64).reshape(-1, 3)).T
    return *columns, first, steps


def score_of(voice, part: int) -> Score:
    bars, notes = voice
    onset, duration, pitch = np.array(notes, dtype=np.int64).reshape(-1, 3).T
    return Score.of(onset, pitch, duration, 80, part, bars=bars)


@given(VOICES, st.sampled_from(["melody", "drums"]), st.sampled_from(["highest", "skip"]))
def test_a_line_of_voices_is_each_of_them_encoded(voices, kind, polyphony):
    mine = of(kind, polyphony=polyphony)
    *notes, first, steps = line_of(voices)
    notes = [n.astype(np.uint16) for n in notes]  # as data sets store them
    line = mine.timeline(*notes, first, steps)
    assert len(line.tokens) == steps.sum()
    for (bars, played), begin in zip(voices, first, strict=True):
        # Notes that begin together with one pitch may be any of them.
        alone = list({(on, pitch): (on, length, pitch) for on, length, pitch in sorted(played)}.values())
        if len(alone) == len(played):
            tokens = mine.encode(score_of((bars, alone), PARTS.index(kind))).tokens
            assert np.array_equal(line.tokens[begin : begin + bars * BAR], tokens.ravel())
    # Phrases lie in order, each within one voice, and hold every token but 0.
    inside = np.zeros(len(line.tokens), dtype=np.bool_)
    edges = {*first.tolist(), int(steps.sum())}
    before = 0
    for begin, count in (line.phrases * BAR).tolist():
        assert begin >= before
        assert count >= BAR
        assert not edges & {*range(begin + 1, begin + count)}
        assert line.tokens[begin : begin + BAR].max() >= (2 if kind == "melody" else 1)
        inside[begin : begin + count] = True
        before = begin + count
    assert not (line.tokens[~inside] > (1 if kind == "melody" else 0)).any()


def phrases(kind: str, *notes: tuple[int, ...], bars: int = 8, **settings: object) -> list[list[int]]:
    onset, duration, pitch = (np.array(c) for c in zip(*notes, strict=True))
    return of(kind, **settings).timeline(onset, duration, pitch, np.array([0]), np.array([bars * BAR])).phrases.tolist()


def test_a_rest_of_a_bar_ends_a_phrase():
    assert phrases("melody", (3, 4, 60), (7 + 16, 4, 60)) == [[0, 1], [1, 1]]
    assert phrases("melody", (3, 4, 60), (7 + 15, 4, 60)) == [[0, 2]]
    assert phrases("drums", (3, 9, 36), (4 + 16, 9, 36)) == [[0, 1], [1, 1]]
    assert phrases("drums", (3, 9, 36), (4 + 15, 9, 36)) == [[0, 2]]


def test_a_phrase_begins_with_the_bar_of_its_first_note_and_ends_with_that_of_its_last_end():
    assert phrases("melody", (37, 3, 60), (40, 24, 60), (100, 5, 61)) == [[2, 2], [6, 1]]
    assert phrases("melody", (37, 3, 60), (40, 25, 60), (100, 5, 61)) == [[2, 3], [6, 1]]
    assert phrases("drums", (37, 1, 36), (50, 1, 36), (63, 1, 38), (80, 1, 36)) == [[2, 2], [5, 1]]


def test_a_note_held_over_the_rest_of_others_holds_the_phrase_together():
    assert phrases("melody", (0, 90, 60), (40, 4, 60), (60, 1, 60)) == [[0, 3], [3, 1]]  # cut by the second, not held
    assert phrases("melody", (0, 90, 60), (100, 4, 60)) == [[0, 7]]
    assert phrases("melody", (0, 84, 60), (100, 4, 60)) == [[0, 6], [6, 1]]


def test_a_note_of_a_chord_that_is_dropped_does_not_count_for_the_phrase():
    assert phrases("melody", (0, 4, 72), (0, 30, 60), (20, 4, 60)) == [[0, 1], [1, 1]]
    assert phrases("melody", (0, 4, 72), (8, 4, 110), (20, 4, 60)) == [[0, 1], [1, 1]]
    assert phrases("drums", (0, 1, 36), (8, 1, 100), (17, 1, 36)) == [[0, 1], [1, 1]]


def test_skip_keeps_the_phrases_before_the_first_that_is_polyphonic():
    notes = [(0, 4, 60), (32, 4, 60), (34, 2, 62), (34, 4, 60), (64, 4, 60)]
    assert phrases("melody", *notes) == [[0, 1], [2, 1], [4, 1]]
    assert phrases("melody", *notes, polyphony="skip") == [[0, 1]]
    score = Score.of(*np.array(notes).T[[0, 2, 1]], 80, 1, bars=8)
    tokens, changes = of("melody", polyphony="skip").encode(score)
    assert np.flatnonzero(tokens).tolist() == [0, 4]
    assert changes == (Change("dropped: notes begin together in this phrase or before it", 4),)
    # A pitch that the codec does not hold makes no chord.
    assert phrases("melody", (0, 4, 60), (0, 4, 110), polyphony="skip") == [[0, 1]]


def test_skip_does_not_reach_into_the_next_voice():
    mine = of("melody", polyphony="skip")
    onset, pitch = np.array([0, 0, 16, 48, 64]), np.array([60, 62, 60, 60, 61])
    line = mine.timeline(onset, np.full(5, 2), pitch, np.array([0, 16]), np.array([16, 64]))
    assert line.phrases.tolist() == [[1, 1], [3, 2]]
    assert np.flatnonzero(line.tokens).tolist() == [16, 18, 48, 50, 64, 66]


def test_opening_leaves_out_what_ends_a_note_before_the_window():
    windows = np.array([[0, 1, 0, 5, 1], [1, 0, 0, 0, 0], [7, 1, 0, 9, 0]], dtype=np.uint8)
    assert MelodyCodec.opening(windows).tolist() == [[0, 0, 0, 5, 1], [0, 0, 0, 0, 0], [7, 1, 0, 9, 0]]
    assert windows[0, 1] == 1
    assert MelodyCodec.opening(windows).dtype == np.uint8


@given(VOICES, st.data())
def test_a_trio_line_is_that_of_each_part(voices, data):
    part = np.array([data.draw(st.integers(0, 2)) for _ in voices], dtype=np.int64)
    trio = of("trio")
    *notes, first, steps = line_of(voices)
    line = trio.timeline(*notes, part, first, steps)
    for (bars, played), kind, begin in zip(voices, part, first, strict=True):
        one = [trio.melody, trio.bass, trio.drums][kind]
        columns = np.array(played, dtype=np.int64).reshape(-1, 3).T
        pairs = {(on, pitch) for on, _, pitch in played}
        tokens = one.timeline(*columns, np.array([0]), np.array([bars * BAR])).tokens
        if len(pairs) == len(played):
            assert np.array_equal(line.tokens[begin : begin + bars * BAR], tokens)
        playing = np.zeros(bars, dtype=np.bool_)
        for on, length, _ in played if tokens.any() else ():
            playing[max(on // BAR - 2, 0) : -(-(on + length) // BAR) + 2] = True
        assert np.array_equal(line.playing[begin // BAR : begin // BAR + bars], playing)


def playing(*text: str) -> np.ndarray:
    return np.array([[c == "x" for c in row] for row in text])


def test_windows_of_a_trio():
    trio: TrioCodec = of("trio")
    everywhere = playing("x" * 20, "x" * 20, "x" * 20)
    assert trio.windows(everywhere, 16).tolist() == [0, 1, 2, 3, 4]
    assert trio.windows(everywhere, 20).tolist() == [0]
    assert trio.windows(everywhere, 21).tolist() == []
    hole = playing("x" * 20, "x" * 20, "xxxxx.xxxxxxxxxxxxxx")
    assert trio.windows(hole, 8).tolist() == list(range(6, 13))
    # In the first two and the last two bars one voice is enough.
    edges = playing("x" * 20, ".." + "x" * 16 + "..", "." + "x" * 18 + ".")
    assert trio.windows(edges, 20).tolist() == [0]
    assert trio.windows(playing("x" * 20, "..." + "x" * 17, "x" * 20), 17).tolist() == [3]
    assert trio.windows(playing("x" * 4, "x" * 4, "...."), 2).tolist() == []
    before = everywhere.copy()
    trio.windows(everywhere, 16)
    assert (everywhere == before).all()


def test_the_drums_codec_does_not_mind_lengths():
    mine = DrumsCodec(CodecConfig(kind="drums"))
    notes = np.array([0, 20, 70]), np.array([36, 38, 42])
    lines = [mine.timeline(notes[0], np.full(3, n), notes[1], np.array([0]), np.array([96])) for n in (1, 90)]
    assert np.array_equal(lines[0].tokens, lines[1].tokens)
    assert np.array_equal(lines[0].phrases, lines[1].phrases)
