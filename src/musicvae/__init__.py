"""MusicVAE: new music from a latent space that you can walk through.

import musicvae

model = musicvae.load()
clips = model.sample(4, seed=7)
clips[0].save("new.mid")
z = model.encode(musicvae.read("mine.mid"))
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musicvae.errors import MusicVAEError
    from musicvae.latent import slerp
    from musicvae.music import Reading, Report, Score, read
    from musicvae.runtime.bundle import bundled
    from musicvae.runtime.engine import Model, load

__all__ = ["Model", "MusicVAEError", "Reading", "Report", "Score", "bundled", "load", "read", "slerp"]

_HOMES = {
    "Model": "musicvae.runtime.engine",
    "MusicVAEError": "musicvae.errors",
    "Reading": "musicvae.music",
    "Report": "musicvae.music",
    "Score": "musicvae.music",
    "bundled": "musicvae.runtime.bundle",
    "load": "musicvae.runtime.engine",
    "read": "musicvae.music",
    "slerp": "musicvae.latent",
}

try:
    __version__ = version("musicvae")
except PackageNotFoundError:  # run from a source tree, e.g. carried to a training box
    __version__ = "0+source"


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `musicvae --help` loads next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'musicvae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
