"""The melody codec: one voice, a token a step (paper, section 4.1).

A token is 0 for no event (the note, or the rest, goes on), 1 for a note-off, or 2 + pitch − pitch_low for a note-on,
which also ends the note before. A bass is a melody of another part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.protocol import BEATS_PER_BAR, OUT_VELOCITY, Encoded, check_score, check_tokens, note_changes
from musicvae.codecs.timeline import Timeline, line_length, phrase_bars, phrases
from musicvae.config import CodecConfig
from musicvae.music.score import PARTS, Score
from musicvae.tokens import Field, Stream, TokenSpec

__all__ = ["NOTE_OFF", "NOTE_ON", "NO_EVENT", "MelodyCodec"]

NO_EVENT = 0
NOTE_OFF = 1
NOTE_ON = 2
"""Token of a note-on of the lowest pitch."""


class _Line(NamedTuple):
    """The notes of voices that are left when each plays one at a time. Columns (M,), by onset."""

    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    released: NDArray[np.bool_]  # whether a note-off follows, not another note or the end of the voice
    phrase: NDArray[np.int64]
    source: NDArray[np.int64]  # of each, its number among the notes given


class MelodyCodec:
    """Score ⇄ tokens (bars, steps_per_bar, 1) for one monophonic part in 4/4."""

    def __init__(self, config: CodecConfig, part: str = "melody") -> None:
        self.config = config
        self.part = part
        self.parts = (part,)
        self.steps_per_bar = config.steps_per_beat * BEATS_PER_BAR
        size = config.pitch_high - config.pitch_low + 1 + NOTE_ON
        self.spec = TokenSpec(self.steps_per_bar, (Stream(part, (Field(part, size),)),))

    def encode(self, score: Score) -> Encoded:
        """Turn the part of a Score into tokens, the bars as they are.

        What tokens cannot hold is counted in `changes`: notes of other parts, pitches outside the range, all but the
        highest of the notes that begin together (or, with polyphony skip, the phrase and all after it), what a note
        sounds beyond the next one or the last bar, velocities other than 80. Raises CodecError for another meter or
        grid.
        """
        check_score(score, self.config, self.part)
        mine = score.part == PARTS.index(self.part)
        kept = score.select(mine)
        onset, pitch = kept.onset.astype(np.int64), kept.pitch
        length = score.bars * self.steps_per_bar
        line = self._line(onset, kept.duration, pitch, np.array([0]), np.array([length]))
        tokens = self._tokens(line, pitch, length)
        inside = int(self._fits(pitch).sum())
        whole = (kept.onset + kept.duration)[line.source]  # where the notes that are left would end
        skip = self.config.polyphony == "skip"
        together = "dropped: notes begin together in this phrase or before it" if skip else "dropped: a higher note"
        changes = (
            (f"dropped: not of the {self.part} part", int((~mine).sum())),
            (f"dropped: pitch outside {self.config.pitch_low}–{self.config.pitch_high}", len(kept) - inside),
            (f"{together}{'' if skip else ' begins on the same step'}", inside - len(line.source)),
            ("cut: the next note begins", int(((whole > line.end) & (line.end < length)).sum())),
            ("shortened: sounds past the last bar", int(((whole > line.end) & (line.end == length)).sum())),
            (f"changed: velocity to {OUT_VELOCITY}", int((kept.velocity[line.source] != OUT_VELOCITY).sum())),
        )
        shape = (score.bars, self.steps_per_bar, 1)
        return Encoded(tokens.astype(np.int64).reshape(shape), note_changes(changes))

    def decode(self, tokens: NDArray[np.integer], tempo: float = 120.0) -> Score:
        """Turn tokens (bars, steps_per_bar, 1) into a Score; any integers in range are accepted.

        A note lasts until the next note-on or note-off, or to the last bar; a note-off where nothing sounds is ignored.
        Raises CodecError for another shape or a token out of range.
        """
        check_tokens(tokens, self.spec, self.part)
        flat = tokens.reshape(-1).astype(np.int64)
        event = np.flatnonzero(flat != NO_EVENT)
        stop = np.append(event[1:], len(flat))
        on = flat[event] >= NOTE_ON
        return Score.of(
            event[on],
            flat[event][on] - NOTE_ON + self.config.pitch_low,
            (stop - event)[on],
            OUT_VELOCITY,
            PARTS.index(self.part),
            bars=len(tokens),
            steps_per_beat=self.config.steps_per_beat,
            tempo=tempo,
        )

    def timeline(
        self,
        onset: NDArray[np.integer],
        duration: NDArray[np.integer],
        pitch: NDArray[np.integer],
        first_step: NDArray[np.integer],
        steps: NDArray[np.integer],
    ) -> Timeline:
        """Return the tokens of many voices at once, and their phrases.

        Voice v lies on steps `first_step[v]` to `first_step[v] + steps[v]` of one line, after those before it; both are
        whole bars. Notes (N,), in any order, have their `onset` on that line, `duration` in steps and `pitch` in MIDI's
        numbers. Each voice is encoded as `encode` does. A phrase ends at a rest of a bar or more; it begins with the
        bar of its first note and ends with the bar in which its last note ends.
        """
        line = self._line(onset, duration, pitch, first_step, steps)
        tokens = self._tokens(line, pitch, line_length(first_step, steps))
        return Timeline(tokens, phrase_bars(line.onset, line.end, line.phrase, self.steps_per_bar))

    @staticmethod
    def opening(tokens: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return a copy of windows (n, T) in which what comes before the first note-on is no event.

        A window may begin while a note sounds that began before it; its note-off would end nothing.
        """
        begun = np.logical_or.accumulate(tokens >= NOTE_ON, axis=1)
        return np.where(begun, tokens, tokens.dtype.type(NO_EVENT))

    def _fits(self, pitch: NDArray[np.integer]) -> NDArray[np.bool_]:
        return (pitch >= self.config.pitch_low) & (pitch <= self.config.pitch_high)

    def _tokens(self, line: _Line, pitch: NDArray[np.integer], length: int) -> NDArray[np.uint8]:
        tokens = np.zeros(length, dtype=np.uint8)
        tokens[line.end[line.released]] = NOTE_OFF
        tokens[line.onset] = pitch[line.source] - self.config.pitch_low + NOTE_ON
        return tokens

    def _line(
        self,
        onset: NDArray[np.integer],
        duration: NDArray[np.integer],
        pitch: NDArray[np.integer],
        first_step: NDArray[np.integer],
        steps: NDArray[np.integer],
    ) -> _Line:
        fits = np.flatnonzero(self._fits(pitch))
        order = fits[np.lexsort((-pitch[fits].astype(np.int64), onset[fits]))]  # the highest of a step comes first
        at, last = onset[order].astype(np.int64), (first_step + steps).astype(np.int64)
        new = np.ones(len(at), dtype=np.bool_)
        new[1:] = np.diff(at) != 0
        alone = np.append(new[1:], True)[new]  # no other note begins with it
        source, at = order[new], at[new]
        voice = np.searchsorted(first_step, at, side="right") - 1
        room = last[voice] if len(at) else at
        following = np.minimum(np.append(at[1:], room[-1:]), room)
        end = np.minimum(at + duration[source].astype(np.int64), following)
        released = end < following
        phrase = phrases(at, end, voice, self.steps_per_bar)
        if self.config.polyphony == "skip" and not alone.all():
            good = _before_the_first(~alone, phrase, voice)
            return _Line(at[good], end[good], released[good], phrase[good], source[good])
        return _Line(at, end, released, phrase, source)


def _before_the_first(bad: NDArray[np.bool_], phrase: NDArray[np.int64], voice: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which notes are of a phrase before the first in their voice that has a `bad` note."""
    worst = np.full(int(voice[-1]) + 1, phrase[-1] + 1)
    np.minimum.at(worst, voice[bad], phrase[bad])
    return phrase < worst[voice]
