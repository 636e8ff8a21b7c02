"""What is in a data set, in figures and in words: the data section of a model card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicvae.data.dataset import Dataset
from musicvae.data.labels import Labels
from musicvae.data.layout import SPLITS
from musicvae.music.key import KEYS, find_keys
from musicvae.music.score import PARTS

__all__ = ["FAMILIES", "LENGTHS", "data_facts", "data_section"]

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
"""Families of eight General MIDI programs each."""
LENGTHS = {"16th": 0.25, "8th": 0.5, "quarter": 1.0, "half": 2.0, "longer": np.inf}
"""Classes of note lengths, and the longest note of each in quarter notes."""
SHARES = {"5": 0.05, "25": 0.25, "50": 0.5, "75": 0.75, "95": 0.95}
"""Quantiles of what differs from song to song, from bar to bar or from note to note, by their names in %."""
SHOWN = 8
"""Of long lists, what the section says; the facts have everything."""

DRUMS = PARTS.index("drums")
CHUNK = 2**20
"""Notes that are looked at at once, so that memory stays small."""


def data_facts(dataset: Dataset, labels: Labels | None = None) -> dict[str, Any]:
    """Return what is in a data set, ready for JSON.

    Hours are those of all bars, at the tempo that each song begins with. The key of a song is what fits all of its
    pitched notes best (`musicvae.music.key`): one, even where it modulates. Instruments are counted by track. `parts`
    counts voices: a track of piano stands in its song's piano, and is a melody, too.
    """
    info, songs = dataset.info, dataset.songs
    hours = songs["bars"] * 4.0 / songs["tempo"] / 60
    parts, sounding = _parts(dataset)
    keys = find_keys(sounding).key
    keys = keys[keys >= 0]
    facts = {
        "songs": {split: int((songs["split"] == i).sum()) for i, split in enumerate(SPLITS)},
        "hours": {split: round(float(hours[songs["split"] == i].sum()), 4) for i, split in enumerate(SPLITS)},
        "bars": int(songs["bars"].sum()),
        "bars_a_song": _quantiles(songs["bars"]),
        "tempo": {**_quantiles(songs["tempo"]), "share_of_120": _share(np.abs(songs["tempo"] - 120) < 0.01)},
        "keys": {"major": _share(keys < 12), "songs": dict(Counter(KEYS[k] for k in keys.tolist()).most_common())},
        "instruments": _instruments(dataset),
        "parts": parts,
        **{name: info.get(name, {}) for name in ("settings", "files", "reasons", "changes", "changed_files")},
        "sources": [source["source"].rstrip("/").rpartition("/")[2] for source in info.get("sources", [])],
    }
    return facts if labels is None else {**facts, "labels": _labels(dataset, labels)}


def data_section(facts: Mapping[str, Any], parts: Sequence[str] = PARTS) -> list[str]:
    """Return the lines of the section in Markdown, without its heading; `parts` are those that a model learns from."""
    songs, hours, tempo, keys = (facts[name] for name in ("songs", "hours", "tempo", "keys"))
    there = [part for part in parts if part in facts["parts"]]
    common = ", ".join(f"{key} {count:,}" for key, count in list(keys["songs"].items())[:SHOWN])
    instruments = ", ".join(f"{name} {one['tracks']:,}" for name, one in facts["instruments"].items())
    rows = {
        "songs": f"{sum(songs.values()):,}: {', '.join(f'{n:,} {name}' for name, n in songs.items())}",
        "length": f"{sum(hours.values()):,.1f} hours, {facts['bars']:,} bars of 4/4; a song: "
        f"{_middle(facts['bars_a_song'])} bars",
        "tempo, quarter notes a minute": f"{_middle(tempo)}; MIDI's default of 120: {tempo['share_of_120']:.1%}",
        "keys, the best fit to each song": f"{keys['major']:.1%} major; {common}" if common else "none: only drums",
        "tracks by instrument": instruments,
    }
    for part in there:
        one = facts["parts"][part]
        rows[part] = f"{one['voices']:,} voices in {one['songs']:,} songs, {one['notes']:,} notes"
        rows[f"{part}: notes a bar, of bars that have some"] = _middle(one["notes_a_bar"])
        if "pitch" in one:
            rows[f"{part}: pitch"] = _middle(one["pitch"])
            rows[f"{part}: lengths, up to a"] = ", ".join(f"{name} {n:.0%}" for name, n in one["lengths"].items())
        rows[f"{part}: velocity"] = _middle(one["velocity"])
    for group, found in facts.get("labels", {}).get("groups", {}).items():
        named = ", ".join(f"{name} {count:,}" for name, count in list(found["songs_by_label"].items())[: 2 * SHOWN])
        rows[f"labels: {group}"] = f"{found['songs']:,} songs have one: {named}"
    table = [f"| {name} | {text} |" for name, text in rows.items()]
    return [claim(facts, there), "", "| | median (5–95 %) |", "|---|---|", *table, "", *_lost(facts)]


def claim(facts: Mapping[str, Any], parts: Sequence[str]) -> str:
    """Return in plain words what a model that learns these parts from this data set may claim to play."""
    tempo, keys, songs = facts["tempo"], facts["keys"], sum(facts["songs"].values())
    slow, fast = (f"{tempo[name]:.0f}" for name in ("25", "75"))
    major = f"{keys['major']:.0%} fit a major key best. " if keys["songs"] else ""
    names = {"piano": "piano parts", "melody": "single lines", "bass": "bass lines", "drums": "drum parts"}
    first, last = [names[part] for part in parts[:-1]], names[parts[-1]] if parts else "nothing"
    what = f"{', '.join(first)} and {last}" if first else last
    meter = "counted in 4/4, whatever their meter is," if facts["settings"].get("any_meter") else "in 4/4"
    return (
        f"**What a model of it may claim.** To play {what} {meter} like those of these {songs:,} songs: MIDI files, as "
        f"people have made them. {_genres(facts)} {major}Half of them are between {slow} and {fast} quarter notes a "
        "minute. A model has heard nothing else, so it may not claim to know music in general."
    )


def _genres(facts: Mapping[str, Any]) -> str:
    """Return what is known of the genres, in a sentence."""
    chosen = facts["settings"].get("labels")
    if chosen:
        return f"All of them stand in the lists {', '.join(chosen['lists'])}."
    groups = facts.get("labels", {}).get("groups", {})
    if "labels" in facts and not groups:
        return "No song has a label in the lists that were looked at, so which genres they are is not known."
    if not groups:
        return "Of which genres they are was not looked up (`musicvae card --labels`)."
    # The lists that say one thing of each song, if there are such; else those that have most songs.
    group, found = max(groups.items(), key=lambda one: (one[1]["most_of_a_song"] == 1, one[1]["songs"]))
    total = found["songs"]
    shares = [f"{name.replace('_', '/')} {n / total:.0%}" for name, n in list(found["songs_by_label"].items())[:4]]
    rest = sum(facts["songs"].values()) - total
    return (
        f"Of the {total:,} that the lists of {group} have, {', '.join(shares)}; the other {rest:,} have no genre there."
    )


def _lost(facts: Mapping[str, Any]) -> list[str]:
    """Return what was left out and changed, and why."""
    files = {name: f"{count:,}" for name, count in facts["files"].items()}
    sources = ", ".join(f"`{source}`" for source in facts["sources"]) or "its sources"
    lines = [
        f"Of {files['found']} files in {sources}, {files['kept']} are its songs; {files['duplicates']} had the same "
        f"notes, or the same piano, as another, and {files['dropped']} were dropped{':' if facts['reasons'] else '.'}",
        "",
    ]
    reasons = list(facts["reasons"].items())
    lines += [f"- {count:,} files: {reason}" for reason, count in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        lines.append(f"- {sum(count for _, count in reasons[SHOWN:]):,} files: {len(reasons) - SHOWN} other reasons")
    grid = facts["settings"].get("steps_per_beat")
    lines += [""] * bool(reasons) + [
        f"Changed in the songs kept, to bring them onto a grid of {grid} steps a beat:",
        "",
    ]
    lines += [f"- {count:,} notes {reason}" for reason, count in facts["changes"].items() if count]
    return lines


def _parts(dataset: Dataset) -> tuple[dict[str, dict[str, Any]], NDArray[np.float64]]:
    """Return what each part is like, and for how many steps each pitch class sounds in each song (songs, 12)."""
    edges = [limit * dataset.steps_per_beat for limit in LENGTHS.values()]
    pitch, velocity = np.zeros((len(PARTS), 128), np.int64), np.zeros((len(PARTS), 128), np.int64)
    lengths = np.zeros((len(PARTS), len(LENGTHS)), np.int64)
    sounding = np.zeros(len(dataset.songs) * 12)
    for part, song, notes in _notes(dataset):
        of = part.astype(np.int64)
        pitch += _table(of, notes["pitch"], 128)
        velocity += _table(of, notes["velocity"], 128)
        lengths += _table(of, np.searchsorted(edges, notes["duration"]), len(LENGTHS))
        heard = of != DRUMS
        at = song[heard] * 12 + notes["pitch"][heard] % 12
        sounding += np.bincount(at, notes["duration"][heard], minlength=len(sounding))
    counts = np.diff(dataset.bars)
    length = dataset.songs["bars"][dataset.voices["song"]]
    part_of_bar = np.repeat(dataset.voices["part"], length)
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(PARTS):
        mine = dataset.voices["part"] == number
        if not mine.any():
            continue
        bars = counts[part_of_bar == number]
        found[name] = {
            "voices": int(mine.sum()),
            "songs": len(np.unique(dataset.voices["song"][mine])),
            "notes": int(bars.sum()),
            "notes_a_bar": _quantiles(bars[bars > 0]),
            "velocity": _of_counts(velocity[number]),
        }
        if number != DRUMS:
            shares = lengths[number] / max(lengths[number].sum(), 1)
            found[name]["pitch"] = _of_counts(pitch[number])
            found[name]["lengths"] = {k: round(float(s), 4) for k, s in zip(LENGTHS, shares, strict=True)}
    return found, sounding.reshape(-1, 12)


def _notes(dataset: Dataset) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]]:
    """Yield the notes some at a time, with the part and the song of each."""
    length = dataset.songs["bars"][dataset.voices["song"]].astype(np.int64)
    first = dataset.bars[dataset.voices["first_bar"]]  # note of each voice
    stop = dataset.bars[dataset.voices["first_bar"] + length]
    for begin in range(0, len(dataset.notes), CHUNK):
        notes = dataset.notes[begin : begin + CHUNK]
        low, high = np.searchsorted(stop, begin, side="right"), np.searchsorted(first, begin + len(notes))
        of = np.minimum(stop[low:high], begin + len(notes)) - np.maximum(first[low:high], begin)
        voice = dataset.voices[low:high]
        yield np.repeat(voice["part"], of), np.repeat(voice["song"].astype(np.int64), of), notes


def _table(row: NDArray[np.int64], column: NDArray[np.integer], columns: int) -> NDArray[np.int64]:
    """Return how often each value of `column` stands in each part."""
    return np.bincount(row * columns + column, minlength=len(PARTS) * columns).reshape(-1, columns)


def _instruments(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the tracks, and the songs that have them, by family, the commonest first; pianos once."""
    part, program = dataset.voices["part"], dataset.voices["program"]
    track = (part != PARTS.index("piano")) | (program >= 40)  # other pianos stand beside their song's as melody or bass
    family = np.where(part == DRUMS, len(FAMILIES), program // 8)
    found = {}
    for number, name in enumerate((*FAMILIES, "drums")):
        mine = track & (family == number)
        if mine.any():
            found[name] = {"tracks": int(mine.sum()), "songs": len(np.unique(dataset.voices["song"][mine]))}
    return dict(sorted(found.items(), key=lambda one: -one[1]["tracks"]))


def _labels(dataset: Dataset, labels: Labels) -> dict[str, Any]:
    """Return how many songs have each label, by the folder that its list lies in."""
    groups: dict[str, dict[str, Any]] = {}
    songs = 0
    for source in dataset.sources():
        has = labels.of(source)
        songs += bool(has)
        by_group = Counter(name.rpartition("/")[0] or "labels" for name in has)
        for group, count in by_group.items():
            one = groups.setdefault(group, {"songs": 0, "most_of_a_song": 0, "songs_by_label": Counter()})
            one["songs"] += 1
            one["most_of_a_song"] = max(one["most_of_a_song"], count)
        for name in has:
            groups[name.rpartition("/")[0] or "labels"]["songs_by_label"][name.rpartition("/")[2]] += 1
    ordered = {
        group: {**one, "songs_by_label": dict(one["songs_by_label"].most_common())}
        for group, one in sorted(groups.items(), key=lambda pair: -pair[1]["songs"])
    }
    return {"songs": songs, "groups": ordered}


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    found = np.quantile(values, list(SHARES.values())) if len(values) else np.zeros(len(SHARES))
    return {name: round(float(value), 3) for name, value in zip(SHARES, found, strict=True)}


def _of_counts(counts: NDArray[np.int64]) -> dict[str, float]:
    """Return the quantiles of values 0, 1, … that come `counts` times."""
    below = np.cumsum(counts)
    return {name: float(np.searchsorted(below, share * below[-1])) for name, share in SHARES.items()}


def _share(which: NDArray[np.bool_]) -> float:
    return round(float(which.mean()), 4) if len(which) else 0.0


def _middle(quantiles: Mapping[str, float]) -> str:
    """Return the median and what nine of ten lie between."""
    return f"{quantiles['50']:.4g} ({quantiles['5']:.4g}–{quantiles['95']:.4g})"
