"""Many users of `musicvae play` at once, each on a connection of its own to a real server."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from benchmarks.child import environment, family_mb
from benchmarks.machine import describe
from benchmarks.report import Column, Row, shared, show

ACTIONS = {"walk": 12, "bend": 3, "generate": 3, "vary": 1, "encode": 1, "midi": 1}
"""How often each is done, beside the others: a hand that moves asks for a point at each step, a file is dropped now and
then."""
WARM = 20
"""Requests of each kind before memory is read for the first time and times count."""

COLUMNS = (
    Column("name", "request"),
    Column("requests", "requests"),
    Column("failures", "failures"),
    Column("p50_ms", "p50, ms", ".0f"),
    Column("p95_ms", "p95, ms", ".0f"),
    Column("most_ms", "longest, ms", ".0f"),
    Column("per_second", "a second"),
)
MEMORY = (
    Column("name", "memory of the server"),
    Column("start_mb", "after the first requests, MB", ".0f"),
    Column("middle_mb", "in the middle, MB", ".0f"),
    Column("end_mb", "at the end, MB", ".0f"),
)
NOTE = (
    "{clients} clients for {seconds:g} s, each pausing {pause:g} s on average after an answer; they and the server "
    "share the cores. A failure is any status but 200. `generate` and `vary` make 4 clips."
)


class Asked(NamedTuple):
    """One request."""

    action: str
    seconds: float
    failed: bool


@click.command()
@shared
@click.option("--model", help="A bundled name or a folder. [default: the bundled one]")
@click.option("--clients", type=click.IntRange(1), default=50, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1), default=60.0, show_default=True)
@click.option(
    "--pause", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds between a client's requests."
)
def command(
    model: str | None,
    clients: int,
    seconds: float,
    pause: float,
    threads: int | None,
    quick: bool,
    json_path: str | None,
) -> None:
    """Failures, waiting times and memory of the page's server under load."""
    facts = describe(threads)
    clients, seconds, pause = (3, 1.0, 0.0) if quick else (clients, seconds, pause)
    words = [sys.executable, "-m", "musicvae", "play", *([model] if model else []), "--no-browser", "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(environment(threads)))
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        raise click.ClickException(f"{' '.join(words)}: ended with {server.wait()}")
    try:
        memory, asked = load(line.split()[0], server.pid, clients, seconds, pause, warm=1 if quick else WARM)
    finally:
        server.terminate()
        server.wait()
    facts["load"].append(describe(threads)["load"][0])
    by_action: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_action["all"].append(one)
        by_action[one.action].append(one)
    rows = [figures(name, by_action[name], seconds) for name in (*ACTIONS, "all") if by_action[name]]
    sizes: Row = {"name": "all of its processes", **memory}
    note = NOTE.format(clients=clients, seconds=seconds, pause=pause)
    show("serve", facts, [*rows, sizes], [(rows, COLUMNS), ([sizes], MEMORY)], json_path=json_path, notes=[note])


def load(
    url: str, process: int, clients: int, seconds: float, pause: float, warm: int = WARM
) -> tuple[Row, list[Asked]]:
    """Let clients loose on a server; return its memory at three times and what was asked."""
    bodies = prepare(url)
    first = Client(url, bodies, 0)
    first.post("generate", {"n": 64})  # two batches as large as any
    for _ in range(warm):
        for action in ACTIONS:
            first.ask(action)
    memory = {"start_mb": family_mb(process)}
    users = [Client(url, bodies, seed) for seed in range(1, clients + 1)]
    end = time.monotonic() + seconds
    crowd = [threading.Thread(target=user.use, args=(end, pause)) for user in users]
    for thread in crowd:
        thread.start()
    time.sleep(seconds / 2)
    memory["middle_mb"] = family_mb(process)
    for thread in crowd:
        thread.join()
    memory["end_mb"] = family_mb(process)
    return memory, [one for user in users for one in user.asked]


def figures(name: str, asked: list[Asked], seconds: float) -> Row:
    """Return the figures of some requests."""
    times = sorted(one.seconds for one in asked)
    return {
        "name": name,
        "requests": len(asked),
        "failures": sum(one.failed for one in asked),
        "p50_ms": 1000 * times[len(times) // 2],
        "p95_ms": 1000 * times[int(0.95 * len(times))],
        "most_ms": 1000 * times[-1],
        "per_second": len(asked) / seconds,
    }


Body = Callable[[random.Random], tuple[str, str, bytes]]
"""Makes the path, the type and the content of a request."""


def prepare(url: str) -> Mapping[str, Body]:
    """Ask for some clips, and return what makes requests of each kind of them."""
    client = Client(url, {}, 0)
    model = json.loads(client.send("GET", "/api/models", "", b"")[1])["models"][0]
    made = json.loads(client.post("generate", {"n": 4, "seed": 1})[1])["clips"]
    points = [clip["z"] for clip in made]
    file = client.post("midi", {"clips": made})[1]
    attributes = [attribute["name"] for attribute in model["attributes"]]

    def fields(name: str, make: Callable[[random.Random], dict[str, Any]]) -> Body:
        return lambda rng: (f"/api/{name}", "application/json", json.dumps(make(rng)).encode())

    return {
        "walk": fields("walk", lambda rng: {"corners": points, "at": [rng.random(), rng.random()], "seed": 1}),
        "bend": fields(
            "bend", lambda rng: {"z": points[0], "amounts": {name: rng.uniform(-2, 2) for name in attributes[:2]}}
        ),
        "generate": fields("generate", lambda rng: {"n": 4, "seed": rng.randrange(10**6)}),
        "vary": fields("vary", lambda rng: {"z": points[1], "n": 4, "seed": rng.randrange(10**6)}),
        "midi": fields("midi", lambda rng: {"clip": made[rng.randrange(4)]}),
        "encode": lambda rng: ("/api/encode", "audio/midi", file),
    }


class Client:
    """One user."""

    def __init__(self, url: str, bodies: Mapping[str, Body], seed: int) -> None:
        place = urlsplit(url)
        self.connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        self.bodies, self.rng, self.asked = bodies, random.Random(seed), list[Asked]()

    def use(self, end: float, pause: float) -> None:
        """Ask for this and that until the end."""
        time.sleep(self.rng.random() * pause)  # they did not all begin at once
        while time.monotonic() < end:
            (action,) = self.rng.choices(list(ACTIONS), list(ACTIONS.values()))
            self.ask(action)
            time.sleep(self.rng.uniform(0, 2 * pause))

    def ask(self, action: str) -> None:
        """Do one thing and note how long it took."""
        path, kind, body = self.bodies[action](self.rng)
        began = time.perf_counter()
        try:
            status, _ = self.send("POST", path, kind, body)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            status = 0
        self.asked.append(Asked(action, time.perf_counter() - began, status != 200))

    def post(self, name: str, fields: dict[str, Any]) -> tuple[int, bytes]:
        """Post JSON; return status and content."""
        return self.send("POST", f"/api/{name}", "application/json", json.dumps(fields).encode())

    def send(self, method: str, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """Return status and content of an answer."""
        self.connection.request(method, path, body, {"Content-Type": kind})
        answer = self.connection.getresponse()
        return answer.status, answer.read()
