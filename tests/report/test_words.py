"""The summary says what the figures say, and changes its mind with them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn")

from musicvae.evaluate.listener import Listener
from musicvae.evaluate.report import Measured
from musicvae.report.words import nearest_runs, number, percent, points, title


def said(found: Measured) -> dict[str, str]:
    return {point.anchor: point.text for point in points(found)}


def heard(accuracy: float, low: float, high: float) -> Listener:
    return Listener(accuracy, low, high, accuracy, accuracy, 40, 30, ())


def with_listener(found: Measured, listener: Listener | None) -> Measured:
    return found._replace(comparison=found.comparison._replace(listener=listener))


def test_every_point_says_how_it_was_counted_and_leads_somewhere(measured):
    found = points(measured())
    assert [point.anchor for point in found] == ["features", "listener", "there-and-back", "novelty", "data"]
    assert all(point.figure and point.label and point.how for point in found)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.52, 0.45, 0.59), "A classifier cannot tell the generated clips from real ones: it is right in 52.0"),
        ((0.64, 0.58, 0.70), "A classifier sometimes tells"),
        ((0.80, 0.75, 0.85), "A classifier often tells"),
        ((0.99, 0.97, 1.00), "A classifier nearly always tells"),
    ],
)
def test_the_listener_is_judged_by_its_interval(measured, figures, words):
    assert words in said(with_listener(measured(), heard(*figures)))["listener"].replace("\u00a0", " ")


def test_no_listener_no_point(measured):
    assert "listener" not in said(with_listener(measured(), None))


def test_overlaps_are_counted_against_real_music(measured):
    found = measured()
    rows = [row for row in found.heard if row.halves and row.ceiling]
    within = sum(row.halves.mean.overlap >= row.ceiling.low.overlap for row in rows)
    text = said(found)["features"]
    assert f"In {within} of {len(rows)} they are within the range of real against real" in text
    far = min(rows, key=lambda row: row.halves.mean.overlap - row.ceiling.mean.overlap)
    assert f"Furthest from real: {title(far.feature)} ({number(far.halves.mean.overlap, 2)}" in text
    as_real = [row._replace(halves=row.ceiling) for row in found.comparison.features]
    text = said(found._replace(comparison=found.comparison._replace(features=tuple(as_real))))["features"]
    assert f"In {len(rows)} of {len(rows)} they are within" in text
    assert "Furthest" not in text
    as_the_worst_half = [row._replace(halves=row.ceiling._replace(mean=row.ceiling.low)) for row in rows]
    assert as_the_worst_half[0].halves.mean.overlap < as_the_worst_half[0].ceiling.mean.overlap
    text = said(found._replace(comparison=found.comparison._replace(features=tuple(as_the_worst_half))))["features"]
    assert f"In {len(rows)} of {len(rows)} they are within" in text


def changed(found: Measured, row: str, low: float, high: float, songs: int = 40) -> Measured:
    table: dict[str, Any] = {name: {**modes} for name, modes in found.reconstruction["table"].items()}
    figure = {"value": (low + high) / 2, "low": low, "high": high}
    table[row]["greedy"] = {**table[row]["greedy"], "onset_f1": figure}
    return found._replace(reconstruction={**found.reconstruction, "table": table, "songs": songs})


def test_reconstruction_is_judged_by_intervals(measured):
    found = changed(measured(), "model", 0.4, 0.5)
    for low, high, words in (
        (0.1, 0.2, "better than"),
        (0.6, 0.7, "worse than"),
        (0.45, 0.6, "about as good as"),
        (0.35, 0.45, "about as good as"),
    ):
        assert (
            f"{words} the bar before, repeated: {(low + high) / 2:.3f}"
            in said(changed(found, "previous bar", low, high))["there-and-back"]
        )
    text = said(changed(found, "previous bar", 0.1, 0.2, songs=3))["there-and-back"]
    assert "better than" not in text
    assert "too few songs to say" in text
    assert "that the model was trained on" in said(found)["there-and-back"]  # the toy's are training songs
    assert "that the model was trained on" not in said(found._replace(split="test"))["there-and-back"]


def test_novelty_says_what_is_above_and_where(measured):
    found = measured()
    assert found.novelty is not None
    novelty = {**found.novelty, "model": {**found.novelty["model"], "above": 7}}
    point = next(p for p in points(found._replace(novelty=novelty, learnt=True)) if p.anchor == "novelty")
    assert point.text.startswith(f"7 of {found.novelty['model']['clips']} generated clips have a longer run")
    assert point.figure == percent(7 / found.novelty["model"]["clips"])
    worst = nearest_runs(found)[0]
    assert f"Clip {worst['clip']} has most: {worst['unrepeated']} notes" in point.text
    assert "trained on other data" in said(found._replace(learnt=False))["novelty"]
    assert "novelty" not in said(found._replace(novelty=None))


def test_too_few_songs_for_real_against_real(measured):
    assert "features" not in said(measured(split="test", clips=6))  # of one song there are no pairs


def test_numbers():
    assert (number(None), number(float("nan")), number(float("inf")), number(1234.5, 1)) == ("–", "–", "∞", "1,234.5")
    assert percent(0.1234) == "12.3\u00a0%"
