"""A song voice by voice: what the piano, each melody, each bass and the drums play."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from musicvae.errors import CodecError
from musicvae.music.quantize import Placed, place, quantize
from musicvae.music.raw import RawNotes, Track, of_programs, programs_text
from musicvae.music.score import PARTS, Change, Reading, Report, Score

__all__ = ["BASS", "MELODY", "PIANO", "Song", "Voice", "read_parts", "song_of"]

PIANO = range(8)
"""General MIDI programs of pianos."""
MELODY = range(32)
"""Programs that may play a melody, as published: pianos, chromatic percussion, organs, guitars."""
BASS = range(32, 40)
"""Programs of basses, as published."""


class Voice(NamedTuple):
    """What one instrument plays; of pianos what all of them play together."""

    part: str
    """One of PARTS."""
    program: int
    """General MIDI program, 0–127; of drums 0, of pianos that of the first."""
    score: Score
    """The notes of this voice alone, all of its part; no key is struck while it sounds."""


class Song(NamedTuple):
    """The voices of a song, all of one length, meter, grid and tempo, and how they were read."""

    voices: tuple[Voice, ...]
    """The piano, if any; then melodies and basses in the order of the file; then drums."""
    report: Report
    """`notes_kept` are the notes of the file that stand in a voice; a piano's may stand in two."""


class _Group(NamedTuple):
    """A voice to be made: its part and the tracks whose notes it takes."""

    part: str
    tracks: list[int]


def song_of(
    raw: RawNotes,
    source: str,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = PIANO,
    any_meter: bool = False,
) -> Song:
    """Return all voices of a file; see `musicvae.music.read_song`."""
    others = programs_text({*programs, *MELODY, *BASS})
    chosen = raw.of_tracks(
        source,
        lambda t: t.is_drum or t.program in MELODY or t.program in BASS or t.program in programs,
        f"notes of {others} and no drums",
        "No voice can be made of it",
    )
    placed = place(chosen, source, steps_per_beat, any_meter)
    here = _here(placed)
    piano = [i for i in here if not raw.tracks[i].is_drum and raw.tracks[i].program in programs]
    groups = [_Group("piano", piano)] if piano else []
    groups += [_Group("melody" if raw.tracks[i].program in MELODY else "bass", [i]) for i in here if _pitched(raw, i)]
    groups += [_Group("drums", [i]) for i in here if raw.tracks[i].is_drum]
    voices = _voices(placed, raw.tracks, groups)
    lost = len(raw.start) - len(chosen.start)
    changes = [Change("dropped: of programs that no voice takes", lost)] * bool(lost) + placed.changes
    return Song(voices, Report(source, len(raw.start), len(placed.onset), tuple(changes)))


def read_parts(
    raw: RawNotes,
    source: str,
    parts: Sequence[str],
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] | None = None,
    any_meter: bool = False,
) -> Reading:
    """Return one Score with one voice for each of `parts`; see `musicvae.music.read`."""
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(PARTS):
        raise CodecError(f"parts is {', '.join(parts) or 'empty'}; wanted some of {', '.join(PARTS)}, each once")
    takes = {
        "piano": PIANO if programs is None else programs,
        "melody": MELODY if programs is None else programs,
        "bass": BASS,
    }
    if tuple(parts) == ("piano",):
        return quantize(of_programs(raw, source, takes["piano"]), source, steps_per_beat, any_meter)
    pitched = {program for part in parts if part != "drums" for program in takes[part]}
    wanted = [f"notes of {programs_text(pitched)}"] * bool(pitched) + ["drums"] * ("drums" in parts)
    chosen = raw.of_tracks(
        source,
        lambda t: "drums" in parts if t.is_drum else t.program in pitched,
        " and no ".join(wanted),
        "Choose others with --programs" if {"piano", "melody"} & set(parts) else "Read other parts of it",
    )
    placed = place(chosen, source, steps_per_beat, any_meter)
    here = _here(placed)
    groups = []
    for part in parts:
        if part == "drums":
            tracks, name = [i for i in here if raw.tracks[i].is_drum], "drums"
        else:
            tracks = [i for i in here if not raw.tracks[i].is_drum and raw.tracks[i].program in takes[part]]
            name = f"{part} track ({programs_text(takes[part])})"
        if not tracks:
            placed.changes.append(Change(f"absent: no {name}", 0))
        elif part in ("drums", "piano"):
            groups.append(_Group(part, tracks))
        else:
            best = _fullest(placed, tracks)
            groups.append(_Group(part, [best]))
            if len(tracks) > 1:
                which = f"number {tracks.index(best) + 1} of {len(tracks)} tracks (program {raw.tracks[best].program})"
                placed.changes.append(Change(f"chosen: {part} is {which}", 0))
    return _together(placed, raw.tracks, groups, len(chosen.start), source)


def _together(placed: Placed, tracks: tuple[Track, ...], groups: list[_Group], found: int, source: str) -> Reading:
    """Return the voices of `groups` as one Score, and the report of what is left out."""
    used = np.isin(placed.track, [i for group in groups for i in group.tracks])
    left = int((~used).sum())
    if left:
        placed.changes.append(Change("dropped: of tracks that were not chosen", left))
    scores = [voice.score for voice in _voices(placed, tracks, groups)]
    columns = [np.concatenate(column) for column in zip(*(s.columns for s in scores), strict=True)]
    first = scores[0]
    score = Score.of(
        *columns,
        bars=placed.bars(columns[0]),
        steps_per_beat=first.steps_per_beat,
        meter=first.meter,
        tempo=placed.tempo,
    )
    return Reading(score, Report(source, found, len(score), tuple(placed.changes)))


def _here(placed: Placed) -> list[int]:
    """Return the tracks that have notes on the grid, in the order of the file."""
    return np.flatnonzero(np.bincount(placed.track)).tolist()


def _pitched(raw: RawNotes, track: int) -> bool:
    """Tell whether a track plays a melody or a bass."""
    return not raw.tracks[track].is_drum and raw.tracks[track].program in range(MELODY.start, BASS.stop)


def _fullest(placed: Placed, tracks: list[int]) -> int:
    """Return the track that sounds in most bars; of several the one with most notes, of several the first."""
    per_bar = placed.per_bar

    def rank(track: int) -> tuple[int, int]:
        mine = placed.track == track
        first, stop = placed.onset[mine] // per_bar, -(-(placed.onset + placed.duration)[mine] // per_bar)
        bars = np.zeros(int(stop.max()) + 1, dtype=np.int64)
        np.add.at(bars, first, 1)
        np.add.at(bars, stop, -1)
        return int((np.cumsum(bars) > 0).sum()), int(mine.sum())

    return max(tracks, key=rank)


def _voices(placed: Placed, tracks: tuple[Track, ...], groups: list[_Group]) -> tuple[Voice, ...]:
    """Return a voice for each group, as long as all of them together; report what one keyboard each changes."""
    bound = np.searchsorted(placed.track, np.arange(len(tracks) + 1)).tolist()
    lengths = [sum(bound[i + 1] - bound[i] for i in group.tracks) for group in groups]
    stretches = [slice(bound[i], bound[i + 1]) for group in groups for i in group.tracks]
    onset, pitch, duration, velocity = (np.concatenate([column[s] for s in stretches]) for column in placed.columns)
    # All voices in one go, each on a keyboard of its own.
    pitch += 128 * np.repeat(np.arange(len(groups)), lengths)
    scores = placed.scores((onset, pitch, duration, velocity), [PARTS.index(group.part) for group in groups])
    return tuple(
        Voice(group.part, tracks[group.tracks[0]].program, score) for group, score in zip(groups, scores, strict=True)
    )
