"""What one does on the page, in orders that nobody planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import expect

from browser import Tab
from musicvae.music import Score


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., bytes]:
    """A MIDI file: `made(pitch, bars)`, a note on each beat."""

    def make(pitch: int, bars: int, tempo: float = 100) -> bytes:
        score = Score.of(np.arange(0, 16 * bars, 4), pitch, 2, bars=bars, tempo=tempo)
        return score.save(tmp_path / f"{pitch}-{bars}.mid").read_bytes()

    return make


def hold(tab: Tab, where: str) -> list[Any]:
    """Hold requests back; return the list that they come into."""
    held: list[Any] = []

    def keep(route: Any) -> None:
        held.append(route)

    tab.page.route(where, keep)
    return held


def pitches(tab: Tab) -> set[int]:
    return {note[2] for note in tab.clip["notes"]}


def heard_again(tab: Tab, fresh: Callable[..., Tab]) -> bool:
    """Tell whether the link brings back the notes that are on the stage."""
    other = fresh().open(tab.link, cards=False)
    other.until("musicvae.stage.clip?.notes")
    other.idle()
    return bool(other.clip["notes"] == tab.clip["notes"])


def test_the_last_of_two_files_wins_under_its_own_name(tab: Tab, made: Callable[..., bytes]) -> None:
    tab.open()
    held = hold(tab, "**/api/encode*")
    tab.drop("first.mid", made(60, 4))
    tab.drop("second.mid", made(72, 2))
    while len(held) < 2:
        tab.page.wait_for_timeout(20)
    for route in reversed(held):  # the first answer comes last
        route.continue_()
        tab.page.wait_for_timeout(300)
    expect(tab.page.locator("#brought-name")).to_have_text("second.mid")
    tab.idle()
    assert pitches(tab) == {72}
    tab.mode("keep")
    expect(tab.page.locator("#history button")).to_have_text(["Brought second.mid", "4 clips of seed 7"])


def test_a_file_that_is_too_large_ends_the_reading_of_the_one_before(
    fresh: Callable[..., Tab], made: Callable[..., bytes]
) -> None:
    tab = fresh().open()
    tab.mode("bring")
    held = hold(tab, "**/api/encode*")
    tab.drop("first.mid", made(60, 2))
    expect(tab.page.locator("#drop strong")).to_have_text("Reading first.mid…")
    tab.drop("large.mid", bytes(2_200_000))
    expect(tab.page.locator(".toast.error")).to_contain_text("large.mid is too large.")
    expect(tab.page.locator("#drop strong")).to_have_text("Drop a MIDI file anywhere")
    held[0].continue_()
    tab.idle()
    assert tab.state["bring"] is None


def test_a_file_is_read_for_the_model_that_was_chosen_meanwhile(tab: Tab, made: Callable[..., bytes]) -> None:
    tab.open()
    held = hold(tab, "**/api/encode*")
    tab.drop("song.mid", made(60, 2))
    while not held:
        tab.page.wait_for_timeout(20)
    tab.page.locator("#model").select_option("melody")
    tab.until("musicvae.store.state.model === 'melody'")
    held[0].continue_()
    while len(held) < 2:
        tab.page.wait_for_timeout(20)
    held[1].continue_()
    expect(tab.page.locator("#brought-name")).to_have_text("song.mid")
    assert tab.state["model"] == "melody"


def test_undo_goes_back_to_the_file_before(tab: Tab, made: Callable[..., bytes], fresh: Callable[..., Tab]) -> None:
    tab.open()
    tab.drop("song.mid", made(60, 6))
    tab.until("musicvae.store.state.bring?.name === 'song.mid'")
    tab.page.locator("#windows [role=radio]").nth(2).click()
    tab.drop("song.mid", made(72, 2))  # another of the same name
    tab.until("musicvae.store.history.at === 3")
    assert pitches(tab) == {72}
    tab.page.keyboard.press("Control+z")
    assert pitches(tab) == {60}
    expect(tab.page.locator("#windows [role=radio]")).to_have_count(3)
    tab.slide("#bring-temperature", 1.5)  # sends the file that is heard, not the last one
    tab.until("musicvae.store.state.bring.temperature === 1.5")
    assert pitches(tab) == {60}
    assert tab.state["bring"]["bar"] == 4
    tab.page.keyboard.press("x")
    tab.page.keyboard.press("Control+z")
    assert tab.state["bring"]["temperature"] == 0
    tab.page.locator("#windows [role=radio]").nth(1).click()
    tab.page.locator("#side-reconstruction").click()
    tab.idle()
    assert tab.clip["temperature"] == tab.state["bring"]["temperature"] == 0
    assert heard_again(tab, fresh)


def test_errors_go_when_something_new_is_begun(fresh: Callable[..., Tab], made: Callable[..., bytes]) -> None:
    tab = fresh().open()
    tab.drop("bad.mid", b"no music")
    expect(tab.page.locator(".toast.error")).to_have_count(1)
    tab.drop("good.mid", made(60, 2))
    expect(tab.page.locator("#brought-name")).to_have_text("good.mid")
    expect(tab.page.locator(".toast.error")).to_have_count(0)


def test_another_model_can_be_walked_and_bent_at_once(tab: Tab, fresh: Callable[..., Tab]) -> None:
    tab.open()
    tab.page.locator("#tab-walk").click()
    tab.page.locator("#model").select_option("melody")
    tab.until("musicvae.stage.clip?.model === 'melody' && musicvae.stage.clip.source.from === 'walk'")
    assert all(tab.state["walk"]["corners"])
    before = tab.clip["z"]
    tab.page.locator("#pad").focus()
    tab.page.keyboard.press("ArrowRight")
    tab.until("musicvae.stage.clip.source.at?.[0] > 0.5")
    assert tab.clip["z"] != before
    assert heard_again(tab, fresh)
    tab.mode("bend")
    tab.page.locator("#model").select_option("piano")
    tab.until("musicvae.store.state.bend.of !== null")
    expect(tab.page.locator("#bend-density")).to_be_enabled()


def test_a_card_plays_its_own_music_from_the_first_moment(tab: Tab) -> None:
    tab.open()
    tab.mode("bend")
    tab.slide("#bend-density", 2)
    tab.until("musicvae.stage.clip.distance?.latent > 0")
    held = hold(tab, "**/api/bend")
    tab.page.locator(".card-play").nth(2).click()
    while not held:
        tab.page.wait_for_timeout(20)
    tab.page.wait_for_timeout(200)
    assert not tab.do("return musicvae.player.playing")
    held[0].continue_()
    tab.until("musicvae.player.playing")
    source = tab.do("return musicvae.player.place().clip.source")
    assert (source["from"], source["of"]["index"]) == ("bend", 2)


def test_many_favourites_are_saved_in_as_many_files_as_it_takes(tab: Tab) -> None:
    tab.open("#settings=6~0.8~7~same&tempo=40")
    for i in range(6):
        tab.page.locator(".card-keep").nth(i).click()
    tab.do("musicvae.limits = { ...musicvae.limits, seconds: 30 }")  # two clips of 12 seconds
    tab.mode("keep")
    expect(tab.page.locator(".card-words b").first).to_have_text("7, 6")
    names: list[str] = []
    tab.page.on("download", lambda download: names.append(download.suggested_filename))
    tab.click("#keep-all-wav")
    expect(tab.page.locator(".toast")).to_contain_text("Saved as 3 files.")
    assert sorted(names) == [f"musicvae-favourites-{i}-of-3.wav" for i in (1, 2, 3)]


@pytest.mark.parametrize("damage", ["settings=0~0.8~7~same", "batch=g~0~0.8~7", "amounts=density~9"])
def test_what_no_slider_can_set_is_damage(fresh: Callable[..., Tab], damage: str) -> None:
    tab = fresh().open(f"#{damage}")
    expect(tab.page.locator(".toast.error")).to_contain_text("The link is damaged")
    assert tab.state["settings"]["n"] == 8


def test_nothing_sticks_out_of_a_very_narrow_page(fresh: Callable[..., Tab]) -> None:
    tab = fresh(320, 640).open()
    for mode in ("generate", "bring", "walk", "bend", "keep"):
        tab.mode(mode)
        assert tab.do("return document.documentElement.scrollWidth") <= 320, mode
