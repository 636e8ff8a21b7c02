"""The page for everybody and in trouble: errors, keyboard, contrast, sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

import musicvae
from browser import Tab


def test_what_the_server_refuses_is_told_in_its_words(fresh: Callable[..., Tab]) -> None:
    tab = fresh().open()
    tab.drop("broken.mid", b"MThd, or not")
    expect(tab.page.locator(".toast.error")).to_contain_text("cut off")
    tab.page.locator("#seed").fill("12")
    tab.page.route(
        "**/api/generate",
        lambda route: route.fulfill(
            status=400, content_type="application/json", body=json.dumps({"error": "n is 99", "hint": "Choose less."})
        ),
    )
    tab.click("#generate")
    expect(tab.page.locator(".toast.error").last).to_have_text("n is 99 Choose less.")
    assert tab.state["batch"]["seed"] == 7  # what was there is there


def test_a_busy_server_is_asked_again(fresh: Callable[..., Tab]) -> None:
    tab = fresh().open()
    answers = iter([503])

    def busy(route: Any) -> None:
        status = next(answers, None)
        if status:
            route.fulfill(
                status=status, headers={"Retry-After": "0.01"}, json={"error": "too much is waiting", "hint": ""}
            )
        else:
            route.continue_()

    tab.page.route("**/api/generate", busy)
    tab.page.locator("#seed").fill("12")
    tab.click("#generate")
    tab.until("musicvae.store.state.batch.seed === 12")
    expect(tab.page.locator(".toast")).to_have_count(0)


def test_when_the_server_has_gone_the_page_says_so_until_it_is_back(fresh: Callable[..., Tab]) -> None:
    tab = fresh().open()
    tab.page.route("**/api/**", lambda route: route.abort())
    tab.page.locator("#seed").fill("12")
    tab.click("#generate")
    expect(tab.page.locator("#gone")).to_be_visible()
    expect(tab.page.locator("#gone")).to_contain_text("musicvae play")
    assert len(tab.clip["notes"]) > 0  # what is here still plays
    tab.do("await musicvae.play(0)")
    tab.page.unroute("**/api/**")
    expect(tab.page.locator("#gone")).to_be_hidden()


def test_everything_by_keyboard_alone(tab: Tab) -> None:
    tab.open()
    press = tab.page.keyboard.press
    seen = []
    for _ in range(60):
        press("Tab")
        where = tab.do(
            """const node = document.activeElement, style = getComputedStyle(node);
            const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
            const label = node.labels?.[0]?.textContent.trim();
            const name = node.getAttribute("aria-label") || node.textContent.trim() || label;
            return [node.id || node.className || node.tagName, visible, Boolean(name)];"""
        )
        if where[0] == "BODY" or (seen and where[0] == seen[0][0]):
            break
        seen.append(where)
    ids = [name for name, _, _ in seen]
    assert all(visible for _, visible, _ in seen), [row for row in seen if not row[1]]
    assert all(named for _, _, named in seen), [row for row in seen if not row[2]]
    for name in [
        "roll",
        "save-midi",
        "save-wav",
        "keep-this",
        "tab-generate",
        "temperature",
        "generate",
        "card-main",
        "play",
        "tempo",
    ]:
        assert name in ids, (name, ids)

    tab.page.locator("#tab-generate").focus()
    press("ArrowRight")
    press("ArrowRight")
    assert tab.state["mode"] == "walk"
    tab.page.locator(".card-main").first.focus()
    press("ArrowRight")
    assert tab.do("return document.activeElement.getAttribute('aria-pressed')") == "true"
    press("k")
    tab.until("musicvae.player.playing")
    tab.page.locator("#roll").focus()
    press("End")
    tab.until("musicvae.player.place().step >= 16")
    press("?")
    expect(tab.page.locator("#keys")).to_be_visible()
    tab.page.locator("#single-keys").uncheck()
    press("Escape")
    press("l")
    assert tab.state["loop"] is True  # single keys can be turned off, as speech control needs


CONTRAST = """
const painted = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const light = (colour) => { // relative luminance, WCAG 2.2
  painted.fillStyle = colour;
  painted.fillRect(0, 0, 1, 1);
  const [red, green, blue] = [...painted.getImageData(0, 0, 1, 1).data]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const probe = document.body.appendChild(document.createElement("i"));
const named = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
const { noteFill } = await import("/static/colour.js");
const low = [];
const check = (what, front, back, wanted) => {
  const [less, more] = [light(front), light(back)].sort((p, q) => p - q);
  const contrast = (more + 0.05) / (less + 0.05);
  if (contrast < wanted) low.push(`${what}: ${contrast.toFixed(2)}`);
};
const TEXT = {
  ink: "paper panel raised well wash roll-back", "ink-soft": "paper panel raised well wash roll-back",
  "accent-deep": "wash", "on-accent": "accent accent-deep", error: "error-wash",
};
const SHAPES = { accent: "paper panel raised well", edge: "panel raised well", ink: "roll-back" };
document.documentElement.style.transition = "none";
for (let hue = 0; hue < 360; hue += 15) {
  document.documentElement.style.setProperty("--hue", hue);
  for (const [pairs, wanted] of [[TEXT, 4.5], [SHAPES, 3]]) {
    for (const [front, backs] of Object.entries(pairs)) {
      for (const back of backs.split(" ")) check(`${front} on ${back} at ${hue}`, named(front), named(back), wanted);
    }
  }
  for (const velocity of [1, 64, 127]) {
    for (const back of ["roll-back", "roll-row"]) {
      check(`a note of ${velocity} on ${back} at ${hue}`, noteFill(hue, velocity, 0, value === "dark"), named(back), 3);
    }
  }
}
return low;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_in_every_colour_that_the_page_can_take(fresh: Callable[..., Tab], scheme: Any) -> None:
    tab = fresh(color_scheme=scheme, reduced_motion="reduce").open()
    assert tab.do(CONTRAST, scheme) == []


def test_the_theme_can_be_chosen_and_is_kept(tab: Tab) -> None:
    tab.open()
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = tab.do(paper)
    for _ in range(2):
        tab.click("#theme")
    dark = tab.do(paper)
    assert dark != light
    tab.page.reload()
    expect(tab.page.locator(".card-main").first).to_be_visible()
    assert tab.do(paper) == dark


ROOMS = [
    (1440, 900, "light", "generate walk bend keep bring"),
    (1440, 900, "dark", "generate walk"),
    (768, 1024, "light", "bend"),
    (375, 812, "dark", "generate walk bend keep bring"),
]


def test_it_fits_and_leaves_pictures(fresh: Callable[..., Tab], shots: Path, song: bytes) -> None:
    for width, height, scheme, modes in ROOMS:
        tab = fresh(width, height, color_scheme=scheme, reduced_motion="reduce").open("#batch=g~8~0.8~7&clip=g~7~0.8~2")
        for mode in modes.split():
            tab.mode(mode)
            if mode == "bend":
                tab.slide("#bend-density", 1)
                tab.until("musicvae.stage.clip.distance")
            if mode == "bring":
                tab.drop("song.mid", song)
                tab.until("musicvae.store.state.bring")
                tab.idle()
            assert tab.do("return document.documentElement.scrollWidth") <= width, mode
            tab.page.screenshot(path=shots / f"{mode}-{width}-{scheme}.png")


def test_nothing_is_inline_or_from_elsewhere() -> None:
    static = Path(musicvae.__file__).parent / "web" / "static"
    files = [path for path in static.iterdir() if path.suffix in (".js", ".css", ".html", ".svg")]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        if path.suffix == ".html":
            assert " style=" not in text
            assert " onclick=" not in text
            assert text.count("<script") == 1
