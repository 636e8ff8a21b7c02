"""MusicVAE (Roberts et al. 2018, section 3), from top to bottom.

    tokens ─ Encoder ─► mu, sigma ─► z ─ Conductor ─► one embedding a bar ─ Decoder ─► logits

Axes: B clips, U bars, S slots a bar, F fields of a slot, N = B·U bars of all clips, M slots that are not padding,
E embedding, C conductor, H decoder, Z latent.

Every bar is decoded from its own embedding, so all bars of all clips are one batch: under teacher forcing the
decoder is one LSTM call over N short sequences (a few calls, by length, so that little of it is padding).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicvae.config import ModelConfig, TokenSpec

__all__ = ["MusicVAE", "Output", "PackedLogits"]

_IMPOSSIBLE = -1e9
"""Logit of a value that the order of the slots rules out; finite, so that 0 · it is 0."""


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


# ---------------------------------------------------------------------------------------------- shared
class SlotEmbedding(nn.Module):
    """Turns the fields of a slot into one vector: the sum of a learned vector for each."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)  # the last row: start of a bar
        for table in self.tables:
            nn.init.normal_(table.weight, std=len(sizes) ** -0.5)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, F) → (…, E)."""
        return sum_(table(tokens[..., f]) for f, table in enumerate(self.tables))


class BiLSTM(nn.Module):
    """Bidirectional LSTM that reads each sequence to its own end and returns the last layer's final states.

    Padding comes after the end and changes nothing: the backward direction reads a copy that is mirrored about
    each sequence's own end. (Packed sequences do the same, several times slower on a CPU.)
    """

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [inputs] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.behind = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, inputs) and lengths (N,) of at least 1 → (N, 2 · hidden)."""
        rows = torch.arange(x.shape[0], device=x.device)
        last = lengths.to(x.device) - 1  # (N,)
        mirror = (last[:, None] - torch.arange(x.shape[1], device=x.device)).clamp(min=0)  # (N, T)
        for ahead, behind in zip(self.ahead, self.behind, strict=True):
            forward = ahead(x)[0]
            backward = behind(x[rows[:, None], mirror])[0][rows[:, None], mirror]
            x = torch.cat([forward, backward], dim=-1)  # (N, T, 2 · hidden)
        hidden = x.shape[-1] // 2
        return torch.cat([x[rows, last, :hidden], x[:, 0, hidden:]], dim=-1)


def initial_state(flat: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """(N, 2 · layers · H), h of every layer and then c of every layer → what nn.LSTM takes: two of (layers, N, H)."""
    h, c = flat.reshape(flat.shape[0], 2, layers, flat.shape[1] // (2 * layers)).permute(1, 2, 0, 3)
    return h.contiguous(), c.contiguous()


def by_length(lengths: Tensor, groups: int) -> list[tuple[Tensor, int]]:
    """Split sequences into `groups` of about equal length.

    `lengths` (N,) must lie on the CPU, so that nothing waits for a GPU. Returns for each group which rows it has
    and its longest length.
    """
    order = lengths.argsort()
    return [(rows, int(lengths[rows[-1]])) for rows in order.tensor_split(groups) if len(rows)]


# ---------------------------------------------------------------------------------------------- encoder
class Encoder(nn.Module):
    """tokens → mu, sigma of the posterior (paper, section 3.1)."""

    def __init__(self, spec: TokenSpec, config: ModelConfig) -> None:
        super().__init__()
        self.hierarchical = config.encoder == "hierarchical"
        self.embedding = SlotEmbedding(spec.sizes, config.embedding)
        width = config.embedding
        if self.hierarchical:
            self.slots = BiLSTM(width, config.bar_hidden, config.layers)
            width = 2 * config.bar_hidden
        self.clip = BiLSTM(width, config.encoder_hidden, config.layers)
        self.mu = nn.Linear(2 * config.encoder_hidden, config.z)
        self.sigma = nn.Linear(2 * config.encoder_hidden, config.z)

    def forward(self, tokens: Tensor, lengths: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, U, S, F), lengths (B, U) on the CPU → mu (B, Z), sigma (B, Z)."""
        B, U, S, F = tokens.shape
        if self.hierarchical:
            bars = self.read(self.slots, tokens.reshape(B * U, S, F), lengths.reshape(B * U), groups)
            summary = self.clip(bars.reshape(B, U, -1), torch.full((B,), U))
        else:
            real = torch.arange(S, device=tokens.device) < lengths.to(tokens.device)[..., None]  # (B, U, S)
            place = torch.where(real.flatten(1), real.flatten(1).long().cumsum(dim=1) - 1, U * S)  # padding to the end
            packed = tokens.new_zeros(B, U * S + 1, F).scatter(
                1, place[..., None].expand(-1, -1, F), tokens.flatten(1, 2)
            )
            summary = self.read(self.clip, packed, lengths.sum(dim=1), max(1, min(groups, B // 8)))
        return self.mu(summary), functional.softplus(self.sigma(summary))

    def read(self, lstm: nn.Module, tokens: Tensor, lengths: Tensor, groups: int) -> Tensor:
        """Run sequences (N, T, F) through an LSTM in groups of like length → (N, 2 · hidden)."""
        if groups == 1:
            return lstm(self.embedding(tokens), lengths)  # type: ignore[no-any-return]
        parts = by_length(lengths, groups)
        states = [lstm(self.embedding(tokens[rows, :longest]), lengths[rows]) for rows, longest in parts]
        order = torch.cat([rows for rows, _ in parts])
        return torch.cat(states)[order.argsort().to(tokens.device)]


# -------------------------------------------------------------------------------------------- conductor
class Conductor(nn.Module):
    """z → one embedding a bar (paper, section 3.2). Not autoregressive."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bars = config.bars
        self.layers = config.layers
        self.initial = nn.Linear(config.z, 2 * config.layers * config.conductor_hidden)
        self.lstm = nn.LSTM(1, config.conductor_hidden, config.layers, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) → (B, U, C)."""
        nothing = z.new_zeros(z.shape[0], self.bars, 1)
        return self.lstm(nothing, initial_state(torch.tanh(self.initial(z)), self.layers))[0]  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------- decoder
class Heads(nn.Module):
    """Logits of each field of a slot, given what the decoder knows and the fields before it in the same slot.

    The bar's embedding and the slot before reach the heads past the LSTM too: the short way makes the latent vector
    matter from the first steps on (Dieng et al. 2019, skip connections).
    """

    def __init__(self, stream_sizes: Sequence[int], inputs: int, width: int, ordered: bool) -> None:
        super().__init__()
        self.ordered, self.sizes = ordered, tuple(stream_sizes)
        self.hidden = nn.ModuleList(nn.Linear(inputs, width) for _ in stream_sizes)
        self.given = nn.ModuleList(
            nn.ModuleList(nn.Embedding(size, width) for size in stream_sizes[:f]) for f in range(len(stream_sizes))
        )
        self.before = nn.ModuleList(
            nn.ModuleList(nn.Embedding(s + 1, width) for s in stream_sizes) for _ in stream_sizes
        )
        self.out = nn.ModuleList(nn.Linear(width, size) for size in stream_sizes)
        for table in (*self.given.modules(), *self.before.modules()):
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.1)

    def forward(self, field: int, h: Tensor, slot: Tensor, before: Tensor, seen: Tensor) -> Tensor:
        """Logits of one field → (M, V) float32.

        h (M, H + C) is the decoder's output and the bar's embedding, `slot` (M, ≥ field) this slot's fields so far,
        `before` (M, F) the slot before, and `seen` (M, F) what of it is shown.
        """
        given: nn.ModuleList = self.given[field]  # type: ignore[assignment]
        previous: nn.ModuleList = self.before[field]  # type: ignore[assignment]
        known = [table(slot[:, f]) for f, table in enumerate(given)]
        known += [table(seen[:, f]) for f, table in enumerate(previous)]
        x = sum_([self.hidden[field](h), *known])
        logits = self.out[field](functional.relu(x)).float()
        return self.in_order(field, logits, slot, before) if self.ordered and field < 2 else logits

    def in_order(self, field: int, logits: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        """Rule out what would break the order: slots of a bar ascend by their first field, then by their second."""
        start = (before[:, 0] == self.sizes[0]).long()  # what stands before the first slot
        position = (before[:, 0] * (1 - start))[:, None]
        pitch = (before[:, 1] * (1 - start) - start)[:, None]
        values = torch.arange(logits.shape[1], device=logits.device)
        if field == 0:
            broken = values < position + (pitch == self.sizes[1] - 1)
        else:
            broken = (values <= pitch) & (slot[:, :1] == position)
        return logits.masked_fill(broken, _IMPOSSIBLE)


class Decoder(nn.Module):
    """One bar's embedding → its slots, one after another (paper, section 3.2). Restarted in every bar."""

    def __init__(self, sizes: Sequence[int], ordered: bool, config: ModelConfig) -> None:
        super().__init__()
        self.layers = config.layers
        self.first: Tensor  # what stands before the first slot
        self.register_buffer("first", torch.tensor(sizes), persistent=False)
        self.initial = nn.Linear(config.conductor_hidden, 2 * config.layers * config.decoder_hidden)
        self.embedding = SlotEmbedding(sizes, config.embedding)
        self.lstm = nn.LSTM(
            config.embedding + config.conductor_hidden, config.decoder_hidden, config.layers, batch_first=True
        )
        self.heads = Heads(sizes, config.decoder_hidden + config.conductor_hidden, config.head_hidden, ordered)

    def start(self, bar: Tensor) -> Tensor:
        """(N, C) → the LSTM's initial state (N, 2 · layers · H): h of every layer, then c of every layer."""
        return torch.tanh(self.initial(bar))

    def forward(
        self, bar: Tensor, tokens: Tensor, lengths: Tensor, groups: int, hidden: Tensor | None = None
    ) -> PackedLogits:
        """Teacher forcing: bar (N, C), tokens (N, S, F), lengths (N,) on the CPU → logits of the M real slots.

        Slots where `hidden` (N, S) is true are not shown to those after them (word dropout, Bowman et al. 2016).
        """
        N, S, F = tokens.shape
        before = torch.cat([self.first.expand(N, 1, F), tokens[:, :-1]], dim=1)
        shown = before
        if hidden is not None:
            shown = torch.cat([before[:, :1], torch.where(hidden[:, :-1, None], self.first, before[:, 1:])], dim=1)
        outputs, slots = [], []
        for rows, longest in by_length(lengths, groups):
            x = self.embedding(shown[rows, :longest])  # (n, longest, E)
            x = torch.cat([x, bar[rows, None].expand(-1, longest, -1).to(x.dtype)], dim=-1)
            output = self.lstm(x, initial_state(self.start(bar[rows]), self.layers))[0]  # (n, longest, H)
            row, slot = (torch.arange(longest) < lengths[rows, None]).nonzero(as_tuple=True)
            real = output[row.to(x.device), slot.to(x.device)]
            outputs.append(torch.cat([real, bar[rows[row]].to(real.dtype)], dim=-1))
            slots.append(rows[row] * S + slot)
        h, index = torch.cat(outputs), torch.cat(slots).to(tokens.device)  # (M, H + C), (M,)
        slot, previous, seen = (t.reshape(N * S, F)[index] for t in (tokens, before, shown))
        return PackedLogits(tuple(self.heads(f, h, slot, previous, seen) for f in range(F)), index)

    def step(
        self, before: Tensor, bar: Tensor, state: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, ...]:
        """Draw the next slot of each bar.

        before (n, F) is the slot before (vocabulary sizes in front of the first), bar (n, C), state as from `start`,
        noise (n, ΣV) standard Gumbel, temperature () ≥ 0. A field is argmax(logits + temperature · noise), which
        is a draw from softmax(logits / temperature), and the likeliest value where the temperature is 0.
        Returns slot (n, F), state, and the logits of all fields (n, ΣV) before the noise.
        """
        h, c = (half.chunk(self.layers, dim=-1) for half in state.chunk(2, dim=-1))
        x = torch.cat([self.embedding(before), bar], dim=-1)
        new_h, new_c = [], []
        for layer in range(self.layers):
            w_ih, w_hh, b_ih, b_hh = (
                getattr(self.lstm, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            i, f, g, o = (functional.linear(x, w_ih, b_ih) + functional.linear(h[layer], w_hh, b_hh)).chunk(4, dim=-1)
            new_c.append(torch.sigmoid(f) * c[layer] + torch.sigmoid(i) * torch.tanh(g))
            x = torch.sigmoid(o) * torch.tanh(new_c[-1])
            new_h.append(x)
        slot, seen, used = before[:, :0], [], 0
        for field in range(before.shape[1]):
            logits = self.heads(field, torch.cat([x, bar], dim=-1), slot, before, before)
            seen.append(logits)
            perturbed = logits + temperature * noise[:, used : used + logits.shape[1]]
            slot = torch.cat([slot, perturbed.argmax(dim=-1, keepdim=True)], dim=-1)
            used += logits.shape[1]
        return slot, torch.cat(new_h + new_c, dim=-1), torch.cat(seen, dim=-1)


# -------------------------------------------------------------------------------------------------- whole
class MusicVAE(nn.Module):
    """The whole network. `groups` is how many runs by length the bars are split into; it changes speed only."""

    def __init__(self, spec: TokenSpec, config: ModelConfig, groups: int = 8) -> None:
        super().__init__()
        self.spec, self.config, self.groups = spec, config, groups
        self.encoder = Encoder(spec, config)
        self.conductor = Conductor(config)
        self.decoder = Decoder(spec.sizes, spec.ordered, config)

    def forward(self, tokens: Tensor, lengths: Tensor, noise: Tensor, hidden: Tensor | None = None) -> Output:
        """Run the whole network under teacher forcing.

        tokens (B, U, S, F), lengths (B, U) of the bars with their end mark, on the CPU; noise (B, Z) ~ N(0, I); hidden
        (B, U, S) slots that the decoder is not shown (none if left out).
        """
        mu, sigma = self.encode(tokens, lengths)
        z = mu + sigma * noise
        return Output(mu, sigma, z, self.decode(z, tokens, lengths, hidden))

    def encode(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        mu, sigma = self.encoder(tokens, lengths, self.groups)
        return mu.float(), sigma.float()

    def decode(self, z: Tensor, tokens: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> PackedLogits:
        """Teacher-forced logits of the tokens (B, U, S, F) under z (B, Z); hidden (B, U, S) as in `forward`."""
        bars = self.conductor(z).flatten(0, 1)  # (N, C)
        masked = hidden if hidden is None else hidden.flatten(0, 1)
        return self.decoder(bars, tokens.flatten(0, 1), lengths.flatten(), self.groups, masked)  # type: ignore[no-any-return]


def sum_(tensors: Iterable[Tensor]) -> Tensor:
    """Add tensors up; `sum` would begin with the integer 0."""
    first, *rest = tensors
    for tensor in rest:
        first = first + tensor
    return first
