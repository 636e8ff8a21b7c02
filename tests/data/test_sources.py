"""Where songs come from: each kind of source, and each way in which one can be odd."""

from __future__ import annotations

import bz2
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from musicvae.data import sources
from musicvae.data.sources import Found, Skipped, check, kind, walk
from musicvae.errors import DataError
from musicvae.music.beats import BEATS

SONG = b"PK\x03\x04" + bytes(range(256)) * 40


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def names(*given: Path) -> list[str]:
    return [item.name for item in walk(given)]


def test_folders_are_walked_in_sorted_order_and_hidden_or_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("b/z.mid", "b/a/deep/x.KAR", "a.npz", "c.MIDI", "notes.txt", ".hidden.mid", "._c.mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SONG)
    for folder in (".git", "__MACOSX"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "d.mid").write_bytes(SONG)
    found = list(walk([tmp_path]))
    assert [item.name for item in found] == [
        f"{tmp_path}/{n}" for n in ("a.npz", "b/a/deep/x.KAR", "b/z.mid", "c.MIDI")
    ]
    assert all(isinstance(item, Found) and isinstance(item.content, Path) for item in found)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".tar", "w"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
        (".txz", "w:xz"),
    ],
)
def test_every_tar_gives_the_bytes_of_its_songs(tmp_path: Path, suffix: str, mode: str) -> None:
    members = {"./one.mid": SONG, "x/two.npz": SONG * 3, "._one.mid": b"", "__MACOSX/x.mid": b"", "read.me": b"?"}
    archive = tar(tmp_path / f"all{suffix}", members, mode)
    found = list(walk([tmp_path]))
    assert [(f.name, f.content) for f in found if isinstance(f, Found)] == [
        (f"{archive}/one.mid", SONG),
        (f"{archive}/x/two.npz", SONG * 3),
    ]
    assert len(found) == 2
    assert kind(archive) == "archive"


def test_zip_and_archives_of_several_streams(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ein/Lied – ö.mid", SONG)
        archive.writestr("inner.zip", b"")
        archive.mkdir("folder.mid")
    plain = tar(tmp_path / "b.tar", {"1.mid": SONG, "2.mid": SONG}).read_bytes()
    (tmp_path / "b.tar").unlink()
    half = len(plain) // 2
    (tmp_path / "b.tar.bz2").write_bytes(bz2.compress(plain[:half]) + bz2.compress(plain[half:]))  # as pbzip2 does
    found = list(walk([tmp_path]))
    assert [f.name.removeprefix(f"{tmp_path}/") for f in found] == [
        "a.zip/ein/Lied – ö.mid",
        "a.zip/inner.zip",
        "b.tar.bz2/1.mid",
        "b.tar.bz2/2.mid",
    ]
    assert isinstance(found[1], Skipped)
    assert "within an archive" in found[1].reason
    assert [f.part for f in found if isinstance(f, Found)][-1] == 1.0


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
@pytest.mark.parametrize("left", [0, 3, 700, 10_000, 0.5, 0.8])
def test_a_cut_archive_gives_what_is_whole_and_one_line(tmp_path: Path, suffix: str, left: float) -> None:
    content = {f"{i}.mid": os.urandom(7_000) for i in range(6)}
    path = tmp_path / f"cut{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    else:
        tar(path, content, "w:" + suffix[5:])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left if left == 0 or left > 1 else left * len(whole))])
    found = list(walk([path]))
    assert [type(f) for f in found] == [Found] * (len(found) - 1) + [Skipped]
    assert all(f.content == content[f.name.rsplit("/", 1)[1]] for f in found if isinstance(f, Found))
    last = found[-1]
    assert isinstance(last, Skipped)
    assert "broken archive" in last.reason
    assert "\n" not in last.reason


def test_a_tar_with_a_damaged_header_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.mid": SONG, "2.mid": SONG, "3.mid": SONG})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"2.mid")] ^= 0xFF
    path.write_bytes(damaged)
    first, last = walk([path])
    assert isinstance(first, Found)
    assert isinstance(last, Skipped)
    assert "Kept 1 files" in last.reason


def test_a_damaged_member_of_a_zip_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("1.mid", "2.mid", "3.mid"):
            archive.writestr(name, name.encode() * 100)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"2.mid2.mid") + 20] ^= 0xFF
    path.write_bytes(damaged)
    found = list(walk([path]))
    assert [type(f) for f in found] == [Found, Skipped, Found]
    assert found[1].name == f"{path}/2.mid"


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.mid", SONG)
    forged = bytearray(path.read_bytes())
    directory = forged.index(b"PK\x01\x02")
    forged[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    path.write_bytes(forged)
    (item,) = walk([path])
    assert isinstance(item, Skipped)
    assert "CRC" in item.reason


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind_ in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            entry = tarfile.TarInfo(f"{kind_!r}.mid")
            entry.type, entry.linkname = kind_, "../../etc/passwd"
            archive.addfile(entry)
    assert names(path) == []


def test_songs_beyond_the_limit_are_reported_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST", 1000)
    (tmp_path / "big.mid").write_bytes(SONG)
    tar(tmp_path / "t.tar", {"big.mid": SONG, "small.mid": b"x"})
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.mid", SONG)
    found = list(walk([tmp_path]))
    assert [type(f) for f in found] == [Skipped, Skipped, Found, Skipped]
    assert all("larger" in f.reason for f in found if isinstance(f, Skipped))


def test_links_between_folders_do_not_hang_and_nothing_comes_twice(tmp_path: Path) -> None:
    music = tmp_path / "music"
    (music / "a" / "b").mkdir(parents=True)
    (music / "a" / "x.mid").write_bytes(SONG)
    (music / "a" / "b" / "up").symlink_to(music)
    (music / "self.mid").symlink_to(music / "self.mid")
    (music / "gone.mid").symlink_to(music / "nowhere")
    (music / "gone.txt").symlink_to(music / "nowhere")
    (music / "y.mid").symlink_to(music / "a" / "x.mid")
    found = list(walk([music, music, music / "a" / "x.mid"]))
    assert [f.name for f in found if isinstance(f, Found)] == [f"{music}/a/x.mid"]
    assert sorted(f.name for f in found if isinstance(f, Skipped)) == [f"{music}/gone.mid", f"{music}/self.mid"]


def test_very_deep_folders(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):  # deeper than Python's stack
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("x.mid", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        (item,) = walk([tmp_path])
        assert item.name.endswith("/d/x.mid")
    finally:
        os.close(here)
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # too deep for pytest to clear away


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_reported(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    (item,) = walk([tmp_path])
    assert isinstance(item, Skipped)
    assert "Permission denied" in item.reason


def test_what_cannot_hold_music_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe.mid")
    for wrong, told in (("nowhere", "No such file"), ("x.txt", "neither a folder"), ("pipe.mid", "neither a folder")):
        with pytest.raises(DataError, match=told):
            check([tmp_path, tmp_path / wrong])
    with pytest.raises(DataError, match="no source"):
        check([])
    with pytest.raises(DataError, match="null"):
        check(["a\0b.mid"])
    assert list(walk([tmp_path])) == []


def test_beats_beside_a_file_come_with_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/1.mid", "a/2.mid", "a/roll.npz", "a/b/3.mid", "4.mid"):
        (tmp_path / name).write_bytes(SONG)
    (tmp_path / "a" / BEATS).write_bytes(b"1 1\n2 0\n")
    found = {Path(item.name).name: item.beats for item in walk([tmp_path]) if isinstance(item, Found)}
    marked = b"1 1\n2 0\n"
    assert found == {"1.mid": marked, "2.mid": marked, "roll.npz": None, "3.mid": None, "4.mid": None}
    assert [item.beats for item in walk([tmp_path / "a" / "1.mid"]) if isinstance(item, Found)] == [marked]


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("before", [True, False])
def test_beats_in_an_archive_come_with_the_file_after_or_before_them(tmp_path: Path, kind: str, before: bool) -> None:
    members = {"0.mid": SONG}
    for song in "abc":
        both = [(f"{song}/{BEATS}", song.encode()), (f"{song}/x.mid", SONG)]
        members |= dict(both if before else both[::-1])
    members |= {"b.tar": b"", "z.mid": SONG}
    path = tmp_path / f"x.{kind}"
    if kind == "tar":
        tar(path, members)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    items = list(walk([path]))
    found = {item.name.removeprefix(f"{path}/"): item.beats for item in items if isinstance(item, Found)}
    assert found == {"0.mid": None, "a/x.mid": b"a", "b/x.mid": b"b", "c/x.mid": b"c", "z.mid": None}
    assert [item.name for item in items if isinstance(item, Skipped)] == [f"{path}/b.tar"]


def test_the_file_before_the_damage_is_not_lost(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {f"{i}.mid": SONG for i in range(3)})
    path.write_bytes(path.read_bytes()[: 2 * (512 + -(-len(SONG) // 512) * 512) + 100])
    assert [Path(item.name).name for item in walk([path])] == ["0.mid", "1.mid", "x.tar"]
