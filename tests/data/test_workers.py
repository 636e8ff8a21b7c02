"""Workers: what is reported when, and which file is to blame."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from musicvae.data.workers import Job, Lost, Worker, run

TASKS = """
import os, time

def size(name, data):
    if name == "crash": os.abort()
    if name == "hang": time.sleep(1000)
    if name == "slow": time.sleep(0.2)
    return len(data)

def also(name, data, beside=b"nothing"):
    return beside

def deaths(name, data):
    with open(data.decode(), "a") as log: log.write(name + "\\n")
    return size(name, data)
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Tasks that a worker process can import, too."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "tasks_of_workers.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import tasks_of_workers  # type: ignore[import-not-found]

        yield tasks_of_workers
        sys.modules.pop("tasks_of_workers")


@pytest.fixture
def worker(tasks: Any) -> Iterator[Worker[int]]:
    worker: Worker[int] = Worker(tasks.size, 60, 2**30)
    assert worker.pipe.poll(60)
    assert worker.pipe.recv() == []  # it is there
    yield worker
    worker.stop()


def test_a_report_holds_many_quick_files_or_one_slow_file(worker: Worker[int], tmp_path: Path) -> None:
    (tmp_path / "on disk").write_bytes(b"four")
    worker.give([Job("slow", b"1"), Job("slow", b"22"), Job("slow", b"333")], 60)
    assert [worker.pipe.recv() for _ in range(3)] == [[1], [2], [3]]
    worker.give([Job("quick", bytes(i)) for i in range(8)] + [Job("quick", tmp_path / "on disk")], 60)
    reports: list[list[int]] = []
    while sum(map(len, reports)) < 9:
        assert worker.pipe.poll(60)
        reports.append(worker.pipe.recv())
    assert list(itertools.chain(*reports)) == [*range(8), 4]
    assert len(reports) < 9


def test_a_file_that_is_gone_is_lost(worker: Worker[int], tmp_path: Path) -> None:
    worker.give([Job("gone", tmp_path / "gone"), Job("here", b"1")], 60)
    assert worker.pipe.recv() == [Lost("cannot be read: No such file or directory"), 1]


def test_what_is_beside_a_file_comes_with_it(tasks: Any) -> None:
    jobs = [Job("a", b"1"), Job("b", b"1", beside=b"beats"), Job("c", b"1", beside=b"")]
    results = {job.name: result for job, result in run(iter(jobs), tasks.also, workers=1)}
    assert results == {"a": b"nothing", "b": b"beats", "c": b""}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("crash", "crashes the reader (SIGABRT)"), ("hang", "takes longer than 3 s to read")],
)
def test_who_is_to_blame_is_found_among_the_files_in_hand(tasks: Any, tmp_path: Path, name: str, reason: str) -> None:
    log = tmp_path / "log"
    jobs = [Job(name if i in (50, 52) else f"good {i}", str(log).encode(), i) for i in range(80)]
    results = dict(run(iter(jobs), tasks.deaths, workers=1, seconds=3))
    assert {job.tag: result for job, result in results.items() if isinstance(result, Lost)} == {
        50: Lost(reason),
        52: Lost(reason),
    }
    assert sorted(job.tag for job in results) == list(range(80))
    # One that is in hand together with others is tried again alone before it is blamed.
    assert log.read_text().split("\n").count(name) >= 3
