"""What one does on the page: generate, bring, walk, bend, keep."""

from __future__ import annotations

import base64
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

import musicvae
from browser import SEED, Tab
from musicvae.latent import slerp
from musicvae.music import Score
from musicvae.runtime.engine import Model


def notes_of(score: Score) -> list[list[int]]:
    return np.stack([score.onset, score.duration, score.pitch, score.velocity, score.part], axis=1).tolist()


def point_of(text: str) -> Any:
    return np.frombuffer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), dtype="<f4")


def test_a_first_visit_has_clips_and_an_address_that_says_which(tab: Tab) -> None:
    tab.open("")
    expect(tab.page.locator(".card")).to_have_count(8)
    tab.until("location.hash.includes('batch=')")
    batch = tab.state["batch"]
    assert f"batch=g~8~{batch['temperature']}~{batch['seed']}" in tab.page.url
    expect(tab.page.locator("#undo")).to_be_disabled()


def test_generate_draws_what_python_draws(tab: Tab, toy_models: dict[str, Model]) -> None:
    tab.open()
    page = tab.page
    page.locator("#number").fill("3")
    page.locator("#seed").fill("11")
    tab.slide("#temperature", 1.2)
    tab.click("#generate")
    expect(page.locator("#stage-title")).to_have_text("Clip 1 of seed 11")
    expect(page.locator(".card")).to_have_count(3)
    scores = toy_models["piano"].sample(3, temperature=1.2, seed=11)
    assert tab.do("return musicvae.shelf().map((clip) => clip.notes)") == [notes_of(score) for score in scores]
    page.locator(".card-main").nth(2).click()
    assert tab.clip["notes"] == notes_of(scores[2])


def test_each_time_a_new_seed_unless_one_is_given(tab: Tab) -> None:
    tab.open("#settings=2~0.8~7~fresh")
    seeds = {tab.state["batch"]["seed"]}
    for _ in range(2):  # the odds that two of three seeds are equal are 3 in a million
        tab.click("#generate")
        tab.idle()
        seeds.add(tab.state["batch"]["seed"])
    assert len(seeds) == 3
    tab.page.locator("#seed").fill("5")
    tab.page.keyboard.press("Enter")
    tab.until("musicvae.store.state.batch.seed === 5")


def test_a_dropped_file_is_heard_beside_its_reconstruction(tab: Tab, song: bytes, toy_models: dict[str, Model]) -> None:
    tab.open()
    tab.drop("my song.mid", song)
    page = tab.page
    expect(page.locator("#brought-name")).to_have_text("my song.mid")
    expect(page.locator("#windows [role=radio]")).to_have_text(["1–2", "3–4", "5–6"])
    expect(page.locator("#brought-kept")).to_contain_text("come back")
    expect(page.locator("#changes li")).not_to_have_count(0)
    assert tab.state["tempo"] == 90
    page.locator("#windows [role=radio]").nth(1).click()
    assert [note[2] for note in tab.clip["notes"]] == (48 + np.arange(32, 64, 4) % 24).tolist()
    page.keyboard.press("x")
    expect(page.locator("#side-reconstruction")).to_have_attribute("aria-checked", "true")
    model = toy_models["piano"]
    score = Score.of(np.arange(0, 80, 4), 48 + np.arange(0, 80, 4) % 24, 3, 60 + np.arange(0, 80, 4) % 50, bars=5)
    assert tab.clip["notes"] == notes_of(model.decode(model.encode(score)[1])[0])


def test_a_file_in_another_meter_is_read_when_one_says_so(fresh: Callable[..., Tab], tmp_path: Path) -> None:
    waltz = Score.of(np.arange(0, 24, 3), 60, 2, bars=2, meter=(3, 4)).save(tmp_path / "waltz.mid")
    tab = fresh().open()
    tab.page.locator("#tab-bring").click()
    tab.page.locator("#file").set_input_files(waltz)
    expect(tab.page.locator("#other-meter")).to_contain_text("3/4")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#brought-name")).to_have_text("waltz.mid")


def test_walking_decodes_where_the_hand_is(tab: Tab) -> None:
    tab.open()
    tab.mode("walk")
    page = tab.page
    corners = tab.do("return musicvae.shelf().map((clip) => [clip.z, clip.notes])")
    pad = page.locator("#pad")
    pad.focus()
    for key in ["Home", "PageUp"]:
        page.keyboard.press(key)
    expect(pad).to_have_attribute("aria-valuetext", "0 % to the right, 0 % down")
    tab.until("musicvae.stage.clip.source.at?.join() === '0,0'")
    assert tab.clip["notes"] == corners[0][1]  # a corner is heard as the clip that it is
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    tab.until("musicvae.stage.clip.source.at?.[0] === 0.25")
    expected = slerp(point_of(corners[0][0]), point_of(corners[1][0]), 0.25)
    np.testing.assert_allclose(point_of(tab.clip["z"]), expected, atol=1e-5)
    page.keyboard.press("Control+z")  # the walk so far was one gesture
    assert tab.state["walk"]["at"] == [0.5, 0.5]


def test_dragging_the_hand_plays_and_follows(tab: Tab) -> None:
    tab.open()
    tab.mode("walk")
    box = tab.page.locator("#pad").bounding_box()
    assert box is not None
    mouse = tab.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"], steps=6)
    mouse.up()
    at = tab.state["walk"]["at"]
    assert at == pytest.approx([0.9, 0.1], abs=0.02)
    tab.until(f"musicvae.player.playing && musicvae.stage.clip.source.at?.[0] === {at[0]}")
    tab.click("#shape-line")
    tab.until("musicvae.stage.clip.source.corners?.length === 2")


def test_bending_moves_along_an_attribute_and_says_how_far(tab: Tab, toy_models: dict[str, Model]) -> None:
    tab.open()
    base = tab.clip
    tab.mode("bend")
    assert tab.clip["notes"] == base["notes"]
    tab.slide("#bend-density", 1.5)
    tab.until("musicvae.stage.clip.distance?.latent > 0")
    model = toy_models["piano"]
    moved = model.move(point_of(base["z"]), {"density": 1.5})
    np.testing.assert_allclose(point_of(tab.clip["z"]), moved, atol=1e-5)
    expect(tab.page.locator("#distance")).to_contain_text("of the distance to another clip")
    tab.click("#bend-reset")
    assert tab.clip["notes"] == base["notes"]
    tab.click("#bend-vary")
    expect(tab.page.locator("#shelf-title")).to_have_text("Neighbours")
    expect(tab.page.locator(".card")).to_have_count(8)


def test_keys_in_a_row_are_one_step_and_what_is_bent_can_be_kept(tab: Tab) -> None:
    tab.open()
    tab.mode("bend")
    density, register = (tab.page.locator(f"#bend-{name}") for name in ("density", "register"))
    for slider, presses in ((density, 5), (register, 3), (density, 2)):
        slider.focus()
        for _ in range(presses):
            tab.page.keyboard.press("ArrowRight")
    tab.until("musicvae.stage.clip.distance?.latent > 0")
    tab.idle()
    bent = tab.clip["notes"]
    tab.mode("keep")
    assert tab.clip["notes"] == bent
    steps = tab.page.locator("#history button")
    expect(steps).to_have_text(["Density +0.7", "Register +0.3", "Density +0.5", "4 clips of seed 7"])
    tab.page.keyboard.press("f")
    expect(tab.page.locator(".card")).to_have_count(1)
    tab.until("location.hash.includes('mode=keep')")  # written when things are quiet
    link = tab.page.url
    tab.page.goto("about:blank")
    tab.page.goto(link)
    tab.until("musicvae.stage.clip?.notes")
    assert tab.clip["notes"] == bent


def test_a_model_has_its_own_space(tab: Tab) -> None:
    tab.open()
    tab.page.locator("#model").select_option("melody")
    tab.until("musicvae.stage.clip?.model === 'melody'")
    tab.mode("bend")
    expect(tab.page.locator("#attributes")).to_contain_text("no attribute vectors")
    tab.do("await musicvae.play(0)")
    tab.page.keyboard.press("Control+z")
    tab.until("musicvae.stage.clip?.model === 'piano'")


def test_undo_and_redo_go_through_all_that_was_done(tab: Tab) -> None:
    tab.open()
    first = tab.state["clip"]
    tab.page.locator(".card-main").nth(1).click()
    tab.click("#generate")
    tab.until("musicvae.store.history.at === 2")
    tab.page.keyboard.press("Control+z")
    tab.page.keyboard.press("Control+z")
    assert tab.state["clip"] == first
    tab.page.keyboard.press("Control+Shift+z")
    assert tab.state["clip"]["index"] == 1
    tab.mode("keep")
    steps = tab.page.locator("#history button")
    expect(steps).to_have_text(["4 clips of seed 7", "Clip 2", "4 clips of seed 7"])
    steps.last.click()
    assert tab.state["clip"] == first


def test_favourites_stay(tab: Tab) -> None:
    tab.open()
    tab.page.keyboard.press("f")
    tab.page.locator(".card-main").nth(2).click()
    tab.page.locator(".card-keep").nth(2).click()
    kept = tab.clip["notes"]
    tab.page.reload()
    tab.page.locator("#tab-keep").click()
    expect(tab.page.locator(".card")).to_have_count(2)
    tab.page.locator(".card-main").first.click()
    assert tab.clip["notes"] == kept
    tab.click("#keep-this")
    expect(tab.page.locator(".card")).to_have_count(1)


def test_files_to_take_home(tab: Tab, tmp_path: Path) -> None:
    tab.open(SEED + "&tempo=150")
    with tab.page.expect_download() as download:
        tab.click("#save-midi")
    assert download.value.suggested_filename == "piano-clip-1-of-seed-7.mid"
    download.value.save_as(tmp_path / "clip.mid")
    score = musicvae.read(tmp_path / "clip.mid").score
    assert score.tempo == pytest.approx(150)
    assert len(score) == len(tab.clip["notes"])
    with tab.page.expect_download(timeout=60_000) as download:
        tab.click("#save-wav")
    download.value.save_as(tmp_path / "clip.wav")
    with wave.open(str(tmp_path / "clip.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (44100, 2)
        assert sound.getnframes() / 44100 >= 2 * 4 * 60 / 150


@pytest.mark.parametrize("mode", ["generate", "bring", "walk", "bend"])
def test_a_link_brings_back_exactly_this(tab: Tab, fresh: Callable[..., Tab], song: bytes, mode: str) -> None:
    tab.open(SEED + "&tempo=133&loop=off&enter=beat")
    tab.page.locator(".card-main").nth(3).click()
    if mode == "bring":
        tab.drop("a b&c=d#é+1%.mid", song)
        tab.until("musicvae.store.state.bring")
        tab.page.keyboard.press("x")
    else:
        tab.mode(mode)
    if mode == "walk":
        tab.page.locator("#pad").focus()
        tab.page.keyboard.press("ArrowDown")
        tab.until("musicvae.stage.clip.source.at?.[1] === 0.55")
    if mode == "bend":
        tab.click("#bend-vary")
        tab.until("musicvae.store.state.batch.kind === 'vary'")
        tab.page.locator(".card-main").nth(5).click()
        tab.slide("#bend-register", -0.7)
        tab.until("musicvae.stage.clip.distance")
    state, clip, shelf = tab.state, tab.clip, tab.do("return musicvae.shelf().map((clip) => clip.notes)")
    if state["bring"]:
        del state["bring"]["number"]  # of the file, which a link does not have
    other = fresh().open(tab.link)
    assert other.state == state
    assert {**other.clip, "tempo": 0} == {**clip, "tempo": 0}  # it sounds at the page's tempo, which is in the state
    assert other.do("return musicvae.shelf().map((clip) => clip.notes)") == shelf
    assert other.complaints == []


@pytest.mark.parametrize(
    "damage", ["#mode=dance", "#clip=g~7~9~0", "#original=AAAA&z=x", "#batch=v~3~0.1~2", "#window=%"]
)
def test_a_damaged_link_is_told_and_forgotten(tab: Tab, damage: str) -> None:
    tab.open(damage)
    if damage != "#window=%":  # says nothing where there is no file
        expect(tab.page.locator(".toast")).to_contain_text("The link is damaged.")
    assert tab.state["clip"] is not None
