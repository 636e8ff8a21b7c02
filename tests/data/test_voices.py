"""Every voice of a song: what stands on disk, which songs are the same, and on which side of the split they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from musicvae.cli.prepare import PRESETS as SUGGESTED
from musicvae.cli.prepare import command
from musicvae.codecs import PianoCodec
from musicvae.config import CodecConfig
from musicvae.data import pack as packing
from musicvae.data.dataset import SPLITS, Dataset
from musicvae.data.layout import ARRAYS
from musicvae.data.pack import pack
from musicvae.data.prepare import prepare
from musicvae.errors import DataError
from musicvae.music import PARTS, Report, Score, Song, Voice, read_song
from musicvae.presets import PRESETS
from songs import band, members, write_tracks

Tracks = list[tuple[int, bool, Score]]

# What the code of format 1, which knew the piano alone, made of `pianos`: songs in order, and batches.
FORMAT_1_SONGS = [
    *("train 15", "valid 10", "train 4", "train 11", "train 5", "train 12", "train 6", "train 9"),
    *("train 13", "train 2", "train 1", "train 14", "train 3", "train 8", "train 7", "train 0"),
]
FORMAT_1_BATCHES = [
    ("train", 2, 140, "4bf55b3a06ae8775"),
    ("train", 4, 110, "8a921657f4e4f530"),
    ("valid", 2, 12, "cfe9460a15430b7a"),
    ("valid", 4, 10, "4bd34f6855e62363"),
]


def pianos(folder: Path, songs: list[Score]) -> Path:
    """Write songs of one or two tracks, all of them pianos."""
    for i, one in enumerate(songs):
        tracks = [(i % 8, False, one)]
        if i % 4 == 0:
            tracks.append((4, False, songs[i // 2]))
        write_tracks(folder / f"{i}.mid", tracks)
    return folder


def table(data: Path, name: str = "songs.tsv") -> list[list[str]]:
    return [line.split("\t") for line in (data / name).read_text(encoding="utf-8").splitlines()[1:]]


def stem(name: str) -> str:
    return Path(name).stem


def voice_notes(dataset: Dataset, voice: int) -> list[tuple[int, ...]]:
    """Return onset, pitch, duration and velocity of each note of a voice."""
    first, bars = int(dataset.voices["first_bar"][voice]), dataset.songs["bars"][dataset.voices["song"][voice]]
    found = []
    for bar in range(bars):
        notes = dataset.notes[dataset.bars[first + bar] : dataset.bars[first + bar + 1]]
        found += [
            (16 * bar + int(n["position"]), *(int(n[f]) for f in ("pitch", "duration", "velocity"))) for n in notes
        ]
    return found


# ---------------------------------------------------------------------------------------------- pianos as ever
def test_a_piano_data_set_is_what_format_1_made(toy_songs: list[Score], tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    prepare([pianos(tmp_path / "m", toy_songs)], tmp_path / "d", workers=1)
    assert [f"{row[1]} {stem(row[-1])}" for row in table(tmp_path / "d")] == FORMAT_1_SONGS
    dataset = Dataset(tmp_path / "d")
    for split, bars, count, wanted in FORMAT_1_BATCHES:
        clips = dataset.clips(split, PianoCodec(CodecConfig(max_notes=12)), bars)
        assert len(clips) == count
        hashed = hashlib.sha256()
        for step in (0, 3, 50):
            batch = clips.draw(5, step, 8, (5, 6))
            hashed.update(batch.tokens.astype("<i8").tobytes())
            hashed.update(batch.lengths.astype("<i8").tobytes())
        hashed.update(clips.spread(9).tokens.astype("<i8").tobytes())
        assert hashed.hexdigest()[:16] == wanted


def test_the_piano_of_a_band_makes_the_same_clips_as_alone(toy_band: Path, toy_band_data: Path, tmp_path: Path) -> None:
    """Song by song, on the same side of the split, with the same batches of all clips."""
    (tmp_path / "m").mkdir()
    for seed in range(24):
        write_tracks(tmp_path / "m" / f"{seed:02}.mid", band(seed)[:1])
    prepare([tmp_path / "m"], tmp_path / "d", workers=2)
    alone, together = Dataset(tmp_path / "d"), Dataset(toy_band_data)
    sides = [{stem(row[-1]): row[1] for row in table(d.folder)} for d in (alone, together)]
    assert sides[0] == sides[1]
    assert len({row[6] for row in table(tmp_path / "d")} & {row[6] for row in table(toy_band_data)}) == 0
    for split in SPLITS:
        made = []
        for dataset in (alone, together):
            clips = dataset.clips(split, PianoCodec(CodecConfig()), 3)
            names = [stem(row[-1]) for row in table(dataset.folder)]
            batch = clips.batch(np.arange(len(clips)))
            S = batch.tokens.shape[2]
            made.append(sorted((names[s], t.tobytes(), S) for s, t in zip(clips.songs, batch.tokens, strict=True)))
        assert made[0] == made[1]


# --------------------------------------------------------------------------------------------------- on disk
def test_every_voice_stands_on_disk(toy_band: Path, toy_band_data: Path) -> None:
    dataset = Dataset(toy_band_data)
    for number, row in enumerate(table(toy_band_data)):
        seed = int(stem(row[-1]))
        song = read_song((toy_band / f"{seed:02}.mid").read_bytes(), "")
        first, count = (int(dataset.songs[number][f]) for f in ("first_voice", "voices"))
        assert [PARTS[p] for p in dataset.voices["part"][first : first + count]] == [v.part for v in song.voices]
        assert dataset.voices["program"][first : first + count].tolist() == [v.program for v in song.voices]
        skipped = 16 * min(int(v.score.onset[0]) // 16 for v in song.voices)
        for i, voice in enumerate(song.voices):
            onset, *others = voice.score.columns[:4]
            wanted = zip(*((onset - skipped).tolist(), *(c.tolist() for c in others)), strict=True)
            assert voice_notes(dataset, first + i) == list(wanted)
        bars = 1 + (max(int(v.score.onset[-1]) for v in song.voices) - skipped) // 16
        assert dataset.songs["bars"][number] == bars
        assert row[3] == ("piano, melody 3, bass, drums" if seed % 3 == 0 else "piano, melody 2, bass, drums")
    facts = dataset.info["voices"]
    assert {part: facts[part]["voices"] for part in PARTS} == {"piano": 24, "melody": 56, "bass": 24, "drums": 24}
    assert {facts[part]["songs"] for part in PARTS} == {24}
    assert sum(facts[part]["notes"] for part in PARTS) == dataset.info["notes"] == len(dataset.notes)
    assert facts["piano"]["bars"] == dataset.info["bars"] == dataset.songs["bars"].sum()
    assert facts["bass"]["bars"] < facts["piano"]["bars"]


def test_the_same_bytes_whatever_the_workers(toy_band: Path, toy_band_data: Path, tmp_path: Path) -> None:
    prepare([toy_band], tmp_path / "d", workers=2)
    for name in (*(f"{a}.npy" for a in ARRAYS), "songs.tsv", "dropped.tsv", "dataset.json"):
        assert (tmp_path / "d" / name).read_bytes() == (toy_band_data / name).read_bytes()


def test_files_without_a_piano_are_kept_and_their_clips_asked_for(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for seed in range(8):
        write_tracks(tmp_path / "m" / f"{seed}.mid", band(seed)[-1:])
    write_tracks(tmp_path / "m" / "strings.mid", [(48, False, band(0)[0][2])])
    summary = prepare([tmp_path / "m"], tmp_path / "d", workers=1)
    assert summary.record["files"]["kept"] == 8
    assert summary.record["voices"]["drums"]["voices"] == 8
    assert "program 48" in table(tmp_path / "d", "dropped.tsv")[0][2]
    clips = Dataset(tmp_path / "d").clips("train", PianoCodec(CodecConfig()), 2)
    told = r"d: has no piano, which a piano model learns from; it has drums\. Prepare music .*--preset"
    with pytest.raises(DataError, match=told):
        clips.require()
    shown = CliRunner().invoke(command, [str(tmp_path / "m"), "-o", str(tmp_path / "e"), "--workers", "1"])
    assert "drums (8 songs," in shown.output
    assert f"musicvae train {tmp_path / 'e'} --preset cat-drums_2bar_small -o" in shown.output
    for part, name in SUGGESTED:
        assert PRESETS[name].codec.kind == part


def test_programs_say_what_a_piano_is(toy_band: Path, tmp_path: Path) -> None:
    guitars = prepare([toy_band], None, workers=1, programs=[25]).record["voices"]
    assert (guitars["piano"]["voices"], guitars["melody"]["voices"]) == (24, 56)
    assert guitars["piano"]["notes"] < guitars["melody"]["notes"]
    strings = prepare([toy_band], None, workers=1, programs=[48]).record["voices"]
    assert strings["piano"] == {"voices": 0, "songs": 0, "bars": 0, "notes": 0}
    assert strings["melody"] == guitars["melody"]


# ---------------------------------------------------------------------------------------- which are the same
def kept(folder: Path, **files: Tracks) -> dict[str, str]:
    """Prepare files; return the reason for each that is left out, and its side for each that is kept."""
    music = folder / "m"
    music.mkdir()
    for name, tracks in files.items():
        write_tracks(music / f"{name}.mid", tracks)
    for workers, order in ((1, sorted), (2, lambda paths: sorted(paths, reverse=True))):
        prepare(list(order(music.iterdir())), folder / f"d{workers}", workers=workers)
    one, two = (
        {stem(r[-1]): r[1] for r in table(folder / d)} | {stem(r[0]): r[2] for r in table(folder / d, "dropped.tsv")}
        for d in ("d1", "d2")
    )
    assert one == two
    return {name: one[name].replace(f"{music}/", "") for name in files}


def test_the_piano_of_a_song_gives_way_to_the_whole_of_it(tmp_path: Path) -> None:
    song = band(20)
    found = kept(tmp_path, a=song[:1], b=song[:2], c=song, d=song, e=band(10), f=band(11)[1:], g=band(11)[1:3])
    assert found["a"] == "same piano notes as c.mid, which is kept with all of its 5 voices"
    assert found["b"] == "same piano notes as c.mid, which is kept with all of its 5 voices"
    assert found["d"] == "same notes as c.mid"
    assert all(found[name] in SPLITS for name in "cefg")  # without a piano, other voices are another song


def test_a_short_piano_part_is_not_a_song(tmp_path: Path) -> None:
    """Two songs with the same few chords are two, but on one side."""
    few = [(0, False, band(0)[0][2].cut(0, 4).select(np.arange(24) < 20))]
    found = kept(tmp_path, a=[*few, *band(5)[1:]], b=[*few, *band(6)[1:]], c=few, d=band(7))
    assert found["a"] == found["b"] == found["c"]
    assert found["a"] in SPLITS
    assert found["d"] in SPLITS


def test_other_voices_make_another_song_of_no_piano(tmp_path: Path) -> None:
    """Velocity, tempo, order of tracks and leading rests do not; what the drums play, or when they come in, does."""
    _, melody, bass, drums = band(2)
    quiet = Score.of(melody[2].onset, melody[2].pitch, melody[2].duration, 40, tempo=77)
    later = [(p, d, Score.of(s.onset + 32, s.pitch, s.duration, s.velocity)) for p, d, s in (melody, bass, drums)]
    found = kept(
        tmp_path,
        a=[melody, bass, drums],
        b=[bass, (25, False, quiet), drums],
        c=later,
        d=[melody, bass, later[2]],
        e=[melody, bass],
        f=[bass, melody],
    )
    assert found["b"] == found["c"] == "same notes as a.mid"
    assert found["f"] == "same notes as e.mid"
    assert found["d"] in SPLITS
    assert found["e"] in SPLITS


def test_leading_rests_of_the_piano_do_not_change_its_side(tmp_path: Path) -> None:
    """A piano that comes in late is trimmed where it is alone."""
    (piano, *others) = band(14)
    late = (0, False, Score.of(piano[2].onset + 48, piano[2].pitch, piano[2].duration))
    assert len(late[2]) >= 32
    found = kept(tmp_path, alone=[late], band=[late, *others], other=band(3))
    assert found["alone"].startswith("same piano notes as band.mid")


def test_a_song_of_too_many_bars_in_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    voices = tuple(Voice("drums", 0, Score.of([0, 1600], 36, 1, part=3)) for _ in range(3))
    song = Song(voices, Report("x", 6, 6, ()))
    assert not isinstance(pack(song, range(8), False), str)
    monkeypatch.setattr(packing, "MOST_BARS", 302)
    assert pack(song, range(8), False) == "has 3 voices of 101 bars; wanted at most 302 bars in all of them"
    assert (
        pack(Song((), Report("x", 0, 0, ())), range(8), False) == "has no notes of a piano, a melody, a bass or drums"
    )


# -------------------------------------------------------------------------------------------------- real music
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lpd_piano", {"piano", "melody"}),
        ("lpd_multitrack", {"piano", "melody", "bass", "drums"}),
        ("groove", {"drums"}),
    ],
)
def test_real_music(shared_data: Path, tmp_path: Path, name: str, parts: set[str]) -> None:
    music = members(shared_data / f"{name}.tar.xz", 12, tmp_path / "m")
    summary = prepare([music], tmp_path / "d", workers=2)
    assert summary.record["files"]["kept"] >= 8
    assert {part for part, facts in summary.record["voices"].items() if facts["voices"]} == parts
    assert summary.record == json.loads((tmp_path / "d" / "dataset.json").read_text())
    Dataset(tmp_path / "d")
