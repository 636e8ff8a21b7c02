// The favourites: whole clips, so that they sound even without their model. Kept in this browser.

import { load, save } from "./storage.js";

export class Favourites extends EventTarget {
  #kept = load("favourites", []).filter((clip) => Array.isArray(clip?.notes) && clip.source);

  /** Newest first. */
  get clips() {
    return this.#kept;
  }

  has(clip) {
    return this.#kept.some((kept) => same(kept, clip));
  }

  /** Keep a clip, or let it go if it is kept. Returns false where this browser could not remember it. */
  toggle(clip) {
    this.#kept = this.has(clip) ? this.#kept.filter((kept) => !same(kept, clip)) : [clip, ...this.#kept];
    const remembered = save("favourites", this.#kept);
    this.dispatchEvent(new Event("change"));
    return remembered;
  }
}

/** A clip is the same wherever it was met: what counts are the notes that one hears. */
const same = (a, b) => a.model === b.model && JSON.stringify(a.notes) === JSON.stringify(b.notes);
