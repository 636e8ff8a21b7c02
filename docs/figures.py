"""Fill the tables of README.md, docs/results.md and docs/report.md from what the commands printed.

    python docs/figures.py                   # fill; with --check: only say whether they are filled as they should be
    COMMAND --json | python docs/figures.py --keep NAME      # keep of an output what the documents tell

The documents have blocks, `<!-- figures: NAME -->` to `<!-- end -->`, which are replaced by what the functions of that
name here return. Outputs are kept in docs/figures/. All of them, for MODEL each of the bundled ones and its BARS:

    musicvae evaluate MODEL data/lpd --json                        lpd-MODEL
    musicvae evaluate MODEL data/lpd --without-copies --json       lpd-without-copies-MODEL
    musicvae evaluate MODEL data/pop909 --json                     pop909-MODEL
    musicvae report MODEL data/piano --json -o report.html         report-MODEL
    musicvae generate --model MODEL -n 256 --seed 0 --prior normal -o normal
    musicvae compare normal data/piano --bars BARS --clips 256 --json   normal-MODEL
    musicvae generate --model MODEL -n 256 --seed 0 --settle 4 -o settled
    musicvae compare settled data/piano --bars BARS --clips 256 --json  settled-MODEL
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


def _gaps(model: str, prior: str) -> list[tuple[float, str]]:
    """Return how far below that of real with real clips the overlap of each feature is, the furthest first.

    `prior`: fitted, settled (the same, `generate --settle 4`) or normal.
    """
    real = load(f"report-{model}")["features"]
    drawn = real if prior == "fitted" else load(f"{prior}-{model}")["features"]
    return sorted(((f["ceiling"]["mean"] - drawn[k]["halves"]["mean"], k) for k, f in real.items()), reverse=True)


def _near(model: str, prior: str) -> str:
    gaps = _gaps(model, prior)
    return f"{sum(gap <= NEAR for gap, _ in gaps)} of {len(gaps)}"


def _right(figures: dict[str, float], places: int = 0) -> str:
    share, low, high = (f"{100 * figures[k]:.{places}f}" for k in ("accuracy", "low", "high"))
    return f"{share} % ({low}–{high})"


def draws() -> str:
    """Return in a paragraph how new clips differ from real ones."""
    told = []
    for model, bars in MODELS.items():
        right, settled = (
            load(f"{kind}-{model}")["listener"]["generated"]["accuracy"] for kind in ("report", "settled")
        )
        told.append(
            f"{bars}: {_near(model, 'fitted')} ({_near(model, 'settled')} with `--settle 4`, "
            f"{_near(model, 'normal')} from the plain N(0, I), `--prior normal`), "
            f"and a classifier tells them from real ones in {100 * right:.0f} % of answers "
            f"({100 * settled:.0f} %)"
        )
    novelty = [load(f"report-{model}")["novelty"]["model"] for model in MODELS]
    above, clips = (sum(x[k] for x in novelty) for k in ("above", "clips"))
    return _text(
        "New clips come from a prior fitted to music. In how many features their distances overlap with those of real",
        f"clips to within 0.10 of what two halves of the real songs do: {'; '.join(told)}. Of {clips} new clips",
        f"{above or 'none'} {'has' if above <= 1 else 'have'} more of a training song than is usual.",
    )


def prior() -> str:
    """Return the same at length."""
    told = []
    for model in MODELS:
        report, plain = load(f"report-{model}"), load(f"normal-{model}")
        settled, kinds = load(f"settled-{model}"), ("fitted", "settled", "normal")
        (gap, worst), (settled_gap, settled_worst), (plain_gap, plain_worst) = (_gaps(model, k)[0] for k in kinds)
        fitted, after, normal = (_near(model, kind).split()[0] for kind in kinds)
        told.append(
            _text(
                f"`{model}`: of {len(report['features'])} features of Yang and Lerch (2020) and later ones, the",
                "overlap with test songs is within .10 of that of real with real in",
                f"{fitted} with the fitted prior (furthest:",
                f"{_name(worst)}, by {gap:.3f}), in {after} where its clips went four times through the model",
                f"before they were drawn (`--settle 4`; {_name(settled_worst)}, by {settled_gap:.3f}), and in",
                f"{normal} with N(0, I) ({_name(plain_worst)}, by {plain_gap:.3f}).",
                "A classifier that has features and short patterns of notes is right in",
                f"{_right(report['listener']['generated'])} with the fitted prior, in",
                f"{_right(settled['listener']['generated'])} after four times through the model, in",
                f"{_right(plain['listener']['generated'])} with N(0, I), and in {_right(report['listener']['real'])}",
                "between two halves of the real songs.",
            )
        )
    return "\n\n".join(told)


def overlap() -> str:
    """Return the table of features, the machine listener's answers and what it goes by."""
    order = list(reversed(MODELS))
    features = [k for k in load(f"report-{order[0]}")["features"] if k in load(f"report-{order[1]}")["features"]]
    rows = []
    for feature in features:
        row = [_name(feature)]
        for model in order:
            found = load(f"report-{model}")["features"][feature]
            mean, low, high = (found["halves"][k] for k in ("mean", "low", "high"))
            row.append(f"{mean:.3f} ({low:.3f}–{high:.3f})")
            for kind in ("settled", "normal"):
                other = load(f"{kind}-{model}")["features"].get(feature)
                row.append(f"{other['halves']['mean']:.3f}" if other else "–")
            row.append(f"{found['ceiling']['mean']:.3f}")
        rows.append(row)
    head = ["feature", *(h for model in order for h in (f"{MODELS[model]}: fitted", "settled", "N(0, I)", "real"))]
    within = "; ".join(
        f"`{model}`, {name}: {_near(model, kind)} (furthest: {_name(worst)}, {gap:.3f})"
        for model in order
        for kind, name in (("fitted", "fitted"), ("settled", "settled"), ("normal", "N(0, I)"))
        for gap, worst in _gaps(model, kind)[:1]
    )
    return "\n\n".join(
        [_table(head, rows), f"Within .10 of real against real: {within}.", _listener(order), *_clues(order)]
    )


def _listener(order: list[str]) -> str:
    found = {model: load(f"report-{model}")["listener"] for model in order}
    settled, plain = ({model: load(f"{kind}-{model}")["listener"] for model in order} for kind in ("settled", "normal"))
    rows = [
        ["generated, fitted prior", *(_right(found[m]["generated"], 1) for m in order)],
        ["the same, settled", *(_right(settled[m]["generated"], 1) for m in order)],
        ["generated, N(0, I)", *(_right(plain[m]["generated"], 1) for m in order)],
        ["the other half of the real songs", *(_right(found[m]["real"], 1) for m in order)],
    ]
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
