"""The piano codec: polyphony as a list of notes a bar.

One slot is one note, `(position, pitch, duration, velocity)`; slots ascend by position, then pitch; a slot
whose position is the end mark closes the bar. The fields are predicted in this order, each from those before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.protocol import BEATS_PER_BAR, Encoded, check_score
from musicvae.config import CodecConfig
from musicvae.errors import CodecError
from musicvae.music.score import PARTS, Change, Score, one_key_one_note
from musicvae.tokens import Field, Stream, TokenSpec

__all__ = ["PianoCodec"]


class PianoCodec:
    """Score ⇄ tokens (bars, slots, 4) for one polyphonic piano part in 4/4."""

    parts = ("piano",)

    def __init__(self, config: CodecConfig) -> None:
        self.config = config
        self.steps_per_bar = config.steps_per_beat * BEATS_PER_BAR
        self.max_duration = config.max_duration_bars * self.steps_per_bar
        self.bin_width = -(-128 // config.velocity_bins)
        self.spec = TokenSpec(
            slots=config.max_notes + 1,
            streams=(
                Stream(
                    "piano",
                    (
                        Field("position", self.steps_per_bar + 1),
                        Field("pitch", config.pitch_high - config.pitch_low + 1),
                        Field("duration", self.max_duration, amount=True),
                        Field("velocity", config.velocity_bins),
                    ),
                ),
            ),
            end=self.steps_per_bar,
            ordered=True,
        )

    def encode(self, score: Score) -> Encoded:
        """Turn the piano part of a Score into tokens, the bars as they are.

        Notes that the codec cannot hold are changed or dropped, and each kind is counted in `changes`: pitches
        outside the range, notes that share a key (see `one_key_one_note`), notes longer than the longest or
        sounding past the last bar, notes beyond the cap of a bar, velocities between two levels (at most half a
        level away). Raises CodecError for another meter or grid.
        """
        check_score(score, self.config, "piano")
        low, high = self.config.pitch_low, self.config.pitch_high
        changes: list[Change] = []

        def note(reason: str, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
            if where.any():
                changes.append(Change(reason, int(where.sum())))
            return where

        others = note("dropped: not of the piano part", score.part != PARTS.index("piano"))
        outside = note(f"dropped: pitch outside {low}–{high}", ~others & ((score.pitch < low) | (score.pitch > high)))
        kept = score.select(~(others | outside))
        struck = one_key_one_note(kept.onset, kept.pitch, kept.duration, kept.velocity)
        for reason, notes in (
            ("merged: same key on the same step", struck.merged),
            ("cut: its key is struck again", struck.cut),
        ):
            changes += [Change(reason, notes)] if notes else []
        kept = Score.of(*struck[:4], bars=score.bars, steps_per_beat=score.steps_per_beat)
        bar, position = np.divmod(kept.onset, self.steps_per_bar)
        slot = _slots(bar)
        full = note(f"dropped: more than {self.config.max_notes} notes in a bar", slot >= self.config.max_notes)
        kept, bar, position = kept.select(~full), bar[~full], position[~full]
        room = score.bars * self.steps_per_bar - kept.onset
        note(f"shortened: longer than {self.config.max_duration_bars} bars", kept.duration > self.max_duration)
        note("shortened: sounds past the last bar", kept.duration > room)
        note("moved: velocity to the nearest level", self._velocity(self._level(kept.velocity)) != kept.velocity)
        tokens = self.pack(bar, position, kept.pitch, np.minimum(kept.duration, room), kept.velocity, score.bars)
        return Encoded(tokens, tuple(changes))

    def decode(self, tokens: NDArray[np.integer], tempo: float = 120.0) -> Score:
        """Turn tokens (bars, slots, 4) into a Score; any integers in range are accepted.

        What follows a bar's first end mark is ignored; notes share one keyboard (`one_key_one_note`) and end with the
        last bar.
        """
        U, _, F = tokens.shape
        if len(self.spec.sizes) != F:
            raise CodecError(f"tokens have {F} fields; the piano codec has {len(self.spec.sizes)}")
        ended = np.logical_or.accumulate(tokens[..., 0] == self.spec.end, axis=1)  # (U, S)
        ended[:, self.config.max_notes :] = True  # the last slot can only be an end mark
        bar, slot = np.nonzero(~ended)
        position, pitch, duration, level = tokens[bar, slot].T.astype(np.int64)
        onset, pitch, duration, level, _, _ = one_key_one_note(
            bar * self.steps_per_bar + position, pitch, duration + 1, level
        )
        return Score.of(
            onset,
            pitch + self.config.pitch_low,
            np.minimum(duration, U * self.steps_per_bar - onset),
            self._velocity(level),
            bars=U,
            steps_per_beat=self.config.steps_per_beat,
            tempo=tempo,
        )

    def pack(
        self,
        bar: NDArray[np.integer],
        position: NDArray[np.integer],
        pitch: NDArray[np.integer],
        duration: NDArray[np.integer],
        velocity: NDArray[np.integer],
        bars: int,
    ) -> NDArray[np.int64]:
        """Lay note columns (N,), sorted by bar, position and pitch, out as tokens (bars, slots, 4).

        `position` is the step in the bar, `pitch` and `velocity` are MIDI's, `duration` is in steps. Notes that do
        not fit (pitch, cap) are left out, long ones shortened. `bars` may be those of many clips together.
        """
        fits = (pitch >= self.config.pitch_low) & (pitch <= self.config.pitch_high)
        if not fits.all():
            bar, position, pitch, duration, velocity = (c[fits] for c in (bar, position, pitch, duration, velocity))
        slot = _slots(bar)
        fits = slot < self.config.max_notes
        tokens = np.zeros((bars, self.spec.slots, len(self.spec.sizes)), dtype=np.int64)
        tokens[..., 0] = self.steps_per_bar
        values = (
            position,
            pitch.astype(np.int64) - self.config.pitch_low,
            np.minimum(duration, self.max_duration).astype(np.int64) - 1,
            self._level(velocity),
        )
        tokens[bar[fits], slot[fits]] = np.stack(values, axis=1)[fits]
        return tokens

    def _level(self, velocity: NDArray[np.integer]) -> NDArray[np.int64]:
        return velocity.astype(np.int64) // self.bin_width

    def _velocity(self, level: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the middle of a level."""
        return np.clip(level * self.bin_width + self.bin_width // 2, 1, 127)


def _slots(bar: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each note, sorted by bar, its number within its bar."""
    index = np.arange(len(bar))
    first = np.ones(len(bar), dtype=bool)
    first[1:] = np.diff(bar) != 0
    return index - np.maximum.accumulate(np.where(first, index, 0))
