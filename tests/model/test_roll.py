"""Cells of tokens, and what they say of the next slot: a piano roll's own likelihood, note by note."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from musicvae.config import ModelConfig
from musicvae.errors import ConfigError
from musicvae.model.roll import Cells, NoteHints, SlotHints
from musicvae.tokens import Field, Stream, TokenSpec

STEPS, PITCHES = 3, 4
FIELDS = (Field("position", STEPS + 1), Field("pitch", PITCHES), Field("duration", 5), Field("velocity", 3))
PIANO = TokenSpec(13, (Stream("piano", FIELDS),), end=STEPS, ordered=True)
TRIO = TokenSpec(
    4, (Stream("melody", (Field("melody", 5),)), Stream("drums", (Field("drums", 8, binary=True),))), end=None
)


def piano(*bars: list[tuple[int, int, int, int]]) -> tuple[Tensor, Tensor]:
    """Bars of notes (position, pitch, duration, velocity) → tokens (1, U, 13, 4), lengths (1, U)."""
    tokens = torch.zeros(1, len(bars), 13, 4, dtype=torch.int64)
    tokens[..., 0] = STEPS
    for u, notes in enumerate(bars):
        for s, note in enumerate(notes):
            tokens[0, u, s] = torch.tensor(note)
    return tokens, torch.tensor([[len(notes) + 1 for notes in bars]])


def test_cells_of_notes_by_hand():
    tokens, lengths = piano([(0, 1, 0, 2), (2, 3, 4, 0)], [])
    cells = Cells(PIANO)(tokens, lengths)
    assert cells.shape == (1, 2, PIANO.cells) == (1, 2, 3 * STEPS * PITCHES)
    onset, duration, velocity = cells[0, 0].unflatten(0, (3, STEPS, PITCHES))
    assert onset.nonzero().tolist() == [[0, 1], [2, 3]]
    assert duration[2, 3] == pytest.approx((1 - 0.5) / 0.25)  # the longest, of a scale from 0 to 1
    assert duration[0, 1] == pytest.approx((0 - 0.5) / 0.25)
    assert velocity[0, 1] == pytest.approx((1 - 0.5) / 0.25)
    assert duration.count_nonzero() == velocity.count_nonzero() == 2
    assert not cells[0, 1].any()


def test_an_average_note_has_no_cells_but_its_onset():
    tokens, lengths = piano([(0, 1, 2, 2)], [(1, 1, 2, 2)])
    cells = Cells(PIANO)
    cells.measure(torch.tensor([[0, 1, 1, 1], [0, 1, 4, 2], [2, 3, 2, 2]]), (1, 1))
    assert cells.mean[0] == pytest.approx(sum(math.log(n) for n in (2, 5, 3)) / 3 / math.log(5))
    cells.measure(torch.tensor([[0, 1, 2, 2], [2, 3, 2, 2]]), (1, 1))
    found = cells(tokens, lengths).view(2, 3, STEPS * PITCHES)
    assert found[:, 0].sum() == 2
    assert found[:, 1:].abs().max() < 1e-4


def test_cells_of_durations_and_velocities_have_their_weights():
    notes = torch.tensor([[0, 1, 0, 0], [0, 2, 4, 2], [1, 0, 1, 1], [2, 3, 2, 0]])
    cells = Cells(PIANO)
    cells.measure(notes, (1.4, 0.25))
    tokens, lengths = piano([tuple(note) for note in notes.tolist()])  # type: ignore[misc]
    found = cells(tokens, lengths).view(3, STEPS * PITCHES)
    struck = found[0] > 0
    assert found[1:, struck].std(dim=1, correction=0).tolist() == pytest.approx([1.4, 0.25])


def test_padding_is_no_cell():
    tokens, lengths = piano([(1, 2, 1, 1)])
    junk = tokens.clone()
    junk[0, 0, 2:] = torch.tensor([0, 3, 4, 2])
    assert torch.equal(Cells(PIANO)(tokens, lengths), Cells(PIANO)(junk, lengths))


def test_cells_of_slots_by_hand():
    tokens = torch.tensor([[[[4, 5], [0, 0], [1, 7], [2, 2]]]])
    cells = Cells(TRIO)(tokens, torch.tensor([[4]]))
    wanted = [[0, 0, 0, 0, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0, 1, 0]]
    assert cells.view(4, 8).tolist() == wanted
    assert TRIO.cells == 32
    melody, drums = Cells(TRIO).of_streams(cells[0])
    assert melody.view(4, 5).tolist() == [row[:5] for row in wanted]
    assert drums.view(4, 3).tolist() == [row[5:] for row in wanted]


@torch.no_grad()
def bar_likelihood(onset: Tensor, notes: list[tuple[int, int]]) -> float:
    """Log probability of just these keys, each independent with the logit `onset` (STEPS, PITCHES)."""
    struck = torch.zeros(STEPS, PITCHES)
    for position, pitch in notes:
        struck[position, pitch] = 1
    return -float(functional.binary_cross_entropy_with_logits(onset, struck, reduction="sum"))


@torch.no_grad()
def note_by_note(hints: NoteHints, cells: Tensor, notes: list[tuple[int, int]]) -> float:
    """Log probability of the same bar as the product over its slots, ruled out values left out."""
    tables, row, total = hints.tables(cells[None]), torch.zeros(1, dtype=torch.int64), 0.0
    before = torch.tensor([[STEPS + 1, PITCHES, 5, 3]])
    for position, pitch in [*notes, (STEPS, 0)]:
        slot = torch.tensor([[position, pitch, 0, 0]])
        begun = int(before[0, 0]) < STEPS
        last, key = (int(before[0, 0]), int(before[0, 1])) if begun else (0, -1)
        logits = hints.logits(0, tables, row, row, slot[:, :0], before)[0].clone()
        logits[: last + (key == PITCHES - 1)] = -math.inf
        total += float(logits.log_softmax(0)[position])
        if position < STEPS:
            logits = hints.logits(1, tables, row, row, slot[:, :1], before)[0].clone()
            logits[: key + 1 if begun and position == last else 0] = -math.inf
            total += float(logits.log_softmax(0)[pitch])
        before = slot
    return total


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, STEPS * PITCHES - 1)))
def test_hints_are_the_likelihood_of_a_piano_roll(seed, keys):
    hints = NoteHints(FIELDS, 6)
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(3 * STEPS * PITCHES, generator=generator)
    onset = (hints.slope * cells[: STEPS * PITCHES] - hints.level).detach()
    notes = [divmod(key, PITCHES) for key in sorted(keys)]
    wanted = bar_likelihood(onset.view(STEPS, PITCHES), notes)
    assert note_by_note(hints, cells, notes) == pytest.approx(wanted, abs=2e-3)  # rates below 1e-4 count as that


def test_hints_of_further_fields_are_seen_at_the_key():
    hints = NoteHints(FIELDS, 6)
    cells = torch.arange(3.0 * STEPS * PITCHES)[None] / 10
    tables, row = hints.tables(cells), torch.zeros(2, dtype=torch.int64)
    slot = torch.tensor([[1, 2], [2, 3]])
    for field, first in ((2, STEPS * PITCHES), (3, 2 * STEPS * PITCHES)):
        wanted = torch.tensor([first + 6, first + 11])[:, None] / 10 * hints.hint[field - 2]
        assert torch.allclose(hints.within(field, tables, row, slot), wanted)
    assert hints.within(1, tables, row, slot) == 0.0


def test_hints_of_slots_are_independent_members():
    hints = SlotHints((Field("drums", 8, binary=True),), 4)
    cells = torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    row, number = torch.tensor([1, 0]), torch.tensor([3, 1])
    logits = hints.logits(0, hints.tables(cells), row, number, row, row)
    for i, (r, s) in enumerate(zip(row.tolist(), number.tolist(), strict=True)):
        odds = hints.slope * (2 * cells[r].view(4, 3)[s] - 1)
        joint = [
            sum(functional.logsigmoid(o if bit else -o) for o, bit in zip(odds, bits[::-1], strict=True))
            for bits in itertools.product((0, 1), repeat=3)
        ]
        assert torch.allclose(logits[i].log_softmax(0), torch.stack(joint), atol=1e-5)


def test_hints_of_slots_are_those_of_their_slot_and_field():
    fields = (Field("a", 3), Field("b", 2))
    hints = SlotHints(fields, 2)
    cells = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
    row = torch.zeros(1, dtype=torch.int64)
    found = hints.logits(1, hints.tables(cells), row, torch.tensor([1]), row, row) / hints.slope
    assert found.tolist() == [[9.0, 10.0]]
    found = hints.logits(0, hints.tables(cells), row, torch.tensor([0]), row, row) / hints.slope
    assert found.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "flat"}, "a hierarchical encoder and decoder"),
        ({"decoder": "flat"}, "a hierarchical encoder and decoder"),
        ({"head_hidden": 0}, "model.head_hidden is 0"),
        ({"z": 33}, "at most 32, one for each number of model.roll in a clip"),
        ({"roll": -1}, "at least 0"),
    ],
)
def test_what_a_roll_needs(change, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"bars": 2, "roll": 16, "z": 32, **change})


def test_rates_far_out_stay_finite():
    hints = NoteHints(FIELDS, 6)
    for value in (-100.0, 100.0):
        tables = hints.tables(torch.full((1, 3 * STEPS * PITCHES), value))
        assert np.isfinite(tables.rows.detach().numpy()).all()
