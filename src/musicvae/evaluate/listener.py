"""A machine listener: a classifier that tries to tell generated clips from real ones.

Half of what it is asked about is generated, so that 50 % means that it cannot tell. It is asked about songs that it did
not learn from (cross-validated by song) and judges by `musicvae.evaluate.clues`. Needs the `eval` extra (scikit-learn).

It is a logistic regression: on the clues of 500 clips a side it caught shuffled bars and changed pitches as often as
gradient-boosted and randomised trees did, in a fiftieth of their time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import ConfigError, DataError, MissingExtraError
from musicvae.evaluate.clues import ngrams, number_names, numbers
from musicvae.evaluate.densities import one_thread, scipy
from musicvae.evaluate.distances import song_ids
from musicvae.evaluate.intervals import bootstrap, wilson
from musicvae.music.score import Score

__all__ = ["Clue", "Listener", "listen"]

F64 = NDArray[np.float64]

FOLDS = 5
FEWEST = 10
"""Clips a side, and songs among the real ones, below which nothing can be learnt."""
VOCABULARY = 400
"""n-grams that are counted: the commonest in the clips it learns from."""
STRENGTH = 0.01
"""C of scikit-learn's logistic regression, over standardised clues: strong regularisation, for there are more clues
than there are clips in small sets."""
TOLD = 8
"""Clues that are named."""


class Clue(NamedTuple):
    """One number by which the two sets differ."""

    name: str
    auc: float
    """Probability that it is larger in a generated clip than in a real one, 0–1; 0.5 says nothing."""
    generated: float
    """Its median over the generated clips."""
    real: float
    """Its median over the real clips."""


class Listener(NamedTuple):
    """What the listener could tell."""

    accuracy: float
    """Share of right answers about songs that it did not learn from, 0–1."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Its upper end."""
    generated_found: float
    """Share of the generated clips that it took for generated."""
    real_found: float
    """Share of the real clips that it took for real."""
    clips: int
    """Clips of each kind that it was asked about."""
    songs: int
    """Songs that the real ones are of."""
    clues: tuple[Clue, ...]
    """The numbers by which one could tell most, one at a time."""

    @property
    def tells(self) -> bool:
        """Whether 50 % lies below the interval."""
        return self.low > 0.5

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers."""
        return {**self._asdict(), "tells": self.tells, "clues": [clue._asdict() for clue in self.clues]}


def listen(
    generated: Sequence[Score],
    real: Sequence[Score],
    songs: ArrayLike | None = None,
    *,
    generated_songs: ArrayLike | None = None,
    seed: int = 0,
) -> Listener:
    """Let the listener learn from four fifths of the songs and ask it about the others, five times.

    `songs` (real,) says which song each real clip is from, by default each from its own; `generated_songs` does the
    same for clips that were made of songs, with the same numbers or names: no song is both learnt from and asked about.
    Of the larger set, as many clips as the smaller has are chosen by chance, of as many songs as can be. The interval
    is the wider of that over songs (bootstrap) and of that over clips (Wilson).

    Raises DataError with fewer than 10 clips a side or real songs, or ids that do not fit; ConfigError for a negative
    seed; MissingExtraError without scikit-learn.
    """
    sklearn()
    if seed < 0:
        raise ConfigError(f"seed is {seed}; wanted 0 or more")
    rng = np.random.default_rng(seed)
    ids = song_ids(generated, real, songs, generated_songs)
    n = min(len(generated), len(real))
    sides = np.arange(len(generated)), len(generated) + np.arange(len(real))
    chosen = np.concatenate([side[_choose(ids[side], n, rng)] for side in sides])
    every = [*generated, *real]
    clips, ids = [every[i] for i in chosen], ids[chosen]
    is_real = np.arange(2 * n) >= n
    known = len(np.unique(ids[is_real]))
    if min(n, known) < FEWEST:
        raise DataError(
            f"{len(generated)} generated and {len(real)} real clips of {known} songs; the machine listener wants "
            f"{FEWEST} or more of each. Take more clips"
        )
    clues = numbers(clips)
    with one_thread():
        answers = _cross_validated(clues, clips, is_real, ids, seed)
    right = (answers == is_real).astype(np.float64)
    _, song = np.unique(ids, return_inverse=True)
    sums, totals = (np.bincount(song, x)[:, None] for x in (right, np.ones(2 * n)))
    by_song, by_clip = bootstrap(sums, totals, rng), wilson(right.sum(), 2 * n)
    return Listener(
        accuracy=float(right.mean()),
        low=float(min(by_song.low[0], by_clip.low)),
        high=float(max(by_song.high[0], by_clip.high)),
        generated_found=float(right[~is_real].mean()),
        real_found=float(right[is_real].mean()),
        clips=n,
        songs=known,
        clues=_telling(clues, is_real),
    )


def sklearn() -> None:
    """Raise MissingExtraError if scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise MissingExtraError("The machine listener", "eval") from None


def _choose(songs: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the numbers of n clips (n,), ascending, drawn so that as many songs as can be have one."""
    order = rng.permutation(len(songs))
    by_song = order[np.argsort(songs[order], kind="stable")]
    new = np.flatnonzero(np.diff(songs[by_song], prepend=-1))
    turn = np.arange(len(songs)) - np.repeat(new, np.diff(new, append=len(songs)))  # 0 for the first of each song
    turn_of = np.empty_like(turn)
    turn_of[by_song] = turn
    chosen: NDArray[np.int64] = np.sort(order[np.argsort(turn_of[order], kind="stable")][:n])
    return chosen


def _cross_validated(
    clues: F64, clips: list[Score], is_real: NDArray[np.bool_], songs: NDArray[np.int64], seed: int
) -> NDArray[np.bool_]:
    """Return for each clip whether a listener that did not learn from its song takes it for real (n,)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.preprocessing import StandardScaler

    heard = [list(ngrams(clip)) for clip in clips]
    answers = np.zeros(len(clips), dtype=np.bool_)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for learn, ask in folds.split(clues, is_real, songs):
        counter = CountVectorizer(analyzer=_as_it_is, max_features=VOCABULARY)
        counts = counter.fit_transform([heard[i] for i in learn]), counter.transform([heard[i] for i in ask])
        both = [_with_shares(clues[rows], c.toarray()) for rows, c in zip((learn, ask), counts, strict=True)]
        defined = ~np.isnan(both[0]).all(axis=0)
        scaler = StandardScaler().fit(both[0][:, defined])
        # What is not defined in a clip counts as the mean: it says nothing.
        learnt, asked = (np.nan_to_num(scaler.transform(table[:, defined])) for table in both)
        listener = LogisticRegression(C=STRENGTH, max_iter=1000).fit(learnt, is_real[learn])
        answers[ask] = listener.predict(asked)
    return answers


def _with_shares(clues: F64, counts: NDArray[np.integer]) -> F64:
    """Return clues (n, K) and n-grams (n, N) beside them, these as shares of those that are counted."""
    return np.concatenate([clues, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)], axis=1)


def _as_it_is(words: list[str]) -> list[str]:
    return words


def _telling(clues: F64, is_real: NDArray[np.bool_]) -> tuple[Clue, ...]:
    """Return the clues that tell most by themselves."""
    _, stats = scipy()
    found = []
    for name, column in zip(number_names(), clues.T, strict=True):
        known = ~np.isnan(column)
        ours, theirs = column[known & ~is_real], column[known & is_real]
        n, m = len(ours), len(theirs)
        if n and m:
            ranks = stats.rankdata(np.concatenate([ours, theirs]))[:n].sum()  # Mann and Whitney's U, as a share
            auc = float((ranks - n * (n + 1) / 2) / (n * m))
            found.append(Clue(name, auc, float(np.median(ours)), float(np.median(theirs))))
    return tuple(sorted(found, key=lambda clue: -abs(clue.auc - 0.5))[:TOLD])
