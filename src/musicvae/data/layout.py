"""The data set on disk: a folder of columns that numpy reads without a parser.

    notes.npy     (notes,) NOTE: all notes of all voices, by voice, bar, position, pitch
    bars.npy      (bars + 1,) int64: where each bar of each voice begins in notes.npy; voices one after another
    voices.npy    (voices,) VOICE, by song; in a song the piano first, then melodies, basses and drums
    songs.npy     (songs,) SONG, by content hash
    songs.tsv     the same for people, with the name of each song's source
    dropped.tsv   what was lost and why: whole files, duplicates, notes
    dataset.json  settings, counts and hashes; written last

A piano track stands in its song's `piano` voice, where all of them are merged, and is a `melody` voice of its own, too.
"""

from __future__ import annotations

import numpy as np

__all__ = ["ARRAYS", "FILES", "FORMAT", "KEPT", "NOTE", "SONG", "SPLITS", "VOICE"]

FORMAT = 2
"""Version of the layout. 1 held the piano alone."""

SPLITS = ("train", "valid", "test")
"""Names of the splits; `SONG` holds indices into this tuple."""

NOTE = np.dtype([("position", "u1"), ("pitch", "u1"), ("duration", "<u2"), ("velocity", "u1")])
"""A note: step within its bar, MIDI number, length in steps, MIDI velocity."""

VOICE = np.dtype([("song", "<u4"), ("part", "u1"), ("program", "u1"), ("first_bar", "<u4")])
"""A voice: its song, index into PARTS, MIDI program, its first bar among all bars; it is as long as its song."""

SONG = np.dtype([("bars", "<u4"), ("split", "u1"), ("tempo", "<f4"), ("first_voice", "<u4"), ("voices", "<u2")])
"""A song: its length, index into SPLITS, quarter notes a minute, its first voice and how many it has."""

ARRAYS = ("notes", "bars", "voices", "songs")
"""Names of the arrays."""

FILES = (*(f"{name}.npy" for name in ARRAYS), "songs.tsv", "dropped.tsv", "dataset.json")
"""The files of a data set; dataset.json is written last and makes it whole."""

KEPT = "novelty-"
"""Begins the names of files that other commands keep in a data set's folder to save time; nothing is lost with them."""
