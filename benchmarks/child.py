"""Measurements in processes of their own: nothing is warm from before, and the peak of memory is theirs alone."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

ROOT = Path(__file__).parents[1]
MB = 1e6

# A process that is started by a large one inherits its peak of memory (Linux counts what was there before exec), so a
# small one stands between and measures.
_LAUNCH = """
import json, os, sys, time
out = os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0
began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[out])
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - began
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit]))
"""


class Command(NamedTuple):
    """A command that ended."""

    seconds: float
    """From starting the process to its end."""
    cpu_seconds: float
    """User and system time of all its threads and processes."""
    peak_mb: float
    """Its largest resident memory; of several processes that of the largest."""


def command(words: Sequence[str], threads: int | None = None) -> Command:
    """Run a command in a process of its own, its output thrown away. Raises ClickException if it fails."""
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, *words]
    done = subprocess.run(launch, capture_output=True, text=True, check=False, env=environment(threads))
    code, seconds, cpu, peak = json.loads(done.stdout) if done.stdout else (done.returncode, 0.0, 0.0, 0.0)
    if code:
        raise click.ClickException(f"{' '.join(words)}: ended with {code}\n{done.stderr[-2000:]}")
    return Command(seconds, cpu, peak / MB)


def apart(function: str, *, threads: int | None = None, **arguments: Any) -> Any:
    """Call `benchmarks.<module>:<function>` in a process of its own; arguments and result must be fit for JSON.

    Raises ClickException if it fails; what it writes to stderr is shown.
    """
    words = [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)]
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    env = {**environment(threads), "PYTHONPATH": path}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, env=env)
    if done.returncode:
        raise click.ClickException(f"benchmarks.{function}({arguments}): ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def environment(threads: int | None) -> Mapping[str, str]:
    """Return the environment of a child that uses no more threads than asked for (None: as many as it likes)."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **(dict.fromkeys(names, str(threads)) if threads else {})}


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, in MB; nan where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return float("nan")


class Family:
    """Watches the memory of this process and all that it starts, ten times a second: a context manager.

    Pages that processes share count once (Linux's proportional set size); nan where the system does not say.
    """

    def __init__(self, pause: float = 0.1) -> None:
        self.pause, self.most = pause, float("nan")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Family:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The most that was seen."""
        return self.most / MB

    def _watch(self) -> None:
        while not self._stop.wait(self.pause):
            now = [size for process in _descendants(os.getpid()) if (size := _proportional(process))]
            if now:
                self.most = max(sum(now), 0 if math.isnan(self.most) else self.most)


def family_mb(process: int) -> float:
    """Return the memory of a process and all that it started, pages that they share counted once; 0 where unknown."""
    return sum(map(_proportional, _descendants(process))) / MB


def _descendants(process: int) -> list[int]:
    """Return a process and those that it started, directly or not."""
    found = [process]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    result = getattr(importlib.import_module(f"benchmarks.{module}"), name)(**json.loads(sys.argv[2]))
    print("\n" + json.dumps(result, default=float))
