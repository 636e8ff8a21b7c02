// The one store. A state is plain, frozen data that says where every clip comes from, never the notes themselves: so a
// step back costs nothing, and a whole state fits in a link (address.js). clips.js turns a source into notes.
//
// A source of a clip is one of
//   {from: "generate", seed, temperature, index}            clip `index` of a draw
//   {from: "z", z, temperature, seed, index}                a point and the noise that it is decoded with
//   {from: "walk", corners: [source, …], at: [x, y], likeliest}
//   {from: "bend", of: source, amounts: {attribute: number}}
//   {from: "notes", packed}                                 music from a file

export const MODES = ["generate", "bring", "walk", "bend", "keep"];
export const ENTER = ["bar", "beat", "now"]; // when the notes of another clip enter while one plays

export const BEGINNING = Object.freeze({
  model: null,
  mode: "generate",
  tempo: 120,
  loop: true,
  enter: "bar",
  settings: { n: 8, temperature: 0.7, seed: 7, fresh: true }, // what Generate will draw with; fresh: a new seed each time
  batch: null, // what the shelf shows: {kind: "generate", n, temperature, seed} or {kind: "vary", of, amount, n, targets}
  clip: null, // source of the chosen clip
  walk: { corners: [null, null, null, null], four: true, at: [0.5, 0.5], likeliest: false },
  bend: { of: null, amounts: {} },
  bring: null, // {number (not from a link), name, bar, packed, z, temperature, side: "original" | "reconstruction"}
});

const STEPS = 200; // of history

export class Store extends EventTarget {
  #steps = [{ state: BEGINNING, label: "The beginning", gesture: null }];
  #at = 0;

  get state() {
    return this.#steps[this.#at].state;
  }

  get history() {
    return { labels: this.#steps.map((step) => step.label), at: this.#at };
  }

  /** Change what is merely looked at (mode, tempo, …): no step of its own. */
  patch(change) {
    this.#replace({ ...this.state, ...change });
  }

  /** Make a step that undo takes back. Commits of one `gesture` in a row, as of a slider being moved, are one step. */
  commit(label, change, gesture = null) {
    const step = { state: Object.freeze({ ...this.state, ...change }), label, gesture };
    const same = gesture !== null && this.#steps[this.#at].gesture === gesture;
    const before = this.#steps.slice(0, this.#at + (same ? 0 : 1)).slice(-STEPS);
    this.#steps = [...before, step];
    this.#at = this.#steps.length - 1;
    this.#changed();
  }

  /** What follows is a step of its own, even if it has the same gesture. */
  endGesture() {
    this.#steps[this.#at].gesture = null;
  }

  /** Go to a step of the history, forwards or backwards. Tempo, loop and entry stay as they are. */
  go(at) {
    if (at < 0 || at >= this.#steps.length || at === this.#at) return;
    const { tempo, loop, enter } = this.state;
    this.#at = at;
    this.endGesture();
    this.#replace({ ...this.state, tempo, loop, enter });
  }

  undo() {
    this.go(this.#at - 1);
  }

  redo() {
    this.go(this.#at + 1);
  }

  /** Begin anew from a state, as a link brings one. */
  reset(state, label) {
    this.#steps = [{ state: Object.freeze(state), label, gesture: null }];
    this.#at = 0;
    this.#changed();
  }

  #replace(state) {
    this.#steps[this.#at].state = Object.freeze(state);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The source of what the stage shows and the player plays. */
export function onStage(state) {
  const { mode, walk, bend, bring } = state;
  if (mode === "bring" && bring) return bring.side === "original" ? originalOf(bring) : reconstructionOf(bring);
  if (mode === "walk" && wayOf(walk)) return wayOf(walk);
  if (mode === "bend" && bend.of) return Object.keys(bend.amounts).length ? { from: "bend", ...bend } : bend.of;
  return state.clip;
}

export const originalOf = (bring) => ({ from: "notes", packed: bring.packed });
export const reconstructionOf = (bring) => ({
  from: "z",
  z: bring.z,
  temperature: bring.temperature,
  seed: 0,
  index: null,
});

/** The walk's source, or null while a corner is empty. */
export function wayOf({ corners, four, at, likeliest }) {
  const used = four ? corners : corners.slice(0, 2);
  return used.every(Boolean) ? { from: "walk", corners: used, at: four ? at : at.slice(0, 1), likeliest } : null;
}
