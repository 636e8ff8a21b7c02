"""What every codec is, and the checks that codecs share."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from musicvae.config import CodecConfig
from musicvae.errors import CodecError
from musicvae.music.score import Change, Score
from musicvae.tokens import TokenSpec

__all__ = ["BEATS_PER_BAR", "METER", "OUT_VELOCITY", "Codec", "Encoded", "check_score", "check_tokens", "note_changes"]

BEATS_PER_BAR = 4
METER = (4, 4)
OUT_VELOCITY = 80
"""MIDI velocity of notes decoded from tokens that hold none, as in the published implementation."""


class Encoded(NamedTuple):
    """Tokens, and what of the Score they could not hold."""

    tokens: NDArray[np.int64]
    """(bars, slots, fields)."""
    changes: tuple[Change, ...]
    """What was changed or dropped and why; empty where decoding gives the Score back exactly."""


class Codec(Protocol):
    """Score ⇄ tokens (bars, slots, fields)."""

    @property
    def config(self) -> CodecConfig:
        """The settings it was made from."""

    @property
    def spec(self) -> TokenSpec:
        """What a model must know of the tokens."""

    @property
    def steps_per_bar(self) -> int:
        """Steps a bar of 4/4."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a Score that it holds; what `musicvae.music.read` must read for it."""

    def encode(self, score: Score) -> Encoded:
        """Turn a Score into tokens and report what they cannot hold; raises CodecError for another meter or grid."""

    def decode(self, tokens: NDArray[np.integer], tempo: float = 120.0) -> Score:
        """Turn tokens (bars, slots, fields) into a Score; any integers in range are accepted."""


def check_score(score: Score, config: CodecConfig, name: str) -> None:
    """Raise CodecError if the meter or the grid of a Score is not the codec's; `name` is that of the codec."""
    if score.meter != METER:
        raise CodecError(
            f"the meter is {score.meter[0]}/{score.meter[1]}; the {name} codec needs 4/4. "
            "Read the file with --any-meter to count it in 4/4 all the same"
        )
    if score.steps_per_beat != config.steps_per_beat:
        raise CodecError(
            f"the Score has {score.steps_per_beat} steps a beat; this codec has {config.steps_per_beat}. "
            f"Read the file with steps_per_beat={config.steps_per_beat}"
        )


def check_tokens(tokens: NDArray[np.integer], spec: TokenSpec, name: str) -> None:
    """Raise CodecError unless tokens are (bars, slots, fields) of the codec called `name`, each in range."""
    wanted = (spec.slots, len(spec.sizes))
    if tokens.ndim != 3 or tokens.shape[1:] != wanted or not len(tokens):
        raise CodecError(f"tokens have shape {tokens.shape}; the {name} codec has (bars, {wanted[0]}, {wanted[1]})")
    low, high = tokens.min(axis=(0, 1)), tokens.max(axis=(0, 1))
    for stream_field, size, least, most in zip(_names(spec), spec.sizes, low.tolist(), high.tolist(), strict=True):
        if least < 0 or most >= size:
            wrong = least if least < 0 else most
            raise CodecError(f"a token of {stream_field} is {wrong}; wanted 0 to {size - 1}")


def note_changes(counts: tuple[tuple[str, int], ...]) -> tuple[Change, ...]:
    """Return a Change for each (reason, notes) that touched any note."""
    return tuple(Change(reason, notes) for reason, notes in counts if notes)


def _names(spec: TokenSpec) -> list[str]:
    return [f.name for s in spec.streams for f in s.fields]
