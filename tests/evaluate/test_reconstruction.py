"""Counting what comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musicvae.codecs import codec
from musicvae.config import CodecConfig
from musicvae.data.dataset import Batch
from musicvae.evaluate.reconstruction import (
    NoteCounts,
    accuracies,
    count_notes,
    note_scores,
    previous_bar,
    reconstruction,
    rest,
    totals,
)
from musicvae.model import MusicVAE, PackedLogits, scores
from musicvae.music import Score
from musicvae.runtime.sampling import draw_tokens, predict_tokens
from musicvae.runtime.torch import TorchBackend
from musicvae.tokens import Field, Stream, TokenSpec

NOTE = st.tuples(st.integers(0, 63), st.integers(30, 40), st.integers(1, 20), st.integers(1, 127), st.integers(0, 3))
NOTES = st.lists(NOTE, max_size=30)


def place(note: tuple[int, ...]) -> tuple[int, ...]:
    """Onset, pitch and part."""
    return (*note[:2], note[4])


def build(notes: list[tuple[int, ...]]) -> Score:
    return Score.of(*np.array(notes, dtype=np.int64).reshape(-1, 5).T, bars=4)


def test_by_hand():
    a = Score.of([0, 0, 4, 8], [60, 64, 67, 60], [4, 4, 8, 2], bars=1)
    b = Score.of([0, 0, 4, 9], [60, 65, 67, 60], [6, 4, 3, 2], bars=1)
    counts = count_notes(a, b)
    # Right: 60 at 0 (4 of 6 steps) and 67 at 4 (8, of which 3); 65 is another pitch and 9 another step.
    assert counts == NoteCounts(2, 4, 4, 4 + 3, 4 + 8, 6 + 3)
    assert counts.onset == (0.5, 0.5, 0.5)
    assert counts.duration == pytest.approx((7 / 9, 7 / 12, 14 / 21))


def test_notes_too_many_and_too_few():
    a = Score.of([0, 4], [60, 60], 1, bars=1)
    b = Score.of([0, 4, 8, 12], 60, 1, bars=1)
    assert count_notes(a, b).onset == (0.5, 1.0, pytest.approx(2 / 3))
    assert count_notes(b, a).onset == (1.0, 0.5, pytest.approx(2 / 3))


def test_parts_are_told_apart():
    """The same note in the bass is not that of the melody."""
    a = Score.of([0, 0, 4], [60, 60, 60], [1, 2, 3], 80, [1, 2, 3], bars=1)
    b = Score.of([0, 4, 4], [60, 60, 60], [4, 5, 6], 80, [2, 3, 1], bars=1)
    assert count_notes(a, b) == NoteCounts(2, 3, 3, 2 + 3, 2 + 3, 4 + 5)


def test_nothing_at_all():
    silence, note = Score.of([], [], [], bars=1), Score.of(0, 60, 1, bars=1)
    for pair in ((silence, silence), (silence, note), (note, silence)):
        counts = count_notes(*pair)
        assert counts.onset == counts.duration == (0.0, 0.0, 0.0)
    assert NoteCounts().onset == (0.0, 0.0, 0.0)


@given(NOTES)
def test_the_same_is_all_right(notes):
    score = build(notes)
    counts = count_notes(score, score)
    assert counts.matched == counts.reference == counts.estimate == len({place(n) for n in notes})
    if notes:
        assert counts.onset == counts.duration == (1.0, 1.0, 1.0)


@given(NOTES, NOTES)
def test_precision_one_way_is_recall_the_other(a, b):
    a, b = build(a), build(b)
    kept = [[c.copy() for c in s.columns] for s in (a, b)]
    one, other = count_notes(a, b), count_notes(b, a)
    for x, y in ((one.onset, other.onset), (one.duration, other.duration)):
        assert (x[0], x[1]) == (y[1], y[0])
        assert x[2] == y[2]
        assert all(0 <= v <= 1 for v in x)
        assert min(x[:2]) <= x[2] + 1e-9
        assert x[2] <= max(x[:2]) + 1e-9
    for score, columns in zip((a, b), kept, strict=True):
        assert all(np.array_equal(c, k) for c, k in zip(score.columns, columns, strict=True))


@given(NOTES, NOTES)
def test_matches_by_brute_force(a, b):
    def longest(notes: list[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
        return {place(n): max(m[2] for m in notes if place(m) == place(n)) for n in notes}

    left, right = longest(a), longest(b)
    both = left.keys() & right.keys()
    assert count_notes(build(a), build(b)) == NoteCounts(
        len(both),
        len(left),
        len(right),
        sum(min(left[k], right[k]) for k in both),
        sum(left[k] for k in both),
        sum(right[k] for k in both),
    )


@given(NOTES, NOTES, st.integers(-12, 12))
def test_moving_both_changes_nothing(a, b, semitones):
    a, b = build(a), build(b)
    assert count_notes(a.transpose(semitones), b.transpose(semitones)) == count_notes(a, b)


def test_counts_add_up():
    total = NoteCounts(1, 2, 3, 4, 5, 6) + NoteCounts(10, 20, 30, 40, 50, 60)
    assert total == NoteCounts(11, 22, 33, 44, 55, 66)
    assert isinstance(total, NoteCounts)
    assert total.onset == pytest.approx((11 / 33, 11 / 22, 22 / 55))


# --------------------------------------------------------------------------------------------- baselines
NOTES_SPEC = TokenSpec(3, (Stream("x", (Field("a", 4), Field("b", 5), Field("c", 2))),), end=3)
STEPS_SPEC = TokenSpec(3, tuple(Stream(name, (Field(name, 4),)) for name in "abc"))


def test_baselines():
    tokens = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    kept = tokens.copy()
    for spec, first in ((NOTES_SPEC, 3), (STEPS_SPEC, 0)):
        silent = rest(tokens, spec)
        assert (silent[..., 0] == first).all()
        assert (silent[..., 1:] == 0).all()
        shifted = previous_bar(tokens, spec)
        assert np.array_equal(shifted[:, 1:], tokens[:, :-1])
        assert np.array_equal(shifted[:, 0], silent[:, 0])
    assert np.array_equal(tokens, kept)


# -------------------------------------------------------------------------------------------- accuracies
def test_accuracies_of_notes_by_hand():
    """Two clips of one bar: two notes and the mark; the mark alone. The first field counts marks, the others notes."""
    tokens = np.array([[[[0, 1, 1], [2, 4, 0], [3, 0, 0]]], [[[3, 0, 0], [0, 0, 0], [0, 0, 0]]]])
    clips = Batch(tokens, np.array([[3], [1]]))
    predicted = np.array([[[[0, 1, 1], [2, 0, 0], [3, 9, 9]]], [[[1, 0, 0], [0, 0, 0], [0, 0, 0]]]])
    found = {name: (a.tolist(), b.tolist()) for name, (a, b) in accuracies(predicted, clips, NOTES_SPEC).items()}
    assert found == {"a": ([3, 0], [3, 1]), "b": ([1, 0], [2, 0]), "c": ([2, 0], [2, 0]), "all": ([1, 0], [2, 0])}
    assert totals(accuracies(predicted, clips, NOTES_SPEC)) == {"a": 0.75, "b": 0.5, "c": 1.0, "all": 0.5}
    wide = np.concatenate([predicted, predicted], axis=2)  # drawn bars are as long as a bar can be
    assert totals(accuracies(wide, clips, NOTES_SPEC)) == totals(accuracies(predicted, clips, NOTES_SPEC))


def test_accuracies_of_steps_by_hand():
    """Each voice counts every step; `all` is right where all voices are."""
    tokens = np.array([[[[1, 2, 3], [0, 0, 0], [1, 1, 1]]]])
    predicted = np.array([[[[1, 2, 0], [0, 0, 0], [0, 1, 1]]]])
    found = totals(accuracies(predicted, Batch(tokens, np.array([[3]])), STEPS_SPEC))
    assert found == pytest.approx({"a": 2 / 3, "b": 1, "c": 2 / 3, "all": 1 / 3})
    one = TokenSpec(3, (Stream("a", (Field("a", 4),)),))
    assert set(accuracies(predicted[..., :1], Batch(tokens[..., :1], np.array([[3]])), one)) == {"a"}
    assert totals({"nothing": (np.zeros(2), np.zeros(2))}) == {"nothing": 0.0}


@pytest.mark.parametrize("spec", [NOTES_SPEC, STEPS_SPEC], ids=["notes", "steps"])
def test_accuracies_are_those_of_training(spec):
    """What `model.scores` counts of logits, of their likeliest values."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, (20, 4)) if spec.end is not None else np.full((20, 4), 3)
    tokens = rng.integers(0, np.array(spec.sizes) - (spec.end is not None), (20, 4, 3, 3))
    real = np.arange(3) < lengths[..., None]
    if spec.end is not None:
        tokens[np.arange(3) == lengths[..., None] - 1] = [3, 0, 0]
    slots = torch.from_numpy(rng.permutation(np.flatnonzero(real)))
    fields = tuple(torch.from_numpy(rng.standard_normal((len(slots), n), np.float32)) for n in spec.sizes)
    predicted = np.zeros((20 * 4 * 3, 3), dtype=np.int64)
    predicted[slots.numpy()] = torch.stack([f.argmax(dim=-1) for f in fields], dim=-1).numpy()
    counts = scores(PackedLogits(fields, slots), torch.from_numpy(tokens), spec)
    found = accuracies(predicted.reshape(tokens.shape), Batch(tokens, lengths), spec)
    assert [a.sum() for a, _ in found.values()] == counts.right.tolist()
    assert [b.sum() for _, b in found.values()] == counts.total.tolist()


# ------------------------------------------------------------------------------------------- note scores
def test_note_scores_by_hand():
    """One clip of two notes, one of which comes back, shorter, and two that are new; one clip that comes back whole."""
    piano = codec(CodecConfig(max_notes=8))
    one = Score.of([0, 4], [60, 64], [4, 2], bars=2)
    copy = Score.of([0, 5, 20], [60, 64, 64], [3, 2, 1], bars=2)
    other = Score.of([3], [70], [5], bars=2)
    tokens, copies = ([piano.encode(s).tokens for s in scores] for scores in ((one, other), (copy, other)))
    found = {name: (a.tolist(), b.tolist()) for name, (a, b) in note_scores(piano, tokens, copies).items()}
    assert found == {
        "onset_precision": ([1, 1], [3, 1]),
        "onset_recall": ([1, 1], [2, 1]),
        "onset_f1": ([2, 2], [5, 2]),
        "duration_precision": ([3, 5], [3, 5]),
        "duration_recall": ([3, 5], [4, 5]),
        "duration_f1": ([6, 10], [7, 10]),
    }
    assert totals(note_scores(piano, tokens, copies))["onset_f1"] == pytest.approx(4 / 7)


def test_notes_beyond_the_longest_bar_count():
    """Batches are as wide as their fullest bar; what was drawn behind that is wrong, not out of sight."""
    piano = codec(CodecConfig(max_notes=8))
    original = piano.encode(Score.of(0, 60, 1, bars=2)).tokens[:, :2]
    drawn = piano.encode(Score.of(range(6), 60, 1, bars=2)).tokens
    found = totals(note_scores(piano, [original], [drawn]))
    assert found["onset_precision"] == pytest.approx(1 / 6)
    assert found["onset_recall"] == 1


# -------------------------------------------------------------------------------------------- everything
@pytest.fixture(scope="module")
def measured(toy_band_data, toy_config):
    """Codec, network, clips, songs and result for a melody and for a piano model."""
    from musicvae.data.dataset import Dataset

    found = {}
    for kind in ("melody", "piano", "trio"):
        config = toy_config(kind=kind, bars=2)
        music = codec(config.codec)
        clips = Dataset(toy_band_data).clips("train", music, 2)
        batch, songs = clips.spread(24), clips.songs[clips.spread_index(24)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            network = MusicVAE(music.spec, config.model).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(3)
        backend, seen = TorchBackend(network), []
        result = reconstruction(
            backend, music, batch, songs, temperature=0.8, seed=4, progress=lambda *x, seen=seen: seen.append(x)
        )
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1]
        found[kind] = music, backend, batch, songs, result
    return found


def test_the_rest_of_a_melody_is_its_share_of_steps_without_event(measured):
    music, _, batch, _, result = measured["melody"]
    share = float((batch.tokens == 0).mean())
    assert 0.2 < share < 0.98
    for mode in ("teacher_forced", "greedy"):
        assert result["table"]["rest"][mode]["melody"]["value"] == pytest.approx(share)
    assert result["table"]["rest"]["greedy"]["onset_f1"]["value"] == 0
    moved = np.concatenate([np.zeros_like(batch.tokens[:, :1]), batch.tokens[:, :-1]], axis=1)
    same = float((moved == batch.tokens).mean())
    assert result["table"]["previous bar"]["greedy"]["melody"]["value"] == pytest.approx(same)
    assert music.spec.end is None


def test_the_rest_of_a_piano_is_its_share_of_bars_that_end_at_once(measured):
    _, _, batch, _, result = measured["piano"]
    ends = (batch.tokens[..., 0] == 16) & (np.arange(batch.tokens.shape[2]) < batch.lengths[..., None])
    table = result["table"]["rest"]["teacher_forced"]
    assert table["position"]["value"] == pytest.approx(ends.sum() / batch.lengths.sum())
    assert table["pitch"]["value"] == table["all"]["value"] == 0


@pytest.mark.parametrize("kind", ["melody", "piano", "trio"])
def test_the_model_is_scored_as_it_plays(measured, kind):
    """Each figure again, made from the model's own output."""
    music, backend, batch, _, result = measured[kind]
    mu, sigma = backend.encode(batch.tokens, batch.lengths)
    for row, z in (("model", mu), ("z = 0", np.zeros_like(mu))):
        expected = predict_tokens(backend, z, batch.tokens, batch.lengths)
        noise = [np.random.default_rng([4, i]) for i in range(len(z))]
        made = {
            "teacher_forced": expected.tokens,
            "greedy": draw_tokens(backend, z),
            "sampled": draw_tokens(backend, z, noise, 0.8),
        }
        for mode, tokens in made.items():
            wanted = totals(accuracies(tokens, batch, music.spec))
            if mode != "teacher_forced":
                wanted |= totals(note_scores(music, batch.tokens, tokens))
            found = {name: figure["value"] for name, figure in result["table"][row][mode].items()}
            assert found == pytest.approx(wanted)
        if row == "model":
            nats = expected.nats.sum(axis=(1, 2, 3))
    notes = sum(len(music.decode(clip)) for clip in batch.tokens)
    kl = 0.5 * (mu.astype(float) ** 2 + sigma.astype(float) ** 2 - 1 - 2 * np.log(sigma.astype(float))).sum(axis=1)
    assert result["recon_nats"]["value"] == pytest.approx(nats.mean())
    assert result["kl_nats"]["value"] == pytest.approx(kl.mean(), rel=1e-5)
    assert result["recon_bits_per_note"]["value"] == pytest.approx(nats.sum() / np.log(2) / notes)
    assert result["kl_bits_per_note"]["value"] == pytest.approx(kl.sum() / np.log(2) / notes, rel=1e-5)
    assert result["active_units"] == int((mu.var(axis=0) > 0.01).sum())
    assert (result["z"], result["clips"]) == (6, 24)


@pytest.mark.parametrize("kind", ["melody", "piano", "trio"])
def test_intervals_contain_their_figures(measured, kind):
    _, _, _, songs, result = measured[kind]
    assert json.loads(json.dumps(result)) == result
    assert result["songs"] == len(set(songs.tolist())) > 5
    figures = [f for modes in result["table"].values() for mode in modes.values() for f in mode.values()]
    figures += [result[name] for name in ("recon_nats", "kl_nats", "recon_bits_per_note", "kl_bits_per_note")]
    assert len(figures) > 30
    assert all(f["low"] <= f["value"] <= f["high"] for f in figures)
    assert sum(f["low"] < f["high"] for f in figures) > len(figures) / 5
    assert set(result["table"]) == {"model", "z = 0", "previous bar", "rest"}


def test_batches_change_nothing(measured, monkeypatch):
    music, backend, batch, songs, result = measured["melody"]
    monkeypatch.setattr("musicvae.evaluate.reconstruction.BATCH", 7)
    again = reconstruction(backend, music, batch, songs, temperature=0.8, seed=4)
    assert again["recon_nats"]["value"] == pytest.approx(result["recon_nats"]["value"])
    assert again["table"]["model"]["sampled"] == result["table"]["model"]["sampled"]
