"""Who may ask, what every answer says, and what happens when something goes wrong."""

from __future__ import annotations

import asyncio
import logging

import pytest

from musicvae.web.guard import HEADERS, hosts_of


def test_every_answer_carries_the_headers(api, toy_models, client):
    answers = [
        api.get("/api/models"),
        api.get("/nothing"),
        api.delete("/api/walk"),
        api.post("/api/generate", json={"n": 1}),
        api.post("/api/generate", json={"n": 0}),
        api.post("/api/generate", content=b"x" * (2**21 + 1), headers={"content-type": "application/json"}),
        api.post("/api/midi", json={"clip": {"bars": 1, "notes": [[0, 1, 60, 60, 0]]}}),
        api.get("/api/models", headers={"host": "evil.example"}),
        api.get("/api/models", headers={"origin": "http://evil.example"}),
    ]
    assert [a.status_code for a in answers] == [200, 404, 405, 200, 400, 413, 200, 421, 403]
    for answer in answers:
        assert HEADERS.items() <= {k: answer.headers.get(k) for k in HEADERS}.items()
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere():
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    sources = {source for value in policy.values() for source in value.split()}
    assert sources == {"'none'", "'self'", "blob:", "data:"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8421", 200),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8421", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8421", 421),
        ("evil.example@127.0.0.1", 421),
        ("192.168.1.2", 421),
        ("[", 421),
        ("[::1", 421),
        ("", 421),
        ("127.0.0.1/evil.example", 200),  # no browser sends it; what counts is the name in front
    ],
)
def test_only_names_of_this_machine_are_answered(api, host, status):
    answer = api.get("/api/models", headers={"host": host})
    assert answer.status_code == status
    assert (answer.status_code == 200) == ("models" in answer.json())


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8421", 200),
        ("http://127.0.0.1:9000", 403),
        ("http://localhost:8421", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_origins_are_refused(api, origin, status):
    assert api.post("/api/generate", json={"n": 1}, headers={"origin": origin}).status_code == status


def test_who_listens_on_all_addresses_is_asked_by_number_or_name_of_the_machine(toy_models, client):
    with client(toy_models, hosts=hosts_of("0.0.0.0")) as api:
        for host, status in (("192.168.1.2:80", 200), ("[fe80::1]", 200), ("localhost", 200), ("evil.example", 421)):
            assert api.get("/api/models", headers={"host": host}).status_code == status
    assert "studio.lan" in hosts_of("Studio.lan")
    assert "*" not in hosts_of("192.168.1.2")


def test_what_takes_too_long_ends_and_leaves_room(toy_models, client, monkeypatch):
    with client(toy_models, seconds=0.3) as api:
        batches = api.app.state.playground.batches

        async def never(*_: object) -> None:
            await asyncio.sleep(1000)

        monkeypatch.setattr(batches, "decode", never)
        answer = api.post("/api/generate", json={"n": 1})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "0.3 seconds" in answer.json()["error"]


def test_a_bug_is_one_line_for_the_client_and_one_for_the_terminal(toy_models, client, monkeypatch, caplog):
    with client(toy_models) as api, caplog.at_level(logging.ERROR):

        async def broken(*_: object) -> None:
            raise ZeroDivisionError("secret\nof the server")

        monkeypatch.setattr(api.app.state.playground.batches, "decode", broken)
        answer = api.post("/api/generate", json={"n": 1})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in caplog.text
        (line,) = caplog.messages
        assert line.startswith("POST /api/generate: ZeroDivisionError: secret of the server (")
