"""The models that the page offers: by name, so that nothing in a request is ever a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from musicvae.config import TEMPERATURE
from musicvae.runtime import bundle as bundles
from musicvae.runtime.engine import Model, load

__all__ = ["MOST_OF_AN_ATTRIBUTE", "model_json", "open_models"]

MOST_OF_AN_ATTRIBUTE = 3.0
"""How far, either way, a clip is bent along an attribute vector: beyond it, models play what they never heard."""


def open_models(
    given: Sequence[str | Path] = (), precision: Literal["int8", "float32"] = "int8", threads: int = 0
) -> dict[str, Model]:
    """Open the models given and those that ship, by name; the first one is the default.

    Of two models with one name the second is called `name-2`. Raises BundleError, as `load` does. The default makes a
    clip, so that the first one that somebody asks for is quick, and a damaged graph is known at once.
    """
    wanted = list(given)
    wanted += [name for name in sorted(bundles.bundled(), key=lambda n: n != bundles.DEFAULT) if name not in wanted]
    found: dict[str, Model] = {}
    for one in wanted:
        model = load(one, precision=precision, threads=threads)
        if any(model.bundle.folder.resolve() == other.bundle.folder.resolve() for other in found.values()):
            continue
        name, copies = model.bundle.name, 1
        while name in found:
            copies += 1
            name = f"{model.bundle.name}-{copies}"
        found[name] = model
    next(iter(found.values())).sample(1, temperature=0)
    return found


def model_json(name: str, model: Model) -> dict[str, Any]:
    """Return what `/api/models` says of a model."""
    config = model.bundle.config.codec
    most = MOST_OF_AN_ATTRIBUTE
    return {
        "name": name,
        "title": f"{config.kind.capitalize()}, {model.bars} bars",
        "kind": config.kind,
        "parts": list(model.codec.parts),
        "bars": model.bars,
        "steps_per_beat": config.steps_per_beat,
        "beats_per_bar": model.codec.steps_per_bar // config.steps_per_beat,
        "z": model.z,
        "temperature": TEMPERATURE,
        "attributes": [{"name": attribute, "low": -most, "high": most} for attribute in model.attributes],
        "credit": _credit(model.bundle.folder),
    }


def _credit(folder: Path) -> str:
    """Return the line of a model's card that credits its data, or nothing."""
    try:
        lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.removeprefix("Credit:").strip() for line in lines if line.startswith("Credit:")), "")
