"""The trio codec: melody, bass and drums, a token each a step (paper, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.drums import DrumsCodec
from musicvae.codecs.melody import MelodyCodec
from musicvae.codecs.protocol import BEATS_PER_BAR, Encoded, check_score, check_tokens, note_changes
from musicvae.codecs.timeline import line_length
from musicvae.config import CodecConfig
from musicvae.music.score import PARTS, Change, Score
from musicvae.tokens import TokenSpec

__all__ = ["GAP_BARS", "TrioCodec", "TrioTimeline"]

GAP_BARS = 2
"""Empty bars on either side of a sounding one in which a voice still counts as playing, as published."""


class TrioTimeline(NamedTuple):
    """Voices of melodies, basses and drums as tokens, one after another on one line of steps."""

    tokens: NDArray[np.int16]
    """(total_steps,) a token a step, of the kind of the voice's part."""
    playing: NDArray[np.bool_]
    """(total_steps / steps_per_bar,) whether the voice sounds in the bar or at most GAP_BARS bars from it."""


class TrioCodec:
    """Score ⇄ tokens (bars, steps_per_bar, 3) for a melody, a bass and drums in 4/4."""

    parts = ("melody", "bass", "drums")

    def __init__(self, config: CodecConfig) -> None:
        self.config = config
        self.steps_per_bar = config.steps_per_beat * BEATS_PER_BAR
        self.melody = MelodyCodec(config, "melody")
        self.bass = MelodyCodec(config, "bass")
        self.drums = DrumsCodec(config, binary=False)  # one of 512, as published for the trio
        self.voices: tuple[MelodyCodec | DrumsCodec, ...] = (self.melody, self.bass, self.drums)
        self.spec = TokenSpec(self.steps_per_bar, tuple(s for voice in self.voices for s in voice.spec.streams))

    def encode(self, score: Score) -> Encoded:
        """Turn the three parts of a Score into tokens, the bars as they are; each as its own codec does.

        What tokens cannot hold is counted in `changes`, part by part. Raises CodecError for another meter or grid.
        """
        check_score(score, self.config, "trio")
        tokens, changes, others = [], [], np.ones(len(score), dtype=np.bool_)
        for part, voice in zip(self.parts, self.voices, strict=True):
            mine = score.part == PARTS.index(part)
            others &= ~mine
            encoded = voice.encode(score.select(mine))
            tokens.append(encoded.tokens)
            changes += [Change(f"{c.reason} ({part})", c.notes) for c in encoded.changes]
        foreign = note_changes((("dropped: not of the melody, bass or drums", int(others.sum())),))
        return Encoded(np.concatenate(tokens, axis=2), (*foreign, *changes))

    def decode(self, tokens: NDArray[np.integer], tempo: float = 120.0) -> Score:
        """Turn tokens (bars, steps_per_bar, 3) into a Score; any integers in range are accepted.

        Raises CodecError for another shape or a token out of range.
        """
        check_tokens(tokens, self.spec, "trio")
        scores = [voice.decode(tokens[..., i : i + 1], tempo) for i, voice in enumerate(self.voices)]
        columns = [np.concatenate(column) for column in zip(*(s.columns for s in scores), strict=True)]
        return Score.of(*columns, bars=len(tokens), steps_per_beat=self.config.steps_per_beat, tempo=tempo)

    def timeline(
        self,
        onset: NDArray[np.integer],
        duration: NDArray[np.integer],
        pitch: NDArray[np.integer],
        part: NDArray[np.integer],
        first_step: NDArray[np.integer],
        steps: NDArray[np.integer],
    ) -> TrioTimeline:
        """Return the tokens of many voices at once, and where each plays; see `MelodyCodec.timeline`.

        `part` (V,) is the index in `parts` of each voice: 0 melody, 1 bass, 2 drums. A voice without a note that its
        codec holds plays nowhere; otherwise all its notes count, also those that the codec does not hold.
        """
        length = line_length(first_step, steps)
        tokens = np.zeros(length, dtype=np.int16)
        voice = np.searchsorted(first_step, onset, side="right") - 1
        for number, codec in enumerate(self.voices):
            mine = part[voice] == number
            tokens |= codec.timeline(onset[mine], duration[mine], pitch[mine], first_step, steps).tokens
        return TrioTimeline(tokens, self._playing(onset, duration, voice, tokens, first_step, steps))

    def windows(self, playing: NDArray[np.bool_], bars: int) -> NDArray[np.int64]:
        """Return the first bars of the clips of `bars` bars in which all voices (V, song's bars) play throughout.

        In the first and the last GAP_BARS bars of the song it is enough that any of them plays in any of these.
        """
        total = playing.shape[1]
        together: NDArray[np.bool_] = np.all(playing, axis=0)
        together[:GAP_BARS] = playing[:, :GAP_BARS].any()
        together[-GAP_BARS:] = playing[:, -GAP_BARS:].any()
        if total < bars or not playing.any(axis=1).all():
            return np.zeros(0, dtype=np.int64)
        run = np.concatenate(([0], np.cumsum(together)))
        return np.flatnonzero(run[bars:] - run[:-bars] == bars)

    def _playing(
        self,
        onset: NDArray[np.integer],
        duration: NDArray[np.integer],
        voice: NDArray[np.int64],
        tokens: NDArray[np.int16],
        first_step: NDArray[np.integer],
        steps: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        """Return in which bars of the line voices sound, each such bar spread by GAP_BARS within its voice."""
        begins, ends = first_step.astype(np.int64), (first_step + steps).astype(np.int64)
        heard = np.zeros(len(begins), dtype=np.bool_)
        heard[np.searchsorted(begins, np.flatnonzero(tokens), side="right") - 1] = True
        voice, onset, duration = (c[heard[voice]].astype(np.int64) for c in (voice, onset, duration))
        per_bar = self.steps_per_bar
        low = np.maximum(onset // per_bar - GAP_BARS, begins[voice] // per_bar)
        high = np.minimum(-(-(onset + duration) // per_bar) + GAP_BARS, ends[voice] // per_bar)
        change = np.zeros(len(tokens) // per_bar + 1, dtype=np.int64)
        np.add.at(change, low, 1)
        np.add.at(change, high, -1)
        return np.cumsum(change)[:-1] > 0
