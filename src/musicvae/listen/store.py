"""The answers, in SQLite.

Rows are only ever added: triggers forbid the rest, and the first answer to a question stands. Each one is on the disk
before the browser hears of it (write-ahead log, synchronous=FULL), so the process may be killed at any time, and
several may write at once. Listeners are numbers; of the key that lets one go on only a hash is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from musicvae.errors import DataError, MusicVAEError

__all__ = ["Answer", "Listener", "Store"]

MOST = 100_000
"""Most listeners of a test, so that nobody can fill the disk."""
VERSION = 1

_SCHEMA = f"""
CREATE TABLE listeners (
  number INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,
  place INTEGER NOT NULL,
  experience INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE TABLE answers (
  listener INTEGER NOT NULL REFERENCES listeners,
  trial INTEGER NOT NULL,
  answer INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (listener, trial)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER listeners_stay BEFORE UPDATE ON listeners BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER listeners_keep BEFORE DELETE ON listeners BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER answers_stay BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER answers_keep BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
PRAGMA user_version = {VERSION};
"""


class Listener(NamedTuple):
    """Somebody who takes the test."""

    number: int
    place: int
    """Which of the orders."""
    experience: int
    """Index into EXPERIENCE."""
    answered: int
    """How many answers there are, practice included: the number of the next trial."""


class Answer(NamedTuple):
    """One answer."""

    listener: int
    trial: int
    answer: int
    at: int
    """Seconds since 1970."""


class Store:
    """The answers of one test. For one thread at a time; other processes may have the same file open."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, which is made if it is not there; raises DataError if it is none of ours."""
        self.path = path
        with self._told():
            if read_only:
                self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
            else:
                self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                with self._writing():
                    version = self._db.execute("PRAGMA user_version").fetchone()[0]
                    if not self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                        for statement in _statements(_SCHEMA):
                            self._db.execute(statement)
                        version = VERSION
        if version != VERSION:
            raise DataError(f"{path}: is no file of answers of this version. Choose another folder with -o")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, experience: int, places: int) -> str:
        """Add a listener and return the key to go on with. The place is that which fewest have taken.

        Those who have answered count first, so that visits which came to nothing leave no gap. Raises MusicVAEError
        where there are too many.
        """
        key = secrets.token_urlsafe(18)
        with self._told(), self._writing():
            rows = self._db.execute(
                "SELECT place, COUNT(answers.trial), COUNT(*) FROM listeners "
                "LEFT JOIN answers ON answers.listener = number AND trial = 1 GROUP BY place"
            ).fetchall()
            taken = {place: (answered, begun) for place, answered, begun in rows}
            if sum(begun for _, begun in taken.values()) >= MOST:
                raise MusicVAEError("too many have begun this test. Ask whoever runs it for another one")
            place = min(range(places), key=lambda p: taken.get(p, (0, 0)))
            self._db.execute(
                "INSERT INTO listeners (key, place, experience, at) VALUES (?, ?, ?, ?)",
                (_hash(key), place, experience, int(time.time())),
            )
        return key

    def listener(self, key: str) -> Listener | None:
        """Return who has this key."""
        with self._told():
            row = self._db.execute(
                "SELECT number, place, experience, (SELECT COUNT(*) FROM answers WHERE listener = number) "
                "FROM listeners WHERE key = ?",
                (_hash(key),),
            ).fetchone()
        return Listener(*row) if row else None

    def answer(self, listener: int, trial: int, answer: int) -> bool:
        """Add an answer, and tell whether it is the first to this trial; a later one changes nothing."""
        with self._told(), self._writing():
            done = self._db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (listener, trial, answer, int(time.time())),
            )
            return done.rowcount == 1

    def read(self) -> tuple[list[Listener], list[Answer]]:
        """Return all listeners, and all answers by listener and trial, as of one moment."""
        with self._told():
            self._db.execute("BEGIN")
            try:
                answers = [Answer(*row) for row in self._db.execute("SELECT * FROM answers ORDER BY listener, trial")]
                rows = self._db.execute("SELECT number, place, experience FROM listeners ORDER BY number").fetchall()
            finally:
                self._db.execute("ROLLBACK")
        counts: dict[int, int] = {}
        for one in answers:
            counts[one.listener] = counts.get(one.listener, 0) + 1
        return [Listener(n, place, experience, counts.get(n, 0)) for n, place, experience in rows], answers

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other writers out, and keep all or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into one line."""
        try:
            yield
        except sqlite3.Error as error:
            raise DataError(
                f"{self.path}: the answers cannot be read or written ({error}). "
                "If the disk is not full, copy the folder and try `sqlite3 answers.db .recover` on the copy"
            ) from None


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _statements(script: str) -> Iterator[str]:
    """Return the statements of a script one by one: sqlite3's executescript would end the transaction."""
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""
