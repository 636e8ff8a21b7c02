"""Orders, sets, and the file of a test."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicvae.errors import ConfigError, DataError
from musicvae.listen.design import Test, plan, rounds, williams


@settings(max_examples=23)
@given(st.integers(2, 24))
def test_each_thing_is_at_each_place_and_after_each_other_equally_often(n):
    rows = np.array(williams(n))
    assert (np.sort(rows, axis=1) == np.arange(n)).all()
    times = len(rows) // n
    assert all((np.bincount(column, minlength=n) == times).all() for column in rows.T)
    after = Counter(zip(rows[:, :-1].ravel().tolist(), rows[:, 1:].ravel().tolist(), strict=True))
    assert set(after.values()) == {times}
    assert len(after) == n * (n - 1)


@settings(max_examples=40)
@given(st.sampled_from(["human-or-machine", "pairs"]), st.integers(2, 4), st.integers(1, 3), st.integers(1, 4))
def test_sets_share_clips_and_sources_equally(design, sources, sets, times):
    groups = sources * (sources - 1) // 2 if design == "pairs" else sources
    trials = groups * times
    each = trials * (2 if design == "pairs" else 1) // sources
    made = plan(design, sources, sets * each, trials, np.random.default_rng(3))
    assert [len(items) for items in made] == [trials] * sets
    used = Counter(clip for items in made for item in items for clip in item.clips)
    assert used == Counter(range(sources * sets * each))  # each clip once
    for items in made:
        of = Counter(tuple(clip // (sets * each) for clip in item.clips) for item in items)
        assert len(of) == groups
        assert set(of.values()) == {times}
        assert all(list(group) == sorted(set(group)) for group in of)
        for item in items:  # what is compared has one tempo
            assert len({rounds(design, sources, clip % (sets * each)) for clip in item.clips}) == 1


@settings(max_examples=8)
@given(st.sampled_from([2, 3]), st.integers(1, 2))
def test_of_a_pair_either_is_first_equally_often(toy_test, sources, half):
    groups = sources * (sources - 1) // 2
    trials = 2 * half * groups
    test = toy_test("pairs", sources, 2 * trials // sources, trials)
    first = Counter()
    for place in range(test.places):
        session = [trial for trial in test.session(place)[1:] if trial.catch is None]
        of = Counter()
        for trial in session:
            first[trial.item, trial.clips[0]] += 1
            of[tuple(test.clips[i].source for i in trial.item.clips), trial.turned] += 1
        assert set(of.values()) == {half}  # within each listener, for each pair of sources
    assert len(set(first.values())) == 1
    assert len(first) == 2 * trials


def test_a_session_has_practice_then_all_items_and_catches_between(toy_test):
    test = toy_test(clips=10, trials=10)
    assert test.places == 2 * 10
    assert test.trials == 14
    where = set()
    for place in range(test.places):
        practice, *trials = test.session(place)
        assert practice.item == test.practice
        assert trials == test.session(place)[1:]  # the same when one comes back
        assert Counter(t.item for t in trials if t.catch is None) == Counter(test.sets[place % 2])
        catches = [t for t in trials if t.catch is not None]
        assert Counter(t.item for t in catches) == Counter(test.catches)
        assert all(t.catch == (1 if test.catches.index(t.item) % 2 else -1) for t in catches)
        at = [i for i, t in enumerate(trials) if t.catch is not None]
        assert at[0] > 0
        where |= set(at)
    assert len(where) > 8  # nobody can know where they are
    assert sorted(t.item for t in test.session(7)) == sorted(t.item for t in test.session(9))
    assert test.session(7) != test.session(9)


def test_the_right_answer_of_a_catch_pair_follows_the_order(toy_test):
    test = toy_test("pairs", 2, 4, 4)
    turned = {trial.turned for place in range(test.places) for trial in test.session(place) if trial.catch}
    assert turned == {True, False}
    for place in range(test.places):
        for trial in test.session(place):
            if trial.catch is not None:  # the tune is the second clip of the item
                assert trial.clips[1 if trial.catch > 0 else 0] == trial.item.clips[1]


@pytest.mark.parametrize(
    ("design", "sources", "clips", "trials", "error"),
    [
        ("human-or-machine", 1, 4, 4, "needs two sources or more; got 1"),
        ("human-or-machine", 3, 6, 20, "20 trials cannot be shared equally among 3 sources. Try --trials 21"),
        ("pairs", 3, 8, 10, "10 trials cannot be shared equally among 3 pairs of sources. Try --trials 9"),
        ("human-or-machine", 2, 7, 4, "7 clips a source cannot be shared out in sets of 2. Try --clips 8"),
        ("human-or-machine", 2, 1, 4, "Try --clips 2"),
    ],
)
def test_numbers_that_do_not_fit_are_named(design, sources, clips, trials, error):
    with pytest.raises(ConfigError, match=error.replace("?", r"\?")):
        plan(design, sources, clips, trials, np.random.default_rng(0))


def test_a_test_is_read_as_it_was_written(toy_test, tmp_path):
    for design in ("human-or-machine", "pairs"):
        test = toy_test(design)
        test.save(tmp_path / "test.json")
        again = Test.load(tmp_path / "test.json")
        assert again == test
        assert again.session(3) == test.session(3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("sets"),
        lambda c: c.update(design="triples"),
        lambda c: c.update(format=99),
        lambda c: c["sets"][0][0][0].append(999),
        lambda c: c.update(sets=[]),
        lambda c: c.update(more=1),
        lambda c: c["clips"].pop(),
        lambda c: c.update(practice=None),
    ],
)
def test_a_damaged_file_is_one_line(toy_test, tmp_path, damage):
    path = tmp_path / "test.json"
    toy_test().save(path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"test\.json: (is damaged|was written by another version)"):
        Test.load(path)
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        Test.load(path)
    with pytest.raises(DataError, match="has no listening test"):
        Test.load(tmp_path / "absent" / "test.json")
