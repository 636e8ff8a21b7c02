// The listening test: welcome, trials, thanks. The server knows where a listener is; this browser keeps only the key.

import * as api from "./api.js";
import { find, make } from "./dom.js";
import { player } from "./player.js";
import { load, save } from "./storage.js";

const NAMES = { 1: ["The clip"], 2: ["The first clip", "The second clip"] };

let listener = null;
let about = null;
let now = null; // what the server said last
let players = [];

function show(name) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  find("#more").hidden = name !== "trial";
  find("#place").hidden = find("#progress").hidden = name !== "trial";
  window.scrollTo(0, 0);
}

function tiles(place, name, options, chosen = () => {}) {
  find(place).replaceChildren(
    ...options.map(({ value, text }) =>
      make("label", {}, make("input", { type: "radio", name, value, onchange: chosen }), make("span", {}, text)),
    ),
  );
}

const picked = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;

/** Show what comes next. */
function go(state) {
  now = state;
  players.forEach((each) => each.close());
  players = [];
  if (state.done) done(state);
  else trial(state);
}

// ------------------------------------------------------------------------------------------------- welcome
function welcome(focus) {
  listener = null;
  show("welcome");
  const minutes = about.minutes === 1 ? "a minute" : `${about.minutes} minutes`;
  const length = `There are ${about.trials} questions, which take about ${minutes}, and one before them for practice.`;
  find("#about").replaceChildren(...[...about.about, length].map((text) => make("p", {}, text)));
  tiles("#experience", "experience", about.experience.map((text, value) => ({ value, text })), () => (find("#missing").textContent = ""));
  if (focus) find("#welcome-title").focus();
}

find("#begin").addEventListener("submit", async (event) => {
  event.preventDefault();
  const experience = picked("experience");
  if (experience === undefined) {
    find("#missing").textContent = "Choose the title that comes closest.";
    find("#experience input").focus();
    return;
  }
  const button = find("#begin button");
  button.disabled = true;
  await guarded(async () => {
    const { listener: key, ...state } = await api.begin(Number(experience));
    keep(key);
    go(state);
  });
  button.disabled = false;
});

function keep(key) {
  listener = key;
  save("listener", key);
  find("#link").value = `${location.origin}/#${key}`;
}

// --------------------------------------------------------------------------------------------------- trials
function trial({ number, of, clips, question, choices, hear }) {
  show("trial");
  const what = clips.length > 1 ? "Pair" : "Clip";
  const title = number ? `${what} ${number} of ${of}` : "Practice";
  find("#trial-title").textContent = number ? (clips.length > 1 ? "Listen to both" : "Listen") : "A first one, for practice";
  find("#place").textContent = title;
  find("#practice").hidden = number > 0;
  Object.assign(find("#progress"), { max: of, value: Math.max(number - 1, 0) });
  find("#live").textContent = title;
  find("#question").textContent = question;
  find("#answers").disabled = true;
  find("#next").disabled = true;
  tiles("#choices", "choice", choices, ready);
  find("#choices").classList.toggle("two", choices.length === 2);

  const seconds = Math.max(Math.round(hear), 1);
  function ready() {
    for (const each of mine) each.node.classList.toggle("heard", each.heard() >= hear);
    const left = mine.filter((each) => each.heard() < hear).length;
    const fieldset = find("#answers");
    if (fieldset.disabled && !left) {
      fieldset.disabled = false;
      find("#live").textContent = "You can answer now.";
    }
    const each = clips.length > 1 ? "of each clip" : "of the clip";
    find("#wait").textContent = left ? `You can answer once you have heard ${seconds} ${seconds > 1 ? "seconds" : "second"} ${each}.` : "";
    find("#next").disabled = left > 0 || picked("choice") === undefined;
  }
  const mine = clips.map((token, i) => {
    const begun = () => mine.forEach((other, j) => j !== i && other.pause());
    return player(NAMES[clips.length][i], api.clip(token), { changed: ready, begun });
  });
  players = mine;
  find("#players").replaceChildren(...mine.map((each) => each.node));
  ready();
  guarded(async () => {
    await mine[0].ready;
    if (players === mine) mine[0].go.focus({ preventScroll: true });
    await Promise.all(mine.map((each) => each.ready));
  });
}

find("#answer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const value = picked("choice");
  if (value === undefined || find("#next").disabled) return;
  find("#next").disabled = true;
  players.forEach((each) => each.pause());
  await guarded(async () => go(await api.answer(listener, now.number, Number(value))));
});

// --------------------------------------------------------------------------------------------------- the end
function done({ of }) {
  show("done");
  find("#done-words").textContent = `All ${of} answers are kept. That was all; you can close this page.`;
  find("#done-title").focus();
}

for (const button of ["#another", "#anew"]) {
  find(button).addEventListener("click", () => {
    players.forEach((each) => each.close());
    save("listener", null);
    find("#more details").open = false;
    welcome(true);
  });
}

find("#link").addEventListener("focus", (event) => event.target.select());

/** Do something; what the server refuses is told, and a key that it does not know is forgotten. */
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    if (error.status === 404 && listener) {
      save("listener", null);
      welcome(true);
    } else if (error.status === 409) {
      go(await api.state(listener));
    } else {
      api.trouble(error.message);
      if (!(error instanceof api.Refused)) console.error(error);
    }
  }
}

guarded(async () => {
  about = await api.test();
  const given = decodeURIComponent(location.hash.slice(1));
  if (given) history.replaceState(null, "", "/"); // a link is somebody's own: it should not be passed on by chance
  const key = given || load("listener", null);
  if (!key) return welcome(false);
  keep(key);
  go(await api.state(key));
});
