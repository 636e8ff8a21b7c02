"""How much new clips have of the training songs, beside held-out songs; new ones in place of those that have more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec
from musicvae.data.dataset import Dataset
from musicvae.data.layout import KEPT
from musicvae.errors import DataError, MusicVAEError
from musicvae.evaluate.novelty import Found, Index, Run, described, mark_of
from musicvae.music.score import Score

__all__ = [
    "CLIPS",
    "TRIES",
    "Drawn",
    "compare",
    "copied_songs",
    "excess",
    "figures",
    "held_out",
    "kept_level",
    "learnt_from",
    "level",
    "redraw",
]

CLIPS = 512
"""Held-out clips that the natural level is measured on."""
HELD_OUT = ("valid", "test")
"""Splits that no model is trained on."""
TRIES = 20
"""How often a clip is drawn anew before that is given up."""
LOOKED_AT, BARS, NOTES = 1024, 16, 16
"""Clips of a split, their bars, and notes unrepeated, by which its near-copies of training songs are told."""
NEAREST = 5
"""Clips of which `compare` says where their notes stand."""
FORMAT = 1
"""Version of the file that a level is kept in."""

Finding = dict[str, dict[str, Found]]
"""What `Index.find` returns of a clip."""


def held_out(dataset: Dataset, codec: Codec, bars: int, count: int = CLIPS) -> list[Score]:
    """Return up to `count` clips of the songs that are not trained on, spread evenly over them.

    Raises DataError where there are none.
    """
    splits = [dataset.clips(split, codec, bars) for split in HELD_OUT]
    total = sum(map(len, splits))
    if not total:
        raise DataError(
            f"{dataset.folder}: has no held-out clips of {bars} bars to take a limit from. Give one with --novel=12"
        )
    few = min(count, total)
    shares = few - (second := round(few * len(splits[1]) / total)), second
    drawn = [clips.spread(share).tokens for clips, share in zip(splits, shares, strict=True) if share]
    return [codec.decode(tokens) for clips in drawn for tokens in clips]


def learnt_from(trained: Mapping[str, Any], dataset: Dataset) -> bool:
    """Tell whether a model (`Bundle.trained`) may have learnt from this data set: it has as many songs and bars."""
    data = trained.get("data", {})
    return all(data[key] == dataset.info.get(key) for key in ("songs", "bars") if key in data)


def figures(found: Sequence[Finding]) -> dict[str, dict[str, dict[str, float]]]:
    """Return what the runs of many clips are like, by line and key, ready for JSON.

    `notes` and `unrepeated` of the longest and the most telling run: median and 95 % quantile, and the most;
    `mostly`: the share of the clips of which more than half stands in one run.
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for line, keys in found[0].items() if found else ():
        result[line] = {}
        for key in keys:
            these = [one[line][key] for one in found]
            columns = {
                "notes": np.array([f.longest.notes for f in these]),
                "unrepeated": np.array([f.telling.unrepeated for f in these]),
            }
            row = {"mostly": float(np.mean([2 * f.longest.notes > f.of for f in these]))}
            for name, values in columns.items():
                row |= {f"{name}_median": float(np.median(values)), f"{name}_95": float(np.quantile(values, 0.95))}
                row |= {f"{name}_most": float(values.max())}
            result[line][key] = row
    return result


def level(found: Sequence[Finding]) -> dict[str, int]:
    """Return for each line how many notes unrepeated, in any key, are no more than usual in these clips.

    Tukey's upper fence, the third quartile and one and a half times the distance of the quartiles (Tukey 1977). Some
    held-out songs are other versions of training songs; unlike a high quantile the fence does not follow them.
    """
    limits = {}
    for line in found[0]:
        values = [_told_by(one[line]).telling.unrepeated for one in found]
        low, high = np.quantile(values, [0.25, 0.75])
        limits[line] = int(high + 1.5 * (high - low))
    return limits


def compare(
    index: Index,
    drawn: Sequence[Score],
    usual: Sequence[Score],
    sources: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Look clips of a model up beside clips of held-out songs, and return what is to be said of both, ready for JSON.

    `limits` is what is usual (see `level`). `model` and `held_out` have their `clips`, how many of them are `above` the
    limits, and `figures`. `nearest` are the clips of the model with most notes of a training song, repeats once, and
    their `runs` (see `described`; `sources` are those of `Dataset.sources`).
    """
    found = []
    for clip in (*drawn, *usual):
        found.append(index.find(clip))
        progress(len(found), len(drawn) + len(usual))
    sets = {"model": found[: len(drawn)], "held_out": found[len(drawn) :]}
    limits = level(sets["held_out"])
    most = [max(_told_by(keys).telling.unrepeated for keys in one.values()) for one in sets["model"]]
    nearest = sorted(range(len(most)), key=lambda clip: -most[clip])[:NEAREST]
    rows = {
        name: {
            "clips": len(these),
            "above": sum(excess(one, limits) is not None for one in these),
            "figures": figures(these),
        }
        for name, these in sets.items()
    }
    told = [{"clip": clip + 1, "runs": described(found[clip], sources)} for clip in nearest]
    return {"limits": limits, **rows, "nearest": told}


def kept_level(
    dataset: Dataset, codec: Codec, bars: int, index: Index, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Return the natural level of a data set's held-out songs: that kept in its folder, or measured now and kept there.

    Raises DataError where nothing is held out.
    """
    path = dataset.folder / f"{KEPT}{'-'.join(codec.parts)}-{bars}bar.json"
    about = [FORMAT, mark_of(dataset), CLIPS]
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["about"] == about:
            return {str(line): int(limit) for line, limit in kept["limits"].items()}
    clips = held_out(dataset, codec, bars)
    found = []
    for clip in clips:
        found.append(index.find(clip))
        if progress is not None:
            progress(len(found), len(clips))
    limits = level(found)
    with suppress(OSError):
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        partial.write_text(json.dumps({"about": about, "limits": limits}) + "\n", encoding="utf-8")
        partial.replace(path)
    return limits


def copied_songs(
    dataset: Dataset,
    codec: Codec,
    split: str,
    index: Index,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.int64]:
    """Return the songs of a split that are near-copies of training songs: other versions under other names.

    Of LOOKED_AT clips of BARS bars, spread evenly over the split, those are copied of which more than half of the notes
    stand in one run, in any key (drums: as they are), with at least NOTES of them unrepeated; and so are their songs.
    """
    clips = dataset.clips(split, codec, BARS)
    chosen = clips.spread_index(LOOKED_AT)
    copied = []
    for number, tokens in enumerate(clips.batch(chosen).tokens):
        found = index.find(codec.decode(tokens)).values()
        runs = [(_told_by(keys).longest, _told_by(keys).of) for keys in found]
        copied.append(any(2 * run.notes > of and run.unrepeated >= NOTES for run, of in runs))
        progress(number + 1, len(chosen))
    return np.unique(clips.songs[chosen[np.array(copied, dtype=bool)]])


class Drawn(NamedTuple):
    """A clip, and how it came."""

    score: Score
    seed: int
    """`sample(1, seed=…)` draws it."""
    tries: int
    """How many were drawn in its place before, and had too much of a training song."""
    found: Finding


def redraw(
    clips: Sequence[Score], draw: Callable[[int], Score], seed: int, index: Index, limits: Mapping[str, int]
) -> list[Drawn]:
    """Return the clips, and new ones in place of those that have a run of more notes unrepeated than `limits` by line.

    `clips` were drawn with `seed`; `draw` draws one with the seed it is given. Clip i depends on `seed` and i alone:
    those that stay are the same as without limits. Raises MusicVAEError where TRIES new ones are no better.
    """
    result = []
    for number, clip in enumerate(clips):
        drawn = Drawn(clip, seed, 0, index.find(clip))
        while (run := excess(drawn.found, limits)) is not None:
            if drawn.tries == TRIES:
                told = ", ".join(f"{count} of {line}" for line, count in limits.items())
                raise MusicVAEError(
                    f"clip {number + 1} of seed {seed}: was drawn {TRIES} times more, and each has more notes of a "
                    f"training song than {told} (the last {run.unrepeated}, from its bar {run.bar}). Allow "
                    f"more with --novel={run.unrepeated}, raise --temperature, or try another --seed"
                )
            new = int(np.random.default_rng([seed, number, drawn.tries + 1]).integers(2**31))
            score = draw(new)
            drawn = Drawn(score, new, drawn.tries + 1, index.find(score))
        result.append(drawn)
    return result


def excess(found: Finding, limits: Mapping[str, int]) -> Run | None:
    """Return the first run that has more notes unrepeated than its line may have, or None."""
    runs = ((_told_by(keys).telling, limits[line]) for line, keys in found.items())
    return next((run for run, limit in runs if run.unrepeated > limit), None)


def _told_by(keys: Mapping[str, Found]) -> Found:
    """Return what counts: in any key, but for drums."""
    return keys.get("any key", keys["exact"])
