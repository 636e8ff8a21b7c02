// Generate: draw new clips. Temperature, number and seed are what the command line calls them too.

import { draw } from "./clips.js";
import { find } from "./dom.js";
import { fail, tell } from "./say.js";
import { follow, setRange } from "./widgets.js";

const WORDS = [
  [0, "only the likeliest notes"],
  [0.45, "careful"],
  [0.85, "lively, as the model plays by itself"],
  [1.25, "adventurous"],
  [1.65, "wild"],
  [2, "anything may happen"],
];

const newSeed = () => Math.floor(Math.random() * 1_000_000);

export function start(app) {
  const { store } = app;
  const form = find("#draw");
  const [temperature, number, seed, fresh] = ["#temperature", "#number", "#seed", "#fresh"].map((id) => find(id));
  const set = (change) => store.patch({ settings: { ...store.state.settings, ...change } });

  follow(temperature, (value) => set({ temperature: value }));
  number.addEventListener("change", () => set({ n: bounded(number, app.limits?.n ?? 64) }));
  seed.addEventListener("change", () => set({ seed: bounded(seed, Number.MAX_SAFE_INTEGER), fresh: false }));
  fresh.addEventListener("change", () => set({ fresh: fresh.checked }));
  find("#dice").addEventListener("click", () => set({ seed: newSeed(), fresh: false }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    app.generate();
  });

  let drawing = null;

  /** Draw with the settings as they stand, and put the first clip on the stage. What the page begins with is no step. */
  app.generate = async ({ first = false } = {}) => {
    if (!app.model) return; // the server has not answered yet
    drawing?.abort();
    const mine = (drawing = new AbortController());
    const { model, settings } = store.state;
    const asked = { ...settings, seed: settings.fresh ? newSeed() : settings.seed };
    const batch = { kind: "generate", n: asked.n, temperature: asked.temperature, seed: asked.seed };
    try {
      const clips = await app.during(draw(model, batch, mine.signal));
      const drawn = { settings: asked, batch, clip: clips[0].source, mode: "generate" };
      const label = `${clips.length === 1 ? "A clip" : `${clips.length} clips`} of seed ${batch.seed}`;
      if (first) store.reset({ ...store.state, ...drawn }, label);
      else store.commit(label, drawn);
      tell(`${clips.length} new clips; the first is on the stage.`);
    } catch (error) {
      fail(error);
    }
  };

  store.addEventListener("change", () => {
    const { settings } = store.state;
    setRange(temperature, settings.temperature);
    find("#temperature-value").textContent = settings.temperature.toFixed(2);
    const words = WORDS.find(([upTo]) => settings.temperature <= upTo)[1];
    find("#temperature-words").textContent = words;
    temperature.setAttribute("aria-valuetext", `${settings.temperature}, ${words}`);
    if (document.activeElement !== number) number.value = settings.n;
    if (document.activeElement !== seed) seed.value = settings.seed;
    fresh.checked = settings.fresh;
  });
}

/** The whole number in a field, brought within 0 or its `min` and `most`. */
function bounded(input, most) {
  const value = Math.round(Number(input.value)) || 0;
  input.value = Math.min(most, Math.max(Number(input.min), value));
  return Number(input.value);
}
