"""What the page sounds like: the clock, taking over, the synth, MIDI."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

from browser import SEED, Tab

# The clock of the sound card stands still until a test lets it go on: so a busy machine is not heard in the tests.
LISTEN = """window.heard = [];
window.time = 0;
Object.defineProperty(BaseAudioContext.prototype, "currentTime", { get: () => window.time });
Object.defineProperty(AudioContext.prototype, "outputLatency", { get: () => 0 });
window.goOn = async (seconds) => {
  for (const end = time + seconds; time < end; time += 0.05) await new Promise((done) => setTimeout(done, 30));
};
const start = AudioBufferSourceNode.prototype.start, stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.start = function (when) {
  this.entry = { when, stop: Infinity };
  heard.push(this.entry);
  return start.apply(this, arguments);
};
AudioBufferSourceNode.prototype.stop = function (when) {
  this.entry.stop = when;
  return stop.apply(this, arguments);
};"""


def test_play_pause_and_stop(tab: Tab) -> None:
    tab.open(SEED + "&tempo=300")
    page = tab.page
    page.keyboard.press("Space")
    tab.until("musicvae.player.scheduled > 0 && musicvae.player.place().step > 2")
    assert tab.do("return musicvae.player.context.state") == "running"
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause (Space)")
    page.locator("#play").click()
    assert tab.do("return [musicvae.player.playing, musicvae.player.place().step > 0]") == [False, True]
    page.keyboard.press("Escape")
    assert tab.do("return [musicvae.player.playing, musicvae.player.place().step]") == [False, 0]


def test_notes_sound_to_the_sample_where_they_belong(tab: Tab) -> None:
    tab.page.add_init_script(LISTEN)
    tab.open(SEED + "&tempo=400&loop=off&mode=generate")
    tab.do("await musicvae.play(0); await goOn(1.5)")
    assert not tab.do("return musicvae.player.playing")  # without the loop, it ends by itself
    heard = tab.do("return heard.map((note) => note.when)")
    onsets = [note[0] for note in tab.clip["notes"]]
    assert len(heard) == len(onsets)
    unit = 60 / 400 / 4
    offsets = np.array(heard) - heard[0] - (np.array(onsets) - onsets[0]) * unit
    assert np.abs(offsets).max() < 1e-6


def test_the_loop_goes_on_and_the_tempo_bends_time_without_a_jump(tab: Tab) -> None:
    tab.page.add_init_script(LISTEN)
    tab.open(SEED + "&tempo=400")
    before, after, later = tab.do(
        """await musicvae.play(0);
        await goOn(1.5); // 2 bars take 1.2 s: this is the second round
        const before = musicvae.player.place().step;
        musicvae.store.patch({ tempo: 60 });
        const after = musicvae.player.place().step;
        await goOn(1);
        return [before, after, musicvae.player.place().step];"""
    )
    assert 0 < before < 12
    assert after == before
    assert later - before == pytest.approx(4.5, abs=0.4)  # 4 steps a second now, after 20 ms at the tempo before


def test_another_clip_enters_at_the_bar_without_a_break(tab: Tab) -> None:
    tab.page.add_init_script(LISTEN)
    tab.open(SEED + "&tempo=400")
    unit = 60 / 400 / 4
    assert tab.do(
        """await musicvae.play(0);
        await goOn(0.3);
        musicvae.chooseByNumber(1);
        const waiting = musicvae.player.waiting;
        await goOn(2.7);
        return waiting;"""
    )
    heard = tab.do("return heard.filter((note) => note.stop > note.when).map((note) => note.when)")
    first, second = tab.do("return musicvae.shelf().slice(0, 2).map((clip) => clip.notes.map(([onset]) => onset))")
    assert set(first) != set(second)
    steps = {round((when - heard[0]) / unit + first[0], 3) for when in heard}
    last = int(max(steps))

    def struck(onsets: list[int], begin: int, end: int) -> set[float]:
        return {float(step) for step in range(begin, end) if step % 32 in onsets}

    bars = [
        bar
        for bar in range(16, last, 16)
        if {step for step in steps if step < bar} == struck(first, 0, bar)
        and {step for step in steps if bar < step < last} == struck(second, bar + 1, last)
    ]
    assert bars, sorted(steps)


def test_at_once_is_at_once(tab: Tab) -> None:
    tab.open(SEED + "&tempo=60&enter=now")
    tab.do("await musicvae.play(0)")
    tab.until("musicvae.player.place().step > 1")
    tab.page.locator(".card-main").nth(2).click()
    assert tab.do("return [musicvae.player.waiting, musicvae.player.clip === musicvae.shelf()[2]]") == [False, True]


def test_the_sound_has_no_clicks_and_stays_below_full_scale(tab: Tab) -> None:
    tab.open()
    loudest, edge, silent = tab.do(
        """const { Synth } = await import("/static/synth.js");
        const context = new OfflineAudioContext(2, 3 * 44100, 44100);
        const synth = new Synth(context);
        for (let pitch = 30; pitch < 100; pitch += 2) synth.play([0, 8, pitch, 127, 0], 0.1, 1); // nobody plays as much
        for (const pitch of [36, 38, 42, 49]) synth.play([0, 1, pitch, 127, 3], 0.1, 0.1);
        const one = new OfflineAudioContext(2, 3 * 44100, 44100);
        const notes = new Synth(one);
        // let go at any phase of the wave
        for (let i = 0; i < 7; i++) notes.play([0, 8, 57, 100, 1], 0.1 + 0.4 * i, 0.08 + 0.0011 * i);
        const all = (await context.startRendering()).getChannelData(0);
        const single = (await one.startRendering()).getChannelData(0);
        let edge = 0;
        for (let i = 1; i < single.length; i++) edge = Math.max(edge, Math.abs(single[i] - single[i - 1]));
        const top = (samples) => samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        return [top(all), edge / top(single), top(single.subarray(0, 4400))];"""
    )
    assert 0.3 < loudest <= 1
    assert edge < 0.15  # a wave of this pitch rises by 0.09 of its height in a sample; a cut one jumps by 0.26
    assert silent == 0


def test_midi_goes_to_the_instrument_that_is_chosen(tab: Tab) -> None:
    tab.page.add_init_script(
        """window.sent = [];
        const port = { id: "one", name: "A piano", send: (message, time) => sent.push([...message]) };
        navigator.requestMIDIAccess = async () => ({ outputs: new Map([["one", port]]) });"""
    )
    tab.open(SEED + "&tempo=400&loop=off")
    tab.page.locator("#output").select_option("ask")
    expect(tab.page.locator("#output")).to_have_value("one")
    tab.do("await musicvae.play(0)")
    tab.until("!musicvae.player.playing")
    tab.until("sent.filter(([status]) => status === 0x80).length === musicvae.stage.clip.notes.length")
    on = [message[1:] for message in tab.do("return sent") if message[0] == 0x90]
    assert sorted(on) == sorted(note[2:4] for note in tab.clip["notes"])
