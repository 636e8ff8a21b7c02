"""Reading files that strangers made: in a process of its own, with limits on time and memory.

A file may crash the interpreter, hang, or ask for more memory than there is, all within native code; only that process
is lost, and the next file gets a new one.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from musicvae.data.workers import Job, Lost, Worker
from musicvae.music.score import Reading
from musicvae.web.clips import MAX_NOTES
from musicvae.web.fields import RequestError
from musicvae.web.reading import Refused, Wanted, read_upload

__all__ = ["Reader"]

MEMORY = 512 * 2**20


class Reader:
    """Reads files in a process that is started with the first one. One at a time: it is for a single thread."""

    def __init__(self, ways: dict[str, Wanted], *, seconds: float, memory: int = MEMORY) -> None:
        """`ways` are those in which files are read, by name."""
        self.task, self.seconds, self.memory = partial(read_upload, ways=ways, most=MAX_NOTES), seconds, memory
        self._worker: Worker[Any] | None = None
        self._lock = threading.Lock()

    def read(self, way: str, data: bytes) -> Reading:
        """Read the content of a MIDI file in one of the ways; raises RequestError 413 or 422."""
        with self._lock:
            result = self._ask(way, data)
        if isinstance(result, Reading):
            return result
        status = result.status if isinstance(result, Refused) else 422
        raise RequestError(status, f"the file {_advice_of_the_page(result.reason)}")

    def close(self) -> None:
        """Kill the process."""
        with self._lock:
            self._stop()

    def _ask(self, way: str, data: bytes) -> Reading | Refused | Lost:
        if self._worker is not None and not self._worker.process.is_alive():
            self._stop()  # ended since the last file, which is not this one's fault
        if self._worker is None:
            self._worker = Worker(self.task, self.seconds, self.memory)
        worker = self._worker
        worker.give([Job(way, data)], self.seconds)
        try:
            while True:
                # A process that is not there yet has more time, which its deadline at the start says.
                left = self.seconds if worker.ready else max(0.0, worker.deadline - time.monotonic())
                if not worker.pipe.poll(left):
                    self._stop()
                    return Lost(f"takes longer than {self.seconds:g} s to read")
                results = worker.pipe.recv()
                worker.ready = True
                if results:
                    worker.pending.clear()
                    result: Reading | Refused | Lost = results[0]
                    return result
        except (EOFError, OSError):
            self._stop()
            return Lost("crashes the reader. It is damaged, or it is made to do that")

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


def _advice_of_the_page(reason: str) -> str:
    """Leave out sentences that name options of the command line: whoever reads this has no command line."""
    sentences = reason.split(". ")
    return ". ".join(s for i, s in enumerate(sentences) if not i or "--" not in s)
