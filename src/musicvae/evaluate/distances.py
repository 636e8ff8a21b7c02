"""How far the features of generated clips lie from those of real ones: the procedure of Yang and Lerch (2020).

Of each feature, the Euclidean distances within the real set (intra-set) and between the generated and the real set
(inter-set) are taken. If the generated clips were more of the same, both would have one distribution. How alike the two
are is said by

- **overlap**, the area under both densities, 1 where they are the same: the headline;
- **KL**, the Kullback–Leibler divergence of the inter-set density from the intra-set one, in nats;
- **JS**, the Jensen–Shannon divergence of the two, in bits, 0–1;
- **KL as published**, for comparison only: the published code takes each density between its own smallest and largest
  distance and then compares them point by point, so that it sees neither shift nor scale.

Densities are Gaussian kernel estimates (scipy's `gaussian_kde`) with Scott's bandwidth, n^(−1/5) times the standard
deviation of the n distances, but at least half a step where a feature has steps (`densities.bandwidths`); all on one
grid that reaches four bandwidths beyond both.

Distances are never held all at once: blocks of them are counted in 65,535 bins, and densities are made of the bins. So
memory does not grow with the pairs, and no pair is left out. Needs the `eval` extra (scipy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import ConfigError, DataError
from musicvae.evaluate.densities import (
    BINS,
    Density,
    Figures,
    Spread,
    bins_of,
    curves,
    figures,
    one_thread,
    scipy,
    single,
    width_for,
)
from musicvae.evaluate.features import ADDED, FEATURES, YANG_LERCH, extract
from musicvae.music.score import Score

__all__ = [
    "Density",
    "FeatureDistances",
    "Figures",
    "Range",
    "compare_features",
    "distance_figures",
    "inter_set",
    "intra_set",
    "song_ids",
]

F64 = NDArray[np.float64]

PAIRS = 2**20
"""Distances held at once: with their copies some 30 MB."""


class Range(NamedTuple):
    """The figures over the half-samples: their mean, and where 95 % of them lie."""

    mean: Figures
    low: Figures
    high: Figures


class FeatureDistances(NamedTuple):
    """What the distances say of one feature."""

    feature: str
    description: str
    figures: Figures
    """Within the real set against between the sets; all clips."""
    halves: Range | None
    """The same over half-samples: half of the real songs and as many generated clips. None with fewer than 4 songs."""
    ceiling: Range | None
    """Real against real: the other half of the songs in the place of the generated clips."""
    generated: Figures
    """Within the generated set against between the sets: low where samples are too much alike."""
    bandwidth: tuple[float, float, float]
    """Of the densities within the real set, within the generated set, and between them; 0 where there is none."""
    left_out: tuple[int, int]
    """Generated and real clips in which the feature is not defined."""
    note: str
    """What to know before reading the figures, or nothing."""
    density: Density

    def to_dict(self, points: int = 128) -> dict[str, Any]:
        """Return everything as plain numbers, the curves at so many points; what is not finite is None."""

        def plain(figures: Figures) -> dict[str, float | None]:
            return {name: value if np.isfinite(value) else None for name, value in figures._asdict().items()}

        def spread(found: Range | None) -> dict[str, Any] | None:
            return None if found is None else {name: plain(figures) for name, figures in found._asdict().items()}

        x = np.linspace(self.density.distance[0], self.density.distance[-1], points)
        curves = {n: np.interp(x, self.density.distance, y).tolist() for n, y in self.density._asdict().items()}
        return {
            "feature": self.feature,
            "description": self.description,
            **plain(self.figures),
            "halves": spread(self.halves),
            "ceiling": spread(self.ceiling),
            "within_generated": plain(self.generated),
            "bandwidth": dict(zip(("real", "generated", "inter"), self.bandwidth, strict=True)),
            "left_out": dict(zip(("generated", "real"), self.left_out, strict=True)),
            "note": self.note,
            "density": curves,
        }


def compare_features(
    generated: Sequence[Score],
    real: Sequence[Score],
    songs: ArrayLike | None = None,
    *,
    generated_songs: ArrayLike | None = None,
    features: Sequence[str] = YANG_LERCH + ADDED,
    rounds: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[FeatureDistances]:
    """Compare two sets of clips, feature by feature.

    `songs` (real,) says which song each real clip is from, by default each from its own: pairs of clips of one song are
    left out, and halves are halves of the songs. `generated_songs` does the same for clips that were made of songs,
    with the same numbers or names. Intervals come from `rounds` half-samples drawn with `seed`; by the theory of
    half-sampling they vary as the figures of the whole sets would with other songs. The whole sets are larger than the
    half-samples, so set the ceiling beside the mean of `halves`.

    Raises DataError for fewer than two clips a set, for ids that do not fit, or for clips of different lengths where a
    feature is measured bar by bar; ConfigError for an unknown feature; MissingExtraError without scipy.
    """
    scipy()
    if rounds < 0 or seed < 0:
        raise ConfigError(f"rounds is {rounds} and seed {seed}; wanted 0 or more")
    ids = song_ids(generated, real, songs, generated_songs)
    values = extract([*generated, *real], features)
    drawn = np.arange(len(ids)) < len(generated)
    result = []
    for number, name in enumerate(features):
        rows = values[name].reshape(len(ids), -1)
        defined = np.logical_and.reduce(np.isfinite(rows), axis=1)
        ours, theirs = (
            _Clips(rows[part & defined], ids[part & defined], int((part & ~defined).sum())) for part in (drawn, ~drawn)
        )
        with one_thread():
            result.append(_compare(name, ours, theirs, rounds, np.random.default_rng([seed, number])))
        if progress:
            progress(number + 1, len(features))
    return result


def intra_set(values: ArrayLike) -> F64:
    """Return the Euclidean distances of all pairs of rows of values (n, …): (n (n − 1) / 2,). For small sets."""
    distance, _ = scipy()
    rows = np.asarray(values, dtype=np.float64)
    found: F64 = distance.pdist(rows.reshape(len(rows), -1))
    return found


def inter_set(a: ArrayLike, b: ArrayLike) -> F64:
    """Return the Euclidean distances from each row of a (n, …) to each of b (m, …): (n · m,). For small sets."""
    distance, _ = scipy()
    left, right = (np.asarray(x, dtype=np.float64) for x in (a, b))
    found: F64 = distance.cdist(left.reshape(len(left), -1), right.reshape(len(right), -1)).ravel()
    return found


def distance_figures(first: ArrayLike, second: ArrayLike) -> Figures:
    """Return how alike two sets of distances are, of any number each: as `intra_set` and `inter_set` return them.

    Where all distances of one of them are equal there is no density; then overlap and divergences are those of the
    shares of the distances in each bin (KL may be infinite), and there is no KL as published.
    Raises DataError where one has no distances, or a distance that is negative or not finite.
    """
    sets = [np.asarray(s, dtype=np.float64).ravel() for s in (first, second)]
    for s in sets:
        if not len(s) or not np.isfinite(s).all() or s.min() < 0:
            raise DataError(f"{len(s)} distances; wanted one or more, each a finite number of 0 or more")
    width = width_for(max(s.max() for s in sets))
    counted = [Spread(np.bincount(bins_of(s, width), minlength=BINS + 1)[:BINS], width) for s in sets]
    with one_thread():
        return figures(*counted)


# ------------------------------------------------------------------------------------------------------ one feature
class _Clips(NamedTuple):
    """One feature of the clips of a set, where it is defined."""

    rows: F64
    """(n, D)"""
    songs: NDArray[np.int64]
    """(n,)"""
    left_out: int


def _compare(name: str, generated: _Clips, real: _Clips, rounds: int, rng: np.random.Generator) -> FeatureDistances:
    left_out = generated.left_out, real.left_out
    notes = ["undefined in {} generated and {} real clips".format(*left_out)] if any(left_out) else []
    halves = list(_halves(real.songs, len(generated.rows), rounds, rng))
    all_real, all_generated = (np.ones(len(clips.rows), dtype=np.bool_) for clips in (real, generated))
    width = _reach(generated, real)
    P, Q, G = ([half[k] for half in halves] for k in range(3))
    within_generated = _count(generated, generated, width, [all_generated], [all_generated])
    between = _count(real, generated, width, [all_real, *P], [all_generated, *G])
    among_real = _count(real, real, width, [all_real, *P, *P], [all_real, *P, *Q])
    within_real, other_half = among_real[: len(P) + 1], among_real[len(P) + 1 :]
    sets = within_real[0], within_generated[0], between[0]
    equal = [text for text, s in zip(("real", "generated", "inter-set"), sets, strict=True) if single(s)]
    if not all(s.counts.any() for s in sets):
        notes.append("too few clips: wanted those of two songs or more on each side")
    elif equal:
        notes.append(f"no density where all distances are equal ({', '.join(equal)}): figures by the shares of bins")
    density, bandwidth = curves(*sets)
    return FeatureDistances(
        feature=name,
        description=FEATURES[name].description,
        figures=figures(sets[0], sets[2]),
        halves=_range(within_real[1:], between[1:]),
        ceiling=_range(within_real[1:], other_half),
        generated=figures(sets[1], sets[2]),
        bandwidth=bandwidth,
        left_out=left_out,
        note="; ".join(notes),
        density=density,
    )


def _halves(
    songs: NDArray[np.int64], generated: int, rounds: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield the clips of half of the real songs, those of the others, and at most as many generated clips."""
    names, song = np.unique(songs, return_inverse=True)
    if len(names) < 4 or generated < 4:
        return
    for _ in range(rounds):
        first = rng.permutation(len(names))[song] < len(names) // 2
        chosen = np.zeros(generated, dtype=np.bool_)
        chosen[rng.permutation(generated)[: min(generated // 2, int((~first).sum()))]] = True
        yield first, ~first, chosen


def _range(first: Sequence[Spread], second: Sequence[Spread]) -> Range | None:
    """Return mean and interval of the figures of pairs of distributions; None of nothing."""
    if not first:
        return None
    table = np.array([figures(a, b) for a, b in zip(first, second, strict=True)])
    low, high = np.quantile(table, [0.025, 0.975], axis=0, method="nearest")  # figures may be infinite
    return Range(*(Figures(*map(float, row)) for row in (table.mean(axis=0), low, high)))


# --------------------------------------------------------------------------------------------------------- distances
def _reach(*sets: _Clips) -> float:
    """Return the width of bins that no distance lies beyond."""
    rows = [clips.rows for clips in sets if len(clips.rows)]
    span = np.ptp(np.concatenate(rows), axis=0) if rows else np.zeros(1)
    return width_for(float(np.sqrt((span**2).sum())))


def _count(
    a: _Clips, b: _Clips, width: float, left: Sequence[NDArray[np.bool_]], right: Sequence[NDArray[np.bool_]]
) -> list[Spread]:
    """Count the distances from clips of a to clips of b, but for pairs of one song, for each choice of them.

    The choices (n,) of a and (m,) of b go in pairs. Two that are one and the same choose pairs within a set, each of
    which comes twice and counts once.
    """
    distance, _ = scipy()
    counts = np.zeros((len(left), BINS + 1), dtype=np.int64)
    columns = [np.flatnonzero(chosen) for chosen in right]
    block = max(PAIRS // max(len(b.rows), 1), 1)
    for i in range(0, len(a.rows), block):
        some = slice(i, i + block)
        bins = bins_of(distance.cdist(a.rows[some], b.rows), width)
        bins[a.songs[some, None] == b.songs] = BINS
        for k, chosen in enumerate(left):
            mine = np.flatnonzero(chosen[some])
            every = len(mine) == len(bins) and len(columns[k]) == len(b.rows)
            part = bins if every else bins[mine][:, columns[k]]
            counts[k] += np.bincount(part.ravel(), minlength=BINS + 1)
    once = [2 if x is y else 1 for x, y in zip(left, right, strict=True)]
    return [Spread(row[:BINS] // k, width) for row, k in zip(counts, once, strict=True)]


# --------------------------------------------------------------------------------------------------------------- ids
def song_ids(
    generated: Sequence[Score], real: Sequence[Score], songs: ArrayLike | None, generated_songs: ArrayLike | None
) -> NDArray[np.int64]:
    """Return a number for the song of each clip, generated ones first; clips of no song are each their own."""
    if min(len(generated), len(real)) < 2:
        raise DataError(f"{len(generated)} generated and {len(real)} real clips; wanted two or more of each")
    names: list[Iterable[Any]] = []
    for what, clips, given in (("generated_songs", generated, generated_songs), ("songs", real, songs)):
        listed = [("", what, i) for i in range(len(clips))] if given is None else np.asarray(given).tolist()
        if len(listed) != len(clips):
            raise DataError(f"{what} names {len(listed)} songs for {len(clips)} clips; wanted one for each clip")
        names.append(listed)
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for listed in names for name in listed])
