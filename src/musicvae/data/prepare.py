"""Turn folders and archives of music into a data set; `musicvae.data.layout` says what is in it.

The same input gives the same bytes, whatever the number of workers and the order in which they finish.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.data import sources as _sources
from musicvae.data import workers as _workers
from musicvae.data.folder import Folder, free_place
from musicvae.data.labels import Choice, sift
from musicvae.data.layout import FORMAT, NOTE, SONG, SPLITS, VOICE
from musicvae.data.pack import Answer, PackedSong, Reader, read_packed
from musicvae.errors import ConfigError, DataError
from musicvae.music import GRIDS, PARTS, read_song

__all__ = ["Progress", "Summary", "prepare"]

SAME_PIANO = 32
"""Notes that two songs' equal piano parts must have to make them one song; shorter ones may be alike by chance."""


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
    """The contents of dataset.json: settings, songs a split, bars, notes, voices a part, files, changes, reasons."""
    size: int
    """Bytes on disk."""
    seconds: float
    """Time it took."""
    notices: tuple[str, ...]
    """Things to tell people, e.g. that the rest of an interrupted run was removed."""


class _Kept(NamedTuple):
    """A song and the file that it comes from."""

    name: str
    number: int
    song: PackedSong
    """Without its notes, which are put aside."""
    place: int
    """Where its notes are."""
    notes: int
    """How many they are."""

    @property
    def key(self) -> bytes:
        """What is kept once."""
        return self.song.piano if self.song.piano_notes >= SAME_PIANO else self.song.digest

    @property
    def rank(self) -> tuple[int, str, int]:
        """Of two that are the same, the one with more voices is kept, then that of the smaller name."""
        return -self.song.further, self.name, self.number

    @property
    def side(self) -> bytes:
        """What decides the split: the piano wherever there is one, so that it is never on both sides."""
        return self.song.piano or self.song.digest


def prepare(
    sources: Sequence[str | Path],
    out: str | Path | None,
    *,
    steps_per_beat: int = 4,
    programs: Collection[int] = range(8),
    any_meter: bool = False,
    choice: Choice | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    read: Reader = read_song,
    seconds: float = 60.0,
) -> Summary:
    """Read every song of `sources`, drop duplicates, split by song, and write the data set `out`.

    Sources are folders, music files and archives (see `musicvae.data.sources`). Without `out` nothing is
    written (a dry run). Tracks of `programs` are the piano of a song; see `musicvae.music.song` for its
    other voices. Only songs in 4/4 are kept, unless `any_meter` counts the bars of all others in 4/4, too;
    and only those of a `choice` of genres, if there is one; other files are not read.
    Two files with the same notes (bar line, pitch and duration on the grid; not velocity, tempo or leading
    rests) are one song, that of the smallest name; if their pianos alone are the same, SAME_PIANO notes or
    more, the one with the most other voices is kept. The split follows from the content: a hash modulo 100
    of 0–4 is test, 5–9 valid, the rest train; where that leaves train or valid empty, the song with the
    smallest hash moves there. The hash is that of the piano notes wherever there are some, so a song is on
    the same side whatever else its file holds. `progress` is called after every file. `workers` is the
    number of processes; None means one a core. `read` takes the place of `read_song`; it must be picklable.
    A file that takes longer than `seconds` is dropped.

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
    settings: dict[str, Any] = {"steps_per_beat": steps_per_beat, "programs": list(chosen), "any_meter": any_meter}
    settings |= {} if choice is None else {"labels": choice.described()}
    task = functools.partial(read_packed, read, steps_per_beat=steps_per_beat, programs=chosen, any_meter=any_meter)
    if out is None:
        gathered = _gather(sources, task, workers, seconds, progress, None, choice)
        record, _ = _arrange(gathered, settings)
        return Summary(None, record, 0, time.monotonic() - started, ())
    notices = free_place(Path(out), overwrite)
    with Folder(Path(out)) as folder:
        # Notes wait on disk until all songs are known, so that memory does not grow with them.
        with tempfile.TemporaryFile(dir=folder.partial) as aside:
            gathered = _gather(sources, task, workers, seconds, progress, aside, choice)
            record, arrays = _arrange(gathered, settings)
            notes = folder.write_pieces("notes.npy", NOTE, record["notes"], _notes(aside, gathered.kept))
            record["sha256"] = {"notes.npy": notes}
        for name, array in arrays.items():
            record["sha256"][name] = folder.write_array(name, array)
        folder.write_table("songs.tsv", _song_rows(gathered.kept, arrays["songs.npy"]))
        folder.write_table("dropped.tsv", [("source", "lost", "reason"), *_dropped_rows(gathered)])
        folder.write_json("dataset.json", record)
        size = folder.finish()
    return Summary(Path(out), record, size, time.monotonic() - started, notices)


class _Gathered(NamedTuple):
    """Everything read, in an order that depends on the input alone."""

    kept: list[_Kept]  # by content hash
    lost: list[tuple[str, str, str]]  # name, reason, general reason; by name
    duplicates: int
    described: list[dict[str, Any]]  # the sources


def _gather(
    sources: Sequence[str | Path],
    task: Callable[..., Answer],
    workers: int,
    seconds: float,
    progress: Callable[[Progress], None] | None,
    aside: IO[bytes] | None,
    choice: Choice | None,
) -> _Gathered:
    """Read all files and keep one song of each content, the notes of it put `aside`."""
    origin: list[int] = []  # number of a file → its source
    lost: list[tuple[str, str, str]] = []
    total: int | None = None

    def jobs() -> Iterator[_workers.Job]:
        nonlocal total
        for item in sift(_sources.walk(sources), choice):
            origin.append(item.source)
            if isinstance(item, _sources.Skipped):
                lost.append((item.name, item.reason, general(item.reason)))
            else:
                if len(sources) == 1 and item.part and _sources.kind(sources[0]) == "archive":
                    total = round(len(origin) / item.part)
                yield _workers.Job(item.name, item.content, len(origin) - 1, item.beats)
        total = len(origin)

    best: dict[bytes, _Kept] = {}
    twins: list[_Twin] = []
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
                    new = _Kept(job.name, job.tag, song._replace(notes=b""), *_put(song.notes, aside))
                    old = best.get(new.key)
                    if old is not None:
                        new, worse = (new, old) if new.rank < old.rank else (old, new)
                        twins.append(_Twin(worse.name, worse.key, worse.song.digest))
                    best[new.key] = new
            if progress is not None:
                progress(Progress(len(best) + len(twins) + len(lost), len(origin), total))
    if not origin:
        names = ", ".join(str(s) for s in sources)
        raise DataError(f"{names}: {_sources.NOTHING}")
    if not best:
        reasons = Counter(reason for *_, reason in lost).most_common(3)
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        raise DataError(f"no file can be used: {told}. The first: {lost[0][0]}: {lost[0][1]}")
    lost += [(twin.name, _same(twin, best[twin.key]), "") for twin in twins]
    files = Counter(origin)
    described = [
        {
            "source": str(source),
            "kind": _sources.kind(source),
            "files": files[number],
            "blake2b": hashlib.blake2b(b"".join(sorted(raw[number])), digest_size=16).hexdigest(),
        }
        for number, source in enumerate(sources)
    ]
    kept = sorted(best.values(), key=lambda one: one.song.digest)
    return _Gathered(kept, sorted(lost), len(twins), described)


def _put(notes: bytes, aside: IO[bytes] | None) -> tuple[int, int]:
    """Put the notes of a song aside, unless it is a dry run; return their place and their number."""
    place = aside.tell() if aside else 0
    if aside:
        aside.write(notes)
    return place, len(notes) // NOTE.itemsize


def _notes(aside: IO[bytes], kept: list[_Kept]) -> Iterator[bytes]:
    """Yield the notes of each song."""
    for one in kept:
        aside.seek(one.place)
        yield aside.read(one.notes * NOTE.itemsize)


class _Twin(NamedTuple):
    """A file that holds a song which is kept from another."""

    name: str
    key: bytes
    digest: bytes


def _same(twin: _Twin, kept: _Kept) -> str:
    if twin.digest == kept.song.digest:
        return f"same notes as {kept.name}"
    return f"same piano notes as {kept.name}, which is kept with all of its {len(kept.song.parts)} voices"


def _arrange(gathered: _Gathered, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the contents of dataset.json and the arrays by file name, all but that of the notes."""
    kept, lost = gathered.kept, gathered.lost
    counts, arrays = _arrays([k.song for k in kept], _splits(kept))
    songs = arrays["songs.npy"]

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
        "bars": int(songs["bars"].sum()),
        "notes": sum(one.notes for one in kept),
        "voices": _by_part(counts, arrays["voices.npy"]),
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
    return record, arrays


def _arrays(kept: list[PackedSong], split_of: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], dict[str, NDArray[Any]]]:
    """Return the notes of each bar and the arrays by file name, for songs in their order and the split of each."""
    counts = np.frombuffer(b"".join(song.counts for song in kept), "<u4")
    bars = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=bars[1:])
    songs = np.zeros(len(kept), SONG)
    songs["bars"] = [song.bars for song in kept]
    songs["tempo"] = [song.tempo for song in kept]
    songs["split"] = split_of
    songs["voices"] = [len(song.parts) for song in kept]
    songs["first_voice"] = np.cumsum(songs["voices"], dtype=np.int64) - songs["voices"]
    voices = np.zeros(int(songs["voices"].sum()), VOICE)
    voices["song"] = np.repeat(np.arange(len(kept)), songs["voices"])
    voices["part"] = np.frombuffer(b"".join(song.parts for song in kept), "u1")
    voices["program"] = np.frombuffer(b"".join(song.programs for song in kept), "u1")
    length = songs["bars"][voices["song"]]
    voices["first_bar"] = np.cumsum(length, dtype=np.int64) - length
    return counts, {"bars.npy": bars, "voices.npy": voices, "songs.npy": songs}


def _by_part(counts: NDArray[np.uint32], voices: NDArray[Any]) -> dict[str, dict[str, int]]:
    """Return for each part its voices, the songs that have it, the bars in which a note of it begins, and its notes."""
    found = {}
    first = voices["first_bar"].astype(np.int64)
    notes, bars = (np.add.reduceat(column, first, dtype=np.int64) for column in (counts, counts > 0))
    for number, part in enumerate(PARTS):
        of = voices["part"] == number
        found[part] = {
            "voices": int(of.sum()),
            "songs": len(np.unique(voices["song"][of])),
            "bars": int(bars[of].sum()),
            "notes": int(notes[of].sum()),
        }
    return found


def _splits(kept: list[_Kept]) -> NDArray[np.uint8]:
    """Return the split of each song; those with the same piano are in the same one."""
    sides = sorted({one.side for one in kept})
    of = dict(zip(sides, split(sides), strict=True))
    return np.array([of[one.side] for one in kept], np.uint8)


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


@functools.lru_cache(maxsize=1024)
def general(reason: str) -> str:
    """Return what many reasons have in common, to count them: the part before any detail."""
    if re.match(r"[a-z]+: ", reason):  # of notes: what was done, and why
        return re.sub(r" at tick \d+", "", reason.split("; ", 1)[0])
    return re.sub(r"\d{3,}", "N", re.split(r"; | \(|\. |: ", reason, maxsplit=1)[0])


def _song_rows(kept: list[_Kept], songs: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    yield ("song", "split", "bars", "voices", "notes", "tempo", "hash", "source")
    for number, (one, song) in enumerate(zip(kept, songs, strict=True)):
        split, bars, voices = SPLITS[song["split"]], str(song["bars"]), _voices(one.song.parts)
        tempo, digest = f"{song['tempo']:.3f}", one.song.digest.hex()
        yield str(number), split, bars, voices, str(one.notes), tempo, digest, one.name


def _voices(parts: bytes) -> str:
    """Return e.g. `piano, melody 3, drums` for a byte a voice."""
    counts = ((name, parts.count(number)) for number, name in enumerate(PARTS))
    return ", ".join(f"{name} {count}" if count > 1 else name for name, count in counts if count)


def _dropped_rows(gathered: _Gathered) -> list[tuple[str, str, str]]:
    """Return a row for each file, and one for each kind of notes, that is not in the data set."""
    rows = [(name, "file", reason) for name, reason, _ in gathered.lost]
    for one in gathered.kept:
        rows += [(one.name, str(n), reason) for reason, n in one.song.changes if reason.startswith("dropped")]
    return sorted(rows)
