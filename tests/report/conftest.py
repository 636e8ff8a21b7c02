"""One report of a toy model, and what makes others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}`&amp;.mid"
"""A file name that a page must show and not run."""


def renamed(data: Path, to: Path, name: str) -> Path:
    """Copy a data set in which all songs come from a file of this name."""
    shutil.copytree(data, to)
    head, *lines = (to / "songs.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.rpartition("\t")[0] + f"\tmusic/{name}" for line in lines]
    (to / "songs.tsv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return to


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture(scope="session")
def measured(toy_bundle: Callable[..., Path], toy_band_data: Path, tmp_path_factory: Any) -> Callable[..., Any]:
    """Measure a toy model on the toy band, whose songs have a hostile name: `measured(kind)`; once a session each."""
    pytest.importorskip("sklearn")
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.report import measure
    from musicvae.runtime.engine import load

    data = renamed(toy_band_data, tmp_path_factory.mktemp("hostile") / "data", HOSTILE)
    made: dict[Any, Any] = {}

    def of(kind: str = "piano", clips: int = 24, split: str = "train") -> Any:
        if (kind, clips, split) not in made:
            model = load(toy_bundle(kind=kind))
            made[kind, clips, split] = measure(
                model, Dataset(data), data=f"music/{HOSTILE}", split=split, clips=clips, temperature=1.0, rounds=4
            )
        return made[kind, clips, split]

    return of
