"""Labels: lists, tables and archives of ids, whose songs they are, and what is prepared of them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from musicvae.cli.prepare import command
from musicvae.data.dataset import Dataset
from musicvae.data.labels import Labels
from musicvae.data.prepare import prepare
from musicvae.errors import DataError

LISTS = {
    "amg/id_list_Jazz.txt": "TRA\nTRB\n",
    "amg/id_list_Pop_Rock.txt": "TRC\r\n\n",
    "lastfm/id_list_jazz.txt": "TRD\nTRA\n",
    "lastfm/id_list_New-Age.txt": "TRE",
    "lastfm/id_list_empty.txt": "",
    "amg/masd_labels.txt": "# msd_id, label_num\nTRF    3\n",
    "notes.txt": "TRG\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in LISTS.items():
        path = tmp_path / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")
    return tmp_path / "labels"


@pytest.fixture
def music(toy_music: Path, tmp_path: Path) -> Path:
    """Six songs as LPD has them: a folder for each id."""
    for i, one in enumerate("ABCDEX"):
        path = tmp_path / "music" / one / f"TR{one}"
        path.mkdir(parents=True)
        shutil.copy(toy_music / f"{i}.mid", path / f"{i * 1111:032x}.mid")
    return tmp_path / "music"


def test_a_folder_and_its_archives_are_the_same(folder, tmp_path):
    read = Labels.read(folder)
    assert {name: sorted(ids) for name, ids in read.lists.items()} == {
        "amg/Jazz": ["TRA", "TRB"],
        "amg/Pop_Rock": ["TRC"],
        "lastfm/New-Age": ["TRE"],
        "lastfm/jazz": ["TRA", "TRD"],
    }
    with tarfile.open(tmp_path / "l.tar.gz", "w:gz") as archive:
        archive.add(folder, "labels")
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as zipped:
        for name, text in LISTS.items():
            zipped.writestr(f"labels/{name}", text)
    for name in ("l.tar.gz", "l.zip"):
        assert Labels.read(tmp_path / name).lists == read.lists


def test_a_list_or_a_table_alone(folder, tmp_path):
    assert Labels.read(folder / "amg" / "id_list_Jazz.txt").lists == {"Jazz": {"TRA", "TRB"}}
    table = tmp_path / "mine.tsv"
    table.write_text("# song\tgenre\nnocturne\tRomantic\nx/fugue.mid\tBaroque\nTRB\tJazz\nfugue.mid\tBaroque\n")
    labels = Labels.read(table)
    assert labels.of("some/where/nocturne.mid") == ("Romantic",)
    assert labels.of("x/fugue.mid") == ("Baroque",)
    assert labels.of("C:\\music\\TRB\\00.npz") == ("Jazz",)
    assert labels.of("nocturnes.mid") == labels.of("") == ()


def test_whose_songs(folder):
    labels = Labels.read(folder)
    assert labels.of("lpd.tar.xz/lpd_cleansed/A/TRA/0.npz") == ("amg/Jazz", "lastfm/jazz")
    assert labels.of("TRAX/0.npz") == ()
    assert labels.choose(["JAZZ"]).lists == ("amg/Jazz", "lastfm/jazz")
    assert labels.choose(["amg/jazz", "new age", "pop-rock"]).lists == ("amg/Jazz", "lastfm/New-Age", "amg/Pop_Rock")
    choice = labels.choose(["Jazz"])
    assert choice.why_not("x/TRD/1.mid") is None
    assert choice.why_not("x/TRC/1.mid") == "is of another genre: amg/Pop_Rock"
    assert choice.why_not("x/TRX/1.mid") == "has no label"
    assert choice.described()["lists"] == {"amg/Jazz": 2, "lastfm/jazz": 2}
    assert choice.described() != labels.choose(["amg/Jazz"]).described()


@pytest.mark.parametrize(
    ("genre", "hint"), [("Jaz", "did you mean 'Jazz'?"), ("polka", "there are Jazz, New-Age, Pop_Rock")]
)
def test_no_such_genre(folder, genre, hint):
    with pytest.raises(DataError, match="no list is called") as caught:
        Labels.read(folder).choose([genre])
    assert hint in str(caught.value)


def test_what_are_no_labels(tmp_path):
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "cut.zip").write_bytes(b"PK")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    cannot = dict.fromkeys(("cut.tar.gz", "cut.zip", "binary.txt"), "cannot be read")
    for name, why in {**cannot, "nowhere": "No such file", "empty.txt": "no labels", ".": "no labels"}.items():
        with pytest.raises(DataError, match=why):
            Labels.read(tmp_path / name)


# -------------------------------------------------------------------------------------------------------- prepare
def test_only_one_genre_is_kept(folder, music, tmp_path):
    choice = Labels.read(folder).choose(["Jazz"])
    summary = prepare([music], tmp_path / "jazz", choice=choice, workers=1)
    assert summary.record["files"] == {"found": 6, "kept": 3, "duplicates": 0, "dropped": 3}
    assert summary.record["reasons"] == {"is of another genre": 2, "has no label": 1}
    assert summary.record["settings"]["labels"] == choice.described()
    kept = sorted(Path(source).parent.name for source in Dataset(tmp_path / "jazz").sources())
    assert kept == ["TRA", "TRB", "TRD"]
    lost = (tmp_path / "jazz" / "dropped.tsv").read_text()
    assert f"{music}/C/TRC/{2222:032x}.mid\tfile\tis of another genre: amg/Pop_Rock\n" in lost
    assert f"{music}/X/TRX/{5555:032x}.mid\tfile\thas no label\n" in lost


def test_the_same_of_an_archive(folder, music, tmp_path):
    with tarfile.open(tmp_path / "music.tar.xz", "w:xz") as archive:
        archive.add(music, "music")
    choice = Labels.read(folder).choose(["Jazz"])
    prepare([music], tmp_path / "a", choice=choice, workers=1)
    prepare([tmp_path / "music.tar.xz"], tmp_path / "b", choice=choice, workers=1)
    for name in ("notes.npy", "bars.npy", "voices.npy", "songs.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    a, b = (json.loads((tmp_path / name / "dataset.json").read_text()) for name in "ab")
    assert a["sources"][0]["blake2b"] == b["sources"][0]["blake2b"]


def test_without_a_choice_nothing_is_different(folder, music, tmp_path):
    """The songs of a genre are the same, byte by byte, as where nothing else was there; and settings say no more."""
    prepare([music], tmp_path / "all", workers=1)
    info = json.loads((tmp_path / "all" / "dataset.json").read_text())
    assert list(info["settings"]) == ["steps_per_beat", "programs", "any_meter"]
    for one in "CEX":
        shutil.rmtree(music / one)
    prepare([music], tmp_path / "few", workers=1)
    prepare([music], tmp_path / "chosen", workers=1, choice=Labels.read(folder).choose(["jazz"]))
    for name in ("notes.npy", "bars.npy", "voices.npy", "songs.npy", "songs.tsv"):
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "chosen" / name).read_bytes()


def test_no_song_of_a_genre(music, tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("TRA\tJazz\nelsewhere\tPolka\n")
    with pytest.raises(DataError, match=r"no file can be used: has no label \(5\); is of another genre \(1\)"):
        prepare([music], tmp_path / "d", choice=Labels.read(table).choose(["Polka"]), workers=1)
    assert not (tmp_path / "d").exists()


def test_command(folder, music, tmp_path):
    run = CliRunner()
    done = run.invoke(
        command,
        [str(music), "--dry-run", "--workers", "1", "--labels", str(folder), "--genre", "Jazz", "--genre", "new age"],
    )
    assert done.exit_code == 0, done.output
    assert "genre: amg/Jazz, lastfm/jazz, lastfm/New-Age (6 files looked at)" in done.output
    assert "1  is of another genre" in done.output
    for arguments, text in (
        (["--genre", "Jazz"], "--genre needs --labels"),
        (["--labels", "x"], "--labels needs --genre"),
    ):
        done = run.invoke(command, [str(music), "--dry-run", *arguments])
        assert done.exit_code == 2
        assert text in done.output


def test_lpd_labels(shared_data):
    labels = Labels.read(shared_data / "lpd_labels.tar.gz")
    assert len(labels.lists["amg/Jazz"]) == 157
    assert labels.choose(["jazz"]).lists == ("amg/Jazz", "lastfm/jazz", "tagtraum/Jazz")
    with tarfile.open(shared_data / "lpd_piano.tar.xz") as archive:
        names = [archive.next().name for _ in range(40)]  # type: ignore[union-attr]
    assert any(labels.of(name) for name in names)


def test_a_list_that_is_too_large_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("musicvae.data.labels.LARGEST", 10)
    with tarfile.open(tmp_path / "l.tar", "w") as archive:
        for name, text in (("id_list_a.txt", b"x\n" * 9), ("id_list_b.txt", b"y\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    assert list(Labels.read(tmp_path / "l.tar").lists) == ["b"]
