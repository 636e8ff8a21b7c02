"""The model card: what a model is, where it comes from, and what it can do, from the run's own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musicvae.codecs import codec
from musicvae.config import Config
from musicvae.data.card import data_section

__all__ = ["imported_card", "model_card"]

CREDITS = {
    "lpd": "Lakh Pianoroll Dataset (Hao-Wen Dong et al., 2018), derived from the Lakh MIDI Dataset (Colin Raffel, 2016), CC BY 4.0.",
    "pop909": "POP909 (Ziyu Wang et al., ISMIR 2020), MIT.",
}
"""Credit for data sets that are recognised by the names of their sources."""


KINDS = {
    "piano": "polyphonic piano",
    "melody": "melodies",
    "drums": "drums",
    "trio": "trios of melody, bass and drums",
}
"""What each codec holds, in words."""

PRIOR = "## The fitted prior"


def model_card(
    name: str,
    config: Config,
    trained: dict[str, Any],
    held_out: dict[str, Any] | None,
    data: Mapping[str, Any] | None = None,
) -> str:
    """Write the card in Markdown.

    `trained` is what the run recorded (run.json and its last state) and `held_out` what `musicvae export` measured on
    the test songs: what `reconstruction` returns, and `samples`; None where it measured nothing. `data` is what
    `data_facts` says of the data set; None where that is not there.
    """
    model, parts = config.model, codec(config.codec).parts
    lines = [
        f"# {name}",
        "",
        f"A MusicVAE for {KINDS[config.codec.kind]}: {model.bars} bars of 4/4 on a grid of {config.codec.steps_per_beat} steps a beat from one "
        f"latent vector of {model.z} dimensions. {model.encoder.capitalize()} encoder, {model.decoder} decoder"
        f"{', and a linear way past both that began with principal components' if model.roll else ''}; "
        f"{trained['parameters'] / 1e6:.1f} million parameters, stored in half precision."
        + (
            " Clips are transposed into one key and register before they are encoded, and back after they are decoded."
            if model.key == "common"
            else ""
        )
        + (
            f" Latent dimensions{', but those of key and register,' if model.key == 'common' else ''} have mean 0 and variance 1 over "
            f"{trained['standardised']:,} training clips."
            if trained.get("standardised")
            else ""
        )
        + _settling(config),
        "",
        *_data(trained["data"], trained["clips"], parts),
        *([*data_section(data, parts), ""] if data else []),
        *_training(config, trained),
        *(
            _held_out(held_out)
            if held_out
            else ["## Held-out songs", "", "Not measured: the data set was not at hand at export."]
        ),
        "",
        "## What it is for, and what not",
        "",
        f"It plays in the manner of the {KINDS[config.codec.kind]} it was trained on, and knows nothing of other music. What it plays may come "
        "close to its training songs: look before you publish (`musicvae novelty`). It knows no tempo, no pedal, no meter but 4/4, and nothing "
        "finer than its grid.",
        "",
    ]
    return "\n".join(lines)


def _settling(config: Config) -> str:
    rounds = config.sample.settle
    if not rounds:
        return ""
    return f" New clips go through the model {rounds} {'time' if rounds == 1 else 'times'} before they are drawn (`--settle 0`: not at all)."


def with_prior(card: str, facts: Mapping[str, Any]) -> str:
    """Return a card with a section on the fitted prior, in place of an earlier one; `facts` are those of prior.npz."""
    before, _, rest = card.partition(f"{PRIOR}\n")
    following = rest.partition("\n## ")[2] if rest else ""
    if not rest:
        before, _, following = card.partition("\n## What it is for")
        following = f"What it is for{following}"
        before += "\n"
    section = (
        f"{PRIOR}\n\n`musicvae prior` fitted a flow of {facts['parameters']:,} numbers to the posteriors of {facts['clips']:,} training clips of "
        f"`{facts['data']}` ({facts['steps']:,} updates, seed {facts['seed']}): mean squared error of velocities {facts['error']:.3f}, on clips of validation songs "
        f"{facts['error_held_out']:.3f}, where N(0, I) would have {facts['error_of_normal']:.3f}. New clips come from it unless `--prior normal` is given; the table of N(0, I) above is "
        "without it.\n"
    )
    return f"{before}{section}\n## {following}"


def imported_card(name: str, config: Config, checkpoint: str, preset: str, parameters: int) -> str:
    """Write the card of a model that came from a checkpoint of the published implementation, in Markdown."""
    model = config.model
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A MusicVAE for {KINDS[config.codec.kind]}: {model.bars} bars of 4/4 from one latent vector of {model.z} dimensions; "
            f"{parameters / 1e6:.1f} million parameters.",
            "",
            f"Imported from `{checkpoint}`, a checkpoint of the published implementation (magenta music_vae, configuration "
            f"`{preset}`). Its training data, its licence and its figures are those of its authors; `musicvae evaluate` measures it on your songs.",
            "",
        ]
    )


def _data(data: dict[str, Any], clips: dict[str, Any], parts: tuple[str, ...]) -> list[str]:
    songs = data["songs"]
    voices = {part: data["voices"][part] for part in parts}
    played = "; ".join(f"{part}: {v['voices']:,} voices, {v['notes']:,} notes" for part, v in voices.items())
    sources = ", ".join(f"`{s}`" for s in data.get("sources", []))
    credit = [text for key, text in CREDITS.items() if key in sources.lower()]
    return [
        "## Data",
        "",
        f"{sources or 'A prepared data set'}: {sum(songs.values()):,} songs ({songs['train']:,} to train on, {songs['valid']:,} for validation, "
        f"{songs['test']:,} for the test; split by song, by a hash of its notes), {data['bars']:,} bars ({played}); "
        f"{clips['train']:,} clips to train on, which overlap.",
        "",
        *[f"Credit: {text}\n" for text in credit],
    ]


def _training(config: Config, trained: dict[str, Any]) -> list[str]:
    stages = [*_earlier(trained.get("init")), trained]
    lines = ["## Training", ""]
    for number, stage in enumerate(stages, 1):
        sessions = stage["sessions"]
        lines += [
            f"{number}. {stage['step']:,} steps in {stage['seconds'] / 3600:.2f} hours on {sessions[-1]['device']} "
            f"({sessions[-1]['precision']}), Python {sessions[-1]['python']}, torch {sessions[-1]['torch']}:",
            *(
                f"   - from step {s['from_step']:,}: `{' '.join(s['command'])}`, commit `{(s['commit'] or 'unknown')[:12]}`"
                for s in sessions
            ),
        ]
    train, loss = config.train, config.loss
    moved = f"each transposed by −{train.transpose_down} to +{train.transpose_up} semitones"
    beta = {
        "constant": f"{loss.beta:g}",
        "annealed": f"{loss.beta:g} · (1 − {loss.beta_rate:g}^step)",
        "cyclical": f"0 to {loss.beta:g} in {loss.beta_cycles} cycles",
    }[loss.beta_schedule]
    return [
        *lines,
        "",
        f"{'The last of them: seed' if len(stages) > 1 else 'Seed'} {train.seed}; batches of {train.batch} clips, {moved if train.transpose_down or train.transpose_up else 'as they are'}; Adam, "
        f"learning rate {train.lr:g} to {train.lr_min:g} ({train.lr_schedule}); β {beta}, {loss.free_bits:g} free bits.",
        "",
    ]


def _earlier(init: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the runs whose weights a run began with, the first one first."""
    return [*_earlier(init.get("init")), init] if init and "sessions" in init else []


def _held_out(held_out: dict[str, Any]) -> list[str]:
    table = held_out["table"]
    fields = list(table["model"]["teacher_forced"])
    columns = [("teacher_forced", f) for f in fields] + [("greedy", f) for f in ("onset_f1", "duration_f1")]
    lines = [
        "## Held-out songs",
        "",
        f"{held_out['clips']} clips of {held_out['songs']} test songs. By field: teacher-forced accuracy, the likeliest value "
        "given the latent vector and the true slots before. Onset and duration F1: the model decodes its own output greedily from the "
        "posterior's mean; exact pitch and onset step, durations on matched notes. After ±, half of the 95 % interval over songs. "
        "`evaluation.json` has the rest; `musicvae evaluate` measures it again.",
        "",
        f"| | {' | '.join(fields)} | onset F1 | duration F1 |",
        f"|---|{'---|' * len(columns)}",
    ]
    for row, modes in table.items():
        values = (modes[mode][f] for mode, f in columns)
        cells = [f"{v['value']:.3f} ±{(v['high'] - v['low']) / 2:.3f}" for v in values]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    int8 = held_out["int8"]
    used = "is what clips are drawn with" if int8["kept"] else "is not used: it moves them too far"
    lines += [
        "",
        f"In int8 the teacher-forced accuracies are {', '.join(f'{name} {value:.4f}' for name, value in int8['teacher_forced'].items())}: "
        f"moved by {int8['moved']:.4f} at most. It {used}.",
    ]
    for samples in held_out["samples"]:
        lines += [
            "",
            f"{samples['clips']} clips drawn from the prior N(0, I), not settled, at temperature {samples['temperature']:g}, beside the test clips:",
            "",
            "| | 5–95 % of the data | median of the data | median of the samples | samples inside 5–95 % |",
            "|---|---|---|---|---|",
        ]
        for feature, f in samples["features"].items():
            lines.append(
                f"| {feature.replace('_', ' ')} | {f['low']:.2f}–{f['high']:.2f} | {f['reference_median']:.2f} | {f['median']:.2f} | {f['inside']:.1%} |"
            )
    return lines
