"""Generated clips beside real ones, in every way that needs nothing but the clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import DataError
from musicvae.evaluate.baselines import BASELINES
from musicvae.evaluate.distances import FeatureDistances, Range, compare_features, song_ids
from musicvae.evaluate.features import ADDED, YANG_LERCH
from musicvae.evaluate.listener import FEWEST, Listener, listen
from musicvae.music.score import Score

__all__ = ["Comparison", "compare", "comparison_tables"]


class Comparison(NamedTuple):
    """How generated clips differ from real ones."""

    generated: int
    """Generated clips."""
    real: int
    """Real clips."""
    songs: int
    """Songs that these are of."""
    bars: int
    """Length of every clip."""
    features: tuple[FeatureDistances, ...]
    listener: Listener | None
    """The machine listener on them; None where they are too few."""
    real_listener: Listener | None
    """The same on two halves of the real songs: it should not be able to tell."""
    baselines: Mapping[str, Listener]
    """The same on what was made of the real clips, by the names of BASELINES: it should be able to tell."""

    def to_dict(self, points: int = 128) -> dict[str, Any]:
        """Return everything as plain numbers for JSON, densities at so many points."""
        return {
            "generated": self.generated,
            "real": self.real,
            "songs": self.songs,
            "bars": self.bars,
            "features": [row.to_dict(points) for row in self.features],
            "listener": self.listener and self.listener.to_dict(),
            "real_listener": self.real_listener and self.real_listener.to_dict(),
            "baselines": {name: found.to_dict() for name, found in self.baselines.items()},
        }


def compare(
    generated: Sequence[Score],
    real: Sequence[Score],
    songs: ArrayLike | None = None,
    *,
    generated_songs: ArrayLike | None = None,
    features: Sequence[str] = YANG_LERCH + ADDED,
    rounds: int = 20,
    baselines: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare generated clips with real ones: feature by feature, and by the machine listener.

    `songs` (real,) says which song each real clip is from, by default each from its own, and `generated_songs` does the
    same for clips that were made of songs, with the same numbers or names. `rounds` and `features` are those of
    `compare_features`; with `baselines` the listener is also put to what must not pass for music. What sounds beyond
    the last bar of a clip is cut off, so that it gives nobody away.

    Raises DataError for fewer than two clips a set, for ids that do not fit, or for clips that are not of one length,
    meter and grid; ConfigError for an unknown feature; MissingExtraError without the `eval` extra.
    """
    ids = song_ids(generated, real, songs, generated_songs)
    _one_shape([*generated, *real])
    ours, theirs = ([clip.cut(0, clip.bars) for clip in clips] for clips in (generated, real))
    our_ids, their_ids = ids[: len(ours)], ids[len(ours) :]
    names = np.unique(their_ids)
    first = np.isin(their_ids, np.random.default_rng([seed, 2]).permutation(names)[: len(names) // 2])
    asked = {
        "generated": (ours, our_ids, theirs, their_ids),
        "real": (_where(theirs, first), their_ids[first], _where(theirs, ~first), their_ids[~first]),
    }
    if baselines:
        for number, (name, make) in enumerate(BASELINES.items()):
            made = make(theirs, np.random.default_rng([seed, 3, number]))
            asked[name] = (made, their_ids, theirs, their_ids)
    steps = len(features) + len(asked)

    def show(done: int, _: int = 0) -> None:
        if progress:
            progress(done, steps)

    rows = compare_features(
        ours, theirs, their_ids, generated_songs=our_ids, features=features, rounds=rounds, seed=seed, progress=show
    )
    heard = {}
    for done, (name, sets) in enumerate(asked.items(), len(features) + 1):
        heard[name] = _listen(*sets, seed)
        show(done)
    return Comparison(
        generated=len(ours),
        real=len(theirs),
        songs=len(names),
        bars=ours[0].bars,
        features=tuple(rows),
        listener=heard.pop("generated"),
        real_listener=heard.pop("real"),
        baselines={name: found for name, found in heard.items() if found},
    )


def comparison_tables(found: Comparison) -> str:
    """Return a comparison as Markdown: a table of features, then one of the machine listener.

    Beside real against real stand figures of half-samples, which are as large. Features that no clip has or all clips
    share (the pitches of drums) are only named.
    """
    silent = [row for row in found.features if not any(row.bandwidth) and not 0 <= row.figures.overlap < 1]
    rows = [row for row in found.features if row not in silent]
    lines = [
        "| feature | overlap, all clips | half of them | real against real "
        "| KL | real | JS | real | KL as published | real |",
        "|---|---:|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [_number(row.figures.overlap), _interval(row.halves), _interval(row.ceiling)]
        ours, theirs = row.halves.mean if row.halves else row.figures, row.ceiling.mean if row.ceiling else None
        for name in ("kl", "js", "kl_published"):
            cells += [_number(getattr(figures, name) if figures else None) for figures in (ours, theirs)]
        lines.append(f"| {_title(row)} | {' | '.join(cells)} |")
    notes = [f"{_title(row)}: {row.note}." for row in rows if row.note]
    if silent:
        notes.append(f"The same in all clips, or in none: {', '.join(map(_title, silent))}.")
    lines += ["", *notes, *([""] if notes else [])]
    listeners = {
        "generated": found.listener,
        "real (the other half of the songs)": found.real_listener,
        **found.baselines,
    }
    told = [
        f"| {name} | {100 * heard.accuracy:.1f} % ({100 * heard.low:.1f}–{100 * heard.high:.1f}) | {heard.clips} |"
        for name, heard in listeners.items()
        if heard
    ]
    head = ["| real against | the machine listener is right | clips of each kind |", "|---|---|---:|"]
    return "\n".join([*lines, *(head + told if told else ["Too few clips for the machine listener."])]) + "\n"


def _listen(
    generated: list[Score], our_ids: NDArray[np.int64], real: list[Score], their_ids: NDArray[np.int64], seed: int
) -> Listener | None:
    if min(len(generated), len(real), len(np.unique(their_ids))) < FEWEST:
        return None
    return listen(generated, real, their_ids, generated_songs=our_ids, seed=seed)


def _where(clips: list[Score], chosen: NDArray[np.bool_]) -> list[Score]:
    return [clip for clip, mine in zip(clips, chosen, strict=True) if mine]


def _one_shape(clips: Sequence[Score]) -> None:
    """Raise DataError unless all clips are of one length, meter and grid."""
    for what, values in (
        ("bars", {clip.bars for clip in clips}),
        ("steps a beat", {clip.steps_per_beat for clip in clips}),
        ("steps a bar", {clip.steps_per_bar for clip in clips}),
    ):
        if len(values) > 1:
            raise DataError(
                f"the clips have {min(values)} to {max(values)} {what}; wanted one and the same. "
                "Read them on one grid and cut them to one length with Score.cut"
            )


def _title(row: FeatureDistances) -> str:
    return row.feature.replace("_", " ")


def _interval(found: Range | None) -> str:
    if found is None:
        return ""
    return f"{_number(found.mean.overlap)} ({_number(found.low.overlap)}–{_number(found.high.overlap)})"


def _number(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.3f}".replace("inf", "∞")
