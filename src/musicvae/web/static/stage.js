// The stage: what the state says is to be heard, with its roll. Everything that plays passes through here.

import { describe, steps, stepsPerBar } from "./notes.js";
import { hueOf, wear } from "./colour.js";
import { nameOf, peek, resolve } from "./clips.js";
import { find, label } from "./dom.js";
import { Roll, barAndBeat } from "./roll.js";
import { saveClips } from "./save.js";
import { fail, toast } from "./say.js";
import { onStage, originalOf, reconstructionOf } from "./state.js";

export class Stage extends EventTarget {
  clip = null; // the clip on the stage
  #app;
  #wanted = ""; // key of what is to be shown
  #asking = false;
  #rolls = ["#roll", "#roll-other"].map((id) => ({
    box: find(id),
    name: find(".roll-name", find(id)),
    roll: new Roll(find(`${id} .base`), find(`${id} .over`)),
  }));

  constructor(app) {
    super();
    this.#app = app;
    const { store, player } = app;
    store.addEventListener("change", () => this.#follow());
    document.addEventListener("back", () => {
      this.#wanted = "";
      this.#follow();
    });
    find("#keep-this").addEventListener("click", () => this.keep());
    for (const kind of ["midi", "wav"]) {
      find(`#save-${kind}`).addEventListener("click", () => app.during(saveClips([this.clip], kind, store.state, app.limits)));
    }
    app.favourites.addEventListener("change", () => this.#showKept());
    this.#rolls.forEach(({ box, roll }, i) => this.#seekable(box, roll, i, player));
    this.#showWords();
  }

  /** Keep or let go what is on the stage. */
  keep(clip = this.clip) {
    if (!clip) return;
    if (!this.#app.favourites.toggle(clip)) {
      toast("This browser does not let the page keep anything.", {
        hint: "Save the clip as MIDI, or copy the link.",
        error: true,
      });
    }
  }

  /** Draw the moment: called at each frame while something plays. `place` is the player's. */
  frame({ clip, step }) {
    const side = this.#sideBySide() && this.#app.store.state.bring.side !== "original" ? 1 : 0;
    this.#rolls.forEach(({ roll }, i) => roll.frame(clip ? step : null, i === side && clip === this.clip));
    if (clip) this.#showPlace(clip, step);
  }

  /** Wait until what was chosen is here. */
  async arrived() {
    while (this.#asking) await new Promise((done) => this.addEventListener("arrived", done, { once: true }));
  }

  redraw() {
    for (const { roll } of this.#rolls) roll.redraw();
  }

  // ------------------------------------------------------------------------------------------------ inside
  /** Bring what is wanted onto the stage; while the server works on one, only the latest wish after it counts. */
  async #follow() {
    const { state } = this.#app.store;
    const source = onStage(state);
    const key = source && state.model ? JSON.stringify([state.model, source]) : "";
    this.#showSides();
    if (key === this.#wanted) return;
    this.#wanted = key;
    if (!source || !state.model) {
      this.#set(null);
      return;
    }
    const here = peek(state.model, source);
    if (here) {
      this.#set(here);
      return;
    }
    if (this.#asking) return;
    this.#asking = true;
    await this.#app.during(this.#ask());
    this.#asking = false;
    this.dispatchEvent(new Event("arrived"));
  }

  async #ask() {
    for (let done = ""; done !== this.#wanted && this.#wanted;) {
      done = this.#wanted;
      const [model, wish] = JSON.parse(done);
      try {
        const clip = await resolve(model, wish);
        const now = this.#wanted ? JSON.parse(this.#wanted) : [];
        // On a walk or a bend each point on the way is heard; what belongs to another mode comes too late.
        if (done === this.#wanted || (now[0] === model && now[1].from === wish.from)) this.#set(clip);
      } catch (error) {
        fail(error);
      }
    }
  }

  #set(clip) {
    const { store, player } = this.#app;
    this.clip = clip;
    find("#roll-empty").hidden = clip !== null;
    wear(hueOf(clip?.z ?? store.state.bring?.z));
    this.#showRolls();
    this.#showWords();
    if (clip) player.swap(clip, this.#sideBySide() ? "now" : store.state.enter);
    else player.stop();
    this.dispatchEvent(new Event("change"));
  }

  #sideBySide() {
    const { mode, bring } = this.#app.store.state;
    return mode === "bring" && bring !== null;
  }

  #showRolls() {
    const { bring, model, bend, mode } = this.#app.store.state;
    const [first, second] = this.#rolls;
    const two = this.#sideBySide();
    second.box.hidden = !two;
    first.name.hidden = !two;
    find("#rolls").classList.toggle("two", two);
    if (two) {
      const pair = [originalOf(bring), reconstructionOf(bring)];
      pair.forEach((source, i) => {
        const { roll, box, name } = this.#rolls[i];
        const on = (bring.side === "original") === (i === 0);
        box.classList.toggle("on", on);
        name.textContent = ["Original", "Reconstruction"][i];
        roll.show(peek(model, source) ?? null);
        if (!peek(model, source)) {
          resolve(model, source).then(() => this.#showRolls(), fail);
        }
      });
      return;
    }
    first.box.classList.remove("on");
    const bent = mode === "bend" && Object.keys(bend.amounts).length > 0;
    first.roll.show(this.clip, bent ? (peek(model, bend.of) ?? null) : null);
  }

  #showSides() {
    this.#rolls[0].box.classList.toggle("on", this.#sideBySide() && this.#app.store.state.bring.side === "original");
    this.#rolls[1].box.classList.toggle("on", this.#sideBySide() && this.#app.store.state.bring.side !== "original");
  }

  #showWords() {
    const { clip } = this;
    const { bring } = this.#app.store.state;
    const side = { original: "as it was", reconstruction: "reconstructed" };
    find("#stage-title").textContent = this.#sideBySide() ? `${bring.name}, ${side[bring.side]}` : nameOf(clip?.source);
    const how = clip?.temperature == null ? "" : ` · temperature ${Number(clip.temperature.toFixed(2))}`;
    document.title = clip ? `${find("#stage-title").textContent} – musicvae` : "musicvae";
    find("#stage-facts").textContent = clip ? describe(clip) + how : "";
    for (const id of ["#keep-this", "#save-midi", "#save-wav", "#play"]) find(id).disabled = !clip;
    label(find("#save-midi"), "Save as MIDI");
    label(find("#save-wav"), "Save as WAV");
    this.#showKept();
    if (clip) this.#showPlace(clip, this.#app.player.place().step);
  }

  #showKept() {
    const kept = this.clip !== null && this.#app.favourites.has(this.clip);
    find("#keep-this").setAttribute("aria-pressed", String(kept));
    label(find("#keep-this"), kept ? "Kept (F lets it go)" : "Keep (F)");
  }

  #showPlace(clip, step) {
    const { box } = this.#rolls[0];
    const [bar, beat] = barAndBeat(clip, step);
    if (box.getAttribute("aria-valuenow") === String(bar) && box.getAttribute("aria-valuemax") === String(clip.bars))
      return;
    box.setAttribute("aria-valuemax", clip.bars);
    box.setAttribute("aria-valuenow", bar);
    box.setAttribute("aria-valuetext", `bar ${bar} of ${clip.bars}, beat ${beat}`);
  }

  /** Click, drag or arrow keys: to another place of the clip. */
  #seekable(box, roll, i, player) {
    const go = (event) => {
      const step = roll.stepAt(event.clientX);
      if (step === null || !this.clip) return;
      if (this.#sideBySide()) this.#app.compare(["original", "reconstruction"][i]);
      player.seek(step);
    };
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      box.setPointerCapture(event.pointerId);
      go(event);
    });
    box.addEventListener(
      "pointermove",
      (event) => box.hasPointerCapture(event.pointerId) && event.buttons && go(event),
    );
    box.addEventListener("keydown", (event) => {
      if (!this.clip) return;
      const bar = stepsPerBar(this.clip),
        { step } = player.place();
      const back = step % bar < 1 ? step - bar : step - (step % bar);
      const to = { ArrowRight: step - (step % bar) + bar, ArrowLeft: back, Home: 0, End: steps(this.clip) - bar }[
        event.key
      ];
      if (to === undefined) return;
      event.preventDefault();
      player.seek(Math.min(steps(this.clip) - bar, Math.max(0, to)));
    });
  }
}
