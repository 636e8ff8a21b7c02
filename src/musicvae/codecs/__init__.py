"""Score ⇄ tokens. A codec knows music, not tensors; a token array is all that crosses to the model."""

from __future__ import annotations

from musicvae.codecs.drums import DrumsCodec
from musicvae.codecs.melody import MelodyCodec
from musicvae.codecs.piano import PianoCodec
from musicvae.codecs.protocol import Codec, Encoded
from musicvae.codecs.timeline import Timeline
from musicvae.codecs.trio import TrioCodec
from musicvae.config import CodecConfig

__all__ = ["Codec", "DrumsCodec", "Encoded", "MelodyCodec", "PianoCodec", "Timeline", "TrioCodec", "codec"]


def codec(config: CodecConfig) -> Codec:
    """Return the codec that the settings describe."""
    if config.kind == "piano":
        return PianoCodec(config)
    if config.kind == "melody":
        return MelodyCodec(config)
    return DrumsCodec(config) if config.kind == "drums" else TrioCodec(config)
