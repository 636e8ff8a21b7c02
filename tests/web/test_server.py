"""`musicvae play` on a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from musicvae.cli import musicvae
from musicvae.errors import MissingExtraError, MusicVAEError
from musicvae.web import server


@pytest.fixture(scope="module")
def played(toy_bundle) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves a toy model, and its address."""
    words = [sys.executable, "-m", "musicvae", "play", str(toy_bundle()), "--no-browser", "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), (line, process.stderr.read() if process.stderr and not line else "")
    yield process, line.split()[0]
    if process.poll() is None:
        process.kill()
    process.communicate()


def post(url: str, **fields: Any) -> Any:
    body = json.dumps(fields).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_it_answers_over_a_socket(played):
    _, url = played
    clip = post(url + "api/generate", model="toy", n=1, seed=3)["clips"][0]
    assert clip["model"] == "toy"
    with urllib.request.urlopen(url + "api/models", timeout=60) as answer:
        assert "server" not in answer.headers  # no versions for strangers
        assert [m["name"] for m in json.load(answer)["models"]] == ["toy", "piano-16bar", "piano-2bar"]


def test_a_client_that_hangs_up_does_not_end_it(played):
    process, url = played
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    body = json.dumps({"n": 64, "model": "toy"}).encode()
    head = "POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    for rest in (b"", body[:5], body):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head.encode() + rest)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # hang up with a reset
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert b"400" in client.recv(100)
    assert post(url + "api/generate", model="toy", n=1)["clips"]
    assert process.poll() is None


def test_who_never_finishes_a_request_is_hung_up_on(serving, monkeypatch):
    """Else some hundred of them would keep everybody out."""
    monkeypatch.setattr(server, "PATIENCE", 0.5)

    async def slow(request: Request) -> PlainTextResponse:
        await asyncio.sleep(1.2)
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", slow)])
    with serving(app, http=server._Patient, limit_concurrency=6) as url:
        place = ("127.0.0.1", int(url.rstrip("/").rsplit(":", 1)[1]))
        stalled = [socket.create_connection(place, timeout=20) for _ in range(8)]
        for i, client in enumerate(stalled):
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127"[: 5 * i])
        for client in stalled:
            assert client.recv(100) == b""
            client.close()
        with socket.create_connection(place, timeout=20) as client:  # a slow answer is waited for, twice
            for _ in range(2):
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b""
                while not answer.endswith(b"done"):
                    more = client.recv(1000)
                    assert more, answer
                    answer += more
            client.sendall(b"GET / HT")
            assert client.recv(100) == b""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="Windows has no SIGPIPE")
def test_a_closed_pipe_is_not_deadly(monkeypatch):
    """As it is in other verbs: `musicvae … | head`."""
    seen: list[Any] = []
    monkeypatch.setattr(server._Server, "run", lambda *_, **__: seen.append(signal.getsignal(signal.SIGPIPE)))
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        server.serve(Starlette(), None)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert seen == [signal.SIG_IGN]


def test_a_port_that_is_taken_is_said(played):
    port = int(played[1].rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(MusicVAEError, match=f"port {port} of 127.0.0.1 is taken.*--port 0"):
        server.listen("127.0.0.1", port)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for single processes")
def test_ctrl_c_ends_it_quietly(played):  # the last of those that use it
    process, _ = played
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "", "")


# -------------------------------------------------------------------------------------------- the command
@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Stand in for the server and the browser; returns what they were asked for."""
    import threading
    import webbrowser

    seen: list[tuple[str, Any]] = []

    class Now(threading.Thread):
        def start(self) -> None:
            self.run()

    def serve(app: Any, listening: socket.socket, ready: Any) -> None:
        ready()
        seen.append(("app", app))

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(threading, "Thread", Now)
    monkeypatch.setattr(webbrowser, "open", lambda url: seen.append(("browser", url)))
    return seen


def play(*words: str) -> Any:
    return CliRunner().invoke(musicvae, ["play", "--port", "0", *words])


def test_the_browser_is_opened_unless_it_is_not_wanted(served):
    result = play()
    assert result.exit_code == 0, result.output
    address = result.stdout.split()[0]
    assert [seen[0] for seen in served] == ["browser", "app"]
    assert served[0][1] == address
    served.clear()
    assert play("--no-browser").exit_code == 0
    assert [seen[0] for seen in served] == ["app"]


def test_models_are_names_and_folders(served, toy_bundle):
    assert play(str(toy_bundle()), "piano-16bar", "--no-browser").exit_code == 0
    playground = served[0][1].state.playground
    assert list(playground.models) == ["toy", "piano-16bar", "piano-2bar"]
    assert playground.default == "toy"
    result = play("no-such-model")
    assert isinstance(result.exception, MusicVAEError)
    assert "piano-16bar" in str(result.exception)


def test_listening_to_the_network_is_warned_of(served):
    result = play("--host", "0.0.0.0", "--no-browser")
    assert "everybody in the network" in result.stderr
    assert result.stdout.startswith("http://127.0.0.1:")
    assert "Warning" not in play("--no-browser").stderr


def test_an_address_of_nobody_is_said():
    with pytest.raises(MusicVAEError, match=r"nowhere\.invalid: is no address of this machine"):
        server.listen("nowhere.invalid", 0)
    with pytest.raises(MusicVAEError, match=r"--host|--port"):
        server.listen("203.0.113.1", 0)  # documentation's, nobody has it


def test_an_address_of_the_newer_internet_stands_in_brackets():
    try:
        listening = server.listen("::1", 0)
    except MusicVAEError:
        pytest.skip("this machine has no ::1")
    with listening:
        assert server.address(listening) == f"http://[::1]:{listening.getsockname()[1]}/"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("musicvae.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = play("--no-browser")
    assert isinstance(result.exception, MissingExtraError)
    assert "pip install 'musicvae[web]'" in str(result.exception)


def test_only_the_page_needs_starlette():
    code = "import sys\nsys.modules.update(dict.fromkeys(('starlette', 'uvicorn', 'anyio')))\n"
    code += "import musicvae, musicvae.cli.play\nfor name in musicvae.__all__: getattr(musicvae, name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
