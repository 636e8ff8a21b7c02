// Bend: move a clip along the attribute vectors of its model.

import { nameOf, peek, point, resolve } from "./clips.js";
import { find, make } from "./dom.js";
import { drawMiniature } from "./roll.js";
import { fail, tell } from "./say.js";
import { follow, setRange } from "./widgets.js";

// The attributes of `musicvae attributes`, as a musician would say them. A name that is not here is shown as it is.
const WORDS = {
  diatonic: ["Diatonic", "out of the key", "in the key"],
  density: ["Density", "few notes", "many notes"],
  interval: ["Interval", "steps", "leaps"],
  syncopation_16: ["Syncopation, 16ths", "on the beat", "off the beat"],
  syncopation_8: ["Syncopation, 8ths", "on the beat", "off the beat"],
  register: ["Register", "low", "high"],
  polyphony: ["Polyphony", "single notes", "chords"],
  loudness: ["Loudness", "soft", "loud"],
  length: ["Length", "short notes", "long notes"],
};

export function start(app) {
  const { store } = app;
  let sliders = new Map(); // attribute → {input, output}
  let built = null; // the model that they are for

  function build(model) {
    built = model.name;
    sliders = new Map();
    const rows = model.attributes.map(({ name, low, high }) => {
      const [title, less, more] = WORDS[name] ?? [name, "less", "more"];
      const input = make("input", {
        id: `bend-${name}`,
        type: "range",
        min: low,
        max: high,
        step: 0.1,
        "aria-describedby": `bend-${name}-less bend-${name}-more`,
      });
      const output = make("output", { for: input.id });
      follow(input, (value) => move(name, Math.abs(value) < 0.1 ? 0 : value));
      for (const begins of ["pointerdown", "focus"]) input.addEventListener(begins, () => store.endGesture());
      input.addEventListener("dblclick", () => move(name, 0));
      sliders.set(name, { input, output, title });
      return make(
        "div",
        { class: "attribute" },
        make("span", { class: "less", id: `bend-${name}-less` }, less),
        make("label", { for: input.id }, title),
        output,
        make("span", { class: "more-of-it", id: `bend-${name}-more` }, more),
        input,
      );
    });
    if (!rows.length) {
      rows.push(
        make(
          "p",
          { class: "hint" },
          "This model has no attribute vectors. Find them with: musicvae attributes MODEL DATA",
        ),
      );
    }
    find("#attributes").replaceChildren(...rows);
  }

  function move(name, value) {
    const { bend } = store.state;
    if (!bend.of) return;
    const amounts = { ...bend.amounts, [name]: value };
    if (value === 0) delete amounts[name];
    store.commit(`${sliders.get(name).title} ${signed(value)}`, { bend: { ...bend, amounts } }, `bend ${name}`);
  }

  /** Bend another clip; the amounts stay, so that one can hear what they do to it. */
  app.bendFrom = (source) => {
    store.commit(`Bending ${nameOf(source).toLowerCase()}`, {
      mode: "bend",
      bend: { ...store.state.bend, of: source },
      clip: source,
    });
  };
  app.enters.bend = () => {
    const { bend, clip } = store.state;
    if (!bend.of && clip && clip.from !== "notes") store.patch({ bend: { ...bend, of: clip } });
  };
  find("#bend-choose").addEventListener("click", async () => {
    const source = await app.pick("A clip to bend");
    if (source) app.bendFrom(source);
  });
  find("#bend-reset").addEventListener("click", () => {
    const { bend } = store.state;
    if (Object.keys(bend.amounts).length) store.commit("Straightened", { bend: { ...bend, amounts: {} } });
  });

  const amount = find("#vary-amount");
  const showAmount = () => {
    setRange(amount, amount.value);
    find("#vary-amount-value").textContent = Number(amount.value).toFixed(2);
  };
  follow(amount, showAmount);
  showAmount();
  find("#bend-vary").addEventListener("click", async () => {
    const clip = app.stage.clip;
    if (!clip?.z) return;
    const batch = {
      kind: "vary",
      of: point(clip),
      amount: Number(amount.value),
      n: 8,
      targets: Math.floor(Math.random() * 1_000_000),
    };
    const clips = await app.drawBatch(batch);
    if (!clips) return;
    store.commit("Eight neighbours", { batch });
    tell("Eight neighbours stand on the shelf.");
  });

  const show = async () => {
    const { mode, model, bend } = store.state;
    if (!app.model) return;
    if (built !== app.model.name) build(app.model);
    if (mode !== "bend") return;
    for (const [name, { input, output }] of sliders) {
      const value = bend.amounts[name] ?? 0;
      setRange(input, value, 0);
      input.disabled = !bend.of;
      output.textContent = signed(value);
    }
    find("#bend-reset").disabled = Object.keys(bend.amounts).length === 0;
    find("#bend-vary").disabled = !bend.of;
    find("#bend-name").textContent = bend.of ? nameOf(bend.of) : "nothing yet";
    showDistance(app.stage.clip?.distance);
    const base = peek(model, bend.of);
    drawMiniature(find("#bend-mini"), base);
    if (bend.of && !base) resolve(model, bend.of).then(show, fail);
  };
  store.addEventListener("change", show);
  app.redraws.push(show);

  app.stage.addEventListener("change", () => {
    if (store.state.mode === "bend") showDistance(app.stage.clip?.distance);
  });
}

const signed = (value) => (value === 0 ? "0" : `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`);

/** How far from the original: on the gauge, half-way is as far as two new clips are from each other. */
function showDistance(distance) {
  const share = Math.min(1, (distance?.relative ?? 0) / 2);
  find("#gauge").style.width = `${100 * share}%`;
  if (!distance || distance.latent === 0) {
    find("#distance").textContent = "Just as it was. The mark is how far apart two new clips are.";
    return;
  }
  const { relative, notes_kept: kept, notes_before: before, notes_after: after } = distance;
  find("#distance").textContent =
    `${Math.round(100 * relative)} % of the distance to another clip. ` +
    `${kept} of ${before} notes stay in place; ${after} sound now.`;
}
