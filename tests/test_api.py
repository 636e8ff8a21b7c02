"""The public face: small, exact, and quick to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import musicvae

HEAVY = ("torch", "onnxruntime", "onnx", "symusic", "safetensors", "tqdm")


def loaded(code: str, modules: tuple[str, ...] = HEAVY) -> list[str]:
    """Run code in a new interpreter and return which of the modules it imported."""
    code = f"{code}\nimport sys\nprint(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_all_is_exact():
    assert musicvae.__all__ == [
        "Model",
        "MusicVAEError",
        "Reading",
        "Report",
        "Score",
        "bundled",
        "load",
        "read",
        "slerp",
    ]
    for name in musicvae.__all__:
        assert getattr(musicvae, name).__name__ == name
    assert set(musicvae.__all__) <= set(dir(musicvae))
    assert musicvae.__version__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sample'"):
        _ = musicvae.sample


def test_importing_loads_nothing_heavy():
    assert loaded("import musicvae") == []
    assert loaded("import musicvae", ("numpy", "click")) == []


def test_music_and_settings_need_neither_torch_nor_a_midi_parser():
    assert loaded("from musicvae import Score, slerp\nimport musicvae.codecs, musicvae.data.dataset") == []


def test_the_engine_needs_no_torch():
    found = loaded("from musicvae import load\nimport musicvae.runtime.onnx, musicvae.runtime.sampling")
    assert "onnxruntime" in found
    assert not {"torch", "onnx", "safetensors", "symusic"} & set(found)


def test_the_network_knows_no_music():
    code = "import musicvae.model"
    assert loaded(code, ("musicvae.music", "musicvae.codecs", "musicvae.data", "symusic", "onnxruntime")) == []


def test_the_check_sees_what_is_imported():  # negative control
    assert loaded("import tqdm, musicvae") == ["tqdm"]
