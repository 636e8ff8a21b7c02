"""Prepare: what comes out, whatever goes in, and what stands on disk when it is killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from musicvae.cli.prepare import command
from musicvae.data.dataset import SPLITS, Dataset
from musicvae.data.layout import FILES, NOTE, SONG, VOICE
from musicvae.data.prepare import Progress, Summary, general, prepare, split
from musicvae.errors import ConfigError, DataError
from musicvae.music import Score, write_midi

SRC = Path(__file__).parents[2] / "src"
ARRAYS = ("notes.npy", "bars.npy", "voices.npy", "songs.npy")


def song(seed: int, *, bars: int = 4, shift: int = 0, velocity: int = 80, tempo: float = 120.0, **more: Any) -> Score:
    """Return a Score with four notes a bar, each of another pitch, drawn with `seed`."""
    generator = np.random.default_rng(seed)
    onset = np.arange(4 * bars) * 4 + shift
    return Score.of(onset, generator.integers(40, 90, 4 * bars), 2, velocity, tempo=tempo, **more)


def npz(score: Score) -> bytes:
    """Return a Score as an LPD file of 24 steps a beat."""
    roll = np.zeros((score.bars * 96 + 96, 128), np.uint8)
    for onset, pitch, duration, velocity in zip(*score.columns[:4], strict=True):
        roll[onset * 6 : (onset + duration) * 6 - 1, pitch] = velocity
    columns, rows = np.nonzero(roll.T)
    arrays = {
        "data": roll.T[columns, rows],
        "indices": rows.astype(np.int32),
        "indptr": np.searchsorted(columns, np.arange(129)).astype(np.int32),
        "shape": np.array(roll.shape),
    }
    file = io.BytesIO()
    np.savez(file, tempo=np.full(len(roll), score.tempo), **{f"pianoroll_0_csc_{k}": v for k, v in arrays.items()})
    with zipfile.ZipFile(file, "a") as archive:
        info = {"beat_resolution": 24, "name": "", "0": {"program": 0, "is_drum": False, "name": "Piano"}}
        archive.writestr("info.json", json.dumps(info))
    return file.getvalue()


def midi(score: Score) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_midi(score, Path(folder) / "x.mid").read_bytes()


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_songs_are_on_the_beats_marked_beside_them(tmp_path: Path) -> None:
    root = tmp_path / "pop"
    for number in range(2):
        folder = root / f"{number:03}"
        folder.mkdir(parents=True)
        write_midi(song(number, bars=8, meter=(2, 4)), folder / f"{number:03}.mid")
        # Eight bars of two beats at 120 a minute; the music begins with the third beat.
        beats = [f"{i / 2} {i % 2 == 0:d} {i % 4 == 2:d}\n" for i in range(33)]
        (folder / "beat_midi.txt").write_text("".join(beats))
    archive = tmp_path / "pop.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(root, "pop")
    made = [prepare([source], tmp_path / name, workers=1) for source, name in ((root, "a"), (archive, "b"))]
    plain = prepare([root / "000" / "000.mid"], None, any_meter=True, workers=1)
    assert made[0].record["changes"] == made[1].record["changes"]
    assert made[0].record["changes"]["placed: on the beats of beat_midi.txt"] == 2 * 32
    assert made[0].record["sources"][0]["blake2b"] == made[1].record["sources"][0]["blake2b"]
    assert plain.record["sources"][0]["blake2b"] != made[0].record["sources"][0]["blake2b"]
    for name in ARRAYS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert set(Dataset(tmp_path / "a").songs["bars"].tolist()) == {
        9
    }  # two beats of the first bar come before a bar line
    (root / "000" / "beat_midi.txt").write_text("0 1\n")
    some = prepare([root], tmp_path / "c", workers=1)
    assert some.record["files"]["kept"] == 1
    assert "beat_midi.txt beside it has 1 beats and 1 bars" in (tmp_path / "c" / "dropped.tsv").read_text()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Folders, archives and broken files: 12 songs, 2 duplicates, 6 lines for what is broken."""
    root = tmp_path / "music"
    (root / "deep" / "deeper").mkdir(parents=True)
    for i in range(4):
        write_midi(song(i), root / "deep" / f"m{i}.mid")
        (root / "deep" / "deeper" / f"r{i}.npz").write_bytes(npz(song(10 + i)))
    with tarfile.open(root / "t.tar.xz", "w:xz") as archive:
        for i, content in enumerate((midi(song(20)), npz(song(21)), b"nothing")):
            entry = tarfile.TarInfo(f"x/{i}.mid")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(root / "z.zip", "w") as zipped:
        zipped.writestr("Böses\tLied.mid", midi(song(30)))
        zipped.writestr("same.mid", midi(song(0, velocity=50, shift=32)))
        zipped.writestr("inner.tar", b"")
    write_midi(song(40), root / "zu\nzweit.mid")
    (root / "same.npz").write_bytes(npz(song(11)))
    (root / "empty.mid").write_bytes(b"")
    (root / "text.npz").write_text("not a roll")
    (root / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (root / "three.mid").write_bytes(midi(song(50, meter=(3, 4))))
    return root


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ARRAYS}


def test_a_mixed_folder_becomes_a_data_set(mixed: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    summary = prepare([mixed], tmp_path / "data", workers=2, progress=seen.append)
    data = tmp_path / "data"
    assert listing(tmp_path) == ["data", "music"]
    assert listing(data) == sorted(FILES)
    assert summary.record == json.loads((data / "dataset.json").read_text())
    assert summary.record["files"] == {"found": 20, "kept": 12, "duplicates": 2, "dropped": 6}
    assert summary.size == sum(f.stat().st_size for f in data.iterdir())
    assert seen[-1] == (20, 20, 20)

    lost = rows(data / "dropped.tsv")
    assert lost[0] == ["source", "lost", "reason"]
    short = {row[0].removeprefix(f"{mixed}/"): row[2] for row in lost[1:]}
    assert all(len(row) == 3 and row[1] == "file" for row in lost[1:])
    assert sorted(short) == [
        "cut.tar.gz",
        "empty.mid",
        "same.npz",
        "t.tar.xz/x/2.mid",
        "text.npz",
        "three.mid",
        "z.zip/inner.tar",
        "z.zip/same.mid",
    ]
    assert short["same.npz"] == f"same notes as {mixed}/deep/deeper/r1.npz"
    assert short["z.zip/same.mid"] == f"same notes as {mixed}/deep/m0.mid"
    assert "3/4" in short["three.mid"]
    assert "--any-meter" in short["three.mid"]

    kept = rows(data / "songs.tsv")
    assert kept[0] == ["song", "split", "bars", "voices", "notes", "tempo", "hash", "source"]
    assert len(kept) == 13
    sources = [row[7].removeprefix(f"{mixed}/") for row in kept]
    assert "z.zip/Böses\\tLied.mid" in sources
    assert "zu\\nzweit.mid" in sources


def test_the_arrays_hold_the_notes(tmp_path: Path) -> None:
    written = song(1, bars=3, tempo=90)
    write_midi(song(1, bars=3, tempo=90, shift=32), tmp_path / "a.mid")  # two empty bars before
    write_midi(song(2, bars=2), tmp_path / "b.mid")
    prepare([tmp_path], tmp_path / "data", workers=1)
    notes, bars, voices, songs = (np.load(tmp_path / "data" / name) for name in ARRAYS)
    assert (notes.dtype, bars.dtype, voices.dtype, songs.dtype) == (NOTE, np.int64, VOICE, SONG)
    assert bars.tolist() == list(range(0, 44, 4))  # of two songs of 2 and 3 bars, each as a piano and as a melody
    assert voices["part"].tolist() == [0, 1, 0, 1]
    assert voices["song"].tolist() == [0, 0, 1, 1]
    assert sorted(songs["bars"]) == [2, 3]
    assert sorted(songs["split"]) == [0, 1]
    (one,) = songs[songs["bars"] == 3]
    first_bar = voices[one["first_voice"]]["first_bar"]
    first, last = bars[first_bar], bars[first_bar + one["bars"]]
    mine = notes[first:last]
    bar = np.repeat(np.arange(3), 4)
    assert np.array_equal(mine["position"] + 16 * bar, written.onset)
    assert np.array_equal(mine["pitch"], written.pitch)
    assert (mine["duration"] == 2).all()
    assert (mine["velocity"] == 80).all()
    assert one["tempo"] == pytest.approx(90, abs=0.01)
    record = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert record["changed_files"]["trimmed: empty bars at the start"] == 1
    assert Dataset(tmp_path / "data").steps_per_beat == 4


def test_arrays_are_written_as_numpy_writes_them(mixed: Path, tmp_path: Path) -> None:
    prepare([mixed], tmp_path / "data", workers=1)
    for name, content in contents(tmp_path / "data").items():
        again = io.BytesIO()
        np.save(again, np.load(tmp_path / "data" / name))
        assert content == again.getvalue()


def test_a_dry_run_says_what_would_be_written(mixed: Path, tmp_path: Path) -> None:
    told = prepare([mixed], None, workers=1).record
    made = prepare([mixed], tmp_path / "data", workers=1).record
    del made["sha256"]
    assert told == made
    assert made["notes"] == len(np.load(tmp_path / "data" / "notes.npy"))


def test_files_are_counted_by_source(mixed: Path, tmp_path: Path) -> None:
    record = prepare([mixed / "deep", mixed / "t.tar.xz", mixed / "same.npz"], None, workers=1).record
    assert [source["files"] for source in record["sources"]] == [8, 3, 1]


def test_the_same_bytes_whatever_the_workers_and_the_order(mixed: Path, tmp_path: Path) -> None:
    prepare([mixed], tmp_path / "one", workers=1)
    prepare([mixed], tmp_path / "two", workers=2)
    files = sorted((p for p in mixed.rglob("*") if p.is_file()), reverse=True)
    summary = prepare(files, tmp_path / "three", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")
    for name in ("songs.tsv", "dropped.tsv", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "dropped.tsv").read_bytes() == (tmp_path / "three" / "dropped.tsv").read_bytes()
    hashes = {n: hashlib.sha256(c).hexdigest() for n, c in contents(tmp_path / "three").items()}
    assert summary.record["sha256"] == hashes


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for i, name in enumerate((b"\xff\xfe.mid", "Пианино\u2028 🎹.mid".encode())):
        (tmp_path / os.fsdecode(name)).write_bytes(midi(song(i)))
    (tmp_path / os.fsdecode(b"broken\xff.mid")).write_bytes(b"")
    prepare([tmp_path], tmp_path / "data", workers=1)
    kept = {row[7].rsplit("/", 1)[1] for row in rows(tmp_path / "data" / "songs.tsv")[1:]}
    assert kept == {"\\udcff\\udcfe.mid", "Пианино\\u2028 🎹.mid"}
    assert len(rows(tmp_path / "data" / "dropped.tsv")) == 2


def test_of_duplicates_the_smallest_name_is_kept_whoever_comes_first(tmp_path: Path) -> None:
    for name, velocity in (("c", 30), ("a", 50), ("b", 70)):
        write_midi(song(0, velocity=velocity), tmp_path / f"{name}.mid")
    write_midi(song(1), tmp_path / "other.mid")
    for order in ("cab", "bca"):
        given = [tmp_path / f"{n}.mid" for n in order] + [tmp_path / "other.mid"]
        summary = prepare(given, tmp_path / order, workers=2)
        assert summary.record["files"]["duplicates"] == 2
        assert 50 in np.load(tmp_path / order / "notes.npy")["velocity"]
        assert {row[2] for row in rows(tmp_path / order / "dropped.tsv")[1:]} == {f"same notes as {tmp_path}/a.mid"}


READERS = """
import os, pathlib, signal, sys, time
import numpy as np
from musicvae.music import read_song

def poisoned(data, source, **settings):
    stem = pathlib.Path(source).stem
    if stem == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    if stem == "abort": os.abort()
    if stem == "exit": os._exit(3)
    if stem == "hang": time.sleep(1000)
    if stem == "eat": np.ones(3 << 30, np.uint8)
    if stem == "bug": raise KeyError("one\\ntwo")
    if stem == "print": os.write(1, b"junk"); print("junk", flush=True)
    return read_song(data, source, **settings)

def slow(data, source, **settings):
    time.sleep(0.1)
    return read_song(data, source, **settings)
"""


@pytest.fixture
def readers(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Readers that a worker process can import, too."""
    folder = tmp_path_factory.mktemp("readers")
    (folder / "poisoned_readers.py").write_text(READERS)
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop("poisoned_readers", None)
    import poisoned_readers  # type: ignore[import-not-found]

    return poisoned_readers


@pytest.mark.parametrize("archived", [False, True])
def test_a_file_that_crashes_hangs_or_eats_memory_costs_only_itself(
    tmp_path: Path, readers: Any, capfd: pytest.CaptureFixture[str], archived: bool
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    bad = ("abort", "bug", "eat", "exit", "hang", "segv")
    for i, name in enumerate((*bad, "print", *(f"good{i}" for i in range(25)))):
        write_midi(song(i, bars=1), music / f"{name}.mid")
    if archived:
        shutil.make_archive(str(tmp_path / "all"), "tar", music)
    source = tmp_path / "all.tar" if archived else music
    summary = prepare([source], tmp_path / "data", workers=2, read=readers.poisoned, seconds=5)
    assert summary.record["files"] == {"found": 32, "kept": 26, "duplicates": 0, "dropped": 6}
    lost = {Path(row[0]).stem: row[2] for row in rows(tmp_path / "data" / "dropped.tsv")[1:]}
    assert sorted(lost) == sorted(bad)
    assert lost["hang"] == "takes longer than 5 s to read"
    assert lost["segv"] == "crashes the reader (SIGSEGV)"
    assert lost["abort"] == "crashes the reader (SIGABRT)"
    assert lost["exit"] == "crashes the reader (exit code 3)"
    assert lost["bug"].startswith("the reader failed: KeyError")
    if sys.platform == "linux":
        assert "memory" in lost["eat"]
    assert capfd.readouterr() == ("", "")


SCRIPT = """
import functools, signal, sys
sys.path[:0] = {paths!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
if __name__ == "__main__":
    import poisoned_readers
    from musicvae.data import prepare as module
    module.prepare = functools.partial(module.prepare, read=poisoned_readers.slow)
    from musicvae.cli.prepare import command
    command()
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_run_that_is_stopped_leaves_nothing_that_looks_whole(tmp_path: Path, readers: Any, how: str) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for i in range(40):
        (music / f"{i}.mid").write_bytes(midi(song(i, bars=1)))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=[str(SRC), str(Path(readers.__file__).parent)]))
    process = subprocess.Popen(
        [sys.executable, script, music, "-o", tmp_path / "data", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    partial = tmp_path / f".data.partial-{process.pid}"
    patience = time.monotonic() + 20
    while not partial.exists() and time.monotonic() < patience:
        time.sleep(0.02)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(getattr(signal, how))
    out, err = process.communicate(timeout=20)  # returns once the workers are gone, too: they hold the pipes
    assert out == ""
    assert not (tmp_path / "data").exists()
    assert partial.exists() == (how == "SIGKILL")
    if how == "SIGINT":
        assert process.returncode == 130
        assert err == "musicvae prepare: stopped, nothing was written\n"
    with pytest.raises(DataError):
        Dataset(tmp_path / "data")
    summary = prepare([music], tmp_path / "data", workers=2)
    assert summary.record["files"]["kept"] == 40
    assert bool(summary.notices) == (how == "SIGKILL")
    assert not partial.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "music", "script.py"]


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    write_midi(song(0), tmp_path / "a.mid")
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SRC)!r})\n"
        "from musicvae.data.prepare import prepare\n"
        f"prepare([{str(tmp_path)!r}], None, workers=1)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "__main__" in done.stderr.splitlines()[-1]


def small(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir(exist_ok=True)
    for i in range(2):
        write_midi(song(i, bars=1), tmp_path / "music" / f"{i}.mid")
    return tmp_path / "music"


def test_what_stands_in_the_way_is_never_lost(tmp_path: Path) -> None:
    music = small(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    prepare([music], data, workers=1)  # an empty folder is no obstacle
    before = contents(data)
    with pytest.raises(DataError, match="--overwrite"):
        prepare([music], data, workers=1)
    write_midi(song(9), music / "9.mid")
    prepare([music], data, workers=1, overwrite=True)
    assert contents(data) != before
    (data / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match=r"holds mine\.txt"):
        prepare([music], data, workers=1, overwrite=True)
    with pytest.raises(DataError, match="not a prepared data set"):
        prepare([music], music, workers=1, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        prepare([music], tmp_path / "file", workers=1, overwrite=True)
    with pytest.raises(DataError, match="cannot be written"):
        prepare([music], tmp_path / "file" / "below", workers=1)
    assert listing(tmp_path) == ["data", "file", "music"]


def test_a_failed_overwrite_leaves_the_old_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    music = small(tmp_path)
    prepare([music], tmp_path / "data", workers=1)
    before = contents(tmp_path / "data")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        prepare([music], tmp_path / "data", workers=1, overwrite=True)
    monkeypatch.undo()
    assert contents(tmp_path / "data") == before
    # Killed between the two renames: the old one is put back.
    (tmp_path / "data").rename(tmp_path / ".data.old-999999999")
    with pytest.raises(DataError, match="--overwrite"):
        prepare([music], tmp_path / "data", workers=1)
    assert contents(tmp_path / "data") == before


def test_a_disk_that_is_full_while_songs_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    music = small(tmp_path)
    with pytest.raises(DataError, match="No space left"):
        prepare([music], tmp_path / "data", workers=1)
    assert listing(tmp_path) == ["music"]


def test_errors_come_before_any_work(tmp_path: Path) -> None:
    music = small(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        prepare([music, tmp_path / "nowhere"], tmp_path / "data")
    with pytest.raises(ConfigError, match="steps_per_beat"):
        prepare([music], tmp_path / "data", steps_per_beat=5)
    with pytest.raises(ConfigError, match="workers"):
        prepare([music], tmp_path / "data", workers=0)
    with pytest.raises(ConfigError, match="programs"):
        prepare([music], tmp_path / "data", programs=[128])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no music found"):
        prepare([tmp_path / "empty"], tmp_path / "data")
    (tmp_path / "empty" / "a.mid").write_text("not MIDI")
    with pytest.raises(DataError, match="no file can be used: is not a MIDI file"):
        prepare([tmp_path / "empty"], tmp_path / "data", workers=1)
    assert listing(tmp_path) == ["empty", "music"]


def test_any_meter_counts_other_bars_in_four(tmp_path: Path) -> None:
    write_midi(song(0, meter=(3, 4)), tmp_path / "waltz.mid")
    with pytest.raises(DataError, match=r"3/4.*--any-meter"):
        prepare([tmp_path], None, workers=1)
    assert prepare([tmp_path], None, workers=1, any_meter=True).record["bars"] == 4


@pytest.mark.parametrize("count", range(1, 8))
def test_small_collections_can_be_trained_on(count: int) -> None:
    for seed in range(50):
        generator = np.random.default_rng(seed)
        digests = sorted(generator.bytes(16) for _ in range(count))
        if seed % 2:  # all in one split
            digests = [d[:14] + (100 * i + seed % 3 * 5).to_bytes(2, "big") for i, d in enumerate(digests)]
            digests = sorted(bytes(14) + d[14:] for d in digests)
        counts = np.bincount(split(digests), minlength=3)
        assert counts.sum() == count
        assert count < 2 or (counts[:2] > 0).all()


def test_the_split_follows_from_the_content_alone() -> None:
    generator = np.random.default_rng(0)
    digests = sorted(generator.bytes(16) for _ in range(4000))
    all_of_them = split(digests)
    assert np.array_equal(split(digests[::2]), all_of_them[::2])
    share = np.bincount(all_of_them) / 4000
    assert share == pytest.approx([0.9, 0.05, 0.05], abs=0.015)  # more than four standard deviations
    assert SPLITS == ("train", "valid", "test")


def test_one_song_alone_is_for_training(tmp_path: Path) -> None:
    write_midi(song(0), tmp_path / "a.mid")
    summary = prepare([tmp_path / "a.mid"], tmp_path / "data", workers=1)
    assert sum(summary.record["songs"].values()) == 1


def test_reasons_are_counted_without_their_details() -> None:
    assert general("lacks info.json, which it must have") == "lacks info.json, which it must have"
    assert general("has no notes of programs 0–7 (found: drums ×3). Choose") == "has no notes of programs 0–7"
    assert general("dropped: in 3/4; kept is 4/4 from bar 7") == "dropped: in 3/4"
    assert general("ignored: meter 5/0 at tick 12 means nothing") == "ignored: meter 5/0 means nothing"
    assert general("track 0 has an entry at step 12345; wanted 0 to 3") == "track 0 has an entry at step N"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def test_the_command_sums_up(mixed: Path, tmp_path: Path) -> None:
    done = run(mixed, "-o", tmp_path / "data", "--workers", 1)
    assert done.exit_code == 0, done.output
    for told in (
        "20 files",
        "12 songs kept",
        "2 duplicates",
        "6 dropped",
        "--any-meter",
        "dropped.tsv",
        "musicvae train",
    ):
        assert told in done.output
    dry = run(mixed, "--dry-run", "--json", "--workers", 1, "--programs", "0-7,24")
    facts = json.loads(dry.stdout)
    assert facts["files"]["kept"] == 12
    assert facts["data"] is None
    assert facts["settings"]["programs"] == [0, 1, 2, 3, 4, 5, 6, 7, 24]


def test_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 2
    assert run("-o", tmp_path).exit_code == 2
    for wrong in ("", "x", "7-0", "0-", "128", "-1", "0,,1"):
        assert run(tmp_path, "--dry-run", "--programs", wrong).exit_code == 2
    assert isinstance(run(tmp_path / "nowhere", "--dry-run").exception, DataError)


def test_broken_files_of_every_kind(shared_data: Path, tmp_path: Path) -> None:
    summary: Summary = prepare([shared_data / "broken.tar.xz"], tmp_path / "data", workers=2)
    assert summary.record["files"] == {"found": 15, "kept": 2, "duplicates": 0, "dropped": 13}
    assert summary.record["bars"] == 70  # however far one of them says that it reaches
    lost = {Path(row[0]).name: row for row in rows(tmp_path / "data" / "dropped.tsv")[1:]}
    assert len(lost) == 15
    assert all(len(row) == 3 and row[2] for row in lost.values())
    assert lost["far_note.mid"][1] == "1"  # one note of a file that is kept
    assert lost["huge_shape.npz"][2] == "dropped: of programs that no voice takes"
