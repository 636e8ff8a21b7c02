"""Fill the tables of README.md, docs/results.md and docs/report.md from what the commands printed.

    python docs/figures.py                   # fill; with --check: only say whether they are filled as they should be
    COMMAND --json | python docs/figures.py --keep NAME      # keep of an output what the documents tell

The documents have blocks, `<!-- figures: NAME -->` to `<!-- end -->`, which are replaced by what the functions of that
name here return. Outputs are kept in docs/figures/. All of them, for MODEL each of the bundled ones and its BARS:

    musicvae evaluate MODEL data/lpd --json                        lpd-MODEL
    musicvae evaluate MODEL data/lpd --without-copies --json       lpd-without-copies-MODEL
    musicvae evaluate MODEL data/pop909 --json                     pop909-MODEL
    musicvae report MODEL data/piano --json -o report.html         report-MODEL
    musicvae generate --model MODEL -n 256 --seed 0 HOW -o clips
    musicvae compare clips data/piano --bars BARS --clips 256 --json    WHAT-MODEL, each WHAT and HOW of `DRAWN`
    musicvae evaluate runs/melody data/multitrack --json           melody-16bar, and so on drums-16bar, trio-16bar
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musicvae.evaluate.attributes import Effect, effect_table
from musicvae.evaluate.intervals import wilson

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "figures"
MODELS = {"piano-2bar": "2 bars", "piano-16bar": "16 bars"}
FIELDS = ("position", "pitch", "duration", "velocity", "all")
SETS = {"lpd": "LPD", "pop909": "POP909"}
DOCUMENTS = ("README.md", "docs/results.md", "docs/report.md")
NEAR = 0.10
"""How far below that of real clips with real ones an overlap may be (the aim of the bundled models)."""
DRAWN = {
    "piano-16bar": {
        "report": ("as they come", ""),
        "unsettled": ("not settled", "--settle 0"),
        "settled-normal": ("N(0, I), settled", "--prior normal"),
        "normal": ("N(0, I)", "--prior normal --settle 0"),
    },
    "piano-2bar": {"report": ("as they come", ""), "normal": ("N(0, I)", "--prior normal")},
}
"""Of each model the ways in which its new clips were drawn: what to call them, and the options of `generate`."""
BANDS = {
    "melody-16bar": {"melody": (0.956, 0.867)},
    "drums-16bar": {"drums": (0.955, 0.908)},
    "trio-16bar": {"melody": (0.868, 0.760), "bass": (0.912, 0.782), "drums": (0.946, 0.895)},
}
"""Of each preset its streams, and their accuracies in the paper's table 2: teacher-forced, sampling."""


RUNS = ("median", "95 %", "most", "unrepeated: median", "95 %", "most", "over half of the clip")


# ------------------------------------------------------------------------------------------------ what is kept
def keep(output: dict[str, Any]) -> dict[str, Any]:
    """Return of an output what the documents tell, without the paths of whoever ran the command."""
    if "comparison" in output:
        novelty = output["novelty"]
        return {
            **_compared(output["comparison"]),
            "novelty": {
                "limits": novelty["limits"],
                **{who: {k: novelty[who][k] for k in ("clips", "above", "figures")} for who in ("model", "held_out")},
            },
            "train_songs": output["data_facts"]["songs"]["train"],
        }
    if "features" in output:
        return _compared(output)
    return {k: output[k] for k in ("clips", "songs", "copied_songs", "table") if k in output}


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    features = {
        f["feature"]: {
            which: {k: f[which][k]["overlap"] for k in ("mean", "low", "high")} for which in ("halves", "ceiling")
        }
        for f in found["features"]
        if f["halves"] and f["ceiling"]
    }
    right = {"generated": found["listener"], "real": found["real_listener"], **(found["baselines"] or {})}
    listener = {who: {k: x[k] for k in ("accuracy", "low", "high")} for who, x in right.items() if x}
    clues = [{k: clue[k] for k in ("name", "generated", "real")} for clue in found["listener"]["clues"][:3]]
    return {"features": features, "listener": listener, "clues": clues}


def load(name: str) -> dict[str, Any]:
    """Return what was kept under a name."""
    found: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    return found


def bundled(model: str, name: str) -> dict[str, Any]:
    """Return a file of a bundled model."""
    path = ROOT / "src" / "musicvae" / "models" / model / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# ---------------------------------------------------------------------------------------------- what comes back
def _cell(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"


def _value(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(line)} |".replace("|  |", "| |") for line in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


def _text(*words: str) -> str:
    return textwrap.fill(" ".join(words), 150, break_long_words=False, break_on_hyphens=False)


def accuracy() -> str:
    """Return the table of both models on the test songs of both data sets, with a baseline on the first."""
    rows = []
    for model, bars in MODELS.items():
        for number, (kind, name) in enumerate(SETS.items()):
            table = load(f"{kind}-{model}")["table"]
            for row in ("model",) if number else ("model", "previous bar"):
                forced, greedy = table[row]["teacher_forced"], table[row]["greedy"]
                figures = [_cell(forced[f]) for f in FIELDS] + [_cell(greedy[f]) for f in ("onset_f1", "duration_f1")]
                rows.append([f"`{model}`" if row == "model" else f"{row}, {bars}", name, *figures])
    head = ["", "songs", "position", "pitch", "duration", "velocity", "all fields", "onset F1", "duration F1"]
    return _table(head, rows)


def copies() -> str:
    """Return what near-copies of training songs among the test songs add to the figures."""
    copied = load("lpd-without-copies-piano-16bar")["copied_songs"]
    told = []
    for model, bars in MODELS.items():
        own, others = (load(f"{kind}-{model}")["table"]["model"]["greedy"] for kind in ("lpd-without-copies", "lpd"))
        told.append(
            f"{bars}: onset F1 {_value(own['onset_f1'])} (with them: {_value(others['onset_f1'])}), "
            f"duration F1 {_value(own['duration_f1'])} ({_value(others['duration_f1'])})"
        )
    return _text(
        f"{copied} of the test songs of LPD are near-copies of training songs under other ids: more than half of a",
        "clip of 16 bars stands in one run of a training song. Without them (`musicvae evaluate --without-copies`),",
        f"{'; '.join(told)}.",
    )


def bands() -> str:
    """Return the table of melody, drums and trio beside the paper's."""
    rows = []
    for preset, streams in BANDS.items():
        table = load(preset)["table"]
        for stream, paper in streams.items():
            own = table["model"]
            rows.append(
                [
                    stream if len(streams) == 1 else f"trio: {stream}",
                    _cell(own["teacher_forced"][stream]),
                    f"{paper[0]:.3f}",
                    _cell(own["sampled"][stream]),
                    f"{paper[1]:.3f}",
                    _cell(own["greedy"][stream]),
                    _value(table["previous bar"]["greedy"][stream]),
                ]
            )
    head = ["", "teacher-forced", "paper", "sampling, T = 1", "paper", "greedy", "the bar before, repeated"]
    return _table(head, rows)


# ------------------------------------------------------------------------------------------------ what it draws
def _name(feature: str) -> str:
    return feature.replace("_", " ")


def _gaps(model: str, drawn: str) -> list[tuple[float, str]]:
    """Return how far below that of real with real clips the overlap of each feature is, the furthest first."""
    real, ours = (load(f"{kind}-{model}")["features"] for kind in ("report", drawn))
    return sorted(((f["ceiling"]["mean"] - ours[k]["halves"]["mean"], k) for k, f in real.items()), reverse=True)


def _near(model: str, drawn: str) -> str:
    gaps = _gaps(model, drawn)
    return f"{sum(gap <= NEAR for gap, _ in gaps)} of {len(gaps)}"


def _heard(model: str, drawn: str) -> dict[str, float]:
    figures: dict[str, float] = load(f"{drawn}-{model}")["listener"]["generated"]
    return figures


def _right(figures: dict[str, float], places: int = 0) -> str:
    share, low, high = (f"{100 * figures[k]:.{places}f}" for k in ("accuracy", "low", "high"))
    return f"{share} % ({low}–{high})"


def draws() -> str:
    """Return in a paragraph how new clips differ from real ones."""
    told = []
    for model, bars in MODELS.items():
        others = (
            f"`{how}`: {_near(model, drawn)}, {100 * _heard(model, drawn)['accuracy']:.0f} %"
            for drawn, (_, how) in DRAWN[model].items()
            if how
        )
        told.append(
            f"{bars}: {_near(model, 'report')}, and a classifier tells them from real ones in "
            f"{100 * _heard(model, 'report')['accuracy']:.0f} % of answers ({'; '.join(others)})"
        )
    novelty = [load(f"report-{model}")["novelty"]["model"] for model in MODELS]
    above, clips = (sum(x[k] for x in novelty) for k in ("above", "clips"))
    return _text(
        "New clips come from a prior fitted to music, and those of 16 bars go through the model three times before",
        "they are drawn. In how many features their distances overlap with those of real clips to within 0.10 of what",
        f"two halves of the real songs do: {'. '.join(told)}. Of {clips} new clips",
        f"{above or 'none'} {'has' if above <= 1 else 'have'} more of a training song than is usual.",
    )


def prior() -> str:
    """Return the same at length."""
    told = []
    for model, ways in DRAWN.items():
        report = load(f"report-{model}")
        each = []
        for drawn, (name, how) in ways.items():
            gap, worst = _gaps(model, drawn)[0]
            near, right = _near(model, drawn).split()[0], _right(_heard(model, drawn))
            each.append(
                f"{name}{f' (`{how}`)' if how else ''} in {near} (furthest: {_name(worst)}, by {gap:.3f}), "
                f"and the classifier is right in {right}"
            )
        told.append(
            _text(
                f"`{model}`: of {len(report['features'])} features of Yang and Lerch (2020) and later ones, the",
                f"overlap of new clips with test songs is within .10 of that of real with real {'; '.join(each)}.",
                f"Between two halves of the real songs it is right in {_right(report['listener']['real'])}.",
                "It has the features, and short patterns of notes.",
            )
        )
    return "\n\n".join(told)


def overlap() -> str:
    """Return the tables of features, and the machine listener's answers and what it goes by."""
    tables = []
    for model, ways in DRAWN.items():
        found = {drawn: load(f"{drawn}-{model}")["features"] for drawn in ways}
        rows = []
        for feature, drawn in found["report"].items():
            mean, low, high = (drawn["halves"][k] for k in ("mean", "low", "high"))
            others = (found[k].get(feature) for k in ways if k != "report")
            cells = (f"{other['halves']['mean']:.3f}" if other else "–" for other in others)
            rows.append(
                [_name(feature), f"{mean:.3f} ({low:.3f}–{high:.3f})", *cells, f"{drawn['ceiling']['mean']:.3f}"]
            )
        worst = {drawn: _gaps(model, drawn)[0] for drawn in ways}
        rows.append(["**within .10 of real**", *(f"**{_near(model, drawn)}**" for drawn in ways), ""])
        rows.append(["furthest", *(f"{_name(name)}, {gap:.3f}" for gap, name in worst.values()), ""])
        tables.append(_table([MODELS[model], *(name for name, _ in ways.values()), "real"], rows))
    order = list(DRAWN)
    return "\n\n".join([*tables, _listener(order), *_clues(order)])


def _listener(order: list[str]) -> str:
    rows = []
    for drawn, (name, _) in DRAWN[order[0]].items():
        right = (_right(_heard(m, drawn), 1) if drawn in DRAWN[m] else "–" for m in order)
        rows.append([f"generated, {name}", *right])
    found = {model: load(f"report-{model}")["listener"] for model in order}
    rows.append(["the other half of the real songs", *(_right(found[m]["real"], 1) for m in order)])
    for kind in (k for k in found[order[0]] if k not in ("generated", "real")):
        rows.append([kind, *(_right(found[m][kind], 1) if kind in found[m] else "–" for m in order)])
    return _table(["real clips against", *(f"{MODELS[m]}: the machine listener is right" for m in order)], rows)


def _clues(order: list[str]) -> Iterator[str]:
    for model in order:
        clues = "; ".join(
            f"{_name(c['name'])} (median {c['generated']:.2f}, real {c['real']:.2f})"
            for c in load(f"report-{model}")["clues"]
        )
        yield f"What tells `{model}` most, each by itself: {clues}."


def copying() -> str:
    """Return the table of the longest runs of one training song, and what is usual."""
    rows, told = [], []
    for model, bars in reversed(MODELS.items()):
        novelty = load(f"report-{model}")["novelty"]
        for who, name in (("model", "model"), ("held_out", "held-out songs")):
            for line, keys in novelty[who]["figures"].items():
                for key, f in keys.items():
                    runs = [f"{f[k]:.0f}" for k in ("notes_median", "notes_95", "notes_most")]
                    runs += [f"{f[k]:.0f}" for k in ("unrepeated_median", "unrepeated_95", "unrepeated_most")]
                    rows.append([f"`{model}`, {line}, {key}: {name}", *runs, f"{f['mostly']:.1%}"])
        limits, own, held_out = novelty["limits"], novelty["model"], novelty["held_out"]
        told.append(
            f"in {bars} up to {limits['notes']} notes unrepeated, {limits['skyline']} in the skyline "
            f"({own['above']} of {own['clips']} clips of `{model}` have more, "
            f"of held-out clips {held_out['above']} of {held_out['clips']})"
        )
    report = load("report-piano-16bar")
    return "\n\n".join(
        [
            f"From the same reports ({report['novelty']['held_out']['clips']} clips of validation and test songs; "
            f"{report['train_songs']:,} training songs):",
            _table(["notes of one training song", *RUNS], rows),
            _text(
                "**Usual**, by the upper fence of the held-out clips (third quartile + 1.5 quartile distances), are",
                f"{'; '.join(told)}. `musicvae generate --novel --against data/piano` draws anew what is above.",
            ),
        ]
    )


def novel() -> str:
    """Return the same in a sentence."""
    told = []
    for model in reversed(MODELS):
        own, held_out = (load(f"report-{model}")["novelty"][who] for who in ("model", "held_out"))
        told.append(
            f"{own['above']} of {own['clips']} clips of `{model}` have a longer one than is usual in songs that it "
            f"never saw (of which {held_out['above']} of {held_out['clips']} have)"
        )
    return _text("Of the longest run of notes that a clip shares with a training song:", f"{'; '.join(told)}.")


def attributes() -> str:
    """Return the tables of the attribute vectors of the bundled models, as `musicvae attributes` prints them."""
    told = []
    for model in reversed(MODELS):
        facts = bundled(model, "attributes")
        names, moved = tuple(facts["names"]), np.array(facts["moved_as_meant"])
        share = wilson(np.round(moved * facts["samples"]), facts["samples"])
        table = effect_table(Effect(names, names, np.array(facts["change_percent"]), *share))
        told.append(f"`{model}`, vectors from {facts['clips']:,} training clips:\n\n{table.rstrip()}")
    return "\n\n".join(told)


BLOCKS: dict[str, Callable[[], str]] = {
    block.__name__: block for block in (accuracy, copies, bands, draws, prior, overlap, copying, novel, attributes)
}


def filled(document: str) -> str:
    """Return a document with its blocks filled; raises KeyError for a block that there is not."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- figures: {found[1]} -->\n{BLOCKS[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", fill, document, flags=re.S)


def main() -> None:
    """Fill, check or keep."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument(
        "--check", action="store_true", help="write nothing; fail if a document is not as it should be"
    )
    arguments.add_argument(
        "--keep", metavar="NAME", help="keep what the documents tell of the output on standard input"
    )
    given = arguments.parse_args()
    if given.keep:
        KEPT.mkdir(exist_ok=True)
        text = json.dumps(keep(json.load(sys.stdin)), indent=1)
        (KEPT / f"{given.keep}.json").write_text(text + "\n", encoding="utf-8")
        return
    stale = []
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            stale.append(name)
            if not given.check:
                path.write_text(after, encoding="utf-8")
    print(f"{'not as they should be' if given.check else 'filled'}: {', '.join(stale)}" if stale else "nothing to fill")
    sys.exit(bool(stale) and given.check)


if __name__ == "__main__":
    main()
