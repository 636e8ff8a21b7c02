"""Turn folders and archives of music into a data set: compact columns that numpy reads without a parser.

A data set is a folder:

    notes.npy     (notes,) NOTE: all notes of all songs, by bar, position, pitch
    bars.npy      (bars + 1,) int64: where each bar begins in notes.npy; songs one after another
    songs.npy     (songs,) SONG, by content hash
    songs.tsv     the same for people, with the name of each song's source
    dropped.tsv   what was lost and why: whole files, duplicates, notes
    dataset.json  settings, counts and hashes; written last

The same input gives the same bytes, whatever the number of workers and the order in which they finish.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.data import sources as _sources
from musicvae.data import workers as _workers
from musicvae.data.dataset import FORMAT, SPLITS
from musicvae.data.folder import Folder, free_place
from musicvae.errors import ConfigError, DataError, ReadError
from musicvae.music import read_bytes
from musicvae.music.score import GRIDS, Reading, Score

__all__ = ["NOTE", "SONG", "Progress", "Summary", "prepare"]

NOTE = np.dtype([("position", "u1"), ("pitch", "u1"), ("duration", "<u2"), ("velocity", "u1")])
"""A note: step within its bar, MIDI number, length in steps, MIDI velocity."""

SONG = np.dtype([("first_bar", "<u4"), ("bars", "<u4"), ("split", "u1"), ("tempo", "<f4")])
"""A song: its first bar among all bars, its length, index into SPLITS, quarter notes a minute."""

LONGEST = 2**16 - 1
"""Steps that a note may have; longer ones are cut and counted."""

Reader = Callable[..., Reading]


class Progress(NamedTuple):
    """How far the work is."""

    done: int
    """Files read."""
    found: int
    """Files found so far."""
    total: int | None
    """Files in all: an estimate while a single archive is being read, None while unknown."""


class Summary(NamedTuple):
    """What `prepare` made."""

    folder: Path | None
    """The data set; None after a dry run."""
    record: dict[str, Any]
    """The contents of dataset.json: settings, songs a split, bars, notes, files, changes, reasons."""
    size: int
    """Bytes on disk."""
    seconds: float
    """Time it took."""
    notices: tuple[str, ...]
    """Things to tell people, e.g. that the rest of an interrupted run was removed."""


class _Song(NamedTuple):
    """What a worker sends back: the notes of a song as bytes, and what happened to them."""

    digest: bytes  # of the notes: blake2b-128
    notes: bytes  # NOTE
    counts: bytes  # '<u4', notes a bar
    tempo: float
    changes: tuple[tuple[str, int], ...]


class _Answer(NamedTuple):
    """A song or the reason why there is none, and a hash of the file as it came."""

    raw: bytes
    song: _Song | str


class _Kept(NamedTuple):
    name: str
    number: int
    song: _Song


def prepare(
    sources: Sequence[str | Path],
    out: str | Path | None,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = range(8),
    any_meter: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    read: Reader = read_bytes,
    seconds: float = 60.0,
) -> Summary:
    """Read every song of `sources`, drop duplicates, split by song, and write the data set `out`.

    Sources are folders, music files and archives (see `musicvae.data.sources`). Without `out` nothing is
    written (a dry run). Only songs in 4/4 are kept, unless `any_meter` counts the bars of all others in
    4/4, too. Two files with the same notes (bar line, pitch and duration on the grid; not velocity, tempo
    or leading rests) are one song, that of the smallest name. Its split follows from its content: a hash
    modulo 100 of 0–4 is test, 5–9 valid, the rest train; where that leaves train or valid empty, the song
    with the smallest hash moves there. `progress` is called after every file. `workers` is the number
    of processes; None means one a core. `read` takes the place of
    `musicvae.music.read_bytes`; it must be picklable. A file that takes longer than `seconds` is dropped.

    Raises DataError for a source that does not exist, no music at all, no usable song, or an `out` that
    is in the way; ConfigError for a setting out of range. Whatever ends it early, `out` is left as it was.
    """
    started = time.monotonic()
    if steps_per_beat not in GRIDS:
        raise ConfigError(f"steps_per_beat is {steps_per_beat}; wanted one of {', '.join(map(str, GRIDS))}")
    workers = _cores() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers is {workers}; wanted at least 1")
    chosen = tuple(sorted(set(programs)))
    if not chosen or chosen[0] < 0 or chosen[-1] > 127:
        raise ConfigError(f"programs is {list(chosen)}; wanted MIDI programs, 0 to 127")
    _sources.check(sources)
    settings = {"steps_per_beat": steps_per_beat, "programs": list(chosen), "any_meter": any_meter}
    task = functools.partial(_read_song, read, steps_per_beat=steps_per_beat, programs=chosen, any_meter=any_meter)
    if out is None:
        gathered = _gather(sources, task, workers, seconds, progress)
        record, _ = _arrange(gathered, settings)
        return Summary(None, record, 0, time.monotonic() - started, ())
    notices = free_place(Path(out), overwrite)
    with Folder(Path(out)) as folder:
        gathered = _gather(sources, task, workers, seconds, progress)
        record, arrays = _arrange(gathered, settings)
        record["sha256"] = {}
        for name, array in arrays.items():
            record["sha256"][name] = folder.write_array(name, array)
        folder.write_table("songs.tsv", _song_rows(gathered.kept, arrays["songs.npy"]))
        folder.write_table("dropped.tsv", [("source", "lost", "reason"), *_dropped_rows(gathered)])
        folder.write_json("dataset.json", record)
        size = folder.finish()
    return Summary(Path(out), record, size, time.monotonic() - started, notices)


class _Gathered(NamedTuple):
    """Everything read, in an order that depends on the input alone."""

    kept: list[_Kept]  # by digest
    lost: list[tuple[str, str, str]]  # name, reason, general reason; by name
    duplicates: int
    described: list[dict[str, Any]]  # the sources


def _gather(
    sources: Sequence[str | Path],
    task: Callable[[str, bytes], _Answer],
    workers: int,
    seconds: float,
    progress: Callable[[Progress], None] | None,
) -> _Gathered:
    """Read all files and keep one song of each content."""
    origin: list[int] = []  # number of a file → its source
    lost: list[tuple[str, str, str]] = []
    total: int | None = None

    def jobs() -> Iterator[_workers.Job]:
        nonlocal total
        for item in _sources.walk(sources):
            origin.append(item.source)
            if isinstance(item, _sources.Skipped):
                lost.append((item.name, item.reason, general(item.reason)))
            else:
                if len(sources) == 1 and item.part and _sources.kind(sources[0]) == "archive":
                    total = round(len(origin) / item.part)
                yield _workers.Job(item.name, item.content, len(origin) - 1)
        total = len(origin)

    best: dict[bytes, _Kept] = {}
    twins: list[tuple[str, int, bytes]] = []
    raw: list[list[bytes]] = [[] for _ in sources]
    with closing(_workers.run(jobs(), task, workers=workers, seconds=seconds)) as results:
        for job, answer in results:
            if isinstance(answer, _workers.Lost):
                lost.append((job.name, answer.reason, general(answer.reason)))
            else:
                raw[origin[job.tag]].append(answer.raw)
                song = answer.song
                if isinstance(song, str):
                    lost.append((job.name, song, general(song)))
                else:
                    new = _Kept(job.name, job.tag, song)
                    old = best.get(song.digest)
                    if old is not None:
                        new, worse = (new, old) if new[:2] < old[:2] else (old, new)
                        twins.append((worse.name, worse.number, song.digest))
                    best[song.digest] = new
            if progress is not None:
                progress(Progress(len(best) + len(twins) + len(lost), len(origin), total))
    if not origin:
        names = ", ".join(str(s) for s in sources)
        raise DataError(f"{names}: no music found; wanted files ending in .npz, .mid, .midi, .kar or .rmi")
    if not best:
        reasons = Counter(reason for *_, reason in lost).most_common(3)
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        raise DataError(f"no file can be used: {told}. The first: {lost[0][0]}: {lost[0][1]}")
    lost += [(name, f"same notes as {best[digest].name}", "") for name, _, digest in twins]
    described = [
        {
            "source": str(source),
            "kind": _sources.kind(source),
            "files": origin.count(number),
            "blake2b": hashlib.blake2b(b"".join(sorted(raw[number])), digest_size=16).hexdigest(),
        }
        for number, source in enumerate(sources)
    ]
    return _Gathered([best[digest] for digest in sorted(best)], sorted(lost), len(twins), described)


def _arrange(gathered: _Gathered, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the contents of dataset.json and the arrays by file name."""
    kept, lost = gathered.kept, gathered.lost
    counts = [np.frombuffer(k.song.counts, "<u4") for k in kept]
    bars = np.zeros(sum(map(len, counts)) + 1, np.int64)
    np.cumsum(np.concatenate(counts), out=bars[1:])
    songs = np.zeros(len(kept), SONG)
    songs["bars"] = [len(c) for c in counts]
    songs["first_bar"] = np.cumsum(songs["bars"]) - songs["bars"]
    songs["tempo"] = [k.song.tempo for k in kept]
    songs["split"] = split([k.song.digest for k in kept])
    notes = np.frombuffer(b"".join(k.song.notes for k in kept), NOTE)

    touched: Counter[str] = Counter()
    touched_files: Counter[str] = Counter()
    for song in kept:
        for reason, count in song.song.changes:
            touched[general(reason)] += count
            touched_files[general(reason)] += 1
    files = len(kept) + len(lost)
    record: dict[str, Any] = {
        "format": FORMAT,
        "musicvae": _version(),
        "settings": settings,
        "songs": {name: int((songs["split"] == i).sum()) for i, name in enumerate(SPLITS)},
        "bars": len(bars) - 1,
        "notes": len(notes),
        "files": {
            "found": files,
            "kept": len(kept),
            "duplicates": gathered.duplicates,
            "dropped": files - len(kept) - gathered.duplicates,
        },
        "reasons": dict(Counter(reason for *_, reason in lost if reason).most_common()),
        "changes": dict(touched.most_common()),
        "changed_files": dict(touched_files.most_common()),
        "sources": gathered.described,
    }
    return record, {"notes.npy": notes, "bars.npy": bars, "songs.npy": songs}


def _cores() -> int:
    """Return the cores this process may use; beyond sixteen, finding the files is what takes the time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)


def _version() -> str:
    try:
        return metadata.version("musicvae")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"


def split(digests: Sequence[bytes]) -> NDArray[np.uint8]:
    """Return the split of each song, an index into SPLITS, from sorted content hashes.

    Hash modulo 100: 0–4 test, 5–9 valid, else train. If train or valid is empty and there are two songs
    or more, the song with the smallest hash that the others can spare moves there.
    """
    place = np.array([int.from_bytes(d, "big") % 100 for d in digests], np.int64)
    result = np.where(place < 5, 2, np.where(place < 10, 1, 0)).astype(np.uint8)
    for target in (0, 1):
        if len(result) > 1 and not (result == target).any():
            other = 1 - target
            spare = other if (result == other).sum() > 1 else 2
            result[np.flatnonzero(result == spare)[0]] = target
    return result


def general(reason: str) -> str:
    """Return what many reasons have in common, to count them: the part before any detail."""
    if re.match(r"[a-z]+: ", reason):  # of notes: what was done, and why
        return re.sub(r" at tick \d+", "", reason.split("; ", 1)[0])
    return re.sub(r"\d{3,}", "N", re.split(r"; | \(|\. |: ", reason, maxsplit=1)[0])


def _song_rows(kept: list[_Kept], songs: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    yield ("song", "split", "bars", "notes", "tempo", "hash", "source")
    for number, (one, song) in enumerate(zip(kept, songs, strict=True)):
        notes = len(one.song.notes) // NOTE.itemsize
        tempo = f"{song['tempo']:.3f}"
        yield (
            str(number),
            SPLITS[song["split"]],
            str(song["bars"]),
            str(notes),
            tempo,
            one.song.digest.hex(),
            one.name,
        )


def _dropped_rows(gathered: _Gathered) -> list[tuple[str, str, str]]:
    """Return a row for each file, and one for each kind of notes, that is not in the data set."""
    rows = [(name, "file", reason) for name, reason, _ in gathered.lost]
    for one in gathered.kept:
        rows += [(one.name, str(n), reason) for reason, n in one.song.changes if reason.startswith("dropped")]
    return sorted(rows)


# Below: what runs in a worker.


def _read_song(read: Reader, name: str, data: bytes, **settings: Any) -> _Answer:
    raw = hashlib.blake2b(data, digest_size=16).digest()
    try:
        reading = read(data, name, **settings)
        return _Answer(raw, _pack(reading, settings["any_meter"]))
    except ReadError as error:
        return _Answer(raw, error.reason)


def _pack(reading: Reading, any_meter: bool) -> _Song | str:
    """Return the piano notes of a Score as columns, from its first bar with notes to its last."""
    score = reading.score
    if score.meter != (4, 4) and not any_meter:
        meter = f"{score.meter[0]}/{score.meter[1]}"
        return f"meter is {meter}, a data set holds 4/4. Use --any-meter to count its bars in 4/4 all the same"
    piano = score.select(score.part == 0)
    if not len(piano):
        return "has no notes of a piano"
    order = np.lexsort((piano.duration, piano.pitch, piano.onset))
    onset, pitch, duration, velocity = (c[order].astype(np.int64) for c in piano.columns[:4])
    per_bar = 4 * score.steps_per_beat
    changes = [(c.reason, c.notes) for c in reading.report.changes]
    if empty := int(onset[0]) // per_bar:
        changes.append(("trimmed: empty bars at the start", 0))
        onset -= empty * per_bar
    if too_long := int((duration > LONGEST).sum()):
        changes.append((f"cut: longer than {LONGEST} steps", too_long))
        duration = np.minimum(duration, LONGEST)
    digest = hashlib.blake2b(np.stack((onset, pitch, duration)).astype("<i4").tobytes(), digest_size=16).digest()
    bar, position = np.divmod(onset, per_bar)
    notes = np.empty(len(onset), NOTE)
    notes["position"], notes["pitch"], notes["duration"], notes["velocity"] = position, pitch, duration, velocity
    counts = np.bincount(bar).astype("<u4")
    return _Song(digest, notes.tobytes(), counts.tobytes(), _tempo(score), tuple(changes))


def _tempo(score: Score) -> float:
    return float(np.float32(score.tempo))
