"""How much of a clip comes back: per-step accuracy as the paper scores it, notes as the note-tree papers do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec
from musicvae.data.dataset import Batch
from musicvae.evaluate.intervals import bootstrap
from musicvae.music.score import Score
from musicvae.runtime.sampling import Backend, draw_tokens, predict_tokens
from musicvae.tokens import TokenSpec

__all__ = [
    "NoteCounts",
    "accuracies",
    "active_units",
    "count_notes",
    "note_scores",
    "previous_bar",
    "reconstruction",
    "rest",
    "teacher_forced",
    "totals",
]

BATCH = 128
ACTIVE = 0.01
"""Variance of the posterior's mean over clips above which a latent dimension counts as active (Burda et al. 2016)."""


class NoteCounts(NamedTuple):
    """Counts over clips; add them up, then ask for the figures (micro average)."""

    matched: int = 0
    """Notes with the right pitch at the right onset step."""
    reference: int = 0
    """Notes of the originals."""
    estimate: int = 0
    """Notes of the reconstructions."""
    overlap: int = 0
    """Σ min(duration, duration') over matched notes, in steps."""
    reference_steps: int = 0
    """Σ duration of matched notes in the originals, in steps."""
    estimate_steps: int = 0
    """Σ duration of matched notes in the reconstructions, in steps."""

    def __add__(self, other: object) -> NoteCounts:
        """Add counts up."""
        assert isinstance(other, NoteCounts)
        return NoteCounts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def onset(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of note onsets: exact pitch and exact onset step."""
        return _prf(self.matched, self.estimate, self.reference)

    @property
    def duration(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of durations, on notes whose onset and pitch are right."""
        return _prf(self.overlap, self.estimate_steps, self.reference_steps)


def count_notes(reference: Score, estimate: Score) -> NoteCounts:
    """Compare two Scores on one grid, note by note and part by part."""
    (a, a_duration), (b, b_duration) = _keys(reference), _keys(estimate)
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    left, right = a_duration[in_a], b_duration[in_b]
    return NoteCounts(len(in_a), len(a), len(b), int(np.minimum(left, right).sum()), int(left.sum()), int(right.sum()))


Ratios = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Figures by name: what each clip adds to the numerator and to the denominator, two of (B,)."""


def accuracies(predicted: NDArray[np.int64], clips: Batch, spec: TokenSpec) -> Ratios:
    """Compare tokens (B, U, S, F) with those of the clips, slot by slot.

    The first field counts every slot, end marks included; where bars have end marks the others, and all fields at once,
    count notes only. Where there are several fields, `all` is right where all of them are.
    """
    S = clips.tokens.shape[2]
    real = np.arange(S) < clips.lengths[..., None]  # (B, U, S)
    note = real & (clips.tokens[..., 0] != spec.end) if spec.end is not None else real
    right = predicted[:, :, :S] == clips.tokens
    names = [field.name for stream in spec.streams for field in stream.fields]
    counted = [note if f and spec.end is not None else real for f in range(len(names))]
    figures = {name: _share(right[..., f], where) for f, (name, where) in enumerate(zip(names, counted, strict=True))}
    return figures if len(names) == 1 else figures | {"all": _share(right.all(axis=-1), note)}


def note_scores(codec: Codec, tokens: Iterable[NDArray[np.int64]], copies: Iterable[NDArray[np.int64]]) -> Ratios:
    """Compare clips of tokens (U, S, F) with their copies: precision, recall and F1 of onsets and of durations."""
    pairs = zip(tokens, copies, strict=True)
    counts = np.array([count_notes(codec.decode(a), codec.decode(b)) for a, b in pairs], dtype=np.float64)
    matched, reference, estimate, overlap, reference_steps, estimate_steps = counts.reshape(-1, 6).T
    return {
        "onset_precision": (matched, estimate),
        "onset_recall": (matched, reference),
        "onset_f1": (2 * matched, estimate + reference),
        "duration_precision": (overlap, estimate_steps),
        "duration_recall": (overlap, reference_steps),
        "duration_f1": (2 * overlap, estimate_steps + reference_steps),
    }


def totals(figures: Ratios) -> dict[str, float]:
    """Return each figure over all clips: the sum of the numerators by that of the denominators (of nothing: 0)."""
    sums = {name: (float(a.sum()), float(b.sum())) for name, (a, b) in figures.items()}
    return {name: a / b if b else 0.0 for name, (a, b) in sums.items()}


def reconstruction(
    backend: Backend,
    codec: Codec,
    clips: Batch,
    songs: NDArray[np.integer],
    *,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score a model on held-out clips beside three baselines, with 95 % bootstrap intervals over songs.

    `songs` (B,) is the song of each clip. Returns, ready for JSON, `table[row][mode][figure]` = {value, low, high}.
    Rows: `model`; `z = 0`, decoded without its latent vector; `previous bar` repeats the original's bar before; `rest`
    is silent. Modes: `teacher_forced` (the true slots before are given), `greedy` and `sampled` (the decoder is fed its
    own output, the likeliest or drawn at `temperature`; paper, tables 1 and 2). All decode the posterior's mean.
    Figures: see `accuracies` and `note_scores`. Beside the table: `recon_nats` and `kl_nats` a clip, both in bits a
    note, active units, clips and songs.
    """
    B = len(clips.tokens)
    outputs: dict[str, dict[str, list[NDArray[np.int64]]]] = {
        row: {mode: [] for mode in ("teacher_forced", "greedy", "sampled")} for row in ("model", "z = 0")
    }
    mus, kl, recon = [], [], []
    for i in range(0, B, BATCH):
        tokens, lengths = clips.tokens[i : i + BATCH], clips.lengths[i : i + BATCH]
        mu, sigma = backend.encode(tokens, lengths)
        mus.append(mu)
        kl.append(0.5 * (mu**2 + sigma**2 - 1 - 2 * np.log(sigma)).sum(axis=1, dtype=np.float64))
        for j, (row, z) in enumerate((("model", mu), ("z = 0", np.zeros_like(mu)))):
            expected = predict_tokens(backend, z, tokens, lengths)
            if row == "model":
                recon.append(expected.nats.sum(axis=(1, 2, 3)))
            noise = [np.random.default_rng([seed, k]) for k in range(i, i + len(tokens))]
            outputs[row]["teacher_forced"].append(expected.tokens)
            outputs[row]["greedy"].append(draw_tokens(backend, z))
            outputs[row]["sampled"].append(draw_tokens(backend, z, noise, temperature))
            progress(2 * min(B, i + BATCH) - (1 - j) * len(tokens), 2 * B)
    figures: dict[tuple[str, str, str], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for row, modes in outputs.items():
        for mode, parts in modes.items():
            made = np.concatenate(parts)
            found = accuracies(made, clips, codec.spec)
            if mode != "teacher_forced":
                found |= note_scores(codec, clips.tokens, made)
            figures |= {(row, mode, name): value for name, value in found.items()}
    for row, copy in (
        ("previous bar", previous_bar(clips.tokens, codec.spec)),
        ("rest", rest(clips.tokens, codec.spec)),
    ):
        predicted = copy.copy()
        if codec.spec.end is not None:
            predicted[copy[..., 0] == codec.spec.end, 1:] = -1  # where there is no note, nothing is predicted of it
        found = accuracies(predicted, clips, codec.spec)
        figures |= {(row, "teacher_forced", name): value for name, value in found.items()}
        found = found | note_scores(codec, clips.tokens, copy)
        figures |= {(row, "greedy", name): value for name, value in found.items()}
    notes = np.array([len(codec.decode(clip)) for clip in clips.tokens], dtype=np.float64)
    one, nats, mu = np.ones(B), np.concatenate(recon), np.concatenate(mus)
    means = {
        "recon_nats": (nats, one),
        "kl_nats": (np.concatenate(kl), one),
        "recon_bits_per_note": (nats / np.log(2), notes),
        "kl_bits_per_note": (np.concatenate(kl) / np.log(2), notes),
    }
    values = _with_intervals([*figures.values(), *means.values()], songs, seed)
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for (row, mode, name), value in zip(figures, values, strict=False):
        table.setdefault(row, {}).setdefault(mode, {})[name] = value
    return {
        "clips": B,
        "songs": len(np.unique(songs)),
        "temperature": temperature,
        "seed": seed,
        "table": table,
        **dict(zip(means, values[len(figures) :], strict=True)),
        "active_units": active_units(mu),
        "z": mu.shape[1],
    }


def teacher_forced(backend: Backend, clips: Batch) -> dict[str, float]:
    """Return the teacher-forced accuracies of `reconstruction` alone, without intervals."""
    parts = []
    for i in range(0, len(clips.tokens), BATCH):
        tokens, lengths = clips.tokens[i : i + BATCH], clips.lengths[i : i + BATCH]
        parts.append(predict_tokens(backend, backend.encode(tokens, lengths)[0], tokens, lengths).tokens)
    return totals(accuracies(np.concatenate(parts), clips, backend.spec))


def active_units(mu: NDArray[np.floating]) -> int:
    """Return how many dimensions of the posterior's mean (B, Z) vary over clips: Burda et al. 2016, ACTIVE.

    None means that the posterior has collapsed: the latent vector says nothing, whatever the KL is.
    """
    return int((mu.var(axis=0) > ACTIVE).sum())


def rest(tokens: NDArray[np.int64], spec: TokenSpec) -> NDArray[np.int64]:
    """Return the all-rest baseline for tokens (…, S, F): bars end at once, or no event in any slot."""
    silent = np.zeros_like(tokens)
    if spec.end is not None:
        silent[..., 0] = spec.end
    return silent


def previous_bar(tokens: NDArray[np.int64], spec: TokenSpec) -> NDArray[np.int64]:
    """Return the baseline that repeats the bar before, for tokens (B, U, S, F); the first bar is a rest."""
    shifted = rest(tokens, spec)
    shifted[:, 1:] = tokens[:, :-1]
    return shifted


def _with_intervals(
    ratios: list[tuple[NDArray[np.float64], NDArray[np.float64]]], songs: NDArray[np.integer], seed: int
) -> list[dict[str, float]]:
    """Add clips up by song and return each figure with its interval."""
    names, song = np.unique(songs, return_inverse=True)
    sums, totals = (np.zeros((len(names), len(ratios))) for _ in range(2))
    for k, (numerator, denominator) in enumerate(ratios):
        sums[:, k] = np.bincount(song, numerator, len(names))
        totals[:, k] = np.bincount(song, denominator, len(names))
    found = bootstrap(sums, totals, np.random.default_rng([seed, 1]))
    return [{"value": float(v), "low": float(a), "high": float(b)} for v, a, b in zip(*found, strict=True)]


def _share(right: NDArray[np.bool_], where: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (right & where).sum(axis=(1, 2)).astype(np.float64), where.sum(axis=(1, 2)).astype(np.float64)


def _keys(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one number for each (onset, part, pitch) and the longest duration there."""
    key = (score.onset.astype(np.int64) * 4 + score.part) * 128 + score.pitch
    order = np.lexsort((-score.duration.astype(np.int64), key))
    unique, first = np.unique(key[order], return_index=True)
    return unique, score.duration[order][first].astype(np.int64)


def _prf(hit: int, estimate: int, reference: int) -> tuple[float, float, float]:
    precision = hit / estimate if estimate else 0.0
    recall = hit / reference if reference else 0.0
    return precision, recall, 2 * hit / (estimate + reference) if estimate + reference else 0.0
