"""LSTMs over sequences of differing length, and how sequences are laid out for them.

Axes: B clips, U bars, S slots a bar, F fields of a slot, N sequences, T steps of a sequence, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LSTM", "BiLSTM", "by_length", "join_bars", "send"]


def layer(inputs: int, hidden: int) -> nn.LSTM:
    """Return one layer that begins by remembering: the bias of its forget gates is 1, as in the published network."""
    lstm = nn.LSTM(inputs, hidden, batch_first=True)
    _, _, b_ih, b_hh = lstm.parameters()
    with torch.no_grad():
        b_ih[hidden : 2 * hidden] = 1.0
        b_hh[hidden : 2 * hidden] = 0.0
    return lstm


class LSTM(nn.Module):
    """Stacked LSTM whose layers may differ in size. A state is (N, 2 · ΣH): h of every layer, then c of every layer."""

    def __init__(self, inputs: int, hidden: Sequence[int], constant: int = 0) -> None:
        """`constant` more inputs, behind the others, are the same at all steps of a sequence."""
        super().__init__()
        widths = [inputs + constant, *hidden[:-1]]
        self.layers = nn.ModuleList(layer(w, h) for w, h in zip(widths, hidden, strict=True))
        self.inputs, self.hidden = inputs, tuple(hidden)
        self.state = 2 * sum(hidden)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """X (N, T, inputs) → outputs of the last layer (N, T, H)."""
        h, c = self.split(state)
        for number, lstm in enumerate(self.layers):
            x = lstm(x, (h[number][None].contiguous(), c[number][None].contiguous()))[0]
        return x

    def constant(self, x: Tensor) -> Tensor:
        """Constant inputs (N, ·) → their part in the gates of the first layer (N, 4 · H), the same at all steps."""
        w_ih, _, b_ih, b_hh = self.layers[0].parameters()
        return functional.linear(x, w_ih[:, self.inputs :], b_ih + b_hh)

    def step(self, x: Tensor, constant: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step: the other inputs x (N, inputs), `constant` (N, 4 · H) → output (N, H) and the new state."""
        h, c = self.split(state)
        new_h, new_c = [], []
        for number, (lstm, size) in enumerate(zip(self.layers, self.hidden, strict=True)):
            w_ih, w_hh, b_ih, b_hh = lstm.parameters()
            if number == 0:
                gates = torch.addmm(constant, x, w_ih[:, : self.inputs].t())
                gates = torch.addmm(gates, h[0], w_hh.t())
            else:
                gates = functional.linear(
                    torch.cat([x, h[number]], dim=-1), torch.cat([w_ih, w_hh], dim=1), b_ih + b_hh
                )
            i, f, g, o = torch.split(gates, size, dim=-1)
            new_c.append(torch.sigmoid(f) * c[number] + torch.sigmoid(i) * torch.tanh(g))
            x = torch.sigmoid(o) * torch.tanh(new_c[-1])
            new_h.append(x)
        return x, torch.cat(new_h + new_c, dim=-1)

    def split(self, state: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return h and c of each layer."""
        parts = torch.split(state, [*self.hidden, *self.hidden], dim=-1)
        return parts[: len(self.hidden)], parts[len(self.hidden) :]


class BiLSTM(nn.Module):
    """Bidirectional LSTM that reads each sequence to its own end and returns the last layer's final states.

    Padding comes after the end and changes nothing: the backward direction reads a copy that is mirrored about
    each sequence's own end. (Packed sequences do the same, several times slower on a CPU.)
    """

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [inputs, *(2 * h for h in hidden[:-1])]
        self.ahead = nn.ModuleList(layer(w, h) for w, h in zip(widths, hidden, strict=True))
        self.behind = nn.ModuleList(layer(w, h) for w, h in zip(widths, hidden, strict=True))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, inputs) and lengths (N,) of at least 1 (None: all T) → (N, 2 · hidden)."""
        return self.ends(self.outputs(x, lengths), lengths)

    def outputs(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(N, T, inputs) and lengths (N,) → outputs of the last layer (N, T, 2 · hidden), junk behind an end."""
        rows = torch.arange(x.shape[0], device=x.device)
        if lengths is not None:
            last = send(lengths, x.device) - 1  # (N,)
            mirror = (last[:, None] - torch.arange(x.shape[1], device=x.device)).clamp(min=0)  # (N, T)
        for ahead, behind in zip(self.ahead, self.behind, strict=True):
            forward = ahead(x)[0]
            if lengths is None:
                backward = behind(x.flip(1))[0].flip(1)
            else:
                backward = behind(x[rows[:, None], mirror])[0][rows[:, None], mirror]
            x = torch.cat([forward, backward], dim=-1)  # (N, T, 2 · hidden)
        return x

    def ends(self, outputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the last of each direction (N, 2 · hidden), of outputs (N, T, 2 · hidden)."""
        hidden = outputs.shape[-1] // 2
        if lengths is None:
            end = outputs[:, -1, :hidden]
        else:
            rows = torch.arange(outputs.shape[0], device=outputs.device)
            end = outputs[rows, send(lengths, outputs.device) - 1, :hidden]
        return torch.cat([end, outputs[:, 0, hidden:]], dim=-1)


def by_length(lengths: Tensor, groups: int) -> list[tuple[Tensor, int]]:
    """Split sequences into `groups` of about equal length.

    `lengths` (N,) must lie on the CPU, so that nothing waits for a GPU. Returns for each group which rows it has
    and its longest length.
    """
    order = lengths.argsort()
    return [(rows, int(lengths[rows[-1]])) for rows in order.tensor_split(groups) if len(rows)]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device without waiting for what that computes."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def join_bars(tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Write the bars of each clip one after another: tokens (B, U, S, F), lengths (B, U) → a clip in one row.

    Returns the tokens (B, T, F), T = U · S, padding last, and for each slot of it its number within the clip (B, T).
    """
    B, U, S, F = tokens.shape
    real = (torch.arange(S, device=tokens.device) < send(lengths, tokens.device)[..., None]).flatten(1)  # (B, U·S)
    place = torch.where(real, real.long().cumsum(dim=1) - 1, U * S)  # padding goes behind the end
    number = torch.arange(U * S, device=tokens.device).expand(B, -1)
    numbers = place.new_zeros(B, U * S + 1).scatter(1, place, number)[:, :-1]
    return tokens.flatten(1, 2).gather(1, numbers[..., None].expand(-1, -1, F)), numbers
