"""musicvae novelty, and --novel of generate."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from musicvae.cli import main
from musicvae.data.dataset import Dataset
from musicvae.data.layout import KEPT
from musicvae.data.prepare import prepare
from musicvae.music import read
from musicvae.runtime.engine import load


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run the command line in this process; return exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["musicvae", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def data(toy_data, tmp_path) -> Path:
    """A data set that files may be kept in."""
    return shutil.copytree(toy_data, tmp_path / "data")


def clips(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_of_files(cli, data, toy_music, tmp_path):
    sources = Dataset(data).sources()
    train = [Path(s).name for s, song in zip(sources, Dataset(data).songs, strict=True) if song["split"] == 0]
    code, out, err = cli("novelty", toy_music / train[0], toy_music / train[1], data, "--json")
    assert (code, err) == (0, "")
    for name, row in zip(train[:2], json.loads(out), strict=True):
        assert Path(row["file"]).name == name
        found = row["runs"]["notes"]["exact"]
        assert (found["longest"]["notes"], Path(found["longest"]["source"]).name) == (found["of"], name)
    code, out, _ = cli("novelty", toy_music / train[0], data)
    assert code == 0
    of = json.loads(cli("novelty", toy_music / train[0], data, "--json")[1])[0]["runs"]["notes"]["exact"]["of"]
    assert f"notes, exact: of {of} notes {of} notes" in out
    assert f"{train[0]}, bar 1, beat" in out


def test_of_a_model(cli, data, toy_bundle):
    bundle = toy_bundle()
    code, out, _ = cli("novelty", bundle, data, "--clips", "9", "--seed", "3")
    assert code == 0
    assert "| notes, any key: toy, T = 0.7 " in out
    assert "| skyline, exact: held-out songs " in out
    assert "Usual, unrepeated: up to " in out
    assert "Clip " in out
    told = json.loads(cli("novelty", bundle, data, "--clips", "9", "--seed", "3", "--json")[1])
    assert told["model"]["clips"] == 9
    assert len(told["nearest"]) == 5
    # What is told is what the index finds in these very clips.
    from musicvae.evaluate.novelty import Index

    index = Index.of(Dataset(data), ("piano",))
    clip = load(bundle).sample(9, seed=3)[told["nearest"][0]["clip"] - 1]
    assert (
        told["nearest"][0]["runs"]["notes"]["exact"]["longest"]["notes"]
        == index.find(clip)["notes"]["exact"].longest.notes
    )


def test_novel_clips(cli, toy_music, toy_bundle, tmp_path):
    """Clips within the limit are those without it; the others are what their new seeds draw."""
    bundle = toy_bundle()
    plain = ("generate", "--model", bundle, "-n", "4", "--seed", "5")
    assert cli(*plain, "-o", tmp_path / "plain")[0] == 0
    prepare([toy_music], tmp_path / "other", workers=1)
    code, _, err = cli(*plain, "--novel=8", "--against", tmp_path / "other", "-o", tmp_path / "wide")
    assert code == 0
    assert "0 of 4 clips had more" in err
    assert clips(tmp_path / "wide") == clips(tmp_path / "plain")

    data = tmp_path / "data"  # songs that the model copies, note by note
    prepare([toy_music, tmp_path / "plain"], data, workers=1)
    copied = {
        Path(s).name for s, song in zip(Dataset(data).sources(), Dataset(data).songs, strict=True) if not song["split"]
    }
    code, out, err = cli(*plain, "--novel=8", "--against", data, "-o", tmp_path / "novel", "--json")
    assert code == 0, err
    rows = json.loads(out)
    for row in rows:
        name = Path(row["file"]).name
        assert max(keys["any key"]["telling"]["unrepeated"] for keys in row["runs"].values()) <= 8
        assert bool(row["drawn_anew"]) == (name in copied)
        if name in copied:
            assert read(row["file"]).score.cut(0, 2) == load(bundle).sample(1, seed=row["drawn_with_seed"])[0]
        else:
            assert Path(row["file"]).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert any(row["drawn_anew"] for row in rows)
    again = json.loads(cli(*plain, "--novel=8", "--against", data, "-o", tmp_path / "again", "--json")[1])
    assert clips(tmp_path / "again") == clips(tmp_path / "novel")
    assert [row["drawn_with_seed"] for row in again] == [row["drawn_with_seed"] for row in rows]


def test_the_limit_is_what_is_usual(cli, data, toy_bundle, tmp_path):
    code, _, err = cli("generate", "--model", toy_bundle(), "--seed", "1", "--novel", "--against", data, "-o", tmp_path)
    assert code == 0, err
    limits = json.loads((data / f"{KEPT}piano-2bar.json").read_text())["limits"]
    assert f"{limits['notes']} of notes, {limits['skyline']} of skyline" in err


def test_giving_up(cli, data, toy_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("musicvae.evaluate.copying.excess", lambda found, limits: found["notes"]["exact"].longest)
    arguments = (
        "generate",
        "--model",
        toy_bundle(),
        "--seed",
        "1",
        "--novel=2",
        "--against",
        data,
        "-o",
        tmp_path / "o",
    )
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert "Error: clip 1 of seed 1: was drawn 20 times more" in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["generate", "--novel"], "--novel needs --against DATA"),
        (["generate", "--against", "x"], "--against is for --novel"),
        (["generate", "--novel=1", "--against", "x"], "'1'; wanted a number of notes from 2 up"),
        (["generate", "--novel", "few", "--against", "x"], "'few'; wanted a number of notes"),
        (["novelty", "x"], "Missing argument"),
        (["novelty", "a.mid", "b.mid", "x"], "a.mid is not a file; name one model"),
    ],
)
def test_wrong_usage(cli, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert text in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["novelty", "MODEL", "nowhere"],
        ["generate", "--model", "MODEL", "--novel", "--against", "nowhere"],
        ["card", "nowhere"],
    ],
)
def test_no_data_set(cli, tmp_path, monkeypatch, toy_bundle, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*(toy_bundle() if a == "MODEL" else a for a in arguments))
    assert (code, out) == (1, "")
    assert "nowhere: is not a prepared data set" in err
    assert not list(tmp_path.iterdir())


def test_another_data_set_is_noted(cli, data, toy_bundle, tmp_path):
    bundle = shutil.copytree(toy_bundle(), tmp_path / "bundle")
    config = json.loads((bundle / "config.json").read_text())
    for songs, note in (({"train": 1}, True), (Dataset(data).info["songs"], False)):
        config["trained"]["data"] = {"songs": songs}
        (bundle / "config.json").write_text(json.dumps(config))
        err = cli(
            "generate",
            "--model",
            bundle,
            "--novel=99",
            "--against",
            data,
            "-o",
            tmp_path / "o",
            "--overwrite",
            "--seed",
            1,
        )[2]
        assert ("was trained on another data set" in err) == note
        err = cli("novelty", bundle, data, "--clips", "1")[2]
        assert ("was trained on another data set" in err) == note
