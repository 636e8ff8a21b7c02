"""How even the way between two clips is: the MusicVAE paper's measure (Roberts et al. 2018, figure 3).

Each step on the way is compared with the first clip (Hamming distance) and put to a language model that learnt from the
training clips (cost). Clips that were mixed in data space, step by step, are the baseline to be better than.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from musicvae.data.clips import Clips, StepClips
from musicvae.errors import ConfigError, DataError
from musicvae.evaluate.intervals import Interval, bootstrap
from musicvae.latent import slerp
from musicvae.runtime.sampling import Backend, draw_tokens

__all__ = [
    "Curves",
    "NGram",
    "curves_svg",
    "curves_table",
    "data_mix",
    "hamming",
    "interpolation_curves",
    "measure_interpolation",
]

_N = TypeVar("_N", np.int64, np.float64)

BATCH = 2**20
"""Steps whose probabilities are worked out at once."""
ROWS = 4096
"""Clips read at once."""
WAYS = 24
"""Ways decoded at once."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of counts of 1, 2 and more where the data give none: KenLM's."""


class _Level(NamedTuple):
    """What is known of the n-grams of one length; n-grams and contexts are numbers, see `NGram._grams`."""

    grams: NDArray[np.int64]
    """The n-grams that occur, sorted."""
    shares: NDArray[np.float64]
    """What each has of the probability of its context, after the discount."""
    contexts: NDArray[np.int64]
    """What stands before their last tokens, sorted."""
    rests: NDArray[np.float64]
    """What each context leaves to the shorter n-grams."""


class NGram:
    """A language model of tokens 0 … size − 1: interpolated n-grams with modified Kneser–Ney smoothing.

        p(w | h) = (c(h w) − D(c(h w))) / c(h) + rest(h) · p(w | h')

    h' is h without its oldest token and 1 / size lies under the shortest. c counts the longest n-grams and those that
    begin a sequence, and for the others the different tokens before them (Chen and Goodman 1999, section 3). The
    discounts D of counts of 1, 2 and more come from how many n-grams occur once to four times, and are FALLBACK
    where that gives none, as happens with few tokens. This is what KenLM computes, the paper's tool. Witten–Bell, which
    has nothing to estimate, came out 7 % dearer on held-out melodies; where training clips overlapped, its 5-grams did
    worse than single tokens.

    Every sequence begins after order − 1 start marks; its end is not predicted, as all clips are of one length. Before
    `fit` all tokens are equally likely. Raises ConfigError if `size` or `order` is out of range: numbers of n-grams
    must fit into 63 bits, so that a 5-gram may have up to 6,207 tokens.
    """

    def __init__(self, size: int, order: int = 5) -> None:
        if size < 2 or order < 1 or (size + 1) ** order >= 2**63:
            wanted = "size at least 2, order at least 1 and (size + 1)^order below 2^63"
            raise ConfigError(f"an n-gram model of order {order} over {size} tokens; wanted {wanted}")
        self.size, self.order = size, order
        self._levels: list[_Level] = []

    def fit(self, sequences: Iterable[NDArray[np.integer]]) -> Self:
        """Count the n-grams of sequences (T,), forgetting what was counted before, and return the model.

        Raises DataError if there is none or a token is not 0 … size − 1.
        """
        numbers = [self._grams(np.asarray(sequence)).ravel() for sequence in sequences]
        if not sum(map(len, numbers)):
            raise DataError("an n-gram model cannot be fitted to no sequences; wanted 1 or more, with a token each")
        grams = np.concatenate(numbers)
        occur = counts = np.ones(len(grams), dtype=np.int64)
        levels = []
        for n in range(self.order, 0, -1):  # each length from the one above it, which has every n-gram once
            grams, occur, before = _add_up(grams % self._base**n, occur)
            first = grams // self._base ** (n - 1) == self.size  # nothing but start marks can stand before a start mark
            counts = occur if n == self.order else np.where(first, occur, before)
            discount = np.array((0.0, *_discounts(counts)))[np.minimum(counts, 3)]
            contexts, totals, _ = _add_up(grams // self._base, counts)
            _, discounts, _ = _add_up(grams // self._base, discount)
            shares = (counts - discount) / totals[np.searchsorted(contexts, grams // self._base)]
            levels.append(_Level(grams, shares, contexts, discounts / totals))
        self._levels = levels[::-1]
        return self

    def cost(self, sequences: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the mean −ln p of a step, in nats, for sequences (…, T): (…). Raises DataError for a bad token."""
        sequences = np.asarray(sequences)
        if not sequences.ndim or not sequences.shape[-1]:
            raise DataError(f"the cost of sequences {sequences.shape} has no steps; wanted (…, T) with T at least 1")
        rows = sequences.reshape(-1, sequences.shape[-1])
        costs = np.empty(len(rows))
        batch = max(BATCH // rows.shape[1], 1)
        for i in range(0, len(rows), batch):
            # Sorted and each once: neighbours then lie together in the tables, which is several times faster.
            grams, where = np.unique(self._grams(rows[i : i + batch]), return_inverse=True)
            costs[i : i + batch] = -np.log(self._probabilities(grams))[where].mean(axis=-1)
        return costs.reshape(sequences.shape[:-1])

    def probabilities(self, context: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return p(w | context) for each token (size,); a context (C,) of fewer than order − 1 begins a sequence."""
        after = np.broadcast_to(np.asarray(context, dtype=np.int64), (self.size, len(context)))
        return self._probabilities(self._grams(np.column_stack([after, np.arange(self.size)]))[:, -1])

    @property
    def _base(self) -> int:
        return self.size + 1  # the tokens and the start mark

    def _grams(self, tokens: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return for each step of tokens (…, T) the number of the n-gram that ends there (…, T)."""
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.size):
            bad = tokens[(tokens < 0) | (tokens >= self.size)][0]
            raise DataError(f"a token is {bad}; the n-gram model wants 0 to {self.size - 1}")
        start = np.full((*tokens.shape[:-1], self.order - 1), self.size, dtype=np.int64)
        padded = np.concatenate([start, tokens], axis=-1, dtype=np.int64)
        numbers = np.zeros(tokens.shape, dtype=np.int64)
        for i in range(self.order):
            numbers *= self._base
            numbers += padded[..., i : i + tokens.shape[-1]]
        return numbers

    def _probabilities(self, grams: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return p(last token | those before it) for numbers of n-grams (M,), from the shortest context up."""
        p = np.full(len(grams), 1 / self.size)
        for n, level in enumerate(self._levels, 1):
            number = grams % self._base**n
            p *= _find(number // self._base, level.contexts, level.rests, 1.0)  # an unknown context leaves all
            p += _find(number, level.grams, level.shares, 0.0)
        return p


class Curves(NamedTuple):
    """The way from A to B in figures; each Interval holds the mean over pairs and its 95 % interval (alphas,)."""

    alphas: NDArray[np.float64]
    """(alphas,) the places on the way: 0 is A, 1 is B."""
    pairs: int
    """Ways measured."""
    hamming: Interval
    """Share of steps that differ from A on the model's way, 0–1."""
    hamming_data: Interval
    """The same of the baseline in data space."""
    cost: Interval
    """C_alpha / (alpha · C_B + (1 − alpha) · C_A) on the model's way; 1 is as likely as the originals."""
    cost_data: Interval
    """The same of the baseline in data space."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        figures = {name: value for name, value in self._asdict().items() if isinstance(value, Interval)}
        lists = {name: {k: v.tolist() for k, v in value._asdict().items()} for name, value in figures.items()}
        return {"alphas": self.alphas.tolist(), "pairs": self.pairs, **lists}


def hamming(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the share of steps at which a (…, T) and b (…, T) differ, 0–1: (…)."""
    return np.asarray((a != b).mean(axis=-1), dtype=np.float64)


def data_mix(
    a: NDArray[np.integer], b: NDArray[np.integer], alpha: float, rng: np.random.Generator
) -> NDArray[np.integer]:
    """Return a mix in data space, the paper's baseline: each step is b's with probability `alpha`, a's otherwise.

    `a` and `b` have one shape. At 0 the mix is a and at 1 it is b, exactly.
    """
    return np.where(rng.random(a.shape) < alpha, b, a)


def measure_interpolation(
    backend: Backend,
    learnt: Clips,
    held_out: Clips,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Curves:
    """Measure a model's ways between held-out clips as the paper does (section 4.2, figure 3).

    `count` clips, each with one of another song; 11 points on the arc between the means of their posteriors, drawn at
    temperature 0.5 with the same noise; an n-gram model of order 5 of the training clips that do not overlap. Only for
    codecs with one token a step. Raises ConfigError for others, DataError without two songs.
    """
    spec, bars = backend.spec, backend.config.bars
    if not isinstance(learnt, StepClips) or len(spec.sizes) != 1:
        raise ConfigError("interpolation is measured on one token a step; this model's codec is not melody or drums")
    apart = _apart(learnt.windows[:, 0], bars)
    corpus = [learnt.batch(apart[i : i + ROWS]).tokens for i in range(0, len(apart), ROWS)]
    ngram = NGram(spec.sizes[0]).fit(clip.ravel() for part in corpus for clip in part)
    first = held_out.spread_index(count)
    second = np.roll(first, len(first) // 2)
    other = held_out.songs[first] != held_out.songs[second]
    if not other.any():
        raise DataError("interpolation needs clips of two songs at least; choose another --split, or add music")
    ends = [held_out.batch(index[other]) for index in (first, second)]
    mus = [backend.encode(end.tokens, end.lengths)[0] for end in ends]
    alphas = np.linspace(0, 1, 11)
    paths = []
    for i in range(0, len(mus[0]), WAYS):
        pairs = list(zip(mus[0][i : i + WAYS], mus[1][i : i + WAYS], strict=True))
        points = np.stack([slerp(a, b, t) for a, b in pairs for t in alphas])
        noise = [np.random.default_rng([seed, i + k]) for k in range(len(pairs)) for _ in alphas]
        paths.append(draw_tokens(backend, points, noise, 0.5).reshape(len(pairs), len(alphas), -1))
        progress(i + len(pairs), len(mus[0]))
    flat = [end.tokens.reshape(len(end.tokens), -1) for end in ends]
    return interpolation_curves(
        np.concatenate(paths), flat[0], flat[1], alphas, ngram, np.random.default_rng([seed, 2])
    )


def _apart(windows: NDArray[np.integer], bars: int) -> NDArray[np.int64]:
    """Return the numbers of clips, by their ascending first bars (n,), that do not overlap: as many as can be."""
    kept, end = [], -1
    for number, first in enumerate(windows.tolist()):
        if first >= end:
            kept.append(number)
            end = first + bars
    return np.array(kept, dtype=np.int64)


def interpolation_curves(
    model_paths: NDArray[np.integer],
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    alphas: NDArray[np.floating],
    ngram: NGram,
    rng: np.random.Generator,
) -> Curves:
    """Measure the model's ways (pairs, alphas, T) from a (pairs, T) to b (pairs, T) beside mixes in data space.

    Distances are to the originals A and costs relative to those of the originals, pair by pair, then averaged; the 95 %
    intervals are from a bootstrap over pairs, so pairs should be of different songs. A model that does not reconstruct
    well therefore begins above a distance of 0. Raises DataError if the shapes do not fit or there is no pair.
    """
    places = np.asarray(alphas, dtype=np.float64)
    P, T = a.shape if a.ndim == 2 else (0, 0)
    if not a.size or b.shape != (P, T) or model_paths.shape != (P, len(places), T):
        got = f"paths {model_paths.shape}, a {a.shape}, b {b.shape}, {len(places)} alphas"
        raise DataError(f"interpolation curves: {got}; wanted (pairs, alphas, T), (pairs, T), (pairs, T)")
    if not ((places >= 0) & (places <= 1)).all() or (np.diff(places) <= 0).any():
        raise DataError(f"interpolation curves: alphas are {places.tolist()}; wanted rising numbers from 0 to 1")
    mixes = np.stack([data_mix(a, b, alpha, rng) for alpha in places], axis=1)  # (P, alphas, T)
    whole = places * ngram.cost(b)[:, None] + (1 - places) * ngram.cost(a)[:, None]  # (P, alphas)
    ones = np.ones_like(whole)
    distances = [hamming(way, a[:, None]) for way in (model_paths, mixes)]
    costs = [ngram.cost(way) / whole for way in (model_paths, mixes)]
    return Curves(places, P, *(bootstrap(values, ones, rng) for values in (*distances, *costs)))


def curves_table(curves: Curves) -> str:
    """Return the curves as a Markdown table: a row an alpha, 95 % intervals in brackets."""
    lines = [
        "| α | Hamming distance to A, model | data | relative cost, model | data |",
        "|---:|---|---|---|---|",
    ]
    for i, alpha in enumerate(curves.alphas):
        cells = (f"{c.estimate[i]:.3f} ({c.low[i]:.3f}–{c.high[i]:.3f})" for c in curves[2:])
        lines.append(f"| {alpha:.3g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_SERIES = (("model", "#2f6db5", ""), ("mixed in data space", "#c8553d", ' stroke-dasharray="5 3"'))
_LEFT, _TOP, _RIGHT, _BOTTOM = 52.0, 54.0, 16.0, 44.0


def curves_svg(curves: Curves, *, width: int = 760, height: int = 320, title: str = "") -> str:
    """Return an SVG picture of `width` × `height` pixels: Hamming distance on the left, relative cost on the right.

    Bands are the 95 % intervals. The picture brings its own light background, and the lines differ in their dashes too.
    """
    what = title or f"Interpolations of {curves.pairs:,} pairs of clips"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" font-family="system-ui, sans-serif" font-size="11" fill="#6b675e">',
        f"<title>{escape(what)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#faf9f6"/>',
        f'<text x="{_LEFT}" y="22" font-size="13" fill="#3a372f">{escape(what)}</text>',
    ]
    half = width / 2
    out += _panel(curves.alphas, (curves.hamming, curves.hamming_data), "Hamming distance to A", 0.0, 0.0, half, height)
    out += _panel(
        curves.alphas, (curves.cost, curves.cost_data), "cost ÷ cost of the originals", 1.0, half, half, height
    )
    for i, (name, colour, dashes) in enumerate(_SERIES):
        x = half + _LEFT + 100 * i
        out.append(
            f'<path d="M{x} 18h24" stroke="{colour}" stroke-width="2"{dashes}/><text x="{x + 30}" y="22">{name}</text>'
        )
    return "\n".join([*out, "</svg>\n"])


def _panel(
    alphas: NDArray[np.float64],
    series: tuple[Interval, Interval],
    name: str,
    always: float,
    left: float,
    width: float,
    height: float,
) -> Iterator[str]:
    """Draw one diagram into a column of the picture; its axis reaches the value `always`."""
    right, bottom = left + width - _RIGHT, height - _BOTTOM
    left += _LEFT
    lows, highs = ([float(f(end)) for s in series for end in (s.low, s.high)] for f in (np.min, np.max))
    ticks = _ticks(min(*lows, always), max(*highs, always))

    def points(values: NDArray[np.float64], backwards: bool = False) -> str:
        across = left + alphas * (right - left)
        down = bottom - (values - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - _TOP)
        each = [f"{x:.2f} {y:.2f}" for x, y in zip(across, down, strict=True)]
        return "L".join(each[::-1] if backwards else each)

    yield f'<rect x="{left}" y="{_TOP}" width="{right - left:.2f}" height="{bottom - _TOP:.2f}" fill="#ffffff"/>'
    for tick in ticks:
        y = bottom - (tick - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - _TOP)
        strong = ' stroke="#b9b3a4"' if tick == always else ' stroke="#e3dfd5"'
        yield f'<path d="M{left} {y:.2f}H{right}"{strong} stroke-width="0.9"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.2f}" text-anchor="end">{tick:g}</text>'
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * (right - left)
        yield f'<path d="M{x:.2f} {bottom}v4" stroke="#b9b3a4"/>'
        yield f'<text x="{x:.2f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
    yield f'<text x="{left}" y="{_TOP - 8}">{name}</text>'
    yield f'<text x="{(left + right) / 2:.2f}" y="{bottom + 32}" text-anchor="middle">α (0: clip A, 1: clip B)</text>'
    for (_, colour, dashes), line in zip(_SERIES, series, strict=True):
        band = f"M{points(line.low)}L{points(line.high, backwards=True)}Z"
        yield f'<path d="{band}" fill="{colour}" fill-opacity="0.15"/>'
        yield f'<path d="M{points(line.estimate)}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _ticks(low: float, high: float) -> list[float]:
    """Return four to eight round numbers whose first and last enclose the range."""
    span = max(high - low, 0.1)
    power = 10.0 ** np.floor(np.log10(span))
    step = next(s * power for s in (0.2, 0.5, 1.0, 2.0) if span / (s * power) <= 6)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _add_up(keys: NDArray[np.int64], values: NDArray[_N]) -> tuple[NDArray[np.int64], NDArray[_N], NDArray[np.int64]]:
    """Return the different keys, sorted, the sums of their values, and how often each occurs."""
    if np.any(np.diff(keys) < 0):
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.add.reduceat(values, first), np.diff(first, append=len(keys))


def _discounts(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return the discounts of counts of 1, 2 and more (Chen and Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == i)) for i in (1, 2, 3, 4))
    if not n1 or not n2 or not n3:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    discounts = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    # Every discount must leave something to the shorter n-grams, and a count cannot lose more than it has.
    return discounts if all(0 < d <= i for i, d in enumerate(discounts, 1)) else FALLBACK


def _find(
    wanted: NDArray[np.int64], keys: NDArray[np.int64], values: NDArray[np.float64], default: float
) -> NDArray[np.float64]:
    """Return the values of the wanted ones among sorted keys, and the default for those that are not there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], default)
