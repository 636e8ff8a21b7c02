"""Events of a run as lines of text, for every face that training has."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Event", "figures", "line"]


class Event(NamedTuple):
    """Something that happened in a run."""

    kind: str
    """`start`, `train` (each LOG_STEPS steps), `valid` (each epoch), `samples`, `note` or `end`."""
    data: dict[str, Any]
    """The figures, as in metrics.jsonl; `message` for start, samples, note and end."""


def line(event: Event) -> str:
    """Return an event as a line of text."""
    data = event.data
    if event.kind == "train":
        return f"step {data['step']} · epoch {data['epoch']:.2f} · {figures(data)}"
    if event.kind == "valid":
        greedy = " ".join(f"{k.removeprefix('greedy_')} {v:.3f}" for k, v in data.items() if k.startswith("greedy_"))
        return (
            f"epoch {data['epoch']:.0f}, held-out songs: {figures(data)} · greedy {greedy and greedy + ', '}"
            f"onset F1 {data['onset_f1']:.3f} · {data['active_units']:.0f} active units"
        )
    return str(data["message"])


def figures(data: dict[str, Any]) -> str:
    """Return the figures of a training or validation event."""
    accuracies = [f"{k.removeprefix('accuracy_')} {v:.3f}" for k, v in data.items() if k.startswith("accuracy_")]
    parts = [
        f"loss {data['loss_nats']:.1f} nats/clip, {data['nats_per_slot']:.3f}/slot",
        f"KL {data['kl_nats']:.0f}",
        " ".join(accuracies),
    ]
    if "clips_per_second" in data:
        parts.append(f"{data['clips_per_second']:.{0 if data['clips_per_second'] >= 10 else 1}f} clips/s")
    for key, limit in (("of_peak", "the peak"), ("of_gemm_rate", "the GEMM rate")):
        if key in data:
            parts.append(f"{data[key]:.0%} of {limit}")
    return " · ".join(parts)
