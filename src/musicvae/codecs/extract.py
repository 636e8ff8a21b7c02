"""What the published implementation takes from a file, window by window.

To compare models and data with it. Data sets are made otherwise: see docs/deviations.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.drums import DrumsCodec
from musicvae.codecs.melody import MelodyCodec
from musicvae.codecs.protocol import BEATS_PER_BAR
from musicvae.codecs.trio import TrioCodec
from musicvae.config import CodecConfig
from musicvae.errors import CodecError
from musicvae.music import read_raw
from musicvae.music.quantize import MAX_BARS
from musicvae.music.raw import RawNotes
from musicvae.music.song import BASS, MELODY

__all__ = ["extract"]

TRIO_BARS = 1024
"""Longest piece of which a trio is taken, in bars; the rest of it is left out."""


class _Piece(NamedTuple):
    """Notes between two changes of meter or tempo, on a grid that begins with them. Columns (N,), by start."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    pitch: NDArray[np.int64]
    track: NDArray[np.int64]


def extract(
    music: str | Path | bytes,
    config: CodecConfig,
    bars: int,
    *,
    programs: Collection[int] | None = MELODY,
    max_bars: int | None = 100,
) -> NDArray[np.int64]:
    """Return the windows of `bars` bars that the published converters take from a MIDI file, none drawn out.

    A file (a path, or its content) is split where the meter or the tempo changes, and each piece is put on a grid of
    its own. Of melody and drums come the distinct windows of each piece, (windows, steps), of phrases cut to `max_bars`
    bars; of a trio all windows of all combinations of melody, bass and drums, (windows, steps, 3). `programs` are those
    of melodies (None: all; not for a trio). Raises ReadError for a file that cannot be read, CodecError for the piano.
    """
    if config.kind == "piano":
        raise CodecError("the published implementation has no piano codec; wanted codec.kind melody, drums or trio")
    raw = read_raw(music, published=True)
    found = [
        np.zeros((0, bars * BEATS_PER_BAR * config.steps_per_beat, *(3,) * (config.kind == "trio")), dtype=np.int64)
    ]
    for piece in _pieces(raw, config.steps_per_beat):
        if config.kind == "trio":
            found += _trio(piece, raw, TrioCodec(config), bars)
        else:
            found += _phrases(piece, raw, config, bars, programs, max_bars)
    return np.concatenate(found)


def _phrases(
    piece: _Piece,
    raw: RawNotes,
    config: CodecConfig,
    bars: int,
    programs: Collection[int] | None,
    max_bars: int | None,
) -> Iterator[NDArray[np.int64]]:
    """Yield the distinct windows of a piece: of the phrases of each melody, or of all drums together."""
    codec = DrumsCodec(config) if config.kind == "drums" else MelodyCodec(config)
    voices: dict[int, int] = {}  # of a track, the number of its voice
    for number, track in enumerate(raw.tracks):
        if isinstance(codec, DrumsCodec) and track.is_drum:
            voices[number] = 0
        elif isinstance(codec, MelodyCodec) and not track.is_drum and (programs is None or track.program in programs):
            voices[number] = len(voices)
    mine = np.isin(piece.track, list(voices))
    if not mine.any():
        return
    steps = -(-int(piece.stop.max()) // codec.steps_per_bar) * codec.steps_per_bar
    first_step = steps * np.arange(max(voices.values()) + 1)
    voice = np.array([voices.get(i, 0) for i in range(len(raw.tracks))])[piece.track[mine]]
    line = codec.timeline(
        piece.start[mine] + first_step[voice],
        (piece.stop - piece.start)[mine],
        piece.pitch[mine],
        first_step,
        np.full(len(first_step), steps),
    )
    lengths = [(begin, min(count, max_bars or count)) for begin, count in line.phrases.tolist()]
    first = [np.arange(begin, begin + count - bars + 1) for begin, count in lengths]
    windows = _windows(line.tokens, np.concatenate([np.zeros(0, dtype=np.int64), *first]), bars, codec.steps_per_bar)
    yield np.unique(codec.opening(windows) if isinstance(codec, MelodyCodec) else windows, axis=0)


def _trio(piece: _Piece, raw: RawNotes, codec: TrioCodec, bars: int) -> Iterator[NDArray[np.int64]]:
    """Yield the windows of a piece in which a melody, a bass and drums play, for each combination of the three."""
    kinds: dict[int, int] = {}  # of a track, the index of its part
    for i in np.unique(piece.track).tolist():
        track = raw.tracks[i]
        if track.is_drum or track.program in MELODY or track.program in BASS:
            kinds[i] = 2 if track.is_drum else int(track.program in BASS)
    if len(set(kinds.values())) < len(codec.parts):
        return
    total = min(-(-int(piece.stop.max()) // codec.steps_per_bar), TRIO_BARS)
    steps = total * codec.steps_per_bar
    chosen = np.array(list(kinds))
    mine = np.isin(piece.track, chosen) & (piece.start < steps)
    voice = np.searchsorted(chosen, piece.track[mine])
    first_step = steps * np.arange(len(chosen))
    line = codec.timeline(
        piece.start[mine] + first_step[voice],
        (piece.stop - piece.start)[mine],
        piece.pitch[mine],
        np.array(list(kinds.values())),
        first_step,
        np.full(len(chosen), steps),
    )
    tokens, playing = line.tokens.reshape(len(chosen), steps), line.playing.reshape(len(chosen), total)
    of_kind = [[v for v, kind in enumerate(kinds.values()) if kind == part] for part in range(len(codec.parts))]
    for group in itertools.product(*of_kind):
        first = codec.windows(playing[list(group)], bars)
        yield np.stack([_windows(tokens[v], first, bars, codec.steps_per_bar) for v in group], axis=2)


def _windows(tokens: NDArray[np.integer], first: NDArray[np.int64], bars: int, per_bar: int) -> NDArray[np.int64]:
    """Return (n, bars · per_bar) tokens from each first bar on."""
    windows: NDArray[np.int64] = tokens[first[:, None] * per_bar + np.arange(bars * per_bar)].astype(np.int64)
    return windows


def _pieces(raw: RawNotes, steps_per_beat: int) -> Iterator[_Piece]:
    """Yield the pieces between changes of meter and tempo whose bars are of four quarter notes.

    Times are seconds in floating point as the published implementation computes them, step by step, because half steps
    are common in MIDI files, and which way they are rounded depends on the last bit.
    """
    if not len(raw.start):
        return
    ticks, bpm = raw.tempos[:, 0].astype(np.int64), raw.tempos[:, 1]
    if not len(ticks) or ticks[0] > 0:
        ticks, bpm = np.concatenate(([0], ticks)), np.concatenate(([120.0], bpm))
    scale = 60.0 / (bpm * raw.ticks_per_beat)
    keep = np.append(np.flatnonzero(ticks == 0)[-1], np.flatnonzero((ticks > 0) & (np.diff(scale, prepend=0) != 0)))
    ticks, scale = ticks[keep], scale[keep]
    begins = np.zeros(len(ticks))
    for i in range(1, len(ticks)):
        begins[i] = begins[i - 1] + scale[i - 1] * (ticks[i] - ticks[i - 1])

    def seconds(tick: NDArray[np.int64]) -> NDArray[np.float64]:
        of = np.searchsorted(ticks, tick, side="right") - 1
        times: NDArray[np.float64] = begins[of] + scale[of] * (tick - ticks[of])
        return times

    start, stop = seconds(raw.start), seconds(raw.stop)
    end = float(stop.max())
    meters = sorted(raw.meters, key=lambda mark: mark[0])
    marks: list[tuple[float, tuple[int, int] | float]] = [
        (float(seconds(np.array([tick]))[0]), (beats, value)) for tick, beats, value in meters
    ]
    marks += [(at, 60.0 / (s * raw.ticks_per_beat)) for at, s in zip(begins.tolist(), scale.tolist(), strict=True)]
    meter, tempo = (4, 4), 120.0
    pieces: list[tuple[float, tuple[int, int], float]] = [(0.0, meter, tempo)]
    for at, mark in sorted(marks, key=lambda m: m[0]):
        if at >= end or mark in (meter, tempo):
            continue
        meter, tempo = (mark, tempo) if isinstance(mark, tuple) else (meter, mark)
        if at > pieces[-1][0]:
            pieces.append((at, meter, tempo))
        else:
            pieces[-1] = (at, meter, tempo)
    by_start = np.argsort(start, kind="stable")
    last = MAX_BARS * BEATS_PER_BAR * steps_per_beat
    for number, (begin, (beats, value), pace) in enumerate(pieces):
        until = pieces[number + 1][0] if number + 1 < len(pieces) else np.inf
        if beats != value or beats < 1:  # a bar of another length than four quarter notes
            continue
        rate = steps_per_beat * pace / 60.0
        mine = by_start[(start[by_start] >= begin) & (start[by_start] < until)]
        onset = ((start[mine] - begin) * rate + 0.5).astype(np.int64)
        mine, onset = mine[onset < last], onset[onset < last]
        ends = np.minimum(((np.minimum(stop[mine], until) - begin) * rate + 0.5).astype(np.int64), last)
        if len(mine):
            yield _Piece(onset, np.maximum(ends, onset + 1), raw.pitch[mine], raw.track[mine])
