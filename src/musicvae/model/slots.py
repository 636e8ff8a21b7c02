"""Slots as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicvae.tokens import Field

__all__ = ["SlotEmbedding", "begin_with_nothing", "draw", "sum_"]


class SlotEmbedding(nn.Module):
    """Turns the fields of a slot into one vector: the sum of a learned vector for each, or all of them one-hot.

    One more value than a field has stands for nothing: before the start, or not shown. One-hot, it is all zeros.
    """

    def __init__(self, fields: Sequence[Field], width: int, bits: bool = False) -> None:
        """`width` 0 means one-hot; `bits` shows the members of a binary field, and whether there are none, instead."""
        super().__init__()
        self.sizes = tuple(field.size for field in fields)
        self.bits = tuple(bits and field.binary for field in fields)
        self.amounts = tuple(field.amount for field in fields)
        self.one_hot = width == 0
        self.tables = nn.ModuleList() if self.one_hot else nn.ModuleList(nn.Embedding(n + 1, width) for n in self.sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=len(fields) ** -0.5)  # type: ignore[arg-type]
        shown = [size.bit_length() if binary else size for size, binary in zip(self.sizes, self.bits, strict=True)]
        self.width = width or sum(shown)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, F) → (…, E)."""
        if self.one_hot:
            return torch.cat([self.vector(f, tokens[..., f]) for f in range(len(self.sizes))], dim=-1)
        return sum_(table(tokens[..., f]) for f, table in enumerate(self.tables))

    def vector(self, field: int, values: Tensor) -> Tensor:
        """(…) → (…, V) one-hot, or (…, bits + 1) members and whether there are none."""
        size = self.sizes[field]
        if not self.bits[field]:
            return functional.one_hot(values, size + 1)[..., :size].float()
        places = 2 ** torch.arange(size.bit_length() - 1, device=values.device)
        members = torch.div(values[..., None], places, rounding_mode="floor") % 2
        return torch.cat([members, (values == 0)[..., None].long()], dim=-1).float()


def draw(logits: Tensor, noise: Tensor, amount: bool) -> Tensor:
    """Draw the values (n, 1) of a field from its logits (n, V) and temperature · standard Gumbel noise (n, V).

    Where there is no noise it is the likeliest value, and of an amount the median: of two lengths that are about as
    likely the likeliest may be far off, which is heard.
    """
    likeliest = (logits + noise).argmax(dim=-1, keepdim=True)
    if not amount:
        return likeliest
    median = (logits.softmax(dim=-1).cumsum(dim=-1) < 0.5).sum(dim=-1, keepdim=True)
    return torch.where(noise.abs().amax(dim=-1, keepdim=True) == 0, median, likeliest)


def begin_with_nothing(*layers: nn.Linear) -> None:
    """Let linear maps give zeros until they have learnt something."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def sum_(tensors: Iterable[Tensor]) -> Tensor:
    """Add tensors up; `sum` would begin with the integer 0."""
    first, *rest = tensors
    for tensor in rest:
        first = first + tensor
    return first
