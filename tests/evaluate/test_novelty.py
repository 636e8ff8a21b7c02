"""Novelty: what is found is there, nothing longer is, and planted copies come out wherever they were put."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicvae.data.dataset import Dataset
from musicvae.data.layout import KEPT
from musicvae.data.prepare import prepare
from musicvae.errors import DataError, MusicVAEError
from musicvae.evaluate import lines, novelty
from musicvae.evaluate.copying import CLIPS, TRIES, compare, copied_songs, excess, held_out, kept_level, level, redraw
from musicvae.evaluate.novelty import GROUP, Found, Index, Run, described
from musicvae.evaluate.suffixes import Suffixes, sort_suffixes
from musicvae.music import PARTS, Score
from songs import write_tracks

Notes = list[tuple[int, int]]
"""Onset and pitch."""

SONG = st.lists(st.tuples(st.integers(0, 12), st.integers(60, 63)), min_size=1, max_size=14).map(
    lambda notes: sorted(set(notes))
)
"""Few onsets and pitches, so that much of it is the same."""


def score(notes: Notes, part: str = "piano", duration: int = 1, **more: object) -> Score:
    onset, pitch = zip(*notes, strict=True)
    return Score.of(onset, pitch, duration, part=PARTS.index(part), **more)  # type: ignore[arg-type]


def tune(seed: int, notes: int, *, low: int = 50, high: int = 80) -> Notes:
    """A tune without chords, of which no four notes come twice or in another tune, but by a rare chance."""
    rng = np.random.default_rng([3, seed])
    return list(
        zip(np.cumsum(rng.integers(1, 6, notes)).tolist(), rng.integers(low, high, notes).tolist(), strict=True)
    )


def moved(notes: Notes, steps: int = 0, semitones: int = 0) -> Notes:
    return [(onset + steps, pitch + semitones) for onset, pitch in notes]


def relative(notes: Notes, key: str) -> tuple[tuple[int, int], ...]:
    """What two runs have in common: distances, and pitches or intervals."""
    at, base = notes[0][0], notes[0][1] if key == "any key" else 0
    return tuple((onset - at, pitch - base) for onset, pitch in notes)


def unrepeated(notes: Notes, key: str) -> int:
    groups = [relative(notes[i : i + GROUP], key) for i in range(len(notes) - GROUP + 1)]
    return min(len(notes), GROUP - 1) + len(set(groups))


def by_force(clip: Notes, songs: list[Notes], key: str) -> tuple[int, int]:
    """Return the notes of the longest run and the unrepeated ones of the most telling, by trying every stretch."""
    longest = telling = 0
    for first, last in itertools.combinations(range(len(clip)), 2):
        run = clip[first : last + 1]
        stretches = (song[i : i + len(run)] for song in songs for i in range(len(song) - len(run) + 1))
        if any(relative(s, key) == relative(run, key) for s in stretches):
            longest, telling = max(longest, len(run)), max(telling, unrepeated(run, key))
    return longest, telling


# ------------------------------------------------------------------------------------------------- suffix arrays
@given(st.lists(st.integers(0, 3), max_size=40))
def test_suffixes_are_sorted(steps):
    array = sort_suffixes(np.array(steps, np.uint16))
    assert array.tolist() == sorted(range(len(steps)), key=lambda i: steps[i:])


@given(st.lists(st.integers(0, 300), max_size=30), st.lists(st.integers(0, 300), max_size=5), st.integers(0, 1))
def test_what_a_text_holds(steps, some, half):
    text = np.array(steps, ">u2").tobytes()
    sequence = np.array(some, ">u2").tobytes()
    sequence = sequence[: len(sequence) - half]
    suffixes = Suffixes(np.array(steps, np.uint16))
    at = [i for i in range(len(steps)) if text[2 * i :].startswith(sequence)]
    assert suffixes.where(sequence).tolist() == at
    assert suffixes.holds(sequence) == bool(at)
    common = [
        k for k in range(len(sequence) + 1) if any(text[2 * i : 2 * i + k] == sequence[:k] for i in range(len(steps)))
    ]
    assert suffixes.longest(sequence) == max(common, default=0)


# ---------------------------------------------------------------------------------------------------------- runs
@settings(max_examples=60)
@given(st.lists(SONG, min_size=1, max_size=4), SONG)
def test_runs_are_those_found_by_force(songs, clip):
    index = Index.of_songs([score(s) for s in songs], ("piano",))
    found = index.find(score(clip))["notes"]
    for key in ("exact", "any key"):
        assert found[key].of == len(clip)
        assert (found[key].longest.notes, found[key].telling.unrepeated) == by_force(clip, songs, key)
        for run in (found[key].longest, found[key].telling):
            if not run.notes:
                assert run == Run()
                continue
            # It is there, in the clip and in the song, and in as many songs as it says.
            first = clip.index(
                next(n for n in clip if place(n[0]) == (run.bar, run.beat) and fits(clip, n, run, songs, key))
            )
            notes = relative(clip[first : first + run.notes], key)
            having = [
                i
                for i, s in enumerate(songs)
                if any(relative(s[j : j + run.notes], key) == notes for j in range(len(s)))
            ]
            assert (having[0], len(having)) == (run.song, run.songs)
            assert run.unrepeated == unrepeated(clip[first : first + run.notes], key)


def place(onset: int) -> tuple[int, float]:
    return 1 + onset // 16, 1 + onset % 16 / 4


def fits(clip: Notes, note: tuple[int, int], run: Run, songs: list[Notes], key: str) -> bool:
    """Tell whether a run of a clip that begins with `note` stands where it says in its song."""
    first = clip.index(note)
    if first + run.notes > len(clip):
        return False
    song = songs[run.song]
    begins = [j for j, (onset, _) in enumerate(song) if place(onset) == (run.song_bar, run.song_beat)]
    return any(relative(song[j : j + run.notes], key) == relative(clip[first : first + run.notes], key) for j in begins)


@settings(max_examples=40)
@given(st.lists(SONG, min_size=1, max_size=3), SONG, st.integers(-12, 12), st.integers(0, 40))
def test_neither_key_nor_place_matters_but_to_an_exact_run(songs, clip, semitones, steps):
    index = Index.of_songs([score(s) for s in songs], ("piano",))
    here = index.find(score(clip))["notes"]
    there = index.find(score(moved(clip, steps, semitones)))["notes"]
    assert there["any key"].longest.notes == here["any key"].longest.notes
    assert there["any key"].telling.unrepeated == here["any key"].telling.unrepeated
    if not semitones:
        assert there["exact"].longest.notes == here["exact"].longest.notes
    assert all(f["exact"].longest.notes <= f["any key"].longest.notes for f in (here, there))


def test_planted_copies():
    songs = [tune(seed, 200) for seed in range(20)]
    index = Index.of_songs([score(s) for s in songs], ("piano",))
    copied = songs[7][60:100]  # over several bars
    start = 1 + copied[0][0] // 16, 1 + copied[0][0] % 16 / 4
    assert copied[-1][0] // 16 > copied[0][0] // 16 + 3

    alone = index.find(score(moved(copied, -copied[0][0])))["notes"]
    assert alone["exact"].longest == (40, 40, 1, 1.0, 7, *start, 1)
    assert alone["any key"].telling == alone["any key"].longest == alone["exact"].longest

    other = moved(copied, 3 - copied[0][0], 5)  # in another key, and from another beat
    found = index.find(score(other))["notes"]
    assert found["any key"].longest == (40, 40, 1, 1.75, 7, *start, 1)
    assert found["exact"].longest.notes < 8

    # Between music of its own, from the middle of bar 5.
    before, after = tune(100, 15), tune(101, 30)
    at = 4 * 16 + 7
    whole = [n for n in before if n[0] < at] + moved(other, at - 3) + moved(after, at + other[-1][0] + 1)
    found = index.find(score(whole))["notes"]
    assert found["any key"].longest[2:] == (5, 2.75, 7, *start, 1)
    assert 40 <= found["any key"].longest.notes <= 43  # what is next to it may go on by chance

    # With a note in its midst that is not in the song it falls into two.
    broken = sorted([*copied, (copied[25][0], 30)])
    found = index.find(score(broken))["notes"]["exact"]
    assert found.longest.notes == 25
    assert found.longest[2:4] == place(copied[0][0])


def test_a_tune_over_another_accompaniment_stands_in_the_skyline():
    melody = tune(1, 60, low=70, high=90)
    below = tune(2, 80, low=30, high=50)
    sung = [Score.of(*zip(*melody, strict=True), np.diff([o for o, _ in melody], append=400))]
    index = Index.of_songs(sung, ("piano",))
    held = np.diff([o for o, _ in melody], append=400).tolist()
    rows = [(*n, d) for n, d in zip(melody, held, strict=True)] + [(*n, 2) for n in below]
    found = index.find(Score.of(*zip(*rows, strict=True)))
    assert found["skyline"]["exact"].longest.notes == 60
    assert found["notes"]["exact"].longest.notes < 10


def test_repeats_count_once():
    chord = [(4 * i, p) for i in range(30) for p in (60, 64, 67)]
    index = Index.of_songs([score(chord), score(tune(5, 50)), score(chord + moved(tune(6, 20), 200))], ("piano",))
    found = index.find(score(chord[:45]))["notes"]["exact"]
    assert found.longest == (
        45,
        6,
        1,
        1.0,
        0,
        1,
        1.0,
        2,
    )  # three groups of four notes, and three notes before the first
    mixed = chord[:45] + moved(tune(5, 50)[10:22], 300 - tune(5, 50)[10][0])
    found = index.find(score(mixed))["notes"]["exact"]
    assert (found.longest.notes, found.longest.song) == (45, 0)
    assert (found.telling.notes, found.telling.unrepeated, found.telling.song) == (12, 12, 1)


def test_a_telling_run_that_goes_one_note_beyond_a_longer_one():
    repeated, other = [60] * 8 + [50], [60] * 4 + [62, 40]
    index = Index.of_songs([score(list(enumerate(pitches))) for pitches in (repeated, other)], ("piano",))
    found = index.find(score(list(enumerate([60] * 8 + [62, 80]))))["notes"]["exact"]
    assert (found.longest.notes, found.longest.unrepeated) == (8, 4)
    assert (found.telling.notes, found.telling.unrepeated, found.telling.song) == (5, 5, 1)


def test_songs_do_not_run_into_one_another():
    whole = tune(9, 20)
    index = Index.of_songs([score(whole[:10]), score(moved(whole[10:], -whole[10][0]))], ("piano",))
    found = index.find(score(whole))["notes"]
    assert found["exact"].longest.notes == found["any key"].longest.notes == 10


def test_long_rests_are_one():
    song = [(0, 60), (300, 62), (301, 64)]
    index = Index.of_songs([score(song)], ("piano",))
    assert index.find(score([(0, 60), (280, 62), (281, 64)]))["notes"]["exact"].longest.notes == 3
    assert index.find(score([(0, 60), (250, 62), (251, 64)]))["notes"]["exact"].longest.notes == 2


def test_nothing_in_common():
    index = Index.of_songs([score([(0, 60), (1, 61)])], ("piano",))
    for clip in (Score.of([], [], []), score([(0, 60)]), score([(0, 60), (9, 60)])):
        for keys in index.find(clip).values():
            assert all(f.longest == f.telling == Run() for f in keys.values())


# --------------------------------------------------------------------------------------------------------- lines
def sounding(notes: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """The skyline, step by step."""
    top = [(o, p) for o, p, _ in notes if not any(q > p and a <= o < a + d for a, q, d in notes)]
    return sorted(set(top))


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(60, 66), st.integers(1, 9)), min_size=1, max_size=15),
    st.integers(1, 20),
)
def test_skyline(notes, cells):
    onset, pitch, duration = (np.array(c) for c in zip(*notes, strict=True))
    before = lines.CELLS
    lines.CELLS = cells
    try:
        found = lines.line(lines.Notes(np.zeros(len(notes), np.int64), onset, pitch, duration), "skyline")
    finally:
        lines.CELLS = before
    assert list(zip(found.onset.tolist(), found.pitch.tolist(), strict=True)) == sounding(notes)


def test_melodies_have_the_highest_and_drums_their_classes():
    notes = [(0, 60), (0, 64), (2, 62), (4, 61), (4, 65)]
    index = Index.of_songs([score(notes, "melody", duration=8)], ("melody",))
    assert index.find(score([(0, 64), (2, 62), (4, 65)], "melody"))["melody"]["exact"].longest.notes == 3
    hits = [
        (0, 35),
        (0, 42),
        (2, 42),
        (4, 40),
        (4, 38),
        (6, 44),
        (7, 90),
    ]  # 35 and 36, 38 and 40, 42 and 44: one class each
    index = Index.of_songs([score(hits, "drums")], ("drums",))
    found = index.find(score([(0, 36), (0, 42), (2, 42), (4, 38), (6, 42)], "drums"))
    assert list(found["drums"]) == ["exact"]
    assert found["drums"]["exact"].longest.notes == 5


# ----------------------------------------------------------------------------------------------------- data sets
def test_every_training_song_of_a_data_set_is_found_where_it_is(toy_data, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK", 64)  # many pieces
    dataset = Dataset(toy_data)
    index = Index.of(dataset, ("piano",))
    for number, song in enumerate(dataset.songs):
        notes = stored(dataset, int(song["first_voice"]))
        found = index.find(score(notes))["notes"]["exact"]
        if song["split"] == 0:
            assert (found.longest.notes, found.longest.song) == (len(notes), number)
        else:
            assert found.longest.notes < len(notes) / 2
        late = found if song["split"] else index.find(score(moved(notes[-9:], -notes[-9][0])))["notes"]["exact"]
        if song["split"] == 0:
            assert (late.longest.song_bar, late.longest.song_beat) == place(notes[-9][0])


def stored(dataset: Dataset, voice: int) -> Notes:
    """The notes of a voice, straight from the arrays."""
    first = int(dataset.voices["first_bar"][voice])
    bars = int(dataset.songs["bars"][dataset.voices["song"][voice]])
    return [
        (16 * bar + int(n["position"]), int(n["pitch"]))
        for bar in range(bars)
        for n in dataset.notes[dataset.bars[first + bar] : dataset.bars[first + bar + 1]]
    ]


@pytest.mark.parametrize("parts", [("melody",), ("drums",), ("melody", "bass", "drums")])
def test_the_other_kinds(toy_band_data, parts):
    """A song of the data set is found in it, voice by voice; the drums of a song are one."""
    dataset = Dataset(toy_band_data)
    index = Index.of(dataset, parts)
    song = int(np.flatnonzero(dataset.songs["split"] == 0)[2])
    first = int(dataset.songs["first_voice"][song])
    for part in parts:
        mine = [
            v
            for v in range(first, first + int(dataset.songs["voices"][song]))
            if dataset.voices["part"][v] == PARTS.index(part)
        ]
        notes = stored(dataset, mine[-1])
        found = index.find(score(notes, part))[part]["exact"]
        assert found.of > 5
        assert (found.longest.notes, found.longest.song) == (found.of, song)


def test_drums_of_a_song_are_one_voice(tmp_path):
    """Two tracks of drums, of which each has every other hit."""
    hits = [(o, (36, 38, 42, 46)[i % 4]) for i, (o, _) in enumerate(tune(1, 40))]
    music = tmp_path / "music"
    music.mkdir()
    write_tracks(
        music / "a.mid", [(0, True, score(hits[::2])), (0, True, score(hits[1::2])), (0, False, score(tune(2, 9)))]
    )
    for i in range(3, 12):
        write_tracks(music / f"{i}.mid", [(0, True, score([(o, 49) for o, _ in tune(i, 9)]))])
    prepare([music], tmp_path / "data", workers=1)
    dataset = Dataset(tmp_path / "data")
    song = next(i for i, source in enumerate(dataset.sources()) if source.endswith("a.mid"))
    split = ("train", "valid", "test")[dataset.songs["split"][song]]
    found = Index.of(dataset, ("drums",), split).find(score(moved(hits, -hits[0][0]), "drums"))["drums"]["exact"]
    assert (found.longest.notes, found.longest.song) == (40, song)


def test_kept_beside_the_data_set(toy_music, tmp_path, monkeypatch):
    data = tmp_path / "data"
    prepare([toy_music], data, workers=1)
    dataset = Dataset(data)
    made = Index.kept(dataset, ("piano",))
    assert (data / f"{KEPT}piano.npz").is_file()
    monkeypatch.setattr(Index, "of", None)  # from here on it is read
    clip = score(stored(dataset, 0)[:20])
    assert Index.kept(dataset, ("piano",)).find(clip) == made.find(clip)
    monkeypatch.undo()

    # The files of other songs, or damaged ones, are made anew; a data set with them can be replaced.
    whole = (data / f"{KEPT}piano.npz").read_bytes()
    (data / f"{KEPT}piano.npz").write_bytes(whole[: len(whole) // 2])
    assert Index.kept(dataset, ("piano",)).find(clip) == made.find(clip)
    assert (data / f"{KEPT}piano.npz").read_bytes()[:64] == whole[:64]
    prepare([toy_music], data, workers=1, overwrite=True)
    assert not list(data.glob(f"{KEPT}*"))


def test_a_file_that_is_no_index(tmp_path):
    index = Index.of_songs([score(tune(1, 30))], ("piano",))
    index.save(tmp_path / "a.npz", "mine")
    assert Index.load(tmp_path / "a.npz", "mine").find(score(tune(1, 30))) == index.find(score(tune(1, 30)))
    with pytest.raises(DataError, match="of other songs"):
        Index.load(tmp_path / "a.npz", "yours")
    with pytest.raises(DataError, match="not a whole index"):
        Index.load(tmp_path / "none.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    for name, array in (("notes/exact", arrays["notes/exact"] + 99), ("notes/onset", arrays["notes/onset"][:-1])):
        np.savez(tmp_path / "b.npz", **{**arrays, name: array})
        with pytest.raises(DataError, match="belong together"):
            Index.load(tmp_path / "b.npz", "mine")
    np.savez(tmp_path / "c.npz", **{**arrays, "about": np.array([{}], dtype=object)}, allow_pickle=True)
    with pytest.raises(DataError, match="not a whole index"):
        Index.load(tmp_path / "c.npz", "mine")
    with pytest.raises(DataError, match="cannot be written"):
        index.save(tmp_path / "nowhere" / "a.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz", "c.npz"]


def test_another_grid_and_no_song(toy_data):
    with pytest.raises(DataError, match="8 steps a beat, the training songs have 4"):
        Index.of(Dataset(toy_data), ("piano",)).find(score([(0, 60)], steps_per_beat=8))
    with pytest.raises(DataError, match="no train song has drums"):
        Index.of(Dataset(toy_data), ("drums",))


# ------------------------------------------------------------------------------------------ the usual, and redraws
def finding(*numbers: int) -> list[dict[str, dict[str, Found]]]:
    """Findings of clips whose most telling run has so many notes unrepeated."""
    return [{"notes": {"exact": Found(9, Run(), Run()), "any key": Found(9, Run(n, n), Run(n, n))}} for n in numbers]


def test_level_is_tukeys_fence():
    assert level(finding(*range(1, 10))) == {"notes": 13}  # quartiles 3 and 7, so 7 + 1.5 · 4
    assert level(finding(*range(1, 9), 900)) == {"notes": 13}  # another version of a song moves nothing
    assert level(finding(5, 5, 5)) == {"notes": 5}
    assert excess(finding(13)[0], {"notes": 13}) is None
    assert excess(finding(14)[0], {"notes": 13}) == Run(14, 14)


def test_redraws():
    songs = [tune(s, 40) for s in range(5)]
    index = Index.of_songs([score(s) for s in songs], ("piano",))
    drawn = []

    def draw(seed: int) -> Score:
        drawn.append(seed)
        return score(songs[0][:20] if len(drawn) == 1 else tune(1000 + seed % 1000, 30))

    clips = [score(tune(50, 30)), score(songs[3][:20]), score(tune(51, 30))]
    made = redraw(clips, draw, 7, index, {"notes": 12, "skyline": 12})
    assert [one.tries for one in made] == [0, 2, 0]
    assert [one.seed for one in made] == [7, drawn[1], 7]
    assert made[0].score is clips[0]
    assert all(excess(one.found, {"notes": 12, "skyline": 12}) is None for one in made)
    # What takes the place of a clip depends on nothing but the seed and its number.
    first = list(drawn)
    drawn.clear()
    redraw([clips[0], clips[1]], draw, 7, index, {"notes": 12, "skyline": 12})
    assert drawn == first
    with pytest.raises(MusicVAEError, match=f"clip 1 of seed 7: was drawn {TRIES} times more.*--novel=20"):
        redraw([clips[1]], lambda seed: clips[1], 7, index, {"notes": 12, "skyline": 12})


def test_the_usual_of_a_data_set(toy_music, tmp_path):
    from musicvae.codecs import codec
    from musicvae.config import CodecConfig

    data = tmp_path / "data"
    prepare([toy_music], data, workers=1)
    dataset, piano = Dataset(data), codec(CodecConfig())
    clips = held_out(dataset, piano, 2)
    assert len(clips) == min(CLIPS, sum(len(dataset.clips(s, piano, 2)) for s in ("valid", "test")))
    assert len(held_out(dataset, piano, 2, 5)) == 5
    index = Index.kept(dataset, piano.parts)
    limits = kept_level(dataset, piano, 2, index)
    assert limits == level([index.find(c) for c in clips])
    kept = data / f"{KEPT}piano-2bar.json"
    assert json.loads(kept.read_text())["limits"] == limits
    kept.write_text(kept.read_text().replace(f'"notes": {limits["notes"]}', '"notes": 77'))
    assert kept_level(dataset, piano, 2, index)["notes"] == 77
    kept.write_text("{")
    assert kept_level(dataset, piano, 2, index) == limits
    with pytest.raises(DataError, match="no held-out clips of 999 bars"):
        kept_level(dataset, piano, 999, index)

    copies = [score(moved(stored(dataset, 0)[:20], 0)), *clips[:3]]
    seen: list[int] = []
    result = compare(index, copies, clips, dataset.sources(), lambda done, total: seen.append(done))
    assert result["limits"] == limits
    assert result["model"]["above"] == 1
    assert result["nearest"][0]["clip"] == 1
    assert result["nearest"][0]["runs"]["notes"]["exact"]["longest"]["notes"] == 20
    assert Path(result["nearest"][0]["runs"]["notes"]["exact"]["longest"]["source"]).suffix == ".mid"
    assert result["model"]["figures"]["notes"]["exact"]["notes_most"] == 20
    assert result["model"]["figures"]["notes"]["exact"]["mostly"] == 0.25
    assert seen[-1] == len(copies) + len(clips)
    json.dumps(result)


def test_copied_songs(toy_data, monkeypatch):
    from musicvae.codecs import codec
    from musicvae.config import CodecConfig
    from musicvae.evaluate import copying

    dataset, piano = Dataset(toy_data), codec(CodecConfig())
    monkeypatch.setattr(copying, "BARS", 2)
    monkeypatch.setattr(copying, "NOTES", 4)
    clips = dataset.clips("valid", piano, 2)
    assert len(clips) > 0
    assert len(copied_songs(dataset, piano, "valid", Index.of(dataset, piano.parts))) == 0
    # One that is learnt from in another key is copied, if it has notes enough.
    first = int(clips.songs[0])
    voice = np.flatnonzero((dataset.voices["song"] == first) & (dataset.voices["part"] == PARTS.index("piano")))[0]
    index = Index.of_songs([score(moved(stored(dataset, voice), semitones=2))], piano.parts)
    seen: list[int] = []
    assert copied_songs(dataset, piano, "valid", index, lambda done, total: seen.append(done)).tolist() == [first]
    assert seen == list(range(1, len(clips) + 1))
    rest = clips.without(np.array([first]))
    assert set(rest.songs) == set(clips.songs) - {first}
    assert len(rest.windows) == len(rest) == (clips.songs != first).sum()
    monkeypatch.setattr(copying, "NOTES", 1000)
    assert len(copied_songs(dataset, piano, "valid", index)) == 0


def test_described(toy_data):
    dataset = Dataset(toy_data)
    index = Index.of(dataset, ("piano",))
    found = index.find(score(stored(dataset, 0)[:8]))
    told = described(found, dataset.sources())
    assert told["notes"]["exact"]["longest"]["source"] == dataset.sources()[found["notes"]["exact"].longest.song]
    assert described(index.find(Score.of([], [], [])), [])["notes"]["exact"]["longest"]["source"] is None


def test_music_of_other_songs_has_next_to_nothing(toy_songs):
    """Two of the toy songs, drawn at random, have no four notes in common."""
    index = Index.of_songs(toy_songs[:8], ("piano",))
    assert novelty.GROUP == 4
    for song in toy_songs[8:]:
        assert index.find(song)["notes"]["exact"].longest.notes < 4
