"""Bundles: a model as a folder, the only currency between training, command line, web and hub.

config.json           format, name, settings and how it was trained
model.safetensors     the weights, once; in half precision as a rule
encode.onnx, start.onnx, step.onnx    the graphs; they refer to the weights in model.safetensors
attributes.json       attribute vectors, where `musicvae attributes` found them
prior.npz             a fitted prior, where `musicvae prior` fitted one (see flow)
README.md             the model card
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.config import Config, from_dict
from musicvae.errors import BundleError, ConfigError

__all__ = ["DEFAULT", "FORMAT", "Bundle", "bundled", "find", "read", "read_attributes", "write_attributes"]

FORMAT = 3
"""Version of the layout."""

DEFAULT = "piano-16bar"
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


def read_attributes(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    """Return the attribute vectors (Z,) of a bundle by name; none where it has none. Raises BundleError if damaged."""
    path, z = bundle.folder / "attributes.json", bundle.config.model.z
    if not path.exists():
        return {}
    try:
        vectors = json.loads(path.read_text(encoding="utf-8"))["vectors"]
        found = {str(name): np.array(vector, dtype=np.float32) for name, vector in vectors.items()}
        if any(v.shape != (z,) or not np.isfinite(v).all() for v in found.values()):
            raise ValueError(f"a vector is not {z} finite numbers")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: is damaged ({error}). Find the vectors anew: musicvae attributes") from None
    return found


def write_attributes(folder: Path, vectors: dict[str, NDArray[np.float32]], facts: dict[str, Any]) -> None:
    """Store attribute vectors (Z,) in a bundle, with how they were found and tried."""
    content = {**facts, "vectors": {name: [float(f"{x:.6g}") for x in v] for name, v in vectors.items()}}
    partial = folder / ".attributes.json.partial"
    try:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
        partial.replace(folder / "attributes.json")
    except OSError as error:
        raise BundleError(
            f"{folder}: attributes.json cannot be written ({error.strerror}). Copy the model first"
        ) from None


def _models() -> Path:
    return Path(str(resources.files("musicvae"))) / "models"
