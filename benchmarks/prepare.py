"""Files into a data set: reading alone, and the whole of `musicvae prepare`."""

from __future__ import annotations

import functools
import io
import itertools
import os
import resource
import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.child import Family, apart
from benchmarks.machine import describe
from benchmarks.report import Column, Row, shared, show

SAMPLE = 300
"""Files that are read one by one."""
READING = (
    Column("name", "reading, one core"),
    Column("files", "files"),
    Column("mb", "MB"),
    Column("files_per_cpu_second", "files/s of CPU"),
    Column("limit_per_cpu_second", "limit: files/s"),
    Column("share", "share of it", ".0%"),
)
WHOLE = (
    Column("name", "prepare"),
    Column("files", "files"),
    Column("songs", "songs kept"),
    Column("seconds", "s"),
    Column("files_per_second", "files/s"),
    Column("ms_per_file", "ms a file"),
    Column("cpu_s", "CPU, s"),
    Column("limit_s", "limit, s"),
    Column("share", "share of it", ".0%"),
    Column("peak_mb", "peak, MB", ".0f"),
)
NOTE = (
    "The limit of reading is symusic's parser alone for MIDI, unzipping alone for npz. That of prepare is as much for "
    "all files, on all cores, or, if it is longer, unpacking the archive alone, which one core must do. Files lie in "
    "the system's cache. The peak is that of all processes together, pages that they share counted once."
)


@click.command()
@shared
@click.option("--source", "sources", multiple=True, metavar="PATH", help="Folder or archive. [default: music made up]")
@click.option("--any-meter", is_flag=True, help="As in `musicvae prepare`: else songs not in 4/4 are dropped early.")
@click.option("--files", type=click.IntRange(1), multiple=True, help="Files of a folder. [default: 1000, 5000, 20000]")
def command(
    sources: Sequence[str],
    files: Sequence[int],
    any_meter: bool,
    threads: int | None,
    quick: bool,
    json_path: str | None,
) -> None:
    """Files a second, read and prepared; where a folder has fewer, some come again with a note changed."""
    facts = describe(threads)
    files = sorted(files) or ((10, 20) if quick else (1000, 5000, 20_000))
    asked = {"workers": facts["threads"], "any_meter": any_meter}
    reading: list[Row] = []
    whole: list[Row] = []
    with TemporaryDirectory() as folder:
        if not sources:
            sources = (f"{folder}/music made up",)
            apart("prepare:make_up", folder=sources[0], songs=10 if quick else 500)
        for source in sources:
            found = apart("prepare:read", source=source, most=SAMPLE, any_meter=any_meter)
            reading += found["rows"]
            if Path(source).is_dir():
                for count in files:
                    many = f"{folder}/many"
                    apart("prepare:multiply", source=source, folder=many, count=count)
                    whole.append(prepared(source, many, f"{folder}/out", asked, found["limit_s"]))
                    shutil.rmtree(many)
            else:
                whole.append(prepared(source, source, f"{folder}/out", asked, found["limit_s"]))
    facts["load"].append(os.getloadavg()[0])
    show("prepare", facts, [*reading, *whole], [(reading, READING), (whole, WHOLE)], json_path=json_path, notes=[NOTE])


def prepared(source: str, files: str, out: str, asked: dict[str, Any], limit: float) -> Row:
    """Return the figures of `musicvae prepare` on a folder or an archive; `limit` is in CPU seconds a file."""
    row: Row = apart("prepare:work", source=files, out=out, **asked)
    at_least = [row["files"] * limit / asked["workers"]]
    if not Path(files).is_dir():
        at_least.append(float(apart("prepare:unpack", source=files)))
    name = Path(source).name
    return {
        "name": f"prepare {name}, {row['files']} files" if Path(files).is_dir() else f"prepare {name}",
        **row,
        "limit_s": max(at_least),
        "share": max(at_least) / row["seconds"],
    }


# ------------------------------------------------------------------------------------------ what is measured
def work(source: str, out: str, workers: int, any_meter: bool) -> Row:
    """Prepare a folder or an archive and return the figures."""
    from musicvae.data.prepare import prepare

    with Family() as family:
        began = time.perf_counter()
        summary = prepare([source], out, workers=workers, any_meter=any_meter, overwrite=True)
        seconds = time.perf_counter() - began
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    files = summary.record["files"]["found"]
    return {
        "files": files,
        "songs": summary.record["files"]["kept"],
        "seconds": seconds,
        "files_per_second": files / seconds,
        "ms_per_file": seconds / files * 1e3,
        "cpu_s": sum(usage.ru_utime + usage.ru_stime for usage in spent),
        "peak_mb": family.peak_mb,
    }


def unpack(source: str) -> float:
    """Return the seconds that going through an archive takes, when nothing is done with what is in it."""
    from musicvae.data.sources import walk

    began = time.perf_counter()
    for _ in walk([source]):
        pass
    return time.perf_counter() - began


def read(source: str, most: int, any_meter: bool) -> dict[str, Any]:
    """Read the first files one by one: returns rows, and the limit in seconds a file of all kinds together."""
    from musicvae.data.sources import Found, walk
    from musicvae.music import PARTS, read_bytes, read_song

    every: dict[str, list[bytes]] = {}
    for item in itertools.islice((item for item in walk([source]) if isinstance(item, Found)), most):
        content = item.content.read_bytes() if isinstance(item.content, Path) else item.content
        every.setdefault("npz" if item.name.lower().endswith(".npz") else "mid", []).append(content)
    rows: list[Row] = []
    parsing = 0.0
    for kind, contents in every.items():
        limit = cpu_seconds(unzip if kind == "npz" else parse, contents)
        parsing += limit
        ways: dict[str, Callable[[bytes], object]] = {
            "every voice": functools.partial(read_song, source=f"x.{kind}", any_meter=any_meter),
            "as a Score": functools.partial(read_bytes, source=f"x.{kind}", parts=PARTS, any_meter=any_meter),
        }
        for what, function in ways.items():
            seconds = cpu_seconds(function, contents)
            rows.append(
                {
                    "name": f"read {Path(source).name}, {kind}, {what}",
                    "files": len(contents),
                    "mb": sum(map(len, contents)) / 1e6,
                    "files_per_cpu_second": len(contents) / seconds,
                    "limit_per_cpu_second": len(contents) / limit,
                    "share": limit / seconds,
                }
            )
    return {"rows": rows, "limit_s": parsing / sum(map(len, every.values()))}


def cpu_seconds(function: Callable[[bytes], object], contents: Sequence[bytes]) -> float:
    """Return the CPU time that a function takes for all contents: the best of three; what it refuses counts, too."""
    from musicvae.errors import ReadError

    times = []
    for _ in range(3):
        began = time.process_time()
        for content in contents:
            try:
                function(content)
            except (ReadError, RuntimeError, ValueError, zipfile.BadZipFile):
                continue
        times.append(time.process_time() - began)
    return min(times)


def parse(content: bytes) -> object:
    """Let symusic parse a MIDI file, and nothing more."""
    import symusic

    made: Any = symusic.Score
    return made.from_midi(content)


def unzip(content: bytes) -> list[bytes]:
    """Take every member out of an npz, and nothing more."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(name) for name in archive.namelist()]


# ------------------------------------------------------------------------------------------ what is read
def make_up(folder: str, songs: int) -> None:
    """Write songs made up as MIDI files."""
    from benchmarks.music import write_songs

    write_songs(Path(folder), songs)


def multiply(source: str, folder: str, count: int) -> None:
    """Fill a new folder with `count` files: links to those of a folder, then copies with a note changed in each."""
    from musicvae.music import looks_like_music

    files = sorted(p.resolve() for p in Path(source).rglob("*") if p.is_file() and looks_like_music(p.name))
    if not files:
        raise click.ClickException(f"{source}: has no music; wanted a folder with MIDI files or npz")
    number = 0
    for again in itertools.count():
        for file in files:
            place = Path(folder) / f"{number // 1000:03}" / f"{number:06}{file.suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            if not again:
                place.symlink_to(file)
            else:
                changed = changed_npz if file.suffix.lower() == ".npz" else changed_midi
                place.write_bytes(changed(file.read_bytes(), again))
            number += 1
            if number == count:
                return


def changed_midi(content: bytes, number: int) -> bytes:
    """Return a MIDI file with one note of each track moved, another one for each `number`; as it is if damaged."""
    import symusic

    made: Any = symusic
    try:
        midi = made.Score.from_midi(content)
    except (RuntimeError, ValueError):
        return content
    for track in midi.tracks:
        notes = track.notes.numpy()
        if len(notes["pitch"]):
            turns, which = divmod(number, len(notes["pitch"]))
            notes["pitch"][which] = (int(notes["pitch"][which]) + 1 + turns) % 128
            track.notes = made.Note.from_numpy(**notes)
    return bytes(midi.dumps_midi())


def changed_npz(content: bytes, number: int) -> bytes:
    """Return an LPD npz with all of its tracks moved by `number` keys, as far as there is room; as it is if damaged."""
    import numpy as np

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return content
    ends = {n: np.load(io.BytesIO(m), allow_pickle=False) for n, m in members.items() if n.endswith("_indptr.npy")}
    used = [np.flatnonzero(np.diff(end)) for end in ends.values() if end[-1]]
    if not used:
        return content
    low, high = min(int(u[0]) for u in used), max(int(u[-1]) for u in used)
    ways = [k for k in range(1, 128) for k in (k, -k) if low + k >= 0 and high + k < 128]
    by = ways[(number - 1) % len(ways)] if ways else 0
    for name, end in ends.items():
        buffer = io.BytesIO()
        counts = np.roll(np.diff(end), by)
        np.save(buffer, np.concatenate([[0], np.cumsum(counts)]).astype(end.dtype))
        members[name] = buffer.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()
