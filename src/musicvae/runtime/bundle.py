"""Bundles: a model as a folder, the only currency between training, command line, web and hub.

config.json           format, name, settings and how it was trained
model.safetensors     the weights, in half precision, once
encode.onnx, start.onnx, step.onnx    the graphs; they refer to the weights in model.safetensors
README.md             the model card
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from musicvae.config import Config, from_dict
from musicvae.errors import BundleError, ConfigError

__all__ = ["DEFAULT", "FORMAT", "Bundle", "bundled", "find", "read"]

FORMAT = 1
"""Version of the layout."""

DEFAULT = "piano-16bar-small"
"""The model that every command uses if none is named."""


class Bundle(NamedTuple):
    """An opened bundle."""

    folder: Path
    """Where it lies."""
    name: str
    """What the model is called."""
    config: Config
    """All settings, those of the training included."""
    trained: dict[str, Any]
    """How it was trained, as the run recorded it."""


def bundled() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in _models().glob("*/config.json"))


def find(model: str | Path | None = None) -> Path:
    """Return the folder of a model given as a bundled name or a folder (None: the default model).

    A bundled name comes before a folder of the same name; `./name` is always the folder. Raises BundleError that lists
    the bundled names.
    """
    name = str(model) if model is not None else DEFAULT
    if name in bundled():
        return _models() / name
    if Path(name).is_dir():
        return Path(name)
    raise BundleError(
        f"{name}: is neither a bundled model ({', '.join(bundled()) or 'none is installed'}) nor a folder"
    )


def read(folder: Path) -> Bundle:
    """Read a bundle's config.json; raises BundleError if the folder is no bundle."""
    path = folder / "config.json"
    if (folder / "run.json").exists():
        raise BundleError(
            f"{folder}: is a training run. Make a model of it with: musicvae export {folder} -o my-model/"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data if isinstance(data, dict) else {}
        version, name, settings, trained = (data[key] for key in ("format", "name", "config", "trained"))
    except OSError as error:
        raise BundleError(f"{folder}: is not a model folder ({path.name}: {error.strerror})") from None
    except (ValueError, KeyError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{path}: is not a model's settings ({what}). Export the model again") from None
    if version != FORMAT:
        raise BundleError(
            f"{path}: has format {version}; this version of musicvae reads {FORMAT}. Export the model again"
        )
    try:
        return Bundle(folder, name, from_dict(Config, settings, str(path)), trained)
    except ConfigError as error:
        raise BundleError(str(error)) from None


def _models() -> Path:
    return Path(str(resources.files("musicvae"))) / "models"
