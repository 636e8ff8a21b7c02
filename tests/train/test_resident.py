"""Batches gathered on the device: to the last token those that numpy draws, whoever draws which part of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musicvae.codecs import codec
from musicvae.config import CodecConfig, TrainConfig
from musicvae.data import clips as clips_module
from musicvae.data.clips import Clips
from musicvae.data.dataset import Dataset
from musicvae.train.resident import Resident, StepBatch

CODECS: dict[str, dict[str, Any]] = {
    "piano": {"max_notes": 8},
    "piano-few": {"max_notes": 2, "pitch_low": 50, "pitch_high": 72},  # bars are cut, notes are left out
    "piano-long": {"max_duration_bars": 64, "velocity_bins": 128},  # tokens of two bytes
    "melody": {"kind": "melody"},
    "melody-narrow": {"kind": "melody", "pitch_low": 60, "pitch_high": 72},
    "drums": {"kind": "drums"},
    "trio": {"kind": "trio"},
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(toy_band_data) -> Dataset:
    return Dataset(toy_band_data)


@pytest.fixture(scope="module")
def pairs(data) -> dict[tuple[str, int], tuple[Clips, Resident]]:
    """Clips of each codec and length with the same on the device."""
    found = {}
    for name, settings in CODECS.items():
        for bars in (2, 3):
            clips = data.clips("train", codec(CodecConfig(**settings)), bars)
            found[name, bars] = clips, Resident(clips, CPU)
    return found


def drawn(clips: Clips, settings: TrainConfig, step: int, ranks: int = 1) -> tuple[np.ndarray, np.ndarray]:
    transpose = (settings.transpose_down, settings.transpose_up)
    return clips.draw(settings.seed, step, settings.batch * ranks, transpose)


def assert_same(batch: StepBatch, tokens: np.ndarray, lengths: np.ndarray) -> None:
    assert batch.tokens.dtype == torch.int64
    assert batch.tokens.is_contiguous()
    assert np.array_equal(batch.tokens.numpy(), tokens)
    assert np.array_equal(batch.lengths.numpy(), lengths)


@pytest.mark.parametrize("name", CODECS)
@given(
    bars=st.sampled_from([2, 3]),
    seed=st.integers(0, 3),
    step=st.integers(0, 200),
    size=st.integers(1, 40),
    down=st.integers(0, 12),
    up=st.integers(0, 12),
)
def test_the_device_has_what_numpy_draws(pairs, name, bars, seed, step, size, down, up):
    clips, resident = pairs[name, bars]
    settings = TrainConfig(seed=seed, batch=size, transpose_down=down, transpose_up=up)
    batch = resident.draw(settings, step)
    assert_same(batch, *drawn(clips, settings, step))
    assert torch.equal(batch.all_lengths, batch.lengths)
    assert batch.first == 0


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_parts_of_a_batch_are_the_whole(pairs, name, ranks):
    """Each process has its rows of the whole batch, as wide as the whole, and knows all lengths."""
    clips, resident = pairs[name, 2]
    settings = TrainConfig(batch=5, transpose_down=5, transpose_up=6)
    for step in (0, 7, 31):
        tokens, lengths = drawn(clips, settings, step, ranks)
        for rank in range(ranks):
            batch = resident.draw(settings, step, rank, ranks)
            mine = slice(5 * rank, 5 * rank + 5)
            assert_same(batch, tokens[mine], lengths[mine])
            assert np.array_equal(batch.all_lengths.numpy(), lengths)
            assert batch.first == 5 * rank


def test_tokens_take_few_bytes(pairs):
    """A byte each where their values allow it, and no bars but those of clips."""
    kinds = {name: pairs[name, 2][1].tokens.dtype for name in CODECS}
    assert {name for name, kind in kinds.items() if kind == torch.uint8} == {
        *("piano", "piano-few", "melody", "melody-narrow"),
    }
    assert {kind for kind in kinds.values() if kind != torch.uint8} == {torch.int16}
    for clips, resident in pairs.values():
        bars = np.unique(clips.bars_of(clips.windows))
        assert len(resident.table.rows) == len(bars)


def test_the_table_is_the_same_in_small_pieces(data, monkeypatch):
    for name, settings in CODECS.items():
        clips = data.clips("train", codec(CodecConfig(**settings)), 2)
        bars = np.unique(clips.bars_of(clips.windows))
        whole = clips.table(bars)
        monkeypatch.setattr(clips_module, "CHUNK", 7)
        assert all(map(np.array_equal, whole, clips.table(bars))), name
        monkeypatch.undo()


def test_notes_outside_the_range_count_for_nothing(data):
    """A codec of one key: bars without a note of it are end marks, and nothing can be moved."""
    clips = data.clips("train", codec(CodecConfig(pitch_low=60, pitch_high=60)), 2)
    settings = TrainConfig(batch=len(clips), transpose_down=5, transpose_up=6)
    batch = Resident(clips, CPU).draw(settings, 0)
    assert_same(batch, *drawn(clips, settings, 0))
    assert (batch.tokens[..., 1] == 0).all()
    assert (batch.lengths == 1).any()
    never = data.clips("train", codec(CodecConfig(pitch_low=0, pitch_high=0)), 2)
    batch = Resident(never, CPU).draw(settings, 0)
    assert batch.tokens.shape == (len(clips), 2, 1, 4)
    assert (batch.tokens == torch.tensor([16, 0, 0, 0])).all()
