"""Score ⇄ tokens. A codec knows music, not tensors; a token array is all that crosses to the model."""

from __future__ import annotations

from musicvae.codecs.piano import Encoded, PianoCodec
from musicvae.config import CodecConfig

__all__ = ["Encoded", "PianoCodec", "codec"]


def codec(config: CodecConfig) -> PianoCodec:
    """Return the codec that the settings describe."""
    return PianoCodec(config)
