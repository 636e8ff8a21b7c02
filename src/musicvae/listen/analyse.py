"""What the answers say, as figures ready for JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from musicvae.evaluate.intervals import bootstrap
from musicvae.listen.agreement import alpha, design_effect, votes_needed
from musicvae.listen.design import DESIGNS, EXPERIENCE, Test
from musicvae.listen.store import Answer, Listener

__all__ = ["BRIEF", "DIFFERENCES", "Row", "analyse", "rows_of"]

CHANCE = 0.5
BRIEF = 0.2
"""The share of votes that generated clips were to reach, at least."""
DIFFERENCES = (0.05, 0.1, 0.15, 0.2)
"""Distances from one half of which it is said how many listeners they need."""
RESAMPLES = 2000


class Row(NamedTuple):
    """One answer, and what it was given to."""

    listener: int
    experience: int
    trial: int
    sources: tuple[int, ...]
    """Of the clips: one, or two in ascending order; −1 in catch trials."""
    clips: tuple[int, ...]
    """Indices into the clips of the test, in that order, too."""
    first: int
    """Which of them was heard first."""
    answer: int
    """The vote (1: human); in pairs how far the second of `clips` is preferred, −2 to 2."""
    right: bool | None
    """In catch trials, whether the answer is right."""


def rows_of(test: Test, listeners: Sequence[Listener], answers: Sequence[Answer]) -> list[Row]:
    """Return the answers with what they were given to, without practice. Preferences are for the second source."""
    of = {one.number: one for one in listeners}
    sessions: dict[int, Any] = {}
    rows = []
    for one in answers:
        listener = of[one.listener]
        if listener.place not in sessions:
            sessions[listener.place] = test.session(listener.place)
        session = sessions[listener.place]
        if not 1 <= one.trial < len(session):
            continue
        trial = session[one.trial]
        pair = len(trial.clips) == 2
        right = None if trial.catch is None else (one.answer if pair else 2 * one.answer - 1) * trial.catch > 0
        rows.append(
            Row(
                one.listener,
                listener.experience,
                one.trial,
                tuple(test.clips[i].source for i in trial.item.clips),
                trial.item.clips,
                trial.clips[0],
                -one.answer if trial.turned else one.answer,
                right,
            )
        )
    return rows


def analyse(
    test: Test, rows: Sequence[Row], *, everybody: bool = False, differences: Sequence[float] = DIFFERENCES
) -> dict[str, Any]:
    """Return all figures of a test. Listeners with a wrong answer in a catch trial are left out unless `everybody`."""
    failed = {row.listener for row in rows if row.right is False}
    heard = Counter(row.listener for row in rows)
    used = [row for row in rows if row.right is None and (everybody or row.listener not in failed)]
    votes = _votes if test.design == "human-or-machine" else _pairs
    experience = {row.listener: row.experience for row in used}
    return {
        "design": test.design,
        "question": DESIGNS[test.design].question,
        "sources": [source._asdict() for source in test.sources],
        "settings": {**test.settings, "seconds": test.seconds},
        "listeners": {
            "answered": len(heard),
            "finished": sum(count == test.trials for count in heard.values()),
            "failed_catch": len(failed),
            "used": len(experience),
            "experience": {text: list(experience.values()).count(i) for i, text in enumerate(EXPERIENCE)},
        },
        "answers": len(used),
        **votes(test, used, differences),
    }


# ------------------------------------------------------------------------------------------ human or machine?
def _votes(test: Test, rows: Sequence[Row], differences: Sequence[float]) -> dict[str, Any]:
    source = np.array([row.sources[0] for row in rows], dtype=np.int64)
    vote = np.array([row.answer for row in rows], dtype=np.int64)
    listener = np.array([row.listener for row in rows], dtype=np.int64)
    clip = np.array([row.clips[0] for row in rows], dtype=np.int64)
    machine = np.array([one.kind == "machine" for one in test.sources])[source]
    figures = [
        {"source": one.label, "kind": one.kind, **_share(vote[source == i], listener[source == i])}
        for i, one in enumerate(test.sources)
    ]
    taken = _share(vote[machine], listener[machine])
    each = np.unique(listener)
    hits, totals = _by(listener[machine], vote[machine], each)
    per_listener = float(len(rows) and machine.sum() / len(each))
    return {
        "shares": figures,
        "generated_taken_for_human": taken,
        "ability": _ability(vote, machine, listener),
        "agreement": {"measure": "Krippendorff's alpha, nominal", "alpha": alpha(_counts(clip, vote, (0, 1)))},
        "by_experience": {
            text: _share(vote[machine & mine], listener[machine & mine])
            for i, text in enumerate(EXPERIENCE)
            if (mine := np.array([row.experience == i for row in rows], dtype=np.bool_)).any()
        },
        "power": _power(design_effect(hits, totals), per_listener or _planned(test, "machine"), differences),
    }


def _share(vote: NDArray[np.int64], listener: NDArray[np.int64]) -> dict[str, Any]:
    """Return the share of votes `human` with its intervals and tests."""
    n, k = len(vote), int(vote.sum())
    if not n:
        return {"votes": 0, "human": 0, "share": None}
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    each = np.unique(listener)
    hits, totals = _by(listener, vote, each)
    over = bootstrap(hits[:, None], totals[:, None], np.random.default_rng(0), resamples=RESAMPLES)
    return {
        "votes": n,
        "human": k,
        "share": k / n,
        "exact_95": [float(exact.low), float(exact.high)],
        "over_listeners_95": [float(over.low[0]), float(over.high[0])] if len(each) > 1 else None,
        "p_half": float(stats.binomtest(k, n, CHANCE).pvalue),
        "p_more_than_brief": float(stats.binomtest(k, n, BRIEF, alternative="greater").pvalue),
    }


def _ability(vote: NDArray[np.int64], machine: NDArray[np.bool_], listener: NDArray[np.int64]) -> dict[str, Any]:
    """Return how well listeners tell the kinds apart: share of right votes, and d′ and c of signal detection theory.

    Human clips are the signal; votes of all listeners together, with the log-linear correction (Hautus 1995).
    c > 0: they rather say machine. Intervals are over listeners.
    """
    if not machine.any() or machine.all():
        return {"right": None, "d_prime": None, "c": None}
    each = np.unique(listener)
    human = ~machine
    columns = (*_by(listener[human], vote[human], each), *_by(listener[machine], vote[machine], each))

    def detection(hits: Any, signals: Any, alarms: Any, noises: Any, axis: int = -1) -> Any:
        hit = stats.norm.ppf((hits.sum(axis=axis) + 0.5) / (signals.sum(axis=axis) + 1))
        alarm = stats.norm.ppf((alarms.sum(axis=axis) + 0.5) / (noises.sum(axis=axis) + 1))
        return np.stack([hit - alarm, -(hit + alarm) / 2])

    d_prime, c = detection(*columns).tolist()
    result: dict[str, Any] = {"right": float((vote == ~machine).mean()), "d_prime": d_prime, "c": c}
    if len(each) > 1:
        found = stats.bootstrap(
            columns,
            detection,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=RESAMPLES,
            random_state=np.random.default_rng(0),
        ).confidence_interval
        low, high = found.low.tolist(), found.high.tolist()
        result |= {"d_prime_95": [low[0], high[0]], "c_95": [low[1], high[1]]}
    return result


# -------------------------------------------------------------------------------------------- more musical?
def _pairs(test: Test, rows: Sequence[Row], differences: Sequence[float]) -> dict[str, Any]:
    """Return the figures of the paper (section 6.5): Kruskal–Wallis over sources, then each pair of sources."""
    labels = [source.label for source in test.sources]
    # Each rating is one of either source: as much as one is preferred, the other is not.
    scores = [
        np.array([row.answer if row.sources[1] == i else -row.answer for row in rows if i in row.sources])
        for i in range(len(labels))
    ]
    pairs = list(itertools.combinations(range(len(labels)), 2))
    told = [np.array([row.answer for row in rows if row.sources == pair], dtype=np.int64) for pair in pairs]
    whole = None
    if all(len(s) for s in scores) and len(np.unique(np.concatenate(scores))) > 1:
        found = stats.kruskal(*scores)
        whole = {"h": float(found.statistic), "df": len(labels) - 1, "p": float(found.pvalue)}
    items = np.array([row.clips[0] * len(test.clips) + row.clips[1] for row in rows], dtype=np.int64)
    answers = np.array([row.answer for row in rows], dtype=np.int64)
    kept = answers != 0
    listener = np.array([row.listener for row in rows], dtype=np.int64)
    hits, totals = _by(listener[kept], (answers[kept] > 0).astype(np.int64), np.unique(listener))
    per_listener = len(rows) / len(np.unique(listener)) / len(pairs) if rows else _planned(test, "pair")
    return {
        "scores": [
            {"source": label, "ratings": len(s), "mean": float(s.mean()) if len(s) else None}
            for label, s in zip(labels, scores, strict=True)
        ],
        "kruskal_wallis": whole,
        "pairs": [
            {
                "first": labels[a],
                "second": labels[b],
                **_preference(ratings, len(pairs)),
                "rank_sum_p": _bonferroni(_rank_sum(scores[a], scores[b]), len(pairs)),
            }
            for (a, b), ratings in zip(pairs, told, strict=True)
        ],
        "agreement": {
            "measure": "Krippendorff's alpha, ordinal",
            "alpha": alpha(_counts(items, answers, (-2, -1, 0, 1, 2)), "ordinal"),
        },
        "power": _power(design_effect(hits, totals), per_listener, differences),
    }


def _preference(ratings: NDArray[np.int64], pairs: int) -> dict[str, Any]:
    """Return how often the second source is preferred, with Wilcoxon's signed-rank test (p times the pairs)."""
    wins, losses = int((ratings > 0).sum()), int((ratings < 0).sum())
    result: dict[str, Any] = {"ratings": len(ratings), "second_preferred": wins, "first_preferred": losses}
    if not wins + losses:
        return {**result, "share": None, "exact_95": None, "signed_rank_p": 1.0 if len(ratings) else None}
    exact = stats.binomtest(wins, wins + losses).proportion_ci(0.95, method="exact")
    return {
        **result,
        "share": wins / (wins + losses),
        "exact_95": [float(exact.low), float(exact.high)],
        "signed_rank_p": _bonferroni(float(stats.wilcoxon(ratings).pvalue), pairs),
    }


def _rank_sum(a: NDArray[np.int64], b: NDArray[np.int64]) -> float | None:
    return float(stats.mannwhitneyu(a, b).pvalue) if len(a) and len(b) else None


def _bonferroni(p: float | None, tests: int) -> float | None:
    return None if p is None else min(1.0, p * tests)


# ------------------------------------------------------------------------------------------------------- both
def _by(
    listener: NDArray[np.int64], vote: NDArray[np.int64], each: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each listener the sum and the number of votes."""
    place = np.searchsorted(each, listener)
    return (
        np.bincount(place, vote, len(each)).astype(np.float64),
        np.bincount(place, minlength=len(each)).astype(np.float64),
    )


def _counts(item: NDArray[np.int64], answer: NDArray[np.int64], values: tuple[int, ...]) -> NDArray[np.int64]:
    """Return how often each item was given each of the values, (items, values)."""
    items, place = np.unique(item, return_inverse=True)
    counts = np.zeros((len(items), len(values)), dtype=np.int64)
    np.add.at(counts, (place, answer - values[0]), 1)
    return counts


def _planned(test: Test, what: str) -> float:
    """Return how many votes a listener has on machines, or on one pair of sources, before anybody has any."""
    if what == "pair":
        return len(test.sets[0]) / (len(test.sources) * (len(test.sources) - 1) / 2)
    return len(test.sets[0]) * sum(source.kind == "machine" for source in test.sources) / len(test.sources)


def _power(effect: float, per_listener: float, differences: Sequence[float]) -> dict[str, Any]:
    """Return how many listeners it takes to tell shares from one half."""
    rows = []
    for difference in differences:
        votes = votes_needed(CHANCE, CHANCE - difference)
        listeners = None if votes is None else int(np.ceil(votes * effect / per_listener))
        rows.append({"difference": difference, "votes": votes, "listeners": listeners})
    return {
        "level": 0.05,
        "power": 0.8,
        "design_effect": effect,
        "votes_a_listener": per_listener,
        "needed": rows,
    }
