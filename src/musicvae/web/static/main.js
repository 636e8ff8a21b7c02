// Where the page begins: puts the parts together. Each part is a file with one job; what several need hangs on `app`.

import * as address from "./address.js";
import { models } from "./api.js";
import { Player } from "./audio.js";
import * as bend from "./bend.js";
import * as bring from "./bring.js";
import * as chooser from "./chooser.js";
import { admit, draw, point } from "./clips.js";
import { find, make } from "./dom.js";
import { Favourites } from "./favourites.js";
import * as generate from "./generate.js";
import * as keep from "./keep.js";
import * as keys from "./keys.js";
import * as map from "./map.js";
import { fail, toast } from "./say.js";
import * as shelf from "./shelf.js";
import { Stage } from "./stage.js";
import { BEGINNING, MODES, Store } from "./state.js";
import * as theme from "./theme.js";
import * as transport from "./transport.js";
import * as walk from "./walk.js";
import { choice } from "./widgets.js";

const app = {
  store: new Store(), // state.js
  player: new Player(), // audio.js
  favourites: new Favourites(),
  models: [],
  model: null,
  limits: null, // as the server told
  enters: {}, // by mode: what to do when one comes to it
  frames: [], // called at each frame while music plays, with the clip and the step
  redraws: [], // called when colours have changed
};
const { store } = app;

let tasks = 0;

/** Show that the page waits for a promise. */
app.during = async (promise) => {
  const show = (change) => {
    tasks += change;
    document.documentElement.classList.toggle("busy", tasks > 0);
    find("#stage").setAttribute("aria-busy", String(tasks > 0));
  };
  show(1);
  try {
    return await promise;
  } finally {
    show(-1);
  }
};

// ---------------------------------------------------------------------------------------------------- modes
// They come before the parts, which draw what they find visible.
const showTab = choice(
  MODES.map((mode) => find(`#tab-${mode}`)),
  (i) => {
    const mode = MODES[i];
    const heard = mode === "keep" ? app.stage.clip : null; // it is what there is to keep, wherever it was made
    store.patch(heard ? { mode, clip: admit(heard.model, point(heard), heard).source } : { mode });
    app.enters[mode]?.();
  },
  "aria-selected",
);
store.addEventListener("change", () => {
  showTab(MODES.indexOf(store.state.mode));
  for (const mode of MODES) find(`#panel-${mode}`).hidden = mode !== store.state.mode;
});

// ---------------------------------------------------------------------------------------------------- parts
app.stage = new Stage(app);
for (const part of [generate, bring, walk, bend, keep, chooser, transport, keys, shelf, map]) part.start(app);
theme.start(() => {
  app.stage.redraw();
  for (const redraw of app.redraws) redraw();
});

// ---------------------------------------------------------------------------------------------------- models
const select = find("#model");
select.addEventListener("change", () => app.changeModel(select.value));

/** Go to another model, whose space is another: what was chosen stays behind, and undo brings it back. */
app.changeModel = async (name, clip = null) => {
  const model = app.models.find((one) => one.name === name);
  if (!model) {
    toast(`The model ${name} is not here.`, { hint: "Start with it: musicvae play FOLDER", error: true });
    return;
  }
  const { walk, bend } = BEGINNING;
  const settings = { ...store.state.settings, temperature: model.temperature };
  const { n, temperature, seed } = settings;
  const batch = clip ? null : { kind: "generate", n, temperature, seed };
  try {
    const chosen = clip ?? (await app.during(draw(name, batch)))[0].source; // until then, what is there plays on
    store.commit(`Model ${model.title}`, { model: name, batch, clip: chosen, walk, bend, bring: null, settings });
    app.enters[store.state.mode]?.();
  } catch (error) {
    select.value = store.state.model;
    fail(error);
  }
};
store.addEventListener("change", () => {
  app.model = app.models.find((one) => one.name === store.state.model) ?? null;
  if (!app.model) return;
  select.value = app.model.name;
  find("#credit").textContent = app.model.credit ? `${app.model.title}: ${app.model.credit}` : "";
});

// ---------------------------------------------------------------------------------------------------- the address
let writing = 0;
store.addEventListener("change", () => {
  clearTimeout(writing); // browsers allow only so many writes a second
  if (store.state.model)
    writing = setTimeout(() => history.replaceState(null, "", `#${address.write(store.state)}`), 300);
});
addEventListener("hashchange", restore); // a link was put into the address of this page

/** Begin with what the address says; without a word there, with new clips. */
async function restore() {
  const standard = app.models.find((one) => one.name === app.standard);
  let state = { ...BEGINNING, settings: { ...BEGINNING.settings, temperature: standard.temperature } };
  try {
    if (location.hash.length > 1) state = address.read(location.hash);
    if (state.model && !app.models.some((one) => one.name === state.model)) {
      toast(`The link is for the model ${state.model}, which is not here.`, {
        hint: "Start with it: musicvae play FOLDER",
        error: true,
      });
      state = { ...BEGINNING };
    }
  } catch (error) {
    toast("The link is damaged.", {
      hint: `Its part “${error.message}” cannot be read; this is a fresh beginning.`,
      error: true,
    });
  }
  store.reset({ ...state, model: state.model ?? standard.name }, "The beginning");
  app.enters[store.state.mode]?.();
  if (!state.batch && !state.clip && !state.bring) await app.generate({ first: true });
}

async function begin() {
  const told = await models();
  Object.assign(app, { models: told.models, limits: told.limits, standard: told.default });
  select.replaceChildren(...told.models.map(({ name, title }) => make("option", { value: name }, title || name)));
  select.disabled = told.models.length < 2;
  find("#number").max = told.limits.n;
  await restore();
}

store.patch({}); // every part shows the beginning, while the server is asked
find(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment belongs to the state
  find("#stage").focus();
});
document.addEventListener("back", () => app.model ?? begin().catch(fail));
begin().catch(fail);

window.musicvae = app; // to look around in the browser's console; the tests do
