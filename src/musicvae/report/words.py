"""The summary: what the figures say in plain words, and how each was counted. Every judgement follows from figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from musicvae.data.card import claim
from musicvae.evaluate.distances import FeatureDistances
from musicvae.evaluate.intervals import wilson
from musicvae.evaluate.listener import Listener
from musicvae.evaluate.report import Measured

__all__ = ["LINES", "ROWS", "Point", "nearest_runs", "number", "percent", "points", "title", "value"]

FEW = 3
"""Of a ranking, how many are named."""
GAP = "\u00a0"
"""A space that no line breaks at."""
FEW_SONGS = 10
"""Songs below which intervals over songs are too narrow to say that one figure is better than another."""
ALWAYS, OFTEN = 0.95, 0.75
"""Shares of right answers from which the listener tells nearly always, and often."""

ROWS = {
    "model": "the model",
    "z = 0": "the model without its latent vector (z = 0)",
    "previous bar": "the bar before, repeated",
    "rest": "silence",
}
"""What the rows of the reconstruction tables are, for people."""
LINES = {"notes": "all notes", "skyline": "top notes", "drums": "drums", "melody": "melody", "bass": "bass"}
"""What the lines are that novelty is looked for in, for people."""


class Point(NamedTuple):
    """One finding of the summary."""

    anchor: str
    """The section that has the details."""
    figure: str
    label: str
    """What the figure is."""
    text: str
    """What it says."""
    how: str
    """How it was counted."""


def points(found: Measured) -> list[Point]:
    """Return the summary, one finding for each thing that could be measured."""
    made = [_features(found), _listener(found), _reconstruction(found), _novelty(found), _data(found)]
    return [point for point in made if point is not None]


# ---------------------------------------------------------------------------------------------------------- numbers
def number(x: float | None, digits: int = 3) -> str:
    """Return a number for a table: digits after the point; nothing for what is not there."""
    return "–" if x is None or np.isnan(x) else f"{x:,.{digits}f}".replace("inf", "∞")


def percent(share: float, digits: int = 1) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.{digits}f}{GAP}%"


def value(figure: Mapping[str, float], digits: int = 3) -> str:
    """Return a figure with its interval."""
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f}–{figure['high']:.{digits}f})"


def title(name: str) -> str:
    """Return a feature's name for people."""
    return name.replace("_", " ")


def nearest_runs(found: Measured) -> list[dict[str, Any]]:
    """Return the clips that have most of a training song, with the run that tells most in each: see `copying`."""
    result = []
    for one in found.novelty["nearest"] if found.novelty else []:
        keyed = {line: keys.get("any key", keys["exact"])["telling"] for line, keys in one["runs"].items()}
        line = max(keyed, key=lambda name: keyed[name]["unrepeated"])
        if keyed[line]["notes"]:
            result.append({"clip": one["clip"], "line": LINES.get(line, line), **keyed[line]})
    return result


# ------------------------------------------------------------------------------------------------------- the points
def _features(found: Measured) -> Point | None:
    rows = [row for row in found.heard if np.isfinite(row.figures.overlap)]
    if not rows:
        return None
    how = (
        "Of each feature of a clip, such as its number of notes, the distances between real clips of different songs "
        "are set beside those from generated to real clips (Yang and Lerch 2020). The overlap is the area under both "
        "densities: 1 if the model makes more of the same, 0 if it makes something else."
    )
    with_ceiling = [row for row in rows if row.halves and row.ceiling]
    if not with_ceiling:
        middle = float(np.median([row.figures.overlap for row in rows]))
        text = (
            f"In the median of {_many(len(rows), 'feature')}, generated clips overlap with real ones by "
            f"{number(middle)}; the songs are too few to say how much real ones overlap with each other."
        )
        return Point("features", number(middle, 2), "overlap with real music, 1 is the same", text, how)
    ours, theirs = (
        float(np.median([(row.halves if mine else row.ceiling).mean.overlap for row in with_ceiling]))  # type: ignore[union-attr]
        for mine in (True, False)
    )
    within = [row for row in with_ceiling if _within(row)]
    far = sorted((row for row in with_ceiling if not _within(row)), key=_lag)[:FEW]
    text = (
        f"In the median of {_many(len(with_ceiling), 'feature')}, generated clips overlap with real ones by "
        f"{number(ours)}, where two halves of the real songs overlap by {number(theirs)}. "
        f"In {len(within)} of {len(with_ceiling)} they are within the range of real against real"
        f"{': ' + _list([title(row.feature) for row in within]) if 0 < len(within) <= 2 * FEW else ''}. "
    )
    if far:
        text += f"Furthest from real: {_list([_beside(row) for row in far])}."
    how += (
        " Both figures are means over half-samples of the songs. Two halves of the real songs are the most one can ask "
        f"for. {found.comparison.generated} generated clips, {found.comparison.real} real ones of "
        f"{_many(found.comparison.songs, 'song')}."
    )
    label = f"overlap with real music; real with real: {number(theirs, 2)}"
    return Point("features", number(ours, 2), label, text, how)


def _listener(found: Measured) -> Point | None:
    heard, real = found.comparison.listener, found.comparison.real_listener
    if heard is None:
        return None
    text = f"A classifier {_tells(heard)}: it is right in {_share(heard)} of its answers. "
    if real is not None:
        ears = "which it should not tell, " if not real.tells else "which it should not be able to tell, but does, "
        text += f"Two halves of the real songs, {ears}it tells in {_share(real)}. "
    if found.comparison.baselines:
        caught = [f"{name} {percent(one.accuracy)}" for name, one in found.comparison.baselines.items()]
        text += f"Real clips that were spoiled on purpose it finds: {_list(caught)}. "
    if heard.tells and heard.clues:
        clue = heard.clues[0]
        text += (
            f"What tells most by itself: {title(clue.name)}, {number(clue.generated, 2)} in the generated and "
            f"{number(clue.real, 2)} in the real clips (medians)."
        )
    how = (
        f"Asked about {heard.clips} clips of each kind, so that guessing gives 50{GAP}%; always about songs that it "
        "has not learnt from (five-fold cross-validation by song). It goes by the features and by short patterns of "
        f"notes. In brackets 95{GAP}% intervals."
    )
    label = f"right answers of the machine listener; guessing: 50{GAP}%"
    return Point("listener", percent(heard.accuracy, 0), label, text, how)


def _reconstruction(found: Measured) -> Point:
    scored = found.reconstruction
    mine = scored["table"]["model"]["greedy"]["onset_f1"]
    others = {name: scored["table"][name]["greedy"]["onset_f1"] for name in ("z = 0", "previous bar")}
    few = scored["songs"] < FEW_SONGS
    unsure = " (too few songs to say which is better)" if few else ""
    compared = [
        f"{'beside' if few else _against(mine, one)} {ROWS[name]}: {number(one['value'])}"
        for name, one in others.items()
    ]
    text = (
        "Sent through the latent vector and back, notes of held-out clips come back at the right step and pitch with "
        f"F1 {value(mine)}. That is {'; '.join(compared)}{unsure}. Given the true notes before, a note costs "
        f"{number(scored['recon_bits_per_note']['value'], 1)} bits; {scored['active_units']} of {scored['z']} "
        "dimensions of the latent vector are in use."
    )
    if found.split == "train":
        text = f"These are clips that the model was trained on, which says nothing of new music. {text}"
        text = text.replace("held-out clips", "clips")
    how = (
        f"{_many(scored['clips'], 'clip')} of {_many(scored['songs'], f'{found.split} song')}, each decoded from the "
        "mean of its posterior, taking the likeliest notes. F1 is the harmonic mean of the share of notes that are "
        f"right and the share that are found; in brackets 95{GAP}% bootstrap intervals over songs."
    )
    return Point("there-and-back", number(mine["value"], 2), "F1 of notes that come back; all of them: 1", text, how)


def _novelty(found: Measured) -> Point | None:
    if found.novelty is None:
        return None
    ours, theirs, limits = (found.novelty[name] for name in ("model", "held_out", "limits"))
    share, usual = (wilson(one["above"], one["clips"]) for one in (ours, theirs))
    natural = percent(float(usual.estimate), 0)
    line = next(iter(limits))
    key = "any key" if "any key" in ours["figures"][line] else "exact"
    medians = [number(one["figures"][line][key]["unrepeated_median"], 0) for one in (ours, theirs)]
    text = (
        f"{ours['above']} of {_many(ours['clips'], 'generated clip')} have a longer run of notes of a training song "
        f"than is usual in music (95{GAP}% interval {percent(float(share.low))} to {percent(float(share.high))}). Of "
        f"clips of held-out songs, some of which are other versions of training songs, {theirs['above']} of "
        f"{theirs['clips']} have. In {LINES.get(line, line)} the longest run has {medians[0]} notes in the median "
        f"generated clip and {medians[1]} in the median held-out one. "
    )
    for worst in nearest_runs(found)[:1]:
        text += (
            f"Clip {worst['clip']} has most: {_many(worst['unrepeated'], 'note')} from its bar {worst['bar']} on, "
            f"which stand in {worst['source'].rpartition('/')[2]} from bar {worst['song_bar']} on."
        )
    if not found.learnt:
        text = f"The model was trained on other data than this, so these are not its training songs. {text}"
    usually = _list([f"{limit} for {LINES.get(name, name)}" for name, limit in limits.items()])
    how = (
        "Looked for are notes that follow one another at the same distances in a training song too, in any key (drums "
        "as they are). What repeats within a run counts once. Usual is what held-out songs have: up to "
        f"{usually} (Tukey's upper fence)."
    )
    label = f"of the clips copy more than is usual; of held-out songs: {natural}"
    return Point("novelty", percent(float(share.estimate), 1 if ours["above"] else 0), label, text, how)


def _data(found: Measured) -> Point:
    songs, hours = sum(found.facts["songs"].values()), sum(found.facts["hours"].values())
    said = claim(found.facts, [part for part in found.parts if part in found.facts["parts"]])
    said = said.replace("**What a model of it may claim.** To play", "A model of it may claim to play").replace("`", "")
    how = (
        f"{number(hours, 0 if hours >= 10 else 1)} hours of 4/4, each song at the tempo it begins with; the key of a "
        "song is the one that fits all of its notes best."
    )
    return Point("data", number(songs, 0), "songs in the data set", said, how)


# ---------------------------------------------------------------------------------------------------------- phrases
def _within(row: FeatureDistances) -> bool:
    """Tell whether generated clips overlap as real ones may overlap with each other."""
    assert row.halves
    assert row.ceiling
    return row.halves.mean.overlap >= row.ceiling.low.overlap


def _lag(row: FeatureDistances) -> float:
    assert row.halves
    assert row.ceiling
    return row.halves.mean.overlap - row.ceiling.mean.overlap


def _beside(row: FeatureDistances) -> str:
    assert row.halves
    assert row.ceiling
    return f"{title(row.feature)} ({number(row.halves.mean.overlap, 2)}, real {number(row.ceiling.mean.overlap, 2)})"


def _tells(heard: Listener) -> str:
    if not heard.tells:
        return "cannot tell the generated clips from real ones"
    if heard.accuracy >= ALWAYS:
        return "nearly always tells the generated clips from real ones"
    if heard.accuracy >= OFTEN:
        return "often tells the generated clips from real ones"
    return "sometimes tells the generated clips from real ones"


def _against(mine: Mapping[str, float], other: Mapping[str, float]) -> str:
    """Say how a figure compares with another, by their intervals."""
    if mine["low"] > other["high"]:
        return "better than"
    if mine["high"] < other["low"]:
        return "worse than"
    return "about as good as"


def _share(heard: Listener) -> str:
    return f"{percent(heard.accuracy)} ({100 * heard.low:.1f}–{100 * heard.high:.1f})"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items[:-1]) + f" and {items[-1]}" if len(items) > 1 else "".join(items)
