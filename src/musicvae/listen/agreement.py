"""How far listeners agree, and how many of them a difference needs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from musicvae.errors import ConfigError

__all__ = ["alpha", "design_effect", "votes_needed"]

MOST_VOTES = 20_000


def alpha(counts: ArrayLike, level: Literal["nominal", "ordinal"] = "nominal") -> float | None:
    """Return Krippendorff's alpha of counts (items, values), how often each item was given each value.

    1 is full agreement, 0 what chance would give. Unlike Fleiss' kappa it needs no equal number of answers an item;
    items with one answer say nothing and are left out. None where nothing can be said: no item with two answers, or one
    value alone. (Krippendorff 2011, "Computing Krippendorff's alpha-reliability".)
    """
    units = np.asarray(counts, dtype=np.float64)
    units = units[units.sum(axis=1) >= 2]
    of_value = units.sum(axis=0)
    n = of_value.sum()
    if (of_value > 0).sum() < 2:
        return None
    if level == "ordinal":
        rank = np.cumsum(of_value) - of_value / 2
        distance = (rank[:, None] - rank) ** 2
    else:
        distance = 1 - np.eye(len(of_value))
    observed = ((units @ distance * units).sum(axis=1) / (units.sum(axis=1) - 1)).sum() / n
    expected = of_value @ distance @ of_value / (n * (n - 1))
    return float(1 - observed / expected)


def design_effect(hits: ArrayLike, totals: ArrayLike) -> float:
    """Return how many times as many votes are needed because those of one listener are alike; at least 1.

    `hits` and `totals` (listeners,) are what each adds to a share. It is the variance of the share over listeners
    (ratio estimator; Cochran 1977, 11.6) over that of as many independent votes.
    """
    k: NDArray[np.float64] = np.asarray(hits, dtype=np.float64)
    n: NDArray[np.float64] = np.asarray(totals, dtype=np.float64)
    total = n.sum()
    if len(n) < 2 or not total or not 0 < k.sum() < total:
        return 1.0
    share = k.sum() / total
    over_listeners = len(n) / (len(n) - 1) * np.square(k - share * n).sum() / total**2
    return max(1.0, float(over_listeners / (share * (1 - share) / total)))


def votes_needed(null: float, share: float, *, level: float = 0.05, power: float = 0.8) -> int | None:
    """Return how many independent votes tell a share from `null`, in a two-sided exact binomial test of equal tails.

    From this number on the power never falls below what is asked for. None: more than 20,000. Raises ConfigError for
    shares that are not between 0 and 1 or are equal.
    """
    if not 0 < null < 1 or not 0 <= share <= 1 or share == null:
        raise ConfigError(f"shares are {share:g} and {null:g}; wanted two that differ, between 0 and 1")
    n = np.arange(1, MOST_VOTES + 1)
    few = stats.binom.ppf(level / 2, n, null) - 1  # the most hits, and the fewest, that are too few or too many
    few = np.where(stats.binom.cdf(few + 1, n, null) <= level / 2, few + 1, few)
    many = stats.binom.isf(level / 2, n, null) + 1
    reached = stats.binom.cdf(few, n, share) + stats.binom.sf(many - 1, n, share) >= power
    short = np.flatnonzero(~reached)
    needed = int(short[-1]) + 2 if len(short) else 1
    return needed if needed <= MOST_VOTES else None
