// Bring your own: a MIDI file through the model and back, side by side with what it was.

import * as api from "./api.js";
import { admit } from "./clips.js";
import { find, make } from "./dom.js";
import { pack, unpack } from "./notes.js";
import { clearErrors, fail, tell, toast } from "./say.js";
import { originalOf, reconstructionOf } from "./state.js";
import { choice, follow, setRange } from "./widgets.js";

const MOST = 40; // answers that are remembered

export function start(app) {
  const { store } = app;
  const files = []; // {file, anyMeter}, all that were dropped; the state knows them by their number, links do not
  const answers = new Map(); // what the server said, by number, model and temperature
  let asked = 0; // counts what is sent: an answer that comes after something newer was sent is dropped
  const meter = find("#other-meter"),
    words = find("#drop strong");

  const sides = ["original", "reconstruction"];
  const showSide = choice([find("#side-original"), find("#side-reconstruction")], (i) => app.compare(sides[i]));

  /** Hear the original or the reconstruction, from the same place on, at once. */
  app.compare = (side = store.state.bring?.side === "original" ? "reconstruction" : "original") => {
    const { bring, mode } = store.state;
    if (bring && mode === "bring") store.patch({ bring: { ...bring, side } });
  };

  const keyOf = (number, temperature, model = store.state.model) => [number, model, temperature].join();
  function remember(key, answer) {
    answers.set(key, answer);
    if (answers.size > MOST) answers.delete(answers.keys().next().value);
  }

  async function send(number, temperature, bar = null) {
    const { model } = store.state;
    const { file, anyMeter } = files[number];
    const mine = ++asked;
    clearErrors();
    meter.hidden = true;
    words.textContent = "Drop a MIDI file anywhere";
    if (file.size > (app.limits?.body_bytes ?? Infinity)) {
      toast(`${file.name} is too large.`, { hint: "A MIDI file may have 2 MB.", error: true });
      return;
    }
    words.textContent = `Reading ${file.name}…`;
    try {
      const answer = await app.during(api.encode(file, { model, temperature, any_meter: Number(anyMeter) }));
      if (mine !== asked) return;
      if (model !== store.state.model) {
        send(number, temperature);
        return;
      }
      remember(keyOf(number, temperature, model), answer);
      const at = Math.max(
        0,
        answer.windows.findIndex((window) => window.first_bar === bar),
      );
      use(number, answer.windows[at], temperature, bar === null);
      if (bar === null)
        tell(`${file.name}: ${answer.notes_kept} of ${answer.notes_found} notes read, ${answer.windows.length} parts.`);
    } catch (error) {
      if (mine !== asked) return;
      if (error.field === "any_meter") {
        meter.hidden = false;
        meter.dataset.number = number;
        find("p", meter).textContent = `${file.name}: ${error.message}.`;
        store.patch({ mode: "bring" });
        find("button", meter).focus();
      } else {
        fail(error);
      }
    } finally {
      if (mine === asked) words.textContent = "Drop a MIDI file anywhere";
    }
  }
  find("button", meter).addEventListener("click", () => {
    const number = Number(meter.dataset.number);
    files[number].anyMeter = true;
    send(number, store.state.bring?.temperature ?? 0);
  });

  /** Put one window of a file on the stage. */
  function use(number, window, temperature, first = false) {
    const { model } = store.state;
    const { file } = files[number];
    const { original, reconstruction } = window;
    const bring = {
      number,
      name: file.name,
      bar: window.first_bar,
      packed: pack(original),
      z: reconstruction.z,
      temperature,
      side: first ? "original" : (store.state.bring?.side ?? "original"),
    };
    admit(model, originalOf(bring), unpack(bring.packed)); // as the link will bring it back
    admit(model, reconstructionOf(bring), reconstruction);
    const tempo = Math.min(240, Math.max(40, Math.round(original.tempo)));
    store.commit(first ? `Brought ${file.name}` : `${file.name}, bar ${window.first_bar + 1}`, {
      bring,
      mode: "bring",
      clip: reconstructionOf(bring),
      ...(first ? { tempo } : {}),
    });
  }

  app.bring = (file) => send(files.push({ file, anyMeter: false }) - 1, store.state.bring?.temperature ?? 0);

  find("#file").addEventListener("change", (event) => {
    if (event.target.files[0]) app.bring(event.target.files[0]);
    event.target.value = ""; // so that the same file may be chosen again
  });
  dropAnywhere(app);

  const heat = find("#bring-temperature");
  follow(
    heat,
    (value) => showHeat(value),
    () => {
      const temperature = Number(heat.value);
      const { number, bar } = store.state.bring;
      if (number !== undefined) {
        send(number, temperature, bar);
      } else {
        const bring = { ...store.state.bring, temperature };
        store.commit("Temperature of the reconstruction", { bring, clip: reconstructionOf(bring) });
      }
    },
  );
  const showHeat = (value) => {
    setRange(heat, value);
    find("#bring-temperature-value").textContent = value.toFixed(2);
  };

  find("#bring-walk").addEventListener("click", () => app.walkFrom(reconstructionOf(store.state.bring)));
  find("#bring-bend").addEventListener("click", () => app.bendFrom(reconstructionOf(store.state.bring)));

  store.addEventListener("change", () => {
    const { bring, mode } = store.state;
    find("#brought").hidden = !bring;
    find("#drop").classList.toggle("small", bring !== null);
    find("#sides").hidden = !bring || mode !== "bring";
    if (!bring) return;
    showSide(sides.indexOf(bring.side));
    showHeat(bring.temperature);
    const mine = answers.get(keyOf(bring.number, bring.temperature)) ?? null;
    showFile(bring, mine, (window) => use(bring.number, window, bring.temperature));
  });
}

/** What the panel says of the file; `answer` is null where only a link told of it, or it is long ago. */
function showFile(bring, answer, use) {
  find("#brought-name").textContent = bring.name;
  const windows = find("#windows"),
    changes = find("#changes");
  const key = JSON.stringify([bring.number, bring.name, bring.bar, bring.temperature, bring.z, answer?.windows.length]);
  if (windows.dataset.key === key) return;
  windows.dataset.key = key;
  changes.hidden = !answer;
  if (!answer) {
    windows.replaceChildren();
    find("#brought-kept").textContent = "";
    find("#brought-facts").textContent = "This part alone is at hand. Drop the file for the others.";
    return;
  }
  const left = answer.windows_left_out ? ` ${answer.windows_left_out} later parts are left out.` : "";
  find("#brought-facts").textContent =
    `${answer.notes_kept} of ${answer.notes_found} notes read, ${answer.bars} bars at ${Math.round(answer.tempo)}.${left}`;
  const buttons = answer.windows.map(({ first_bar, original }) =>
    make(
      "button",
      { role: "radio", class: "chip", "aria-label": `Bars ${first_bar + 1} to ${first_bar + original.bars}` },
      `${first_bar + 1}–${first_bar + original.bars}`,
    ),
  );
  const focused = windows.contains(document.activeElement);
  windows.replaceChildren(...buttons);
  const chosen = answer.windows.findIndex((window) => window.first_bar === bring.bar);
  choice(buttons, (i) => use(answer.windows[i]))(chosen);
  if (focused) buttons[chosen]?.focus();
  const window = answer.windows[chosen];
  const share = Math.round((100 * window.notes_kept) / Math.max(1, window.original.notes.length));
  find("#brought-kept").textContent =
    `${window.notes_kept} of its ${window.original.notes.length} notes come back at their place (${share} %); ` +
    "the rest is the model’s own.";
  const told = [...answer.changes, ...window.changes];
  find("summary", changes).textContent = told.length
    ? `What was changed or dropped (${told.length})`
    : "Nothing was changed or dropped";
  find("ul", changes).replaceChildren(
    ...told.map(({ reason, notes }) => make("li", {}, reason, notes ? make("span", {}, ` ${notes} notes`) : null)),
  );
}

/** A file may be dropped anywhere on the page. */
function dropAnywhere(app) {
  const veil = find("#veil");
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  let inside = 0; // enter and leave come for each element on the way
  addEventListener("dragenter", (event) => {
    if (hasFile(event)) veil.hidden = ++inside === 0;
  });
  addEventListener("dragleave", (event) => {
    if (hasFile(event)) veil.hidden = --inside <= 0;
  });
  addEventListener("dragover", (event) => {
    if (hasFile(event)) event.preventDefault(); // else the browser opens the file itself
  });
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    inside = 0;
    veil.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) app.bring(file);
  });
}
