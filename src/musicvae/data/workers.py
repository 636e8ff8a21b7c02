"""Worker processes that survive what they are given to read.

A file may crash the interpreter, hang, or ask for more memory than there is, all within native code.
So each worker reports over a pipe of its own: when it dies, the files without a report are tried again
one by one, and only the one that it died of is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from musicvae.errors import DataError

__all__ = ["Job", "Lost", "Worker", "run"]

T = TypeVar("T")

BATCH_FILES = 16
BATCH_BYTES = 4 * 2**20
HELD_BYTES = 192 * 2**20  # of archive members waiting or being worked on
AHEAD = 20_000  # batches of names on disk, so that the total is known early
START_SECONDS = 120.0
REPORT_SECONDS = 0.05  # between a worker's reports: a report a file would cost a tenth of all time


class Job(NamedTuple):
    """One file to read."""

    name: str
    content: Path | bytes
    tag: int = 0
    """Whatever the caller wants to know it by."""
    beside: bytes | None = None
    """What the task needs to know besides the file."""
    alone: bool = False
    """Set on the second try, after a worker died or hung that had it in hand."""


class Lost(NamedTuple):
    """A file without a result, and why."""

    reason: str


class Worker(Generic[T]):
    """One process, its pipe and the jobs that it has not reported yet.

    What comes over `pipe` are lists of results, in the order of the jobs; an empty one says that the process is ready.
    """

    def __init__(self, task: Callable[..., T], seconds: float, memory: int) -> None:
        context = multiprocessing.get_context("spawn")  # fork and threads (tqdm, torch) do not mix
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, task, seconds, memory), daemon=True)
        self.process.start()
        theirs.close()
        self.pending: deque[Job] = deque()
        self.ready = False
        self.deadline = time.monotonic() + START_SECONDS

    def give(self, batch: list[Job], seconds: float) -> None:
        """Hand over jobs, for which it has some seconds."""
        self.pending.extend(batch)
        self.deadline = time.monotonic() + seconds
        with suppress(OSError):  # a dead worker is noticed when its pipe is read
            # Paths as text: a Path takes as long to send as a small file to open.
            self.pipe.send(
                [(j.name, j.content if isinstance(j.content, bytes) else str(j.content), j.beside) for j in batch]
            )

    def stop(self) -> int | None:
        """Kill the process and return its exit code."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.pipe.close()
        return code


def run(
    jobs: Iterator[Job], task: Callable[..., T], *, workers: int, seconds: float = 60.0, memory: int = 2**30
) -> Generator[tuple[Job, T | Lost], None, None]:
    """Yield each job with `task(name, bytes)` or the reason why there is no result, in order of completion.

    Where a job has something `beside`, that is the task's third argument. `task` must be picklable. A file on
    disk is read by the worker; the bytes of archive members are sent to it, with at most HELD_BYTES of them
    alive at a time. A file that takes longer than `seconds`, or that kills its worker, is Lost, once that has
    been tried with this file alone; one that needs more than `memory` bytes meets a MemoryError (on Linux).
    Raises DataError if workers cannot start. Closing the generator kills the workers.
    """
    crew = _Crew(jobs, task, workers, seconds, memory)
    try:
        while crew.has_work():
            crew.hand_out()
            yield from crew.listen(timeout=0 if crew.look_for_more() else 0.5)
            yield from crew.watch()
    finally:
        for worker in crew.workers:
            worker.stop()


class _Crew(Generic[T]):
    """The workers, and the batches of jobs that wait for them."""

    def __init__(self, jobs: Iterator[Job], task: Callable[..., T], size: int, seconds: float, memory: int) -> None:
        self.jobs, self.size, self.seconds = jobs, size, seconds
        self.start: Callable[[], Worker[T]] = lambda: Worker(task, seconds, memory)
        self.workers: list[Worker[T]] = []
        self.queue: deque[list[Job]] = deque()
        self.taken = 0
        self.more = True
        self.dead_starts = 0

    def has_work(self) -> bool:
        return self.more or bool(self.queue) or any(w.pending for w in self.workers)

    def hand_out(self) -> None:
        """Give waiting batches to idle workers, and start another worker if that is not enough."""
        for worker in self.workers:
            if self.queue and worker.ready and not worker.pending:
                worker.give(self.queue.popleft(), self.seconds)
        if len(self.workers) < self.size and len(self.queue) > sum(not w.ready for w in self.workers):
            self.workers.append(self.start())

    def look_for_more(self) -> bool:
        """Queue the next few jobs, if there is room; return whether to look again soon."""
        if not (self.more and self._hungry()):
            return False
        files = min(BATCH_FILES, 1 + self.taken // (4 * self.size))  # small at first, so that all get some
        batch: list[Job] = []
        size = 0
        while len(batch) < files and size < BATCH_BYTES and (job := next(self.jobs, None)) is not None:
            batch.append(job)
            size += _size(job)
        self.taken += len(batch)
        self.more = bool(batch)
        self.queue.extend([batch] if batch else [])
        return True

    def _hungry(self) -> bool:
        """Tell whether there is room: archives are read just ahead of the work, folders are listed at once."""
        if len(self.queue) >= self.size:
            return len(self.queue) < AHEAD and not any(_size(j) for b in (self.queue[0], self.queue[-1]) for j in b)
        held = sum(_size(job) for batch in self.queue for job in batch)
        return held + sum(_size(job) for w in self.workers for job in w.pending) < HELD_BYTES

    def listen(self, timeout: float) -> Iterator[tuple[Job, T | Lost]]:
        """Yield what the workers have to say."""
        for pipe in wait([w.pipe for w in self.workers], timeout):
            worker = next(w for w in self.workers if w.pipe is pipe)
            try:
                results = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._bury(worker)
                continue
            worker.ready = True
            worker.deadline = time.monotonic() + self.seconds
            for result in results:
                yield worker.pending.popleft(), result

    def watch(self) -> Iterator[tuple[Job, T | Lost]]:
        """Kill the workers that are late; yield the jobs that they certainly hung in."""
        now = time.monotonic()
        for worker in [w for w in self.workers if now > w.deadline and not w.pipe.poll()]:
            if not worker.ready:
                raise DataError(_no_start(None))
            if worker.pending:
                self.workers.remove(worker)
                worker.stop()
                yield from self._try_again(worker, f"takes longer than {self.seconds:g} s to read")

    def _bury(self, worker: Worker[T]) -> Iterator[tuple[Job, T | Lost]]:
        """Take leave of a dead worker; yield the job that it certainly died of."""
        self.workers.remove(worker)
        code = worker.stop()
        self.dead_starts = 0 if worker.ready else self.dead_starts + 1
        if self.dead_starts >= 2:
            raise DataError(_no_start(code))
        yield from self._try_again(worker, f"crashes the reader ({_death(code)})")

    def _try_again(self, worker: Worker[T], reason: str) -> Iterator[tuple[Job, T | Lost]]:
        """Put a lost worker's jobs back, each alone; one that was alone before is Lost for this reason."""
        for job in reversed(worker.pending):
            if job.alone:
                yield job, Lost(reason)
            else:
                self.queue.appendleft([job._replace(alone=True)])


def _size(job: Job) -> int:
    return len(job.content) if isinstance(job.content, bytes) else 0


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _no_start(code: int | None) -> str:
    return (
        f"the worker processes cannot start ({_death(code)}). In a script of your own, call prepare() "
        "under `if __name__ == '__main__':`"
    )


# Below: what runs in the worker.


def _serve(pipe: Connection, task: Callable[..., Any], seconds: float, memory: int) -> None:
    """Report that we are there, then read batches until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _limit(memory)
    _silence()
    _keep_memory()
    alarm = getattr(signal, "alarm", lambda _: None)
    try:
        pipe.send([])
        while True:
            batch = pipe.recv()
            results: list[Any] = []
            due = time.monotonic() + REPORT_SECONDS
            for name, content, beside in batch:
                alarm(int(seconds) + 30)  # the parent kills earlier; this is for when it is gone
                results.append(_attempt(task, name, content, beside))
                alarm(0)
                if time.monotonic() > due:
                    pipe.send(results)
                    results, due = [], time.monotonic() + REPORT_SECONDS
            if results:
                pipe.send(results)
    except (EOFError, OSError):
        return


def _attempt(task: Callable[..., Any], name: str, content: str | bytes, beside: bytes | None) -> Any:
    try:
        if isinstance(content, str):
            with open(content, "rb", buffering=0) as file:  # noqa: PTH123  # pathlib and a buffer take three times as long
                content = file.read()
        return task(name, content) if beside is None else task(name, content, beside)
    except OSError as error:
        return Lost(f"cannot be read: {error.strerror or error}")
    except MemoryError:
        return Lost("needs more memory than a song can")
    except Exception as error:  # a reader's bug must not cost the other files
        lines = str(error).splitlines()
        return Lost(f"the reader failed: {type(error).__name__}{': ' + lines[0][:200] if lines else ''}")


def _limit(memory: int) -> None:
    """Let this process grow by `memory` bytes at most, and leave no core files."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):  # no /proc, or a hard limit below ours
        now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, hard))


def _keep_memory() -> None:
    """Let the memory that one file has used be there for the next one.

    glibc gives back what is free beyond a threshold, some 100 pages after each song, and then has to ask for them
    again. A large block that is freed raises the threshold to twice its size (mallopt(3), M_MMAP_THRESHOLD).
    """
    bytearray(8 * 2**20)


def _silence() -> None:
    """Keep what native code prints out of the progress bar and of --json."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
