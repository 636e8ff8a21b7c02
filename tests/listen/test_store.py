"""Answers: kept whatever happens, never changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from musicvae.errors import DataError, MusicVAEError
from musicvae.listen import store as stores
from musicvae.listen.store import Store

WRITER = """
import sys
from pathlib import Path
from musicvae.listen.store import Store
store = Store(Path(sys.argv[1]))
for _ in range(10_000):
    key = store.begin(1, 4)
    number = store.listener(key).number
    for trial in range(5):
        store.answer(number, trial, 1)
        print(number, trial, flush=True)
"""


def test_answers_are_kept_and_the_first_one_stands(tmp_path):
    store = Store(tmp_path / "answers.db")
    key = store.begin(3, 8)
    one = store.listener(key)
    assert one == (1, 0, 3, 0)
    assert store.answer(1, 0, 1)
    assert not store.answer(1, 0, 0)
    store.close()
    again = Store(tmp_path / "answers.db")
    assert again.listener(key) == (1, 0, 3, 1)
    assert again.listener("nobody") is None
    listeners, answers = again.read()
    assert listeners == [(1, 0, 3, 1)]
    assert [row[:3] for row in answers] == [(1, 0, 1)]


def test_the_key_is_not_in_the_file(tmp_path):
    store = Store(tmp_path / "answers.db")
    key = store.begin(0, 1)
    store.close()
    assert key.encode() not in (tmp_path / "answers.db").read_bytes()


def test_rows_cannot_be_changed_or_removed(tmp_path):
    store = Store(tmp_path / "answers.db")
    store.begin(0, 1)
    store.answer(1, 0, 1)
    for statement in ("UPDATE answers SET answer = 0", "DELETE FROM answers", "UPDATE listeners SET place = 3"):
        with sqlite3.connect(tmp_path / "answers.db") as db, pytest.raises(sqlite3.IntegrityError, match="only added"):
            db.execute(statement)
        db.close()
    with pytest.raises(DataError, match="FOREIGN KEY"):
        store.answer(99, 0, 1)  # of nobody


def test_places_are_taken_in_turn_and_visits_that_came_to_nothing_leave_no_gap(tmp_path):
    store = Store(tmp_path / "answers.db")
    for _ in range(6):
        number = store.listener(store.begin(0, 4)).number
        if number % 2:
            store.answer(number, 0, 1)
            store.answer(number, 1, 1)
    # 1 to 6 took the places 0 1 2 3 1 3; 1, 3 and 5 have answered at 0, 2 and 1.
    assert [row.place for row in store.read()[0]] == [0, 1, 2, 3, 1, 3]
    assert store.listener(store.begin(0, 4)).place == 3


def test_there_is_an_end_to_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "MOST", 3)
    store = Store(tmp_path / "answers.db")
    for _ in range(3):
        store.begin(0, 2)
    with pytest.raises(MusicVAEError, match="too many have begun"):
        store.begin(0, 2)


def test_two_writers_at_once(tmp_path):
    path = tmp_path / "answers.db"
    Store(path).close()

    def write(which):
        store = Store(path)
        first = []
        for trial in range(20):
            key = store.begin(0, 40)
            store.answer(store.listener(key).number, 1, 1)
            first.append(store.answer(1, trial, which))  # both answer for the first listener
        store.close()
        return first

    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(write, (0, 1))
    listeners, answers = Store(path, read_only=True).read()
    assert [row.number for row in listeners] == list(range(1, 41))
    assert sorted(Counter(row.place for row in listeners).values()) == [1] * 40
    assert [x + y for x, y in zip(a, b, strict=True)].count(2) == 0
    of_one = {row.trial: row.answer for row in answers if row.listener == 1}
    for trial in set(range(20)) - {1}:
        assert a[trial] != b[trial]
        assert of_one[trial] == (0 if a[trial] else 1)


def test_what_was_said_to_be_kept_outlives_a_kill(tmp_path):
    path = tmp_path / "answers.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [tuple(map(int, process.stdout.readline().split())) for _ in range(40)]
        process.kill()  # in the midst of writing
        said += [tuple(map(int, line.split())) for line in process.stdout if line.endswith("\n")]
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    store = Store(path)
    kept = {(row.listener, row.trial) for row in store.read()[1]}
    assert set(said) <= kept
    assert len(kept) <= len(said) + 1
    assert store.answer(1, 99, 1)  # and goes on


def test_reading_while_others_write(tmp_path):
    store = Store(tmp_path / "answers.db")
    store.begin(0, 1)
    reader = Store(tmp_path / "answers.db", read_only=True)
    store.answer(1, 0, 1)
    assert len(reader.read()[1]) == 1
    with pytest.raises(DataError, match="readonly"):
        reader.answer(1, 1, 1)


def test_a_file_that_is_none_of_ours_is_one_line(tmp_path):
    (tmp_path / "text.db").write_text("no database at all" * 100)
    with pytest.raises(DataError, match="answers cannot be read"):
        Store(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    with pytest.raises(DataError, match="no file of answers of this version"):
        Store(tmp_path / "other.db")
    with pytest.raises(DataError, match="cannot be read"):
        Store(tmp_path / "absent.db", read_only=True)
