"""The drums codec: which of nine kinds of drums are hit, a token a step (paper, section 4.1).

Bit k of a token is set where a drum of class k is hit; lengths and velocities are not held.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.protocol import BEATS_PER_BAR, OUT_VELOCITY, Encoded, check_score, check_tokens, note_changes
from musicvae.codecs.timeline import Timeline, line_length, phrase_bars, phrases
from musicvae.config import CodecConfig
from musicvae.music.score import PARTS, Score
from musicvae.tokens import Field, Stream, TokenSpec

__all__ = ["CLASSES", "DrumsCodec"]

CLASSES = {
    "kick": (36, 35),
    "snare": (38, 27, 28, 31, 32, 33, 34, 37, 39, 40, 56, 65, 66, 75, 85),
    "closed hi-hat": (42, 44, 54, 68, 69, 70, 71, 73, 78, 80, 22),
    "open hi-hat": (46, 67, 72, 74, 79, 81, 26),
    "low tom": (45, 29, 41, 43, 61, 64, 84),
    "mid tom": (48, 47, 60, 63, 77, 86, 87),
    "high tom": (50, 30, 62, 76, 83),
    "crash": (49, 52, 55, 57, 58),
    "ride": (51, 53, 59, 82),
}
"""General MIDI drum pitches of each class, bit by bit; the first is what it is decoded to. The table is that of the
published implementation (note_seq, drums_encoder_decoder): all of 27–87 have a class, and so have 22 and 26, which
electronic kits send for their hi-hats; other pitches have none."""

_FIRST = np.array([pitches[0] for pitches in CLASSES.values()])
_CLASS = np.full(128, -1)
for _number, _pitches in enumerate(CLASSES.values()):
    _CLASS[list(_pitches)] = _number


class DrumsCodec:
    """Score ⇄ tokens (bars, steps_per_bar, 1) for the drums in 4/4."""

    parts = ("drums",)

    def __init__(self, config: CodecConfig, binary: bool = True) -> None:
        self.config = config
        self.steps_per_bar = config.steps_per_beat * BEATS_PER_BAR
        field = Field("drums", 2 ** len(CLASSES), binary=binary)
        self.spec = TokenSpec(self.steps_per_bar, (Stream("drums", (field,)),))

    def encode(self, score: Score) -> Encoded:
        """Turn the drums of a Score into tokens, the bars as they are.

        What tokens cannot hold is counted in `changes`: notes of other parts, pitches without a class, hits of one
        class on one step, other pitches than the first of a class, lengths other than a step, velocities other than 80.
        Raises CodecError for another meter or grid.
        """
        check_score(score, self.config, "drums")
        mine = score.part == PARTS.index("drums")
        kept = score.select(mine)
        known = kept.select(_CLASS[kept.pitch] >= 0)
        kind = _CLASS[known.pitch]
        line = self.timeline(
            known.onset, known.duration, known.pitch, np.array([0]), np.array([score.bars * self.steps_per_bar])
        )
        hits = len(np.unique(known.onset.astype(np.int64) * len(CLASSES) + kind))
        changes = (
            ("dropped: not of the drums", int((~mine).sum())),
            ("dropped: pitch is not of a class of drums", len(kept) - len(known)),
            ("merged: same class of drums on the same step", len(known) - hits),
            ("changed: pitch to the first of its class", int((known.pitch != _FIRST[kind]).sum())),
            ("changed: length to one step", int((known.duration != 1).sum())),
            (f"changed: velocity to {OUT_VELOCITY}", int((known.velocity != OUT_VELOCITY).sum())),
        )
        shape = (score.bars, self.steps_per_bar, 1)
        return Encoded(line.tokens.astype(np.int64).reshape(shape), note_changes(changes))

    def decode(self, tokens: NDArray[np.integer], tempo: float = 120.0) -> Score:
        """Turn tokens (bars, steps_per_bar, 1) into a Score: a note of one step for each bit.

        Raises CodecError for another shape or a token out of range.
        """
        check_tokens(tokens, self.spec, "drums")
        step, kind = np.nonzero(tokens.reshape(-1, 1).astype(np.int64) >> np.arange(len(CLASSES)) & 1)
        return Score.of(
            step,
            _FIRST[kind],
            1,
            OUT_VELOCITY,
            PARTS.index("drums"),
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
        """Return the tokens (int16, 0–511) of many voices at once, and their phrases; see `MelodyCodec.timeline`.

        `duration` does not matter: a phrase ends where a bar or more follows the step of a hit before the next.
        """
        kind = _CLASS[pitch]
        known = kind >= 0
        at = onset[known].astype(np.int64)
        tokens = np.zeros(line_length(first_step, steps), dtype=np.int16)
        np.bitwise_or.at(tokens, at, np.left_shift(1, kind[known]).astype(np.int16))
        hit = np.flatnonzero(tokens)
        voice = np.searchsorted(first_step, hit, side="right") - 1
        phrase = phrases(hit, hit + 1, voice, self.steps_per_bar)
        return Timeline(tokens, phrase_bars(hit, hit + 1, phrase, self.steps_per_bar))
