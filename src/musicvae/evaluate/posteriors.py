"""What a model makes of the clips of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from musicvae.data.clips import Batch, Clips
from musicvae.runtime.sampling import Backend

__all__ = ["posteriors"]

BATCH = 256


def posteriors(
    backend: Backend, clips: Clips, count: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[tuple[Batch, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield up to `count` clips spread evenly, BATCH at a time, with mu (B, Z) and sigma (B, Z) of their posteriors.

    Raises DataError where there is no clip.
    """
    clips.require()
    chosen = clips.spread_index(count)
    for i in range(0, len(chosen), BATCH):
        batch = clips.batch(chosen[i : i + BATCH])
        yield batch, *backend.encode(batch.tokens, batch.lengths)
        progress(min(i + BATCH, len(chosen)), len(chosen))
