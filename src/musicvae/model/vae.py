"""MusicVAE (Roberts et al. 2018, section 3), from top to bottom.

    tokens ─ Encoder ─► mu, sigma ─► z ─ Conductor ─► one embedding a bar ─ Decoder of each stream ─► logits

Axes: B clips, U bars, S slots a bar, F fields of a slot, N rows that a decoder works on side by side, T slots of a row,
M slots that are not padding, E embedding, C what a row is decoded from, H decoder, Z latent, G cells of a bar,
K numbers that sum them up.

With a roll there is a second, linear way beside the LSTMs, from the cells of each bar into mu and from z to the logits
(roll.py; ours, not the paper's).

A hierarchical decoder draws every bar from its own embedding, so all bars of all clips are one batch (N = B·U, T = S,
C = conductor): under teacher forcing it is one LSTM call over N short sequences (a few calls, by length, so that little
of it is padding). A flat decoder draws all bars of a clip in one row from z (N = B, T = U·S, C = Z).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicvae.config import ModelConfig
from musicvae.model.lstm import LSTM, BiLSTM, by_length, join_bars, send
from musicvae.model.moments import Moments
from musicvae.model.roll import Cells, NoteHints, SlotHints, Tables
from musicvae.model.slots import SlotEmbedding, begin_with_nothing, draw, sum_
from musicvae.tokens import Field, TokenSpec

__all__ = ["MusicVAE", "Output", "PackedLogits"]

_IMPOSSIBLE = -1e9  # logit of a value that the order of the slots rules out; finite, so that 0 · it is 0


class PackedLogits(NamedTuple):
    """Logits of the slots that are not padding, one row each."""

    fields: tuple[Tensor, ...]
    """One (M, V) float32 tensor for each field of a slot."""
    slots: Tensor
    """(M,) which slot of the flattened (B·U·S) each row is."""


class Output(NamedTuple):
    """What a pass through the whole network gives."""

    mu: Tensor
    """(B, Z) mean of the posterior."""
    sigma: Tensor
    """(B, Z) standard deviation of the posterior."""
    z: Tensor
    """(B, Z) the sample that was decoded."""
    logits: PackedLogits
    """Teacher-forced logits."""


# ---------------------------------------------------------------------------------------------- encoder
class Encoder(nn.Module):
    """tokens → mu, sigma of the posterior (paper, section 3.1)."""

    def __init__(self, spec: TokenSpec, config: ModelConfig) -> None:
        super().__init__()
        self.hierarchical = config.encoder == "hierarchical"
        self.whole = spec.end is None  # no bar has padding
        self.roll = config.roll > 0
        if self.roll:
            self.cells = Cells(spec)
            self.bar = nn.Linear(spec.cells, width := config.roll)
        else:
            self.embedding = SlotEmbedding([f for s in spec.streams for f in s.fields], config.embedding, bits=True)
            width = self.embedding.width
            if self.hierarchical:
                self.slots = BiLSTM(width, config.bar_hidden)
                width = 2 * config.bar_hidden[-1]
        self.clip = BiLSTM(width, config.encoder_hidden)
        width = 2 * config.encoder_hidden[-1]
        self.mu = nn.Linear(config.bars * config.roll or width, config.z)
        self.sigma = nn.Linear(width, config.z)
        if self.roll:
            self.more = nn.Linear(width, config.roll)
            begin_with_nothing(self.more, self.sigma)
            nn.init.constant_(self.sigma.bias, -2.0)  # sigma 0.13

    def forward(self, tokens: Tensor, lengths: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, U, S, F), lengths (B, U) on the CPU → mu (B, Z), sigma (B, Z)."""
        B, U = tokens.shape[:2]
        if self.roll:
            bars = self.bar(self.cells(tokens, send(lengths, tokens.device)))  # (B, U, K)
            heard = self.clip.outputs(bars)  # (B, U, 2 · hidden)
            mu = self.mu((bars + self.more(heard)).flatten(1))
            return mu, functional.softplus(self.sigma(self.clip.ends(heard)))
        if self.hierarchical:
            bars = self.read(self.slots, tokens.flatten(0, 1), lengths.flatten(), groups)
            summary = self.clip(bars.reshape(B, U, -1))
        else:
            clip = tokens.flatten(1, 2) if self.whole else join_bars(tokens, lengths)[0]
            summary = self.read(self.clip, clip, lengths.sum(dim=1), max(1, min(groups, B // 8)))
        return self.mu(summary), functional.softplus(self.sigma(summary))

    def read(self, lstm: nn.Module, tokens: Tensor, lengths: Tensor, groups: int) -> Tensor:
        """Run sequences (N, T, F) through an LSTM in groups of like length → (N, 2 · hidden)."""
        if groups == 1 or self.whole:
            return lstm(self.embedding(tokens), None if self.whole else lengths)  # type: ignore[no-any-return]
        parts = by_length(lengths, groups)
        states = []
        for rows, longest in parts:
            those = tokens[send(rows, tokens.device), :longest]
            states.append(lstm(self.embedding(those), lengths[rows]))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return torch.cat(states)[send(order, tokens.device)]


# -------------------------------------------------------------------------------------------- conductor
class Conductor(nn.Module):
    """z → one embedding a bar (paper, section 3.2). Not autoregressive."""

    def __init__(self, config: ModelConfig, cells: int) -> None:
        """`cells` is G, if there is a roll."""
        super().__init__()
        self.bars, self.roll = config.bars, config.roll
        self.lstm = LSTM(config.roll or 1, config.conductor_hidden)
        self.initial = nn.Linear(config.z, self.lstm.state)
        if config.roll:
            self.direct = nn.Linear(config.z, config.bars * config.roll)
            self.more = nn.Linear(config.conductor_hidden[-1], config.roll)
            self.cells = nn.Linear(config.roll, cells)
            begin_with_nothing(self.more)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Z (B, Z) → embeddings (B·U, C), and the cells of each bar (B·U, G), if there is a roll, else (B·U, 0)."""
        shown = self.direct(z) if self.roll else z.new_zeros(z.shape[0], self.bars)
        shown = shown.reshape(-1, self.bars, self.roll or 1)
        embeddings = self.lstm(shown, torch.tanh(self.initial(z))).flatten(0, 1)
        if not self.roll:
            return embeddings, embeddings[:, :0]
        return embeddings, self.cells(shown.flatten(0, 1) + self.more(embeddings))


# ---------------------------------------------------------------------------------------------- decoder
class Heads(nn.Module):
    """Logits of each field of a slot.

    With `width` 0 they are a linear map of the decoder's output (paper). Else each field has a small network that sees
    the fields before it in the same slot, too; what the row is decoded from and the slot before reach it past the LSTM:
    the short way makes the latent vector matter from the first steps on (Dieng et al. 2019, skip connections). What
    goes into these networks but the slot itself is computed for all fields at once (W = F · width).
    """

    def __init__(self, sizes: Sequence[int], hidden: int, given: int, width: int, ordered: bool) -> None:
        super().__init__()
        self.ordered, self.sizes, self.width, self.split = ordered, tuple(sizes), width, hidden
        self.out = nn.ModuleList(nn.Linear(width or hidden, size) for size in sizes)
        if not width:
            return
        self.hidden = nn.Linear(hidden + given, width * len(sizes))
        self.before = nn.ModuleList(nn.Embedding(size + 1, width * len(sizes)) for size in sizes)
        self.slot = nn.ModuleList(nn.ModuleList(nn.Embedding(n, width) for n in sizes[:f]) for f in range(len(sizes)))
        for table in (*self.before.modules(), *self.slot.modules()):
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.1)

    def row(self, given: Tensor) -> Tensor:
        """(N, C) → the part in the networks of all fields that is the same in all slots of a row, (N, W)."""
        if not self.width:
            return given[:, :0]
        return functional.linear(given, self.hidden.weight[:, self.split :], self.hidden.bias)

    def inputs(self, h: Tensor, row: Tensor, seen: Tensor) -> list[Tensor]:
        """Return what each field's logits are computed from but the slot itself: F tensors (M, width).

        h (M, H) is the decoder's output, row (M, W) from `row`, and seen (M, F) what is shown of the slot before.
        """
        if not self.width:
            return [h] * len(self.sizes)
        x = torch.addmm(row.to(h.dtype), h, self.hidden.weight[:, : self.split].t().to(h.dtype))
        x = x + sum_(table(seen[:, f]) for f, table in enumerate(self.before))
        return list(torch.split(x, self.width, dim=-1))

    def forward(self, field: int, x: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        """Logits of one field → (M, V) float32.

        x (M, width) is from `inputs`, `slot` (M, ≥ field) this slot's fields so far, `before` (M, F) the slot before.
        """
        if self.width:
            tables: nn.ModuleList = self.slot[field]  # type: ignore[assignment]
            x = functional.relu(sum_([x, *(table(slot[:, f]) for f, table in enumerate(tables))]))
        logits = self.out[field](x).float()
        return self.in_order(field, logits, slot, before) if self.ordered and field < 2 else logits

    def in_order(self, field: int, logits: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        """Rule out what would break the order: slots of a bar ascend by their first field, then by their second."""
        start = (before[:, 0] >= self.sizes[0] - 1).long()  # the start, or the end mark of the bar before
        position = (before[:, 0] * (1 - start))[:, None]
        pitch = (before[:, 1] * (1 - start) - start)[:, None]
        values = torch.arange(logits.shape[1], device=logits.device)
        if field == 0:
            broken = values < position + (pitch == self.sizes[1] - 1)
        else:
            broken = (values <= pitch) & (slot[:, :1] == position)
        return logits.masked_fill(broken, _IMPOSSIBLE)


class Decoder(nn.Module):
    """One vector → the slots of a row, one after another (paper, section 3.2)."""

    def __init__(self, fields: Sequence[Field], spec: TokenSpec, given: int, config: ModelConfig) -> None:
        """`given` is the width of the vector: the conductor's, or the latent's where there is none."""
        super().__init__()
        self.embedding = SlotEmbedding(fields, config.embedding)
        self.lstm = LSTM(self.embedding.width, config.decoder_hidden, constant=given)
        self.initial = nn.Linear(given, self.lstm.state)
        self.heads = Heads(self.embedding.sizes, config.decoder_hidden[-1], given, config.head_hidden, spec.ordered)
        self.parts = [4 * config.decoder_hidden[0], config.head_hidden * len(fields)]
        self.state = self.lstm.state
        self.hints: NoteHints | SlotHints | None = None
        if config.roll:
            self.hints = NoteHints(fields, config.head_hidden) if spec.ordered else SlotHints(fields, spec.slots)
            self.parts.append(self.hints.width)
            self.state += not spec.ordered  # one more number counts the slots
            begin_with_nothing(*list(self.heads.out)[: 2 if spec.ordered else None])  # type: ignore[arg-type]
        self.constant = sum(self.parts)  # P

    def start(self, given: Tensor) -> Tensor:
        """(N, C) → the LSTM's initial state (N, 2 · ΣH)."""
        return torch.tanh(self.initial(given))

    def logits(
        self, field: int, x: Tensor, slot: Tensor, before: Tensor, tables: Tables, row: Tensor, number: Tensor
    ) -> Tensor:
        """Logits of one field → (M, V): of `Heads` and, with a roll, of its cells.

        x, slot, before as for `Heads`; tables of the hints, row (M,) of them, number (M,) of each slot in it.
        """
        if self.hints is None:
            return self.heads(field, x, slot, before)  # type: ignore[no-any-return]
        logits: Tensor = self.heads(field, x + self.hints.within(field, tables, row, slot), slot, before)
        return logits + self.hints.logits(field, tables, row, number, slot, before)

    def forward(
        self, given: Tensor, cells: Tensor, tokens: Tensor, before: Tensor, seen: Tensor, lengths: Tensor, groups: int
    ) -> tuple[list[Tensor], Tensor]:
        """Run a row under teacher forcing.

        given (N, C), cells (N, ·); tokens, the slots before them and what of these is shown (N, T, F); lengths (N,).
        Returns the logits of each field (M, V) and which slot of the flattened (N·T) each row of them is.
        """
        N, T, F = tokens.shape
        device = tokens.device
        outputs, sources, numbers = [], [], []
        for rows, longest in by_length(lengths, groups):
            those = send(rows, device)
            x = self.embedding(seen[those, :longest])  # (n, longest, E)
            x = torch.cat([x, given[those, None].expand(-1, longest, -1).to(x.dtype)], dim=-1)
            output = self.lstm(x, self.start(given[those]))  # (n, longest, H)
            row, slot = (torch.arange(longest) < lengths[rows, None]).nonzero(as_tuple=True)
            outputs.append(output[send(row, device), send(slot, device)])
            sources.append(rows[row])
            numbers.append(slot)
        h, source, number = torch.cat(outputs), send(torch.cat(sources), device), send(torch.cat(numbers), device)
        index = source * T + number
        now, previous, shown = (t.reshape(N * T, F)[index] for t in (tokens, before, seen))
        inputs = self.heads.inputs(h, self.heads.row(given)[source], shown)
        tables = self.hints.tables(cells) if self.hints is not None else Tables(cells)
        return [self.logits(f, x, now, previous, tables, source, number) for f, x in enumerate(inputs)], index

    def begin(self, given: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Given (N, C), cells (N, ·) → what is the same in all slots of a row (N, P), and the first state."""
        row, state = [self.lstm.constant(given), self.heads.row(given)], self.start(given)
        if self.hints is not None:
            row.append(self.hints.tables(cells).rows)
            state = functional.pad(state, (0, self.state - self.lstm.state))
        return torch.cat(row, dim=-1), state

    def step(
        self, before: Tensor, row: Tensor, first: int, state: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the next slot of each row, whose numbers begin at column `first`: see `MusicVAE.step`."""
        second, third, *_ = (first + p for p in accumulate(self.parts))
        gates, own, tables = row[:, first:second], row[:, second:third], Tables(row, third)
        state, count = torch.split(state, [self.lstm.state, self.state - self.lstm.state], dim=-1)
        h, state = self.lstm.step(self.embedding(before), gates, state)
        state = torch.cat([state, count + 1], dim=-1)
        slot, seen, used = before[:, :0], [], 0
        rows = torch.arange(before.shape[0], device=before.device)
        number = count[:, 0].long() if count.shape[1] else rows
        for field, x in enumerate(self.heads.inputs(h, own, before)):
            logits = self.logits(field, x, slot, before, tables, rows, number)
            seen.append(logits)
            scaled = temperature * noise[:, used : used + logits.shape[1]]
            slot = torch.cat([slot, draw(logits, scaled, self.embedding.amounts[field])], dim=-1)
            used += logits.shape[1]
        return slot, state, torch.cat(seen, dim=-1)


# -------------------------------------------------------------------------------------------------- whole
class MusicVAE(nn.Module):
    """The whole network. `groups` is how many runs by length the rows are split into; it changes speed only."""

    def __init__(self, spec: TokenSpec, config: ModelConfig, groups: int = 8) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        self.groups = groups if spec.end is not None else 1
        self.encoder = Encoder(spec, config)
        self.moments = Moments(config.z)
        self.conductor = Conductor(config, spec.cells) if config.decoder == "hierarchical" else None
        streams = [stream.fields for stream in spec.streams]
        if self.conductor is None:  # one decoder for all voices, as the published flat trio
            streams = [tuple(field for fields in streams for field in fields)]
        given = config.z if self.conductor is None else config.conductor_hidden[-1]
        self.decoders = nn.ModuleList(Decoder(fields, spec, given, config) for fields in streams)
        self.fields = [len(fields) for fields in streams]  # of each decoder
        self.nothing: Tensor  # what stands before the first slot
        self.register_buffer("nothing", torch.tensor(spec.sizes), persistent=False)

    def forward(self, tokens: Tensor, lengths: Tensor, noise: Tensor, fed: Tensor | None = None) -> Output:
        """Run the whole network under teacher forcing.

        tokens (B, U, S, F), lengths (B, U) of the bars with their end mark, on the CPU; noise (B, Z) ~ N(0, I); fed
        (B, U, S, F) is what the decoder is shown in place of the tokens, a vocabulary's size where it is shown nothing.
        """
        mu, sigma = self.encode(tokens, lengths)
        z = mu + sigma * noise
        return Output(mu, sigma, z, self.decode(z, tokens, lengths, fed))

    def encode(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        mu, sigma = self.encoder(tokens, lengths, self.groups)
        return self.moments.outside(mu.float(), sigma.float())

    def decode(self, z: Tensor, tokens: Tensor, lengths: Tensor, fed: Tensor | None = None) -> PackedLogits:
        """Teacher-forced logits of the tokens (B, U, S, F) under z (B, Z); fed (B, U, S, F) as in `forward`."""
        B, U, S, F = tokens.shape
        given, cells = self.rows(z)
        now, before, seen = tokens, self.before(tokens, lengths), self.before(tokens if fed is None else fed, lengths)
        numbers = torch.arange(U * S, device=tokens.device).expand(B, -1)
        if self.conductor is None and self.spec.end is not None:
            (now, numbers), before, seen = join_bars(now, lengths), *(join_bars(t, lengths)[0] for t in (before, seen))
        rows = [t.reshape(len(given), -1, F) for t in (now, before, seen)]  # (N, T, F)
        span = lengths.sum(dim=1) if self.conductor is None else lengths.flatten()
        fields: list[Tensor] = []
        for decoder, own, count in zip(self.decoders, cells, self.fields, strict=True):
            mine = slice(len(fields), len(fields) + count)
            logits, index = decoder(given, own, *(t[..., mine] for t in rows), span, self.groups)
            fields += logits
        clip = torch.arange(B, device=tokens.device)[:, None]
        return PackedLogits(tuple(fields), (clip * U * S + numbers).flatten()[index])

    def rows(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Z (B, Z) → what each row is decoded from: given (N, C), and the cells of each stream (N, ·)."""
        z = self.moments.inside(z)
        if self.conductor is None:
            return z, [z[:, :0]]
        given, cells = self.conductor(z)
        return given, self.encoder.cells.of_streams(cells) if self.config.roll else [cells] * len(self.fields)

    def streams(self) -> list[Decoder]:
        """Return the decoder of each stream."""
        return list(self.decoders)  # type: ignore[arg-type]

    def before(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the slot before each slot (B, U, S, F); what that is for the first of a bar, the settings say."""
        B, U, _, F = tokens.shape
        first = self.nothing.expand(B, U, F)
        if self.config.decoder == "flat" or self.config.first_input == "previous":
            last = (send(lengths, tokens.device) - 1)[..., None, None].expand(-1, -1, 1, F)
            first = torch.cat([first[:, :1], tokens.gather(2, last)[:, :-1, 0]], dim=1)
        return torch.cat([first[:, :, None], tokens[:, :, :-1]], dim=2)

    def start(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Z (B, Z) → what is the same in all slots of each row (N, Σ P), and the initial states (N, Σ 2 · ΣH).

        A row is a bar (N = B·U) under a conductor, else a clip (N = B).
        """
        given, cells = self.rows(z)
        rows, states = zip(*(d.begin(given, own) for d, own in zip(self.streams(), cells, strict=True)), strict=True)
        return torch.cat(rows, dim=-1), torch.cat(states, dim=-1)

    def step(
        self, before: Tensor, row: Tensor, state: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the next slot of n rows.

        before (n, F) is the slot before (vocabulary sizes in front of the first), row and state as from `start`,
        noise (n, ΣV) standard Gumbel, temperature () ≥ 0. A field is argmax(logits + temperature · noise), which
        is a draw from softmax(logits / temperature), and the likeliest value (of an amount the median) where it is 0.
        Returns slot (n, F), state, and the logits of all fields (n, ΣV) before the noise.
        """
        decoders = self.streams()
        slots = torch.split(before, self.fields, dim=-1)
        firsts = accumulate((decoder.constant for decoder in decoders), initial=0)
        states = torch.split(state, [decoder.state for decoder in decoders], dim=-1)
        noises = torch.split(noise, [sum(decoder.heads.sizes) for decoder in decoders], dim=-1)
        parts = zip(decoders, slots, firsts, states, noises, strict=False)  # of firsts the last is the end
        drawn = [decoder.step(b, row, first, s, n, temperature) for decoder, b, first, s, n in parts]
        slot, state, logits = (torch.cat(part, dim=-1) for part in zip(*drawn, strict=True))
        return slot, state, logits
