"""What a file says before it is quantised."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ReadError
from musicvae.music.score import Change

__all__ = ["RawNotes"]


@dataclass(frozen=True, slots=True, eq=False)
class RawNotes:
    """The notes of the chosen programs, in the ticks of the file and in any order."""

    start: NDArray[np.int64]
    """(N,) onset in ticks, at least 0."""
    stop: NDArray[np.int64]
    """(N,) end in ticks, at least `start`."""
    pitch: NDArray[np.int64]
    """(N,) MIDI note number, 0–127."""
    velocity: NDArray[np.int64]
    """(N,) MIDI velocity, 1–127."""
    ticks_per_beat: int
    """Ticks a quarter note, at least 1."""
    meters: tuple[tuple[int, int, int], ...] = ()
    """(tick, beats a bar, note value of a beat) of each meter mark, as the file has them; none means 4/4."""
    tempo: float = 120.0
    """Quarter notes a minute: the one that holds for most of the piece."""
    length: int | None = None
    """Ticks to the end of the last bar, where the file says so."""
    changes: tuple[Change, ...] = ()
    """What the reader already changed or passed over."""


def join_notes(columns: list[tuple[NDArray[np.int64], ...]]) -> tuple[NDArray[np.int64], ...]:
    """Return start, stop, pitch and velocity of all tracks as four columns."""
    if not columns:
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(4))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def no_notes(source: str, programs: Collection[int], others: dict[str, int]) -> ReadError:
    """Return the error for a file without notes of `programs`; `others` counts the notes it has instead."""
    if not others:
        return ReadError(source, "is well formed but has no notes at all")
    found = ", ".join(f"{name} ×{count}" for name, count in sorted(others.items(), key=lambda item: -item[1]))
    wanted = programs_text(programs)
    return ReadError(
        source, f"has no notes of {wanted} (found: {found}). Choose others with --programs; drums are not read"
    )


def programs_text(programs: Collection[int]) -> str:
    """Return e.g. `programs 0–7, 24` for a collection of program numbers."""
    numbers = sorted(set(programs))
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    listed = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans)
    return f"program{'s' if len(numbers) > 1 else ''} {listed or '(none chosen)'}"
