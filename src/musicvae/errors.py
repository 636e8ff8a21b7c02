"""Every error that musicvae raises on purpose.

    MusicVAEError            shown to people without a traceback; exit code 1
    ├── ReadError            a file that cannot be read, or holds nothing usable
    ├── CodecError           a Score or tokens that a codec cannot hold
    ├── ConfigError          a setting that does not exist or does not fit
    ├── DataError            a prepared data set that is absent, partial or does not fit
    ├── BundleError          a model folder that is absent, partial or does not fit
    ├── TrainingError        a run that cannot start, continue or go on
    ├── SoundError           a SoundFont or a Score that cannot be heard
    └── MissingExtraError    a part of the package that was not installed

A message says what, where, what was wanted, what was found and what to do next, in one line.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CodecError",
    "ConfigError",
    "DataError",
    "MissingExtraError",
    "MusicVAEError",
    "ReadError",
    "SoundError",
    "TrainingError",
]


class MusicVAEError(Exception):
    """Base of every error that musicvae raises on purpose."""


class ReadError(MusicVAEError):
    """A file that cannot be read, or holds nothing usable.

    `source` is the file as the user named it and `reason` the rest of the line.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class CodecError(MusicVAEError):
    """A Score or tokens that a codec cannot hold."""


class ConfigError(MusicVAEError):
    """A setting that does not exist or does not fit."""


class DataError(MusicVAEError):
    """A prepared data set that is absent, partial or does not fit."""


class BundleError(MusicVAEError):
    """A model folder that is absent, partial or does not fit."""


class TrainingError(MusicVAEError):
    """A run that cannot start, continue or go on."""


class SoundError(MusicVAEError):
    """A SoundFont that is absent or broken, or a Score too long for sound."""


class MissingExtraError(MusicVAEError):
    """A part of the package that was not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra that is not installed. Run: pip install 'musicvae[{extra}]'")
        self.extra = extra
