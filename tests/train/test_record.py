"""What a run writes down of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicvae.train.record import _program


@pytest.mark.parametrize(
    ("called", "command"),
    [
        ("/usr/bin/musicvae", ["musicvae"]),
        ("/site/musicvae/train/__main__.py", ["python", "-m", "musicvae.train"]),
        ("/site/musicvae/__main__.py", ["python", "-m", "musicvae"]),
    ],
)
def test_the_command_is_one_that_can_be_typed_again(called, command):
    assert _program(Path(called)) == command
