"""The page: `page.html` filled with the figures. Everything that is put into it is escaped, unless it is a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from musicvae import __version__
from musicvae.evaluate.distances import FeatureDistances, Range
from musicvae.evaluate.report import Measured
from musicvae.music.html import score_html
from musicvae.music.score import Score
from musicvae.report.pictures import Mark, densities, sample, strip
from musicvae.report.words import LINES, ROWS, nearest_runs, number, percent, points, title, value

__all__ = ["report_html"]

HERE = Path(__file__).parent
ROLL = 480, 200
"""Width and height of a piano roll."""
MODES = {"teacher_forced": "true notes before given", "greedy": "greedy", "sampled": "drawn"}
"""How clips are decoded in the reconstruction tables."""
NOTE_SCORES = [f"{what}_{k}" for what in ("onset", "duration") for k in ("precision", "recall", "f1")]
INSTRUMENTS = 6
"""Families of instruments that are named."""


def report_html(found: Measured, command: str = "") -> str:
    """Return the page as one HTML document that loads nothing; `command` is what makes it anew.

    The same figures give the same text.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def roll(score: Score, name: str) -> Markup:
        return Markup(score_html(score, title=name, width=ROLL[0], height=ROLL[1]))  # it escapes the name

    environment.filters |= {
        "number": number,
        "percent": percent,
        "title": title,
        "file": lambda path: str(path).rstrip("/").rpartition("/")[2],
    }
    page: str = environment.get_template("page.html").render(
        found=found,
        command=command,
        version=__version__,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # ours
        points=points(found),
        roll=roll,
        sample=sample,
        features=[_feature(row, found) for row in found.heard],
        listeners=_listeners(found),
        clues=found.comparison.listener.clues if found.comparison.listener else (),
        notes=_notes(found),
        slots=_slots(found),
        totals=_totals(found),
        novelty=_novelty(found),
        nearest=nearest_runs(found),
        data=_data(found),
    )
    return page


def _feature(row: FeatureDistances, found: Measured) -> dict[str, Any]:
    """Return what the page shows of a feature."""

    def mark(series: str, range_: Range) -> Mark:
        return Mark(series, range_.mean.overlap, range_.low.overlap, range_.high.overlap)

    marks, said = [], f"overlap {number(row.figures.overlap)}"
    if row.ceiling:
        marks.append(mark("real", row.ceiling))
    if row.halves:
        marks.append(mark("generated", row.halves))
        said = f"generated {number(row.halves.mean.overlap)}"
        said += f", real against real {number(row.ceiling.mean.overlap)}" if row.ceiling else ""
    else:
        marks.append(Mark("generated", *[row.figures.overlap] * 3))
    shown = row.halves.mean if row.halves else row.figures
    return {
        "name": title(row.feature),
        "description": row.description,
        "note": row.note,
        "plot": densities(row, found.halves.get(row.feature), title(row.feature)),
        "strip": strip(marks, said),
        "shown": shown,
        "all": row.figures,
        "halves": row.halves,
        "ceiling": row.ceiling,
    }


def _listeners(found: Measured) -> list[dict[str, Any]]:
    """Return the rows of the machine listener."""
    asked = {
        "generated clips": ("generated", found.comparison.listener),
        "the other half of the real songs": ("real", found.comparison.real_listener),
        **{name: ("baseline", heard) for name, heard in found.comparison.baselines.items()},
    }
    return [
        {
            "name": name,
            "heard": heard,
            "strip": strip(
                [Mark(series, heard.accuracy, heard.low, heard.high)],
                f"right in {percent(heard.accuracy)}; guessing would be 50 %",
                low=min(0.4, heard.low),
                rule=0.5,
            ),
        }
        for name, (series, heard) in asked.items()
        if heard
    ]


def _notes(found: Measured) -> list[dict[str, Any]]:
    """Return the note scores: a row for each way of decoding."""
    rows: list[dict[str, Any]] = []
    for row, modes in found.reconstruction["table"].items():
        for mode in ("greedy", "sampled"):
            if mode not in modes:
                continue
            figures = modes[mode]
            f1 = figures["onset_f1"]
            series = "generated" if row == "model" else "baseline"
            rows.append(
                {
                    "name": ROWS[row],
                    "mode": _mode(mode, found) if "sampled" in modes else "",
                    "figures": [figures[name] for name in NOTE_SCORES],
                    "strip": strip([Mark(series, f1["value"], f1["low"], f1["high"])], f"F1 {number(f1['value'])}"),
                }
            )
    return rows


def _slots(found: Measured) -> dict[str, Any]:
    """Return the accuracies slot by slot: the names of the fields, and a row for each way of decoding."""
    table = found.reconstruction["table"]
    fields = list(table["model"]["teacher_forced"])
    rows = [
        {
            "name": ROWS[row],
            "mode": _mode(mode, found) if "sampled" in modes else "",
            "figures": [modes[mode][field] for field in fields],
        }
        for row, modes in table.items()
        for mode in (MODES if "sampled" in modes else ("greedy",))
    ]
    return {"fields": fields, "rows": rows}


def _mode(mode: str, found: Measured) -> str:
    return MODES[mode] + (f" at T = {found.temperature:g}" if mode == "sampled" else "")


def _totals(found: Measured) -> list[tuple[str, str]]:
    """Return what the whole of a reconstruction costs."""
    scored = found.reconstruction
    return [
        ("reconstruction, nats a clip", value(scored["recon_nats"], 1)),
        ("reconstruction, bits a note", value(scored["recon_bits_per_note"], 2)),
        ("KL to the prior, nats a clip", value(scored["kl_nats"], 1)),
        ("KL to the prior, bits a note", value(scored["kl_bits_per_note"], 2)),
        ("active units", f"{scored['active_units']} of {scored['z']}"),
    ]


def _novelty(found: Measured) -> list[dict[str, Any]]:
    """Return the rows of the longest runs: for each line and key the model's and the held-out songs'."""
    rows: list[dict[str, Any]] = []
    if found.novelty is None:
        return rows
    sets = {"generated": ("generated", found.novelty["model"]), "held out": ("real", found.novelty["held_out"])}
    for line, keys in found.novelty["model"]["figures"].items():
        most = max(one["figures"][line][key]["unrepeated_95"] for _, one in sets.values() for key in keys)
        for key in keys:
            for name, (series, one) in sets.items():
                row = one["figures"][line][key]
                middle, high = row["unrepeated_median"], row["unrepeated_95"]
                rows.append(
                    {
                        "line": LINES.get(line, line),
                        "key": key if len(keys) > 1 else "",
                        "set": name,
                        "row": row,
                        "strip": strip(
                            [Mark(series, middle, min(middle, high), high)],
                            f"{middle:.0f} notes in the median, {high:.0f} in 95 % of the clips at most",
                            high=most,
                            rule=found.novelty["limits"][line] if key != "exact" or len(keys) == 1 else None,
                        ),
                    }
                )
    return rows


def _data(found: Measured) -> list[tuple[str, str]]:
    """Return the data set in short, row by row."""
    facts = found.facts
    files, tempo = facts["files"], facts["tempo"]
    tracks = list(facts["instruments"].items())[:INSTRUMENTS]
    rows = [
        ("songs", ", ".join(f"{count:,} {split}" for split, count in facts["songs"].items())),
        ("length", f"{sum(facts['hours'].values()):,.1f} hours, {facts['bars']:,} bars"),
        ("bars a song", _range(facts["bars_a_song"])),
        ("quarter notes a minute", _range(tempo)),
        ("instruments, tracks", ", ".join(f"{name} {one['tracks']:,}" for name, one in tracks)),
    ]
    if facts["keys"]["songs"]:
        keys = list(facts["keys"]["songs"].items())[:INSTRUMENTS]
        common = ", ".join(f"{key} {count:,}" for key, count in keys)
        rows.append(("keys, songs", f"{facts['keys']['major']:.0%} major; {common}"))
    for part in found.parts:
        if part in facts["parts"]:
            one = facts["parts"][part]
            rows.append((part, f"{one['notes']:,} notes; {_range(one['notes_a_bar'])} a bar that has some"))
    if files:
        counted = ", ".join(f"{files.get(name, 0):,} {name}" for name in ("found", "kept", "duplicates", "dropped"))
        rows.append(("files", counted))
    return rows


def _range(quantiles: dict[str, float]) -> str:
    return f"{quantiles['50']:.4g} ({quantiles['5']:.4g}–{quantiles['95']:.4g})"
