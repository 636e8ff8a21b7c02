"""Everything that is measured of a model at once, with the clips to look at: what the page of `musicvae report` shows.

The figures are those of `reconstruction`, `compare` (features and the machine listener) and `copying`, on one set of
generated clips and one set of held-out clips. Needs the `eval` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.data.card import data_facts
from musicvae.data.dataset import Clips, Dataset
from musicvae.errors import ConfigError, DataError
from musicvae.evaluate import copying
from musicvae.evaluate.compare import Comparison, compare
from musicvae.evaluate.densities import scipy
from musicvae.evaluate.distances import FeatureDistances, compare_features
from musicvae.evaluate.listener import sklearn
from musicvae.evaluate.novelty import Index
from musicvae.evaluate.reconstruction import count_notes, reconstruction
from musicvae.music.score import Score
from musicvae.runtime.engine import Model
from musicvae.runtime.sampling import draw_tokens

__all__ = ["Measured", "Pair", "Silent", "measure", "silent"]

Progress = Callable[[int, int], None]

SHOWN = 4
"""Generated clips that are shown: the first ones drawn, so nobody has chosen them."""
PAIRS = 3
"""Held-out clips that are shown beside their reconstructions."""
FEWEST = 2
"""Clips below which there is nothing to compare."""


class Pair(NamedTuple):
    """A held-out clip and what the model makes of it, greedily from the posterior's mean."""

    source: str
    """The file that its song comes from."""
    original: Score
    copy: Score
    onset_f1: float
    """F1 of the note onsets of the copy, 0–1."""


class Silent(NamedTuple):
    """A feature that says nothing of these clips."""

    feature: str
    description: str


class Measured(NamedTuple):
    """What was measured of a model, and the clips to look at."""

    model: str
    data: str
    split: str
    kind: str
    parts: tuple[str, ...]
    bars: int
    temperature: float
    seed: int
    samples: tuple[Score, ...]
    pairs: tuple[Pair, ...]
    reconstruction: Mapping[str, Any]
    """See `musicvae.evaluate.reconstruction`."""
    comparison: Comparison
    halves: Mapping[str, FeatureDistances]
    """Real against real by feature: one half of the held-out songs in the place of the generated clips."""
    novelty: Mapping[str, Any] | None
    """See `copying.compare`; None where there is nothing to compare with."""
    learnt: bool
    """Whether the model may have learnt from this data set, so that novelty says what it has of its training songs."""
    facts: Mapping[str, Any]
    """See `musicvae.data.card`."""
    left_out: tuple[str, ...]
    """What could not be measured and why, in sentences."""

    @property
    def heard(self) -> list[FeatureDistances]:
        """The features that say something of these clips."""
        return [row for row in self.comparison.features if not silent(row)]

    @property
    def unheard(self) -> list[Silent]:
        """The others."""
        return [Silent(row.feature, row.description) for row in self.comparison.features if silent(row)]

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain numbers for JSON; the clips are told by their numbers of notes."""
        halves = {name: row.to_dict() for name, row in self.halves.items()}
        return {
            **{name: getattr(self, name) for name in ("model", "data", "split", "kind", "bars", "temperature", "seed")},
            "samples": [{"notes": len(clip)} for clip in self.samples],
            "pairs": [
                {
                    "source": pair.source,
                    "notes": len(pair.original),
                    "notes_of_copy": len(pair.copy),
                    "onset_f1": pair.onset_f1,
                }
                for pair in self.pairs
            ],
            "reconstruction": self.reconstruction,
            "comparison": self.comparison.to_dict(),
            "real_halves": {name: {k: row[k] for k in ("overlap", "density")} for name, row in halves.items()},
            "silent_features": [row.feature for row in self.unheard],
            "novelty": self.novelty,
            "learnt_from_this_data": self.learnt,
            "data_facts": self.facts,
            "left_out": list(self.left_out),
        }


def measure(
    model: Model,
    dataset: Dataset,
    *,
    data: str = "",
    split: str = "test",
    clips: int = 256,
    temperature: float,
    seed: int = 0,
    rounds: int = 20,
    progress: Callable[[str], Progress] = lambda label: lambda done, total: None,
) -> Measured:
    """Measure everything of a model on `clips` clips that it draws and as many of the split's songs.

    `data` is what the data set is called, by default its folder. `progress` is asked for one function for each stage,
    with the stage's name. The same arguments give the same figures.

    Raises ConfigError for fewer than two clips; DataError where the split has none, or a data set on another grid;
    MissingExtraError without the `eval` extra.
    """
    scipy()
    sklearn()
    if clips < FEWEST:
        raise ConfigError(f"clips is {clips}; wanted {FEWEST} or more")
    codec = model.codec
    found = dataset.clips(split, codec, model.bars)
    found.require()
    if len(found) < FEWEST:
        raise DataError(
            f"{dataset.folder}: the {split} split has one clip of {model.bars} bars; wanted {FEWEST} or more. Add music"
        )
    index = found.spread_index(clips)
    batch, songs = found.batch(index), found.songs[index]
    left_out = []
    drawn = model.sample(clips, temperature=temperature, seed=seed, progress=progress("drawing clips"))
    scored = reconstruction(
        model.backend,
        codec,
        batch,
        songs,
        temperature=temperature,
        seed=seed,
        progress=progress("reconstructing held-out clips"),
    )
    real = [codec.decode(tokens) for tokens in batch.tokens]
    compared = compare(
        drawn, real, songs, rounds=rounds, baselines=True, seed=seed, progress=progress("comparing features")
    )
    if compared.listener is None:
        left_out.append("The machine listener: it wants ten clips of each kind and ten songs, and has fewer.")
    halves = _halves(real, songs, seed)
    if not halves:
        left_out.append("Real against real: it wants four songs or more.")
    if not any(np.isfinite(row.figures.overlap) for row in compared.features):
        left_out.append(
            "Overlaps of features: they want clips of two songs or more, and of one song there are no pairs."
        )
    learnt = copying.learnt_from(model.bundle.trained, dataset)
    novelty: Mapping[str, Any] | None = None
    held_out: list[Score] = []
    try:
        held_out = copying.held_out(dataset, codec, model.bars)
        novelty = copying.compare(
            Index.kept(dataset, codec.parts), drawn, held_out, dataset.sources(), progress("looking for copied notes")
        )
    except DataError as error:
        why = error if held_out else f"no song of {model.bars} bars or more is held out to compare with"
        left_out.append(f"Novelty: {why}.")
    return Measured(
        model=model.bundle.name,
        data=data or str(dataset.folder),
        split=split,
        kind=codec.config.kind,
        parts=tuple(codec.parts),
        bars=model.bars,
        temperature=temperature,
        seed=seed,
        samples=tuple(drawn[:SHOWN]),
        pairs=_pairs(model, found, index, dataset),
        reconstruction=scored,
        comparison=compared,
        halves=halves,
        novelty=novelty,
        learnt=learnt,
        facts=data_facts(dataset),
        left_out=tuple(left_out),
    )


def silent(row: FeatureDistances) -> bool:
    """Tell whether a feature is the same in all clips or defined in none, such as the pitches of drums."""
    return not any(row.bandwidth) and not 0 <= row.figures.overlap < 1


def _halves(real: list[Score], songs: NDArray[np.integer], seed: int) -> dict[str, FeatureDistances]:
    """Return the distances within half of the real songs, and from these to the others, by feature."""
    names = np.unique(songs)
    if len(names) < 4:
        return {}
    first = np.isin(songs, np.random.default_rng([seed, 2]).permutation(names)[: len(names) // 2])
    ours, theirs = ([clip for clip, mine in zip(real, chosen, strict=True) if mine] for chosen in (first, ~first))
    if min(len(ours), len(theirs)) < FEWEST:
        return {}
    rows = compare_features(ours, theirs, songs[~first], generated_songs=songs[first], rounds=0, seed=seed)
    return {row.feature: row for row in rows}


def _pairs(model: Model, found: Clips, index: NDArray[np.int64], dataset: Dataset) -> tuple[Pair, ...]:
    """Return some of the held-out clips beside their reconstructions, spread over them, each of another song."""
    _, first = np.unique(found.songs[index], return_index=True)
    few = min(PAIRS, len(first))
    chosen = index[np.sort(first)[(2 * np.arange(few) + 1) * len(first) // (2 * few)]]
    batch = found.batch(chosen)
    copies = draw_tokens(model.backend, model.backend.encode(batch.tokens, batch.lengths)[0])
    sources, pairs = dataset.sources(), []
    for song, tokens, drawn in zip(found.songs[chosen].tolist(), batch.tokens, copies, strict=True):
        tempo = float(dataset.songs["tempo"][song])
        original, copy = (model.codec.decode(clip, tempo) for clip in (tokens, drawn))
        pairs.append(Pair(sources[song], original, copy, count_notes(original, copy).onset[2]))
    return tuple(pairs)
