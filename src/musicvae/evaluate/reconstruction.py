"""How much of a clip comes back: note onsets and durations, as the note-tree papers score them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import PianoCodec
from musicvae.config import TokenSpec
from musicvae.data.dataset import Batch
from musicvae.music.score import Score
from musicvae.runtime.sampling import Backend, draw_tokens, predict_tokens

__all__ = ["NoteCounts", "accuracies", "count_notes", "note_scores", "previous_bar", "reconstruction", "rest"]

BATCH = 64


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
    """Compare two Scores on one grid, note by note; parts are not told apart."""
    (a, a_duration), (b, b_duration) = _keys(reference), _keys(estimate)
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    left, right = a_duration[in_a], b_duration[in_b]
    return NoteCounts(len(in_a), len(a), len(b), int(np.minimum(left, right).sum()), int(left.sum()), int(right.sum()))


def accuracies(predicted: NDArray[np.int64], batch: Batch, spec: TokenSpec) -> dict[str, float]:
    """Compare predictions (B, U, S, F) with a batch's tokens, slot by slot.

    `position` (the first field) counts every slot, end marks included; the other fields, and `all` at once, count
    notes only. The same figures as `musicvae.model.scores`, from predictions instead of logits.
    """
    S = batch.tokens.shape[2]
    real = np.arange(S) < batch.lengths[..., None]  # (B, U, S)
    note = real & (batch.tokens[..., 0] != spec.end) if spec.end is not None else real
    right = predicted == batch.tokens
    names = [field.name for stream in spec.streams for field in stream.fields]
    figures = {name: float(right[..., f][note if f else real].mean()) for f, name in enumerate(names)}
    return figures | {"all": float(right[note].all(axis=-1).mean())}


def reconstruction(
    backend: Backend, codec: PianoCodec, clips: Batch, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, dict[str, float]]:
    """Score a model on clips beside three baselines.

    Returns for `model`, `z = 0` (decoded without its latent vector), `previous bar` (repeated) and `rest` the
    teacher-forced accuracies by field, and precision, recall and F1 of note onsets and durations when the model decodes
    greedily from mu, fed with its own output. A baseline's prediction of a slot is its own slot of the same number.
    """
    end = codec.spec.end
    assert end is not None
    B = len(clips.tokens)
    outputs: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {"model": [], "z = 0": []}
    for i in range(0, B, BATCH):
        tokens, lengths = clips.tokens[i : i + BATCH], clips.lengths[i : i + BATCH]
        mu = backend.encode(tokens, lengths)[0]
        for j, (name, z) in enumerate((("model", mu), ("z = 0", np.zeros_like(mu)))):
            outputs[name].append((predict_tokens(backend, z, tokens, lengths), draw_tokens(backend, z)))
            progress(min(B, i + BATCH) * 2 - (1 - j) * len(tokens), 2 * B)
    figures = {}
    for name, parts in outputs.items():
        predicted, drawn = (np.concatenate(p) for p in zip(*parts, strict=True))
        figures[name] = accuracies(predicted, clips, codec.spec) | note_scores(codec, clips.tokens, drawn)
    for name, copy in (("previous bar", previous_bar(clips.tokens, end)), ("rest", rest(clips.tokens, end))):
        predicted = copy.copy()
        predicted[copy[..., 0] == end, 1:] = -1  # where there is no note, nothing is predicted of it
        figures[name] = accuracies(predicted, clips, codec.spec) | note_scores(codec, clips.tokens, copy)
    return figures


def note_scores(
    codec: PianoCodec, tokens: Iterable[NDArray[np.int64]], copies: Iterable[NDArray[np.int64]]
) -> dict[str, float]:
    """Compare clips of tokens (U, S, F) with their copies: precision, recall and F1 of onsets and of durations."""
    counts = NoteCounts()
    for original, copy in zip(tokens, copies, strict=True):
        counts += count_notes(codec.decode(original), codec.decode(copy))
    figures: dict[str, float] = {}
    for name, values in (("onset", counts.onset), ("duration", counts.duration)):
        figures |= {f"{name}_{k}": v for k, v in zip(("precision", "recall", "f1"), values, strict=True)}
    return figures


def rest(tokens: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return the all-rest baseline for tokens (…, S, F): every bar ends at once."""
    silent = np.zeros_like(tokens)
    silent[..., 0] = end
    return silent


def previous_bar(tokens: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return the baseline that repeats the bar before, for tokens (B, U, S, F); the first bar is a rest."""
    shifted = rest(tokens, end)
    shifted[:, 1:] = tokens[:, :-1]
    return shifted


def _keys(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one number for each (onset, pitch) and the longest duration there."""
    key = score.onset.astype(np.int64) * 128 + score.pitch
    order = np.lexsort((-score.duration.astype(np.int64), key))
    unique, first = np.unique(key[order], return_index=True)
    return unique, score.duration[order][first].astype(np.int64)


def _prf(hit: int, estimate: int, reference: int) -> tuple[float, float, float]:
    precision = hit / estimate if estimate else 0.0
    recall = hit / reference if reference else 0.0
    return precision, recall, 2 * hit / (estimate + reference) if estimate + reference else 0.0
