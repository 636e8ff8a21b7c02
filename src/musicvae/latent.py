"""Moves in the latent space, on plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["slerp"]


def slerp(a: NDArray[np.floating], b: NDArray[np.floating], t: float) -> NDArray[np.float32]:
    """Return the point at `t` (0: a, 1: b) on the arc from a (Z,) to b (Z,).

    The direction turns at constant speed and the length changes linearly, so that points between two typical latent
    vectors are typical too (White 2016, arXiv 1609.04468). Finite for every pair: equal and zero vectors are mixed
    linearly, opposite ones turn through a fixed perpendicular direction.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if t in (0, 1):
        return (b if t else a).astype(np.float32)  # exactly
    length_a, length_b = np.linalg.norm(a), np.linalg.norm(b)
    if length_a == 0 or length_b == 0 or len(a) == 1:  # nothing to turn in
        return ((1 - t) * a + t * b).astype(np.float32)
    u, v = a / length_a, b / length_b
    across = v - (u @ v) * u  # the part of v that is perpendicular to u
    angle = np.arctan2(np.linalg.norm(across), u @ v)
    if np.linalg.norm(across) < 1e-9:
        if u @ v > 0:
            return ((1 - t) * a + t * b).astype(np.float32)
        axis = np.zeros_like(u)
        axis[np.argmin(np.abs(u))] = 1.0
        across = axis - (u @ axis) * u
    across /= np.linalg.norm(across)
    length = (1 - t) * length_a + t * length_b
    point: NDArray[np.float32] = (length * (np.cos(t * angle) * u + np.sin(t * angle) * across)).astype(np.float32)
    return point
