"""The test taken in a real browser: from the start to the results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("scipy")

from click.testing import CliRunner
from playwright.sync_api import Page, expect

import musicvae
from musicvae.cli import musicvae as command
from musicvae.listen.app import create_app
from musicvae.listen.design import Test
from musicvae.listen.make import ANSWERS, TEST
from musicvae.listen.store import Store


@pytest.fixture
def fresh(browser: Any) -> Iterator[Callable[..., Page]]:
    """Make pages, each of a visitor who has never been here; none may complain."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(width: int = 1280, height: int = 800, **settings: Any) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **settings))
        page: Page = contexts[-1].new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert [text for text in complaints if "ERR_" not in text and "404" not in text] == []


def hear(page: Page) -> None:
    """Play all clips of a trial, one after the other, until it can be answered."""
    for number, button in enumerate(page.locator(".go").all()):
        expect(button).to_be_enabled()
        button.click()
        expect(page.locator(".player.heard")).to_have_count(number + 1)
    expect(page.locator("#choices input").first).to_be_enabled()


def begin(page: Page, address: str, experience: str = "Amateur musician") -> None:
    page.goto(address)
    page.get_by_label(experience, exact=True).check()
    page.get_by_role("button", name="Begin", exact=True).click()
    expect(page.locator("#trial")).to_be_visible()


def test_human_or_machine_from_start_to_results(
    test_folder: Callable[..., Path], serving: Any, fresh: Callable[..., Page]
) -> None:
    folder = test_folder(clips=2, trials=2, seconds=0.4)
    test = Test.load(folder / TEST)
    truth = {clip.token: clip.source == 0 or clip.what == f"song {test.catches[1].clips[0]}" for clip in test.clips}
    truth[test.clips[test.catches[3].clips[0]].token] = True  # the other tune
    page = fresh()
    heard: list[str] = []
    page.on("request", lambda r: heard.append(r.url) if "/clip/" in r.url else None)
    with serving(create_app(folder)) as address:
        page.goto(address)
        page.get_by_role("button", name="Begin", exact=True).click()
        expect(page.locator("#missing")).to_have_text("Choose the title that comes closest.")
        begin(page, address)
        for number in range(test.trials + 1):
            expect(page.locator("#place")).to_have_text(f"Clip {number} of {test.trials}" if number else "Practice")
            expect(page.locator("#choices input").first).to_be_disabled()
            expect(page.locator("#next")).to_be_disabled()
            if number == 3:  # leave and come back, on another device
                page.locator("summary").click()
                link = page.locator("#link").input_value()
                page.close()
                page = fresh(375, 700)
                page.on("request", lambda r: heard.append(r.url) if "/clip/" in r.url else None)
                page.goto(link)
                expect(page.locator("#place")).to_have_text(f"Clip {number} of {test.trials}")
                assert "#" not in page.url
                page.reload()  # and this device knows it, too
                expect(page.locator("#place")).to_have_text(f"Clip {number} of {test.trials}")
            hear(page)
            token = heard[-1].rpartition("/")[2].removesuffix(".wav")
            page.get_by_label("By a human" if truth[token] else "By a machine", exact=True).check()
            page.get_by_role("button", name="Next").click()
        expect(page.locator("#done")).to_be_visible()
        page.reload()
        expect(page.locator("#done-words")).to_contain_text(f"All {test.trials} answers are kept")
    result = CliRunner().invoke(command, ["listen", "results", str(folder), "--json"])
    found = json.loads(result.stdout)
    assert found["listeners"] | {"experience": 0} == {
        "answered": 1, "finished": 1, "failed_catch": 0, "used": 1, "experience": 0,
    }  # fmt: skip
    assert found["listeners"]["experience"]["Amateur musician"] == 1
    assert found["ability"]["right"] == 1


def test_pairs_by_keyboard_alone_with_a_server_that_goes_and_comes(
    test_folder: Callable[..., Path], serving: Any, fresh: Callable[..., Page]
) -> None:
    folder = test_folder("pairs", clips=2, trials=2, seconds=0.4)
    trials = Test.load(folder / TEST).trials
    page = fresh(reduced_motion="reduce")
    press = page.keyboard.press
    with serving(create_app(folder)) as address:
        page.goto(address)
        expect(page.get_by_label("Nonmusician", exact=True)).to_be_visible()
        press("Tab")
        press("Space")
        press("ArrowDown")
        press("Enter")
        for number in range(trials + 1):
            expect(page.locator("#place")).to_have_text(f"Pair {number} of {trials}" if number else "Practice")
            first, second = page.locator(".go").all()
            expect(first).to_be_focused()
            press("Space")
            expect(page.locator(".player.heard")).to_have_count(1)
            press("Tab")
            press("Tab")
            expect(second).to_be_focused()
            press("Space")
            expect(page.locator("#choices input").first).to_be_enabled()
            expect(page.locator("#live")).to_have_text("You can answer now.")
            press("Tab")
            press("Tab")
            press("Space")
            for _ in range(4):
                press("ArrowDown")
            expect(page.get_by_label("The second, clearly")).to_be_checked()
            if number == 1:
                page.context.set_offline(True)
                press("Enter")
                expect(page.locator("#trouble")).to_contain_text("Nothing is lost")
                page.context.set_offline(False)
                expect(page.locator("#trouble")).to_be_hidden()
            else:
                press("Enter")
        expect(page.locator("#done-title")).to_be_focused()
        page.get_by_role("button", name="Somebody else").click()
        expect(page.locator("#welcome")).to_be_visible()
    store = Store(folder / ANSWERS, read_only=True)
    (listener,), answers = store.read()
    assert listener.experience == 1
    assert [(row.trial, row.answer) for row in answers] == [(number, 2) for number in range(trials + 1)]


def test_one_clip_at_a_time(test_folder: Callable[..., Path], serving: Any, fresh: Callable[..., Page]) -> None:
    page = fresh()
    with serving(create_app(test_folder("pairs", clips=1, trials=1, seconds=8))) as address:
        begin(page, address)
        first, second = page.locator(".go").all()
        first.click()
        expect(first).to_have_attribute("aria-label", "Pause the first clip")
        second.click()
        expect(second).to_have_attribute("aria-label", "Pause the second clip")
        expect(first).to_have_attribute("aria-label", "Play the first clip")
        expect(page.locator("#wait")).to_have_text("You can answer once you have heard 7 seconds of each clip.")
        expect(page.locator("#choices input").first).to_be_disabled()


def test_a_key_that_is_none_leads_to_the_beginning(
    test_folder: Callable[..., Path], serving: Any, fresh: Callable[..., Page]
) -> None:
    page = fresh()
    with serving(create_app(test_folder())) as address:
        page.goto(f"{address}#nobody")
        expect(page.locator("#welcome")).to_be_visible()
        page.reload()
        expect(page.locator("#welcome")).to_be_visible()


NAMES = """
const text = (node) => node?.textContent.trim();
const named = (node) => node.getAttribute("aria-label") || text(node.labels?.[0]) || text(node);
return [...document.querySelectorAll("button, input, progress, a, summary")]
  .filter((node) => node.checkVisibility() && !named(node)).map((node) => node.outerHTML);
"""
CONTRAST = """
const painted = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const light = (...colours) => { // relative luminance, WCAG 2.2
  for (const colour of colours) { painted.fillStyle = colour; painted.fillRect(0, 0, 1, 1); }
  const [red, green, blue] = [...painted.getImageData(0, 0, 1, 1).data]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const low = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.closest(".sr, :disabled")) continue;
  const backs = [];
  for (let at = node; at; at = at.parentElement) backs.unshift(getComputedStyle(at).backgroundColor);
  const [less, more] = [light(...backs, getComputedStyle(node).color), light(...backs)].sort((p, q) => p - q);
  if ((more + 0.05) / (less + 0.05) < 4.5) low.push(`${node.outerHTML.slice(0, 80)}: ${(more + 0.05) / (less + 0.05)}`);
}
return low;
"""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_it_fits_has_names_and_contrast_and_leaves_pictures(
    test_folder: Callable[..., Path], serving: Any, fresh: Callable[..., Page], shots: Path, width: int, scheme: Any
) -> None:
    page = fresh(width, 800, color_scheme=scheme, reduced_motion="reduce")

    def look(name: str) -> None:
        assert page.evaluate(f"() => {{ {NAMES} }}") == []
        assert page.evaluate(f"() => {{ {CONTRAST} }}") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=shots / f"listen-{name}-{width}-{scheme}.png", full_page=True)

    design = "pairs" if width == 375 else "human-or-machine"
    folder = test_folder(design, clips=2, trials=2, seconds=0.4)
    with serving(create_app(folder)) as address:
        page.goto(address)
        expect(page.locator("#welcome")).to_be_visible()
        look("welcome")
        begin(page, address)
        expect(page.locator(".go").last).to_be_enabled()
        look("practice")
        hear(page)
        page.locator("#choices input").first.check()
        page.locator("summary").click()
        look("answered")
        page.route("**/api/answer", lambda route: route.abort())
        page.locator("#next").click()
        expect(page.locator("#trouble")).to_be_visible()
        look("trouble")
        page.unroute("**/api/answer")
        expect(page.locator("#trouble")).to_be_hidden()
        for number in range(1, Test.load(folder / TEST).trials + 1):
            (key,) = [page.locator("#link").input_value().rpartition("#")[2]]
            answer = page.request.post(f"{address}api/answer", data={"listener": key, "number": number, "answer": 1})
            assert answer.ok
        page.reload()
        expect(page.locator("#done")).to_be_visible()
        look("done")


def test_nothing_is_inline_or_from_elsewhere() -> None:
    static = Path(musicvae.__file__).parent / "listen" / "static"
    files = list(static.iterdir())
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        if path.suffix == ".html":
            assert " style=" not in text
            assert " onclick=" not in text
            assert text.count("<script") == 1


def test_the_answers_of_a_session_are_a_plain_database(test_folder: Callable[..., Path]) -> None:
    folder = test_folder()
    create_app(folder)
    with sqlite3.connect(folder / ANSWERS) as db:
        assert {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == {
            "listeners",
            "answers",
        }
    db.close()
