"""Figures: by hand, against scipy, and recovered from simulated listeners."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from musicvae.errors import ConfigError
from musicvae.listen.agreement import alpha, design_effect, votes_needed
from musicvae.listen.analyse import analyse, rows_of
from musicvae.listen.report import told, write_csv
from musicvae.listen.store import Answer, Listener

N = np.nan


def simulate(test, listeners, choose, seed=0, catch=1.0):
    """Let listeners take the test: `choose(rng, listener, sources)` answers as for unturned items."""
    rng = np.random.default_rng(seed)
    people, answers = [], []
    for number in range(1, listeners + 1):
        place = number % test.places
        people.append(Listener(number, place, number % 6, test.trials + 1))
        for i, trial in enumerate(test.session(place)):
            sources = [test.clips[c].source for c in trial.item.clips]
            if trial.catch is None:
                answer = choose(rng, number, sources)
                answer = -answer if trial.turned else answer
            else:
                right = trial.catch if rng.random() < catch else -trial.catch
                answer = right if len(trial.clips) == 2 else (right + 1) // 2
            answers.append(Answer(number, i, int(answer), 0))
    return rows_of(test, people, answers)


# --------------------------------------------------------------------------------------------- human or machine?
@pytest.mark.parametrize(("d_prime", "c"), [(0.0, 0.0), (1.0, 0.3), (2.0, -0.5)])
def test_ability_and_bias_are_recovered(toy_test, d_prime, c):
    test = toy_test(clips=20, trials=20)

    def choose(rng, _, sources):  # equal-variance Gaussian observer; the signal is a human clip
        return rng.normal(d_prime / 2 if sources[0] == 0 else -d_prime / 2) > c

    rows = simulate(test, 200, choose)
    found = analyse(test, rows)
    assert found["listeners"]["used"] == 200
    assert found["answers"] == 200 * 20
    ability = found["ability"]
    # 2,000 votes a kind: a standard error of at most 0.05 in d′ and 0.025 in c. Five of each.
    assert ability["d_prime"] == pytest.approx(d_prime, abs=0.25)
    assert ability["c"] == pytest.approx(c, abs=0.13)
    low, high = ability["d_prime_95"]
    assert low < ability["d_prime"] < high
    assert high - low < 0.4
    share = found["generated_taken_for_human"]
    assert share["share"] == pytest.approx(stats.norm.cdf(-d_prime / 2 - c), abs=0.06)
    if d_prime == 0:
        assert share["p_half"] > 1e-6  # the odds against are a million to one
        assert abs(found["agreement"]["alpha"]) < 0.05
    else:
        assert share["p_half"] < 1e-3
    assert found["power"]["design_effect"] < 1.6  # listeners are all alike


def test_intervals_and_tests_are_those_of_scipy(toy_test):
    test = toy_test(clips=10, trials=20)
    rows = simulate(test, 7, lambda rng, _, sources: rng.random() < (0.7 if sources[0] == 0 else 0.3))
    found = analyse(test, rows)["generated_taken_for_human"]
    votes = [row.answer for row in rows if row.sources == (1,)]
    k, n = sum(votes), len(votes)
    assert (found["human"], found["votes"]) == (k, n)
    low, high = found["exact_95"]
    # Clopper and Pearson's definition, from the beta distribution.
    assert low == pytest.approx(stats.beta.ppf(0.025, k, n - k + 1))
    assert high == pytest.approx(stats.beta.ppf(0.975, k + 1, n - k))
    assert found["p_half"] == pytest.approx(stats.binomtest(k, n, 0.5).pvalue)
    assert found["p_more_than_brief"] == pytest.approx(stats.binom.sf(k - 1, n, 0.2))


def test_listeners_who_fail_a_catch_trial_are_left_out_unless_wanted(toy_test):
    test = toy_test()
    rows = simulate(test, 40, lambda rng, *_: rng.random() < 0.5, catch=0.9)
    failed = {row.listener for row in rows if row.right is False}
    assert 0 < len(failed) < 40
    found = analyse(test, rows)
    assert found["listeners"]["failed_catch"] == len(failed)
    assert found["listeners"]["used"] == 40 - len(failed)
    assert found["answers"] == 4 * (40 - len(failed))  # catch trials and practice are not among them
    assert analyse(test, rows, everybody=True)["answers"] == 4 * 40


def test_listeners_who_are_alike_in_themselves_raise_the_number_needed(toy_test):
    test = toy_test(clips=20, trials=20)
    rows = simulate(test, 60, lambda rng, number, _: rng.random() < (0.9 if number % 2 else 0.1))
    power = analyse(test, rows)["power"]
    # Votes of a listener correlate by 0.64; with 10 on machines the effect is 1 + 9 · 0.64.
    assert power["design_effect"] == pytest.approx(1 + 9 * 0.64, rel=0.2)
    needed = next(row for row in power["needed"] if row["difference"] == 0.1)
    assert needed["listeners"] == np.ceil(needed["votes"] * power["design_effect"] / 10)


@pytest.mark.parametrize("design", ["human-or-machine", "pairs"])
@pytest.mark.parametrize("listeners", [0, 1])
def test_few_answers_are_no_error(toy_test, design, listeners):
    test = toy_test(design)
    rows = simulate(test, listeners, lambda *_: 0)
    found = analyse(test, rows)
    assert found["listeners"]["used"] == listeners
    assert all(row["listeners"] > 0 for row in found["power"]["needed"])
    assert told(found)


# ---------------------------------------------------------------------------------------------------------- pairs
def test_preferences_are_recovered(toy_test):
    test = toy_test("pairs", 3, 8, 12)
    strength = np.array([0.0, 0.0, 1.0])  # the third is better, the others are alike

    def choose(rng, _, sources):
        felt = rng.normal(strength[sources[1]] - strength[sources[0]])
        return int(np.clip(np.round(felt), -2, 2))

    rows = simulate(test, 48, choose)  # 192 ratings a pair
    found = analyse(test, rows)
    assert [row["ratings"] for row in found["pairs"]] == [192] * 3
    assert found["kruskal_wallis"]["df"] == 2
    assert found["kruskal_wallis"]["p"] < 1e-6
    by = {(row["first"], row["second"]): row for row in found["pairs"]}
    labels = [source.label for source in test.sources]
    same, better = by[labels[0], labels[1]], by[labels[1], labels[2]]
    # A felt difference beyond ± 0.5, of those that are: Φ(0.5) against Φ(−1.5).
    expected = stats.norm.cdf(0.5) / (stats.norm.cdf(0.5) + stats.norm.cdf(-1.5))
    assert better["share"] == pytest.approx(expected, abs=0.1)
    assert better["signed_rank_p"] < 1e-6
    assert same["share"] == pytest.approx(0.5, abs=0.2)
    assert same["signed_rank_p"] > 1e-4  # the odds against are three in 100,000 after the correction
    assert found["scores"][2]["mean"] > 0.5


def test_pairs_are_tested_as_in_the_paper_with_scipys_tests(toy_test):
    test = toy_test("pairs", 3, 4, 6)
    rng = np.random.default_rng(1)
    rows = simulate(test, 10, lambda *_: int(rng.integers(-2, 3)))
    found = analyse(test, rows)
    ratings = {pair: np.array([r.answer for r in rows if r.sources == pair]) for pair in ((0, 1), (0, 2), (1, 2))}
    scores = [
        np.concatenate([-ratings[0, 1], -ratings[0, 2]]),
        np.concatenate([ratings[0, 1], -ratings[1, 2]]),
        np.concatenate([ratings[0, 2], ratings[1, 2]]),
    ]
    assert found["kruskal_wallis"]["h"] == pytest.approx(stats.kruskal(*scores).statistic)
    for row, (a, b) in zip(found["pairs"], ratings, strict=True):
        assert row["signed_rank_p"] == pytest.approx(min(1, 3 * stats.wilcoxon(ratings[a, b]).pvalue))
        assert row["rank_sum_p"] == pytest.approx(min(1, 3 * stats.mannwhitneyu(scores[a], scores[b]).pvalue))


def test_an_answer_means_the_same_whichever_clip_was_first(toy_test):
    test = toy_test("pairs")
    rows = simulate(test, test.places, lambda *_: 2)  # always for the second source
    plain = [row for row in rows if row.right is None]
    assert {row.answer for row in plain} == {2}
    assert {row.first == row.clips[0] for row in plain} == {True, False}
    (pair,) = analyse(test, rows)["pairs"]
    assert (pair["second_preferred"], pair["first_preferred"]) == (len(plain), 0)


# ------------------------------------------------------------------------------------------------------ agreement
KRIPPENDORFF = np.array(
    [  # four observers, twelve units (Krippendorff 2011, section C)
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


def test_alpha_is_that_of_its_author():
    counts = np.stack([(value == KRIPPENDORFF).sum(axis=0) for value in range(1, 6)], axis=1)
    assert alpha(counts) == pytest.approx(0.743, abs=5e-4)
    assert alpha(counts, "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_alpha_by_hand():
    assert alpha([[2, 0], [0, 2]]) == 1
    # Two items, each with one vote either way: observed 1, expected 4·(2/4·2/3) = 2/3.
    assert alpha([[1, 1], [1, 1]]) == pytest.approx(1 - 1 / (2 / 3))
    assert alpha([[3, 0], [2, 0]]) is None
    assert alpha([[1, 0], [0, 1]]) is None
    assert alpha(np.zeros((0, 2))) is None


def test_the_design_effect_by_hand():
    assert design_effect([5, 5], [10, 10]) == 1
    # Shares of 1 and 0: variance 2/1 · (5² + 5²) / 20² = 0.25, against 0.25 / 20.
    assert design_effect([10, 0], [10, 10]) == pytest.approx(20)
    assert design_effect([3], [10]) == design_effect([0, 0], [5, 5]) == 1


# ---------------------------------------------------------------------------------------------------------- power
@pytest.mark.parametrize(("null", "share"), [(0.5, 0.7), (0.5, 0.3), (0.2, 0.4)])
def test_the_number_of_votes_has_the_power_asked_for_and_one_less_has_not(null, share):
    def power(n):
        k = np.arange(n + 1)
        tails = np.minimum(stats.binom.cdf(k, n, null), stats.binom.sf(k - 1, n, null))
        return stats.binom.pmf(k, n, share)[tails <= 0.025].sum()

    n = votes_needed(null, share)
    assert n is not None
    assert power(n - 1) < 0.8
    assert all(power(m) >= 0.8 for m in range(n, n + 60))


def test_power_is_what_a_textbook_says():
    # z = 1.96 and 0.84: ((1.96·0.5 + 0.84·√(0.4·0.6)) / 0.1)² = 194 votes for 40 % against 50 %; exact tests want more.
    assert 194 < votes_needed(0.5, 0.4) < 1.1 * 194
    assert votes_needed(0.5, 0.5001) is None
    with pytest.raises(ConfigError, match="wanted two that differ"):
        votes_needed(0.5, 0.5)


# --------------------------------------------------------------------------------------------------- words, table
@pytest.mark.parametrize("design", ["human-or-machine", "pairs"])
def test_the_table_has_every_answer_and_the_words_the_figures(toy_test, tmp_path, design):
    test = toy_test(design)
    rows = simulate(test, 6, lambda rng, *_: int(rng.integers(0, 2)))
    write_csv(tmp_path / "answers.csv", test, rows)
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 6 * test.trials
    assert all(None not in line and None not in line.values() for line in table)
    value = "human" if design == "human-or-machine" else "preference_for_b"
    assert [int(line[value]) for line in table] == [row.answer for row in rows]
    labels = {source.label for source in test.sources}
    column = "source" if design == "human-or-machine" else "source_a"
    assert {line[column] for line in table} <= labels | {"catch"}
    assert {line["catch"] for line in table} == {"0", "1"}
    text = "\n".join(told(analyse(test, rows)))
    assert all(label in text for label in labels)
    assert "Krippendorff" in text
    assert "nan" not in text


def test_experience_is_shown_in_groups(toy_test):
    test = toy_test()
    found = analyse(test, simulate(test, 12, lambda rng, *_: rng.random() < 0.5))
    assert sum(row["votes"] for row in found["by_experience"].values()) == found["generated_taken_for_human"]["votes"]
    assert list(itertools.islice(found["by_experience"], 1)) == ["Nonmusician"]
