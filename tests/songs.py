"""Songs that several tests write and unpack."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from musicvae.music import Score


def write_tracks(path: Path, tracks: list[tuple[int, bool, Score]]) -> Path:
    """Write a MIDI file with a track for each (program, is_drum, Score), whatever parts the Scores have."""
    import symusic

    midi: Any = symusic.Score(480)
    midi.tempos.append(symusic.Tempo(0, tracks[0][2].tempo))
    for program, is_drum, score in tracks:
        ticks = 480 // score.steps_per_beat
        track: Any = symusic.Track("", program, is_drum)
        columns = (score.onset * ticks, score.duration * ticks, score.pitch.astype("i1"), score.velocity.astype("i1"))
        track.notes = symusic.Note.from_numpy(*columns)
        midi.tracks.append(track)
    path.write_bytes(midi.dumps_midi())
    return path


def members(archive: Path, count: int, folder: Path) -> Path:
    """Unpack the first files of an archive to a new folder."""
    folder.mkdir()
    with tarfile.open(archive) as opened:
        for number, member in enumerate(itertools.islice((m for m in opened if m.isfile()), count)):
            content: Any = opened.extractfile(member)
            (folder / f"{number:03}{Path(member.name).suffix}").write_bytes(content.read())
    return folder


def band(seed: int) -> list[tuple[int, bool, Score]]:
    """A song of 4 + seed bars: piano chords, a melody or two, a bass and drums, with a rest now and then."""
    rng = np.random.default_rng([8, seed])
    bars = 4 + seed

    def line(low: int, high: int, notes: int) -> Score:
        onset = np.concatenate([16 * b + np.sort(rng.choice(16, notes, replace=False)) for b in range(bars)])
        onset = onset[rng.random(len(onset)) < 0.8]
        duration = np.minimum(np.diff(onset, append=16 * bars), rng.integers(1, 9, len(onset)))
        return Score.of(onset, rng.integers(low, high, len(onset)), duration, rng.integers(50, 110, len(onset)))

    onset = np.repeat(8 * np.arange(2 * bars), 3)
    chords = Score.of(onset, np.tile([0, 4, 7], 2 * bars) + np.repeat(rng.integers(45, 70, 2 * bars), 3), 8)
    hits = np.flatnonzero(rng.random(16 * bars) < 0.4)
    drums = Score.of(hits, rng.choice([35, 36, 38, 42, 46, 49], len(hits)), 1, 100)
    melodies = [(25, False, line(60, 90, 4)), (11, False, line(70, 85, 3))][: 1 + (seed % 3 == 0)]
    return [(0, False, chords), *melodies, (33, False, line(30, 50, 3)), (0, True, drums)]
