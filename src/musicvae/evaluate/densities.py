"""How alike two distributions of distances are: kernel densities, and what they have in common.

Distances come in bins (`Spread`), so that memory does not grow with their number. Needs the `eval` extra (scipy).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import MissingExtraError

__all__ = [
    "BINS",
    "Density",
    "Figures",
    "Spread",
    "bins_of",
    "curves",
    "figures",
    "one_thread",
    "scipy",
    "single",
    "width_for",
]

F64 = NDArray[np.float64]

BINS = 2**16 - 1
"""Bins that distances are counted in; one more number of 16 bits is left for pairs that do not count."""
FINE = 4
"""Bins a bandwidth, at most: those of a density are joined until they are about so wide."""
GRID = (2**9, 2**13)
"""Fewest and most points of the common grid; two a bandwidth if there are as many. No bandwidth is below its step."""
TINY = 1e-300
"""Probabilities of points of the grid below this count as this, so that a divergence stays a finite number."""
PUBLISHED_POINTS = 1000
"""Points of each of the published grids."""


class Spread(NamedTuple):
    """Distances, counted in bins whose middles are 0, width, 2 · width and so on."""

    counts: NDArray[np.int64]
    """(BINS,)"""
    width: float


class Figures(NamedTuple):
    """How alike two distributions of distances are."""

    overlap: float
    """Area under both densities, 0–1."""
    kl: float
    """Kullback–Leibler divergence of the second from the first on one grid, in nats."""
    js: float
    """Jensen–Shannon divergence in bits, 0–1."""
    kl_published: float
    """Kullback–Leibler divergence as the published code has it; NaN where that gives none."""


class Density(NamedTuple):
    """Densities of distances on one grid; a curve is zeros where all distances of a kind are equal."""

    distance: F64
    """(G,) the grid."""
    real: F64
    """(G,) within the real set."""
    generated: F64
    """(G,) within the generated set."""
    inter: F64
    """(G,) between them."""


def width_for(largest: float) -> float:
    """Return how wide bins are that reach from 0 to the largest distance."""
    return largest / (BINS - 1) or 1.0


def bins_of(distances: F64, width: float) -> NDArray[np.uint16]:
    """Return the bin of each distance; what rounding put beyond the last is in the last."""
    numbers = distances / width
    numbers += 0.5
    return np.minimum(numbers, BINS - 1, out=numbers).astype(np.uint16)


def figures(first: Spread, second: Spread) -> Figures:
    """Compare two sets of distances in bins of one width: those within a set, each pair once, and any others.

    Where all distances of one are equal there is no density: overlap and divergences are then those of the shares of
    the distances in each bin (KL may be infinite), and there is no KL as published. NaN of nothing.
    """
    distance, stats = scipy()
    first, second = first._replace(width=1.0), second._replace(width=1.0)  # in bins no square is too small for a float
    if not first.counts.any() or not second.counts.any():
        return Figures(*[float("nan")] * 4)
    if single(first) or single(second):
        p, q = (s.counts / s.counts.sum() for s in (first, second))
        js = distance.jensenshannon(p, q, base=2) ** 2
        return Figures(float(np.minimum(p, q).sum()), float(stats.entropy(p, q)), float(js), float("nan"))
    x, (p, q) = _on_one_grid([first, second])
    overlap = min(float(np.trapezoid(np.minimum(p, q), x)), 1.0)
    js = float(distance.jensenshannon(p, q, base=2) ** 2)
    return Figures(overlap, _divergence(p, q), js, _published(first, second))


def curves(real: Spread, generated: Spread, inter: Spread) -> tuple[Density, tuple[float, float, float]]:
    """Return the densities of three sets of distances on one grid, and their bandwidths (0 where there is none)."""
    unit = real.width
    spreads = [s._replace(width=1.0) for s in (real, generated, inter)]
    proper = [s for s in spreads if not single(s)]
    x, found = _on_one_grid(proper) if proper else (np.linspace(0, 1, GRID[0]), [])
    remaining = iter(zip(found, bandwidths(proper), strict=True))
    rows = [(np.zeros(len(x)), 0.0) if single(s) else next(remaining) for s in spreads]
    (a, h_a), (b, h_b), (c, h_c) = rows
    return Density(x * unit, a / unit, b / unit, c / unit), (h_a * unit, h_b * unit, h_c * unit)


def bandwidths(spreads: Sequence[Spread]) -> list[float]:
    """Return the bandwidth of each of some sets of distances that are compared.

    Scott's, n^(−1/5) times the standard deviation of the n distances; but at least half of the smallest gap between
    distances of these sets. Features that are counts have distances that are whole numbers: with very many of them
    Scott's bandwidth would make a comb of a density, and compare how thick the teeth are.
    """
    occupied = np.flatnonzero(np.logical_or.reduce([s.counts != 0 for s in spreads]))
    least = 0.5 * float(np.diff(occupied).min(initial=BINS)) * spreads[0].width if len(occupied) > 1 else 0.0
    return [max(_scott(s), least) for s in spreads]


def single(spread: Spread) -> bool:
    """Tell whether all distances are equal, or there is none."""
    return int(np.count_nonzero(spread.counts)) < 2


def scipy() -> tuple[Any, Any]:
    """Return scipy's distances and statistics, loaded when they are first needed; raises MissingExtraError."""
    try:
        import threadpoolctl  # noqa: F401  # of the same extra
        from scipy import stats
        from scipy.spatial import distance
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("scipy", "threadpoolctl"):
            raise
        raise MissingExtraError("Comparing sets of clips", "eval") from None
    return distance, stats


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS has one thread: densities are many small products, for which more only wait."""
    scipy()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _published(first: Spread, second: Spread) -> float:
    """Return the divergence as the published code has it: each density stands on a grid of its own.

    It lists every pair within a set twice, which makes the bandwidth there a little smaller.
    """
    found = []
    for spread, listed in ((first, 2), (second, 1)):
        low, high = _ends(spread)
        kernels = _kernels(spread, _scott(spread) * listed**-0.2)
        found.append(kernels(np.linspace(low, high, PUBLISHED_POINTS)))
    return _divergence(*found)


def _divergence(p: F64, q: F64) -> float:
    """Return the Kullback–Leibler divergence of densities q from p on one grid, in nats: finite."""
    _, stats = scipy()
    return float(stats.entropy(*(np.maximum(density / density.sum(), TINY) for density in (p, q))))


def _on_one_grid(spreads: list[Spread]) -> tuple[F64, list[F64]]:
    """Return a grid that holds all these distances, and the density of each on it."""
    widths = bandwidths(spreads)
    low = min(_ends(s)[0] for s in spreads) - 4 * max(widths)
    high = max(_ends(s)[1] for s in spreads) + 4 * max(widths)
    x = np.linspace(low, high, int(np.clip(2 * (high - low) / min(widths), *GRID)))
    return x, [_kernels(s, max(h, x[1] - x[0]))(x) for s, h in zip(spreads, widths, strict=True)]


def _ends(spread: Spread) -> tuple[float, float]:
    place = np.flatnonzero(spread.counts)
    return float(place[0]) * spread.width, float(place[-1]) * spread.width


def _scott(spread: Spread) -> float:
    place = np.flatnonzero(spread.counts)
    count, x = spread.counts[place], place * spread.width
    n = int(count.sum())
    variance = (count * (x - (count * x).sum() / n) ** 2).sum() / max(n - 1, 1)
    return float(n**-0.2 * np.sqrt(variance))


def _kernels(spread: Spread, bandwidth: float) -> Any:
    """Return the density as scipy's gaussian_kde, of bins joined until they are no wider than they need be."""
    _, stats = scipy()
    place = np.flatnonzero(spread.counts)
    count = spread.counts[place]
    joined = place // max(int(bandwidth / FINE / spread.width), 1)
    begin = np.flatnonzero(np.diff(joined, prepend=-1))
    weight = np.add.reduceat(count, begin)
    x = np.add.reduceat(count * place, begin) / weight * spread.width  # the mean of its distances, not its middle
    # scipy multiplies its factor with a deviation that it works out as if every weight were one observation.
    deviation = float(np.sqrt(np.cov(x, aweights=weight)))
    return stats.gaussian_kde(x, bw_method=bandwidth / deviation, weights=weight)
