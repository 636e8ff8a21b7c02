"""The tutorial runs from top to bottom in Jupyter's own kernel, and shows what its text speaks of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def committed() -> Any:
    import nbformat

    return nbformat.read(TUTORIAL, as_version=4)


def test_it_is_committed_without_outputs(committed):
    for cell in committed.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    assert TUTORIAL.stat().st_size < 30_000


def test_it_needs_nothing_from_elsewhere(committed):
    source = "\n".join(cell.source for cell in committed.cells)
    assert not re.search(r"https?://|shared/|^\s*[!%]", source, re.MULTILINE)


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_it_runs_and_shows_clips(committed, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("MUSICVAE_SOUNDFONT", "builtin")
    folder = tmp_path / "somewhere"
    folder.mkdir()
    done = NotebookClient(
        committed, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    shown = {}  # frames with players by the last line of the cell
    for cell in done.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]
            frames = output.get("data", {}).get("text/html", "").count("<iframe")
            if frames:
                shown[cell.source.splitlines()[-1]] = frames
    assert shown == {
        "clips": 3,
        "music": 1,
        "copy": 1,
        "model.interpolate(music, clips[1], steps=5)": 5,
        "model.vary(clips[0], amount=0.3, n=3, seed=1)": 3,
        "bent": 3,
    }
    text = "".join(o.get("text", "") for cell in done.cells for o in cell.get("outputs", []))
    lengths = [[float(n) for n in re.findall(r"[\d.]+", line)][1:] for line in text.splitlines() if "slerp" in line]
    assert lengths[2][0] < 0.8 * lengths[0][0]  # what the text says of straight lines
    assert lengths[2][1] > 0.9 * lengths[0][1]
    assert len(re.findall(r"^density [-+.\d]+: \d+ notes$", text, re.MULTILINE)) == 3
    assert list(folder.iterdir()) == []  # it leaves nothing behind where it runs
