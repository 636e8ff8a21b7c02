"""musicvae report."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from musicvae.cli import main
from musicvae.cli.report import _write
from musicvae.errors import MusicVAEError

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

FEW = ("--split", "train", "--clips", "6")
NAME = "<script>alert('&')</script>"


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run the command line in this process; return exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["musicvae", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def data(toy_data, tmp_path):
    """A data set with a name that would do harm in a page."""
    return shutil.copytree(toy_data, tmp_path / NAME.replace("/", "_"))


def test_a_page_and_the_same_figures(cli, data, toy_bundle, tmp_path):
    page = tmp_path / "new" / "report.html"
    code, out, err = cli(toy_bundle(), data, "-o", page, *FEW, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["model"], found["split"], found["temperature"], found["seed"]) == ("toy", "train", 0.7, 0)
    assert found["comparison"]["generated"] == 6
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!doctype html>")
    assert f"{found['reconstruction']['table']['model']['greedy']['onset_f1']['value']:.3f}" in text
    assert "<script>alert" not in text
    assert "musicvae report" in text
    assert [file.name for file in page.parent.iterdir()] == ["report.html"]

    code, out, err = cli(toy_bundle(), data, "-o", page, *FEW)
    assert code == 1
    assert "exists already" in err
    code, out, err = cli(toy_bundle(), data, "-o", page, *FEW, "--overwrite")
    assert code == 0
    assert f"{page}: 6 generated and 6 real clips" in out
    assert "left out: The machine listener" in err
    assert page.read_text(encoding="utf-8") == text


def test_errors_come_before_the_work(cli, data, toy_bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here")
    monkeypatch.setattr("musicvae.evaluate.report.measure", lambda *_, **__: pytest.fail("it worked all the same"))
    for arguments, words in (
        ((toy_bundle(), tmp_path / "none"), "is not a prepared data set"),
        (("no-such-model", data), "no-such-model"),
        ((toy_bundle(), data, "-o", tmp_path, "--overwrite"), "is a folder; wanted a file"),
        ((toy_bundle(), data, "-o", tmp_path / "file"), "exists already"),
        ((toy_bundle(), data, "-o", tmp_path / "file" / "report.html"), "cannot be written"),
    ):
        code, out, err = cli(*arguments)
        assert (code, out) == (1, "")
        assert words in err
        assert "Traceback" not in err
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _, err = cli(toy_bundle(), data, "-o", tmp_path / "a.html")
    assert code == 1
    assert "musicvae[eval]" in err
    assert cli(toy_bundle(), data, "--clips", "1")[0] == 2


def test_no_half_page_stays_where_the_disk_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MusicVAEError, match=r"cannot be written \(No space left on device\)\. Choose"):
        _write(tmp_path / "report.html", "text")
    assert not list(tmp_path.iterdir())
